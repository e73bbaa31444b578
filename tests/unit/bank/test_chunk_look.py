"""Whether a backup's chunks are there: counted, bounded, and told when it could not be looked further."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cinderbank.bank import chunk_look, layout, scrub
from cinderbank.bank.ranges import Ranges
from cinderbank.bank.scrub import AttemptRef, Damage, Report
from cinderbank.domain.errors import SourceGone
from cinderbank.domain.facts import ChunkLook
from tests.fakes.backups import BACKUP, NOW, SITE, back_up, bank_on, sample
from tests.fakes.clock import FakeClock
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


def test_a_slow_bank_is_looked_at_as_far_as_the_time_goes(store: MemoryStore) -> None:
    clock = FakeClock(NOW)
    bank = bank_on(store, now=clock.now)
    bank.open()
    store.after_request = lambda count, verb, key: clock.advance(35 if "/index/" in key else 0)
    # Two of the three index parts were read; what is in the first was looked for.
    assert bank.look_for_chunks(SITE, BACKUP) == ChunkLook(total=7, looked=3, missing=0)


def test_a_folder_full_of_others_is_looked_through_as_far_as_the_time_goes(
    store: MemoryStore,
) -> None:
    folder = chunk(0).rsplit("/", 1)[0]
    for number in range(200):
        store.put(f"{folder}/!{number:03d}", b"")
    ticks = iter(range(10_000))
    found = bank_on(store, now=lambda: NOW + timedelta(seconds=next(ticks))).look_for_chunks(
        SITE, BACKUP
    )
    assert found == ChunkLook(total=7, looked=0, missing=0)


def test_so_many_reports_are_read_and_no_more(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "MAX_CHOICE_REPORTS", 3)
    for number in range(9):
        store.put(layout.scrub(SITE, f"01KAPZ5J3VQ6Z0C4M8T2R7W9Z{number}"), b"{")
    look(store)
    assert len([key for verb, key in store.requests if verb == "GET" and "scrub/" in key]) == 3


def test_a_backup_that_is_not_there() -> None:
    with pytest.raises(SourceGone):
        look(MemoryStore())
