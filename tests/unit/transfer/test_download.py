"""P20: whatever happens to the stream from Glance, it is the whole image or it is an error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from cinderbank.bank import layout
from cinderbank.bank.geometry import Geometry
from cinderbank.domain.errors import CinderbankError, DataCorrupt, Unavailable
from cinderbank.transfer.backup import run_backup
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.glance_stream import CONTINUATIONS, Glance
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    IMAGE,
    SITE,
    VOLUME,
    backup_transfer,
    bank_on,
    sample,
)
from tests.fakes.glance_images import Answer, refused
from tests.fakes.object_store import MemoryStore
from tests.unit.bank.test_round_trip import read_all

CONTENT = sample("rtzrt" * 4, tail=777)
SIZE = len(CONTENT)
Ranged = Callable[[bytes, int], Answer]


class Reset(Exception):
    """What the HTTP client raises of a connection that broke."""


@contextmanager
def mapped(verb: str, resource: str) -> Iterator[None]:
    try:
        yield
    except Reset as error:
        raise Unavailable(f"cannot {verb} {resource}: the connection broke") from error


def right(data: bytes, start: int) -> Answer:
    headers = {
        "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}",
        "Content-Length": str(len(data) - start),
    }
    return Answer(206, headers=headers, blocks=data[start:])


@dataclass
class BreakingGlance:
    """Serves an image; each answer breaks after so many bytes. `ranged` answers a Range."""

    breaks_after: list[int]
    ranged: Ranged = right
    raises: bool = True
    data: bytes = CONTENT
    starts: list[int] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.image = self

    def get(self, url: str, headers: dict[str, str] | None = None, **options: Any) -> Answer:
        if not url.endswith("/file"):
            facts = {"id": IMAGE, "status": "active", "size": SIZE, "disk_format": "raw"}
            digest = hashlib.sha512(CONTENT).hexdigest()
            return Answer(200, {**facts, "os_hash_algo": "sha512", "os_hash_value": digest})
        start = int((headers or {}).get("Range", "bytes=0-")[6:-1])
        self.starts.append(start)
        if start:
            answer = self.ranged(self.data, start)
        else:
            answer = Answer(200, headers={"Content-Length": str(SIZE)}, blocks=self.data)
        answer._blocks = self._breaking(answer._blocks)
        self.answers.append(answer)
        return answer

    def _breaking(self, data: bytes) -> Iterator[bytes]:
        end = self.breaks_after.pop(0) if self.breaks_after else None
        for at in range(0, len(data[:end]), 1000):
            yield data[:end][at : at + 1000]
        if end is not None and end < len(data) and self.raises:
            raise Reset


def back_up(glance: BreakingGlance) -> MemoryStore:
    store = MemoryStore()
    bank = bank_on(store)
    bank.open_session(SITE, BACKUP, VOLUME)
    meter = ProgressMeter(SIZE, lambda progress: None)
    api = Glance(glance, mapped, refused)
    try:
        run_backup(backup_transfer(CONTENT), bank, api, meter, Geometry(SIZE, CHUNK, 4))
    except CinderbankError:
        assert layout.manifest(SITE, VOLUME, BACKUP) not in store.objects
        raise
    finally:
        assert all(answer.closed for answer in glance.answers)
    bank.seal(SITE, BACKUP, VOLUME)
    assert read_all(store) == CONTENT
    return store


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("breaks", [[1], [CHUNK], [CHUNK + 1, 5000], [SIZE - 1], [10_000] * 7])
def test_p20_a_connection_that_breaks_is_taken_up_where_it_was(
    breaks: list[int], raises: bool
) -> None:
    glance = BreakingGlance(list(breaks), raises=raises)
    store = back_up(glance)
    assert len(glance.starts) == len(breaks) + 1
    assert glance.starts == [sum(breaks[:n]) for n in range(len(breaks) + 1)]
    chunks = [key for verb, key in store.requests if verb == "PUT" and "/chunks/" in key]
    assert len(chunks) == len(set(chunks)), "no byte was stored twice"


def whole_as_206(data: bytes, start: int) -> Answer:
    """An old Glance: 206, and all of it."""
    return Answer(206, headers={"Content-Length": str(len(data))}, blocks=data)


def whole_as_200(data: bytes, start: int) -> Answer:
    return Answer(200, headers={"Content-Length": str(len(data))}, blocks=data)


def not_supported(data: bytes, start: int) -> Answer:
    return Answer(400)


def other_range(data: bytes, start: int) -> Answer:
    answer = right(data, start)
    answer.headers["Content-Range"] = f"bytes 0-{len(data) - 1}/{len(data)}"
    return answer


def other_total(data: bytes, start: int) -> Answer:
    answer = right(data, start)
    answer.headers["Content-Range"] += "0"
    return answer


def other_length(data: bytes, start: int) -> Answer:
    answer = right(data, start)
    answer.headers["Content-Length"] = str(len(data))
    return answer


def no_connection(data: bytes, start: int) -> Answer:
    raise Reset


@pytest.mark.parametrize(
    "ranged",
    [
        whole_as_206, whole_as_200, not_supported, other_range, other_total, other_length,
        no_connection,
    ],
)  # fmt: skip
def test_p20_without_exactly_the_range_that_was_asked_for_it_fails(ranged: Ranged) -> None:
    with pytest.raises(Unavailable, match="connection broke"):
        back_up(BreakingGlance([CHUNK + 7], ranged))
    # A stream that just ends early, as http.client can give it.
    with pytest.raises(DataCorrupt, match="ended after"):
        back_up(BreakingGlance([CHUNK + 7], ranged, raises=False))


def test_p20_a_range_of_other_bytes_is_found_by_the_hash() -> None:
    def shifted(data: bytes, start: int) -> Answer:
        answer = right(data, start)
        answer._blocks = data[:-start] if start else data
        return answer

    with pytest.raises(DataCorrupt, match="changed or was damaged"):
        back_up(BreakingGlance([CHUNK + 7], shifted))


def test_p20_an_image_that_changed_while_it_was_read() -> None:
    changed = CONTENT[:-1] + b"!"
    with pytest.raises(DataCorrupt, match="changed or was damaged"):
        back_up(BreakingGlance([], data=changed))


def test_p20_a_connection_that_breaks_without_a_byte_is_not_tried_for_ever() -> None:
    glance = BreakingGlance([5000] + [0] * 50)
    with pytest.raises(Unavailable):
        back_up(glance)
    assert len(glance.starts) == 2
    glance = BreakingGlance([1000] * 50)
    with pytest.raises(Unavailable):
        back_up(glance)
    assert len(glance.starts) <= CONTINUATIONS + 1
