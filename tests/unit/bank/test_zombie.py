"""An attempt that everybody took for dead sends its manifest after all: docs/bank-safety.md says what then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cinderbank.bank import layout
from cinderbank.bank.base import open_base
from cinderbank.bank.check import Checker
from cinderbank.bank.check_plan import Level, Outcome, Plan, Verdict
from cinderbank.bank.collect import collect
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.marks import BaseRef
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.scrub import Damage
from cinderbank.domain.errors import DataCorrupt
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    NOW,
    OTHER_BACKUP,
    SITE,
    VOLUME,
    back_up,
    bank_on,
    describe,
    sample,
    write_chunks,
)
from tests.fakes.object_store import MemoryStore

CONTENT = sample("tzrs", tail=100)
MANIFEST = layout.manifest(SITE, VOLUME, BACKUP)


def just_before(store: MemoryStore, verb: str, key: str, act: Callable[[], object]) -> None:
    """Once, in front of the next such request."""

    def look(count: int, verb_: str, key_: str) -> None:
        if (verb_, key_) == (verb, key):
            store.before_request = lambda count, verb, key: None
            act()

    store.before_request = look


def attempt(store: MemoryStore, number: int) -> None:
    write_chunks(store, CONTENT, bank_id=bank_on(store).open().bank_id, attempt=number)


def second_attempt_and_seal(store: MemoryStore) -> None:
    attempt(store, 2)
    bank_on(store).seal(SITE, BACKUP, VOLUME)


def a_zombie_after_the_seal(*, honours_conditions: bool) -> MemoryStore:
    """Attempt 1 sleeps in front of its last request; attempt 2 does it all; attempt 1 wakes up."""
    store = MemoryStore()
    store.honours_conditions = honours_conditions
    bank_on(store).open_session(SITE, BACKUP, VOLUME)
    just_before(store, "PUT", MANIFEST, lambda: second_attempt_and_seal(store))
    attempt(store, 1)
    return store


def content_of(store: MemoryStore) -> bytes:
    reader = BackupReader.open(store, SITE, BACKUP)
    envelope, geometry = reader.envelope(), reader.geometry
    return b"".join(
        bytes(geometry.chunk_length(entry.index))
        if entry.is_hole
        else bytes(reader.read_chunk(entry, envelope))
        for entry in reader.entries()
    )


def test_a_store_with_conditions_keeps_the_sealed_manifest() -> None:
    store = a_zombie_after_the_seal(honours_conditions=True)
    assert content_of(store) == CONTENT
    assert bank_on(store).find(BACKUP) is not None


def test_without_conditions_the_backup_is_refused_and_never_read_as_something_else() -> None:
    store = a_zombie_after_the_seal(honours_conditions=False)
    with pytest.raises(DataCorrupt, match="not the sealed one"):
        bank_on(store).find(BACKUP)
    with pytest.raises(DataCorrupt, match="not the sealed one"):
        content_of(store)
    verdicts: list[Verdict] = []
    plan, run = Plan(Level.MANIFEST), "01KAPZ5J3VQ6Z0C4M8T2R7W9XZ"
    Checker(
        bank_on(store), plan, on_verdict=verdicts.append, new_run=lambda: run, now=lambda: NOW
    ).run()
    assert [each.outcome for each in verdicts] == [Outcome.DAMAGED]


def test_without_conditions_nothing_is_borrowed_from_it_and_nothing_collected() -> None:
    store = a_zombie_after_the_seal(honours_conditions=False)
    geometry = Geometry(len(CONTENT), CHUNK, 3)
    assert open_base(store, BaseRef(SITE, BACKUP, VOLUME), VOLUME, geometry, Damage()) is None
    before = dict(store.objects)
    refusal = collect(store, SITE).refusal
    assert refusal is not None and refusal.reason == "BankNotReadable"
    assert "not the sealed one" in refusal.message
    assert {key: store.objects.get(key) for key in before} == before


def test_without_conditions_other_backups_are_as_they_were_and_it_can_be_deleted() -> None:
    store = a_zombie_after_the_seal(honours_conditions=False)
    back_up(store, CONTENT, backup_id=OTHER_BACKUP)
    assert bank_on(store).find(OTHER_BACKUP) is not None
    assert bank_on(store).delete(SITE, BACKUP)
    left = [key for key in store.objects if BACKUP in key]
    assert left == [layout.tomb(SITE, BACKUP)]
    found = bank_on(store).find(OTHER_BACKUP)
    assert found is not None
    assert found.content_hash == describe(CONTENT).content_hash


def test_a_zombie_before_the_seal_does_no_harm() -> None:
    """The seal names whichever is there, and each names chunks that are there."""
    store = MemoryStore()
    store.honours_conditions = False
    bank_on(store).open_session(SITE, BACKUP, VOLUME)
    just_before(store, "PUT", MANIFEST, lambda: attempt(store, 2))
    attempt(store, 1)
    bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert content_of(store) == CONTENT


def test_a_zombie_while_it_is_sealed_is_seen_by_who_seals() -> None:
    """The worst moment: the seal names what is not there any more, and nobody is told Completed."""
    store = MemoryStore()
    store.honours_conditions = False
    bank_on(store).open_session(SITE, BACKUP, VOLUME)
    attempt(store, 1)
    late = store.objects[MANIFEST]
    attempt(store, 2)
    assert store.objects[MANIFEST] != late
    seal = layout.seal(SITE, BACKUP, VOLUME)
    just_before(store, "PUT", seal, lambda: store.objects.__setitem__(MANIFEST, late))
    with pytest.raises(DataCorrupt, match="overwritten while it was sealed"):
        bank_on(store).seal(SITE, BACKUP, VOLUME)
