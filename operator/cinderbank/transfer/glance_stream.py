"""The two long calls of Glance, image download and upload, and the few short ones around them.

Works on any object that looks like an openstacksdk Connection. `connection.image` does not raise on
4xx and 5xx (openstack.proxy.Proxy.request, raise_exc=False): every answer's status is compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from cinderbank.domain.errors import (
    CinderbankError,
    DataCorrupt,
    Forbidden,
    OutcomeUnknown,
    OverQuota,
    SourceGone,
    Unavailable,
    Unsupported,
)
from cinderbank.domain.facts import ImageFacts, ImageId

BLOCK_BYTES = 1 << 20
CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
NEW_TOKEN_SECONDS = 60.0
CONTINUATIONS = 16
"""So often one download is taken up again."""

COMMIT_SECONDS = 1800.0
"""After the last byte Glance may still finish the object in its own store before it answers."""


class Body(Protocol):
    """A request body that can be sent more than once.

    keystoneauth answers a 401 by sending the same object again: a generator would be empty then, and
    Glance would make an active image of 0 bytes of it.
    """

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


@dataclass(slots=True)
class _Source:
    """The answer that is being read; another one after a connection broke."""

    answer: Any


class Glance:
    """Images of one project, by a connection whose token is new. `mapped` and `refused` turn SDK errors and answers into domain.errors
    (adapters.openstack.errors); they get a verb and the resource's name."""

    def __init__(
        self,
        connection: Any,
        mapped: Callable[[str, str], AbstractContextManager[None]],
        refused: Callable[[Any, str, str], CinderbankError],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._mapped = mapped
        self._refused = refused
        self._monotonic = monotonic
        self._token_since = monotonic()

    def show(self, image_id: ImageId) -> ImageFacts:
        """GET /v2/images/{id}. Raises SourceGone and what `mapped` makes."""
        name = f"image {image_id}"
        with self._mapped("show", name):
            answer = self._connection.image.get(f"/images/{image_id}")
            if answer.status_code != 200:
                raise self._refused(answer, "show", name)
            return _facts(answer.json(), image_id)

    @contextmanager
    def download(
        self, image_id: ImageId, size_bytes: int, block_bytes: int = BLOCK_BYTES
    ) -> Iterator[Iterator[bytes]]:
        """GET the data as blocks of so many bytes, but the last ones before and the first ones behind a
        break may be shorter. The caller still has to count and hash them.

        A connection that breaks is taken up again where it was, if Glance's store can (206 with exactly
        the range that was asked for); else what broke is raised. DataCorrupt when Glance announces
        another length, or has no data (204).
        """
        name = f"data of image {image_id}"
        answer = self._get_data(image_id, 0)
        try:
            if answer.status_code == 204:
                raise DataCorrupt(f"image {image_id} is active and Glance has no data of it (204)")
            if answer.status_code != 200:
                raise self._refused(answer, "read", name)
            announced = answer.headers.get("Content-Length")
            if announced is not None and announced != str(size_bytes):
                raise DataCorrupt(
                    f"image {image_id}: Glance announces {announced[:32]} bytes, expected {size_bytes}"
                )
            source = _Source(answer)
            try:
                yield self._blocks(source, image_id, size_bytes, block_bytes)
            finally:
                source.answer.close()
        finally:
            answer.close()

    def has_ranges(self, image_id: ImageId, size_bytes: int) -> bool:
        """Whether Glance's store answers with the very range that is asked for. An outage is no answer,
        and raises."""
        answer = self._get_data(image_id, size_bytes - 1, size_bytes - 1)
        try:
            # 400: stores without random access (glance_store.capabilities); 200 and a 206 of the whole
            # image: Glances that do not know of ranges.
            if answer.status_code not in (200, 206, 400, 416):
                raise self._refused(answer, "read", f"data of image {image_id}")
            return _is_range(answer, size_bytes - 1, 1, size_bytes)
        finally:
            answer.close()

    def read_range(self, image_id: ImageId, start: int, length: int, size_bytes: int) -> bytes:
        """So many bytes of the data, from `start` on. Unavailable when the answer is anything else."""
        name = f"data of image {image_id}"
        answer = self._get_data(image_id, start, start + length - 1)
        try:
            if not _is_range(answer, start, length, size_bytes):
                raise Unavailable(f"cannot read {name}: Glance does not answer with the range")
            read = b"".join(self._read(answer, name, length))
        finally:
            answer.close()
        if len(read) != length:
            raise Unavailable(f"cannot read {name}: {len(read)} of {length} bytes have come")
        return read

    def _get_data(self, image_id: ImageId, start: int, last: int | None = None) -> Any:
        headers = {"Accept": "application/octet-stream", "Accept-Encoding": "identity"}
        if start or last is not None:
            headers["Range"] = f"bytes={start}-{'' if last is None else last}"
        with self._mapped("read", f"data of image {image_id}"):
            return self._connection.image.get(
                f"/images/{image_id}/file",
                headers=headers,
                stream=True,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
            )

    def _blocks(
        self, source: _Source, image_id: ImageId, size_bytes: int, block_bytes: int
    ) -> Iterator[bytes]:
        position = continued_at = continuations = 0
        while True:
            broken: CinderbankError | None = None
            try:
                name = f"data of image {image_id}"
                for block in self._read(source.answer, name, block_bytes):
                    position += len(block)
                    yield block
            except (Unavailable, OutcomeUnknown) as error:
                broken = error
            if position >= size_bytes:
                return  # or more: the caller counts
            # Without a byte since the last time there is no hope in it.
            if (
                position == continued_at
                or continuations == CONTINUATIONS
                or not self._continue(source, image_id, position, size_bytes)
            ):
                if broken is not None:
                    raise broken
                return
            continued_at, continuations = position, continuations + 1

    def _read(self, answer: Any, name: str, block_bytes: int) -> Iterator[bytes]:
        # Only the reads are inside: what the consumer raises between two blocks is not Glance's.
        blocks = answer.iter_content(block_bytes)
        while True:
            with self._mapped("read", name):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    def _continue(self, source: _Source, image_id: ImageId, position: int, size_bytes: int) -> bool:
        """Open the rest of the data. Old Glances answer 206 with all of it, others 400 or 200: only an
        answer that says exactly our range is taken."""
        source.answer.close()
        try:
            answer = self._get_data(image_id, position)
        except CinderbankError:
            return False
        source.answer = answer
        return _is_range(answer, position, size_bytes - position, size_bytes)

    def upload(self, image_id: ImageId, body: Body) -> None:
        """PUT the data into a `queued` image; returns when Glance has it (204). Not idempotent: an
        image that is not queued refuses. Sent again only after a 401, with a fresh token."""
        name = f"data of image {image_id}"
        with self._mapped("write", name):
            self._freshen_token()
            answer = self._connection.image.put(
                f"/images/{image_id}/file",
                data=body,
                headers={
                    "Content-Type": "application/octet-stream",
                    "X-OpenStack-Image-Size": str(len(body)),
                },
                connect_retries=0,
                status_code_retries=0,
                redirect=False,
                log=False,
                timeout=(CONNECT_SECONDS, COMMIT_SECONDS),
            )
        if answer.status_code != 204:
            raise self._upload_refused(answer, image_id, name)

    def _freshen_token(self) -> None:
        """Some stores of Glance use the token again when the last byte has come. A new one costs Keystone
        a bcrypt, some 0.3 s, so the one of a connection that was just made is new enough."""
        if self._monotonic() - self._token_since < NEW_TOKEN_SECONDS:
            return
        self._connection.session.invalidate()
        self._connection.session.get_token()
        self._token_since = self._monotonic()

    def _upload_refused(self, answer: Any, image_id: ImageId, name: str) -> CinderbankError:
        error = self._refused(answer, "write", name)
        if answer.status_code == 415:
            return Unsupported(
                f"{error.message}; Glance takes the content of image {image_id} for a disk image that "
                "it does not accept: restore as qcow2, or relax the image format checks of Glance",
                reason="ImageContentRefused",
                status_code=415,
                request_id=error.request_id,
            )
        if answer.status_code == 413:
            return OverQuota(
                f"{error.message}; raise image_size_total or image_size_cap of Glance, or delete images",
                status_code=413,
                request_id=error.request_id,
            )
        return error


def _is_range(answer: Any, start: int, length: int, size_bytes: int) -> bool:
    said = answer.headers.get("Content-Range"), answer.headers.get("Content-Length")
    wanted = f"bytes {start}-{start + length - 1}/{size_bytes}", str(length)
    return answer.status_code == 206 and said == wanted


def _facts(body: Any, image_id: ImageId) -> ImageFacts:
    if not isinstance(body, dict) or body.get("id") != image_id:
        raise Unavailable(f"show image {image_id}: the answer is not of this image")
    return ImageFacts(
        id=image_id,
        name=str(body.get("name") or ""),
        status=str(body.get("status") or ""),
        disk_format=str(body.get("disk_format") or ""),
        size_bytes=_integer(body.get("size")),
        hash_algo=_text(body.get("os_hash_algo")),
        hash_value=_text(body.get("os_hash_value")),
        encryption_key_id=_text(body.get("cinder_encryption_key_id")),
    )


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def require_active(image: ImageFacts) -> None:
    """Raise unless the image can be read."""
    if image.status in ("deleted", "pending_delete", "killed"):
        raise SourceGone(f"image {image.id} is {image.status}")
    if image.status == "deactivated":
        raise Forbidden(f"image {image.id} is deactivated; an administrator can reactivate it")
    if image.status != "active":
        raise Unavailable(f"image {image.id} is {image.status}, not active yet")
