"""Whether a backup's chunks are there: counted, bounded, and told when it could not be looked further."""

from __future__ import annotations

import pytest

from cinderbank.bank import chunk_look, layout
from cinderbank.bank.ranges import Ranges
from cinderbank.bank.scrub import AttemptRef, Damage, Report
from cinderbank.domain.errors import SourceGone
from cinderbank.domain.facts import ChunkLook
from tests.fakes.backups import BACKUP, NOW, SITE, back_up, bank_on, sample
from tests.fakes.object_store import MemoryStore

CONTENT = sample("tzrstzr")


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    back_up(store, CONTENT)
    store.requests.clear()
    return store


def look(store: MemoryStore) -> ChunkLook:
    return bank_on(store).look_for_chunks(SITE, BACKUP)


def chunk(index: int) -> str:
    return layout.chunk(SITE, BACKUP, 1, index)


def test_all_are_there(store: MemoryStore) -> None:
    found = look(store)
    assert found == ChunkLook(total=7, looked=7, missing=0)
    assert found.is_whole
    assert [verb for verb, key in store.requests if "/chunks/" in key] == ["LIST"]


def test_what_is_gone_empty_or_too_long_is_missing(store: MemoryStore) -> None:
    del store.objects[chunk(0)]
    store.objects[chunk(2)] = b""
    store.objects[chunk(3)] = bytes(1 << 20)
    assert look(store) == ChunkLook(total=7, looked=7, missing=3)
    assert not look(store).is_whole


def test_what_a_check_found_damaged_is_missing(store: MemoryStore) -> None:
    damage = Damage(chunks={AttemptRef(SITE, BACKUP, 1): Ranges([(4, 4)])})
    report = Report(NOW, "full", damage).dump()
    store.put(layout.scrub(SITE, "01KAPZ5J3VQ6Z0C4M8T2R7W9ZZ"), report)
    assert look(store).missing == 1


def test_an_index_that_does_not_hold_ends_the_look(store: MemoryStore) -> None:
    [part] = [key for key in store.objects if key.endswith("/index/0001/00000001")]
    del store.objects[part]
    found = look(store)
    assert (found.total, found.looked) == (7, 3)
    assert part in found.problem
    assert not found.is_whole


def test_it_is_bounded(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_look, "MAX_LOOKED", 5)
    assert look(store) == ChunkLook(total=7, looked=5, missing=0)
    assert not look(store).is_whole


def test_a_backup_that_is_not_there() -> None:
    with pytest.raises(SourceGone):
        look(MemoryStore())
