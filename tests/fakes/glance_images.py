"""Glance's image data calls behind a connection-like object: what transfer.glance_stream speaks to.

Stateful and honest: a PUT that breaks leaves the image queued, one that is complete makes it active
with size and hash; `unauthorized_next_puts` answers 401 to a body that was read in part, and the
session sends it again, as keystoneauth does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from cinderbank.domain.errors import (
    CinderbankError,
    Conflict,
    Forbidden,
    OverQuota,
    SourceGone,
    Unavailable,
    Unsupported,
)
from cinderbank.transfer.glance_stream import Glance


@dataclass
class Image:
    status: str = "queued"
    data: Any = b""
    size: int | None = None
    hash_algo: str | None = "sha512"
    hash_value: str | None = None
    disk_format: str = "raw"
    encryption_key_id: str | None = None
    statuses: list[str] = field(default_factory=list)
    """Statuses that the next shows tell, before `status`."""


class Answer:
    def __init__(
        self, status: int, body: Any = None, headers: dict[str, str] | None = None, blocks: Any = ()
    ) -> None:
        self.status_code = status
        self.headers = headers or {}
        self.closed = False
        self._body = body
        self._blocks = blocks

    def json(self) -> Any:
        return self._body

    def iter_content(self, size: int) -> Iterator[bytes]:
        return iter(self._blocks)

    def close(self) -> None:
        self.closed = True


class FakeGlance:
    """One project's images; `api` is what production code gets."""

    def __init__(self) -> None:
        self.images: dict[str, Image] = {}
        self.unauthorized_next_puts = 0
        self.put_answer: int | None = None
        self.put_hash_algo = "sha512"
        self.truncate_reads_to: int | None = None
        self.announced: str | None = "right"
        self.read_status = 200
        self.puts = 0
        self.image = self
        self.session = self
        self.tokens = 0
        self.monotonic = 0.0

    def api(self) -> Glance:
        return Glance(self, lambda verb, resource: nullcontext(), refused, lambda: self.monotonic)

    def add(self, image_id: str, data: bytes, algo: str | None = "sha512") -> None:
        value = hashlib.new(algo, data).hexdigest() if algo else None
        self.images[image_id] = Image("active", data, len(data), algo, value)

    # What keystoneauth's session does.

    def invalidate(self) -> None:
        self.tokens += 1

    def get_token(self) -> str:
        return f"token-{self.tokens}"

    # What the image proxy does.

    def get(self, url: str, **options: Any) -> Answer:
        image_id = url.split("/")[2]
        image = self.images.get(image_id)
        if image is None:
            return Answer(404)
        if url.endswith("/file"):
            return self._read(image)
        status = image.statuses.pop(0) if image.statuses else image.status
        return Answer(
            200,
            {
                "id": image_id,
                "status": status,
                "size": image.size,
                "disk_format": image.disk_format,
                "cinder_encryption_key_id": image.encryption_key_id,
                "os_hash_algo": image.hash_algo,
                "os_hash_value": image.hash_value,
            },
        )

    def _read(self, image: Image) -> Answer:
        if self.read_status != 200:
            return Answer(self.read_status)
        data = image.data[: self.truncate_reads_to]
        headers = {}
        if self.announced is not None:
            right = str(len(image.data))
            headers["Content-Length"] = right if self.announced == "right" else self.announced
        blocks = [data[i : i + 10_000] for i in range(0, len(data), 10_000)]
        return Answer(200, headers=headers, blocks=blocks)

    def put(self, url: str, data: Any, headers: dict[str, str], **options: Any) -> Answer:
        image = self.images[url.split("/")[2]]
        self.puts += 1
        if self.put_answer is not None:
            return Answer(self.put_answer)
        assert headers["X-OpenStack-Image-Size"] == str(len(data))
        if self.unauthorized_next_puts:
            self.unauthorized_next_puts -= 1
            for count, _ in enumerate(data):
                if count == 2:
                    break
            return self.put(url, data, headers)
        content = b"".join(bytes(block) for block in data)
        image.status, image.data, image.size = "active", content, len(content)
        image.hash_algo = self.put_hash_algo or None
        image.hash_value = (
            hashlib.new(self.put_hash_algo, content).hexdigest() if self.put_hash_algo else None
        )
        return Answer(204)


def refused(answer: Any, verb: str, resource: str) -> CinderbankError:
    kinds: dict[int, type[CinderbankError]] = {
        403: Forbidden, 404: SourceGone, 409: Conflict, 413: OverQuota, 415: Unsupported,
    }  # fmt: skip
    kind = kinds.get(answer.status_code, Unavailable)
    return kind(
        f"cannot {verb} {resource}: HTTP {answer.status_code}", status_code=answer.status_code
    )
