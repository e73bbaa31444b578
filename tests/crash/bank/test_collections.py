"""P10, P15 and P17 on the real code: crashes, sleepers, several collections, clocks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cinderbank.bank import layout
from cinderbank.bank.collect import CollectRules
from cinderbank.bank.layout import SealKey
from cinderbank.bank.marks import BaseRef, Tomb
from cinderbank.domain.errors import SourceGone
from cinderbank.domain.facts import BackupId
from tests.crash.bank.actors import Invariant, collection, sealed_backups, write
from tests.crash.bank.scheduler import Scheduler, SteppedStore
from tests.fakes.backups import BACKUP, CHUNK, OTHER_BACKUP, SITE, VOLUME, bank_on
from tests.fakes.object_store import MemoryStore

OLD, NEW = BACKUP, OTHER_BACKUP
FIRST = BackupId("01KAPZ5J3VQ6Z0C4M8T2R7W9AA")
"""Sorts before OLD: a page that was read does not show it."""
CONTENT = b"".join(bytes([n]) * CHUNK for n in (1, 2, 0, 3))
CHANGED = b"".join(bytes([n]) * CHUNK for n in (1, 9, 0, 3))
KEY = SealKey(SITE, OLD, VOLUME)
DAY = timedelta(days=1)


def base_of(key: SealKey = KEY) -> tuple[BaseRef, ...]:
    return (BaseRef(key.site, key.backup_id, key.volume_id),)


def orphans(store: MemoryStore) -> set[str]:
    """All that no backup needs and that is not meant to stay."""
    invariant = Invariant(store)
    invariant.check()
    needed = set().union(*invariant._needs.values())
    marks = (layout.BANK, "/seals/", "/tombs/")
    return {key for key in store.objects if key not in needed and not any(m in key for m in marks)}


@pytest.mark.parametrize("with_base", [False, True])
def test_p10_a_kill_at_every_request_leaves_no_orphans_once_collected(with_base: bool) -> None:
    def write_new(store: SteppedStore) -> None:
        write(store, SITE, NEW, CHANGED, base_of() if with_base else ())

    killed = 0
    while True:
        store = MemoryStore()
        bank_on(store).open()
        if with_base:
            write(store, SITE, OLD, CONTENT)
        scheduler = Scheduler(store)
        writer = scheduler.start("w", write_new)
        for _ in range(killed):
            if not writer.done:
                scheduler.step(writer)
        if writer.done:
            break
        scheduler.kill(writer)
        sealed = SealKey(SITE, NEW, VOLUME) in sealed_backups(store)
        assert (bank_on(store).find(NEW) is not None) == sealed
        store.now += 2 * DAY
        report = collection(store, SITE)
        assert report.refusal is None
        assert orphans(store) == set()
        assert (bank_on(store).find(NEW) is not None) == sealed
        killed += 1
    assert killed > 20


def test_p10_a_collection_that_is_killed_at_every_request_is_finished_by_the_next() -> None:
    killed = 0
    while True:
        store = MemoryStore()
        bank_on(store).open()
        write(store, SITE, OLD, CONTENT)
        write(store, SITE, NEW, CHANGED, base_of())
        store.put(layout.tomb(SITE, OLD), Tomb(VOLUME).dump())
        dead = Scheduler(store)
        half = dead.start("w", lambda s: write(s, "site-b", FIRST, CONTENT))
        dead.until(half, "PUT", "manifest")
        dead.close()
        store.now += 2 * DAY
        scheduler = Scheduler(store)
        collector = scheduler.start("gc", lambda s: collection(s, SITE))
        for _ in range(killed):
            if not collector.done:
                scheduler.step(collector)
        if collector.done:
            break
        scheduler.kill(collector)
        Invariant(store).check()
        store.now += 2 * DAY
        assert collection(store, "site-b").refusal is None
        assert orphans(store) == set()
        killed += 1
    assert killed > 20


def test_p15_a_collection_that_froze_for_days_frees_no_need_of_anybody() -> None:
    """Hole iii, on the real code: NEW is put on a page that was read, OLD goes before its page is."""
    store = MemoryStore()
    bank_on(store).open()
    write(store, SITE, OLD, CONTENT)
    scheduler = Scheduler(store, page_rows=1)
    frozen = scheduler.start("gc", lambda s: collection(s, SITE))
    scheduler.until(frozen, "LIST", "tombs")
    scheduler.until(frozen, "LIST", "backups")
    write(store, SITE, FIRST, CHANGED, base_of())
    scheduler.step(frozen)
    store.now += 3 * DAY
    assert bank_on(store).delete(SITE, OLD)
    scheduler.finish(frozen)
    Invariant(store).check()
    assert bank_on(store).find(FIRST) is not None


def test_p15_a_collection_that_outlived_its_tombs_deletes_nothing() -> None:
    store = MemoryStore()
    bank_on(store).open()
    write(store, SITE, OLD, CONTENT)
    del store.objects[layout.seal(SITE, OLD, VOLUME)]
    scheduler = Scheduler(store)
    rules = CollectRules(max_delete_percent=100)
    frozen = scheduler.start("gc", lambda s: collection(s, SITE, rules))
    scheduler.until(frozen, "LIST", "tombs")
    before = {key for key in store.objects if "/chunks/" in key}
    store.now += 31 * DAY
    scheduler.until(frozen, "PUT", "probes")
    scheduler.step(frozen)
    assert before <= set(store.objects)
    scheduler.close()


def test_p15_a_zombie_writer_is_never_sealed_once_its_session_was_broken() -> None:
    store = MemoryStore()
    bank_on(store).open()
    scheduler = Scheduler(store)
    zombie = scheduler.start("w", lambda s: write(s, SITE, NEW, CONTENT))
    scheduler.until(zombie, "PUT", "/seals/")
    store.now += 2 * DAY
    assert collection(store, SITE).broken_sessions == 1
    with pytest.raises(SourceGone) as caught:
        scheduler.finish(zombie)
    assert caught.value.reason == "SessionBroken"
    assert bank_on(store).find(NEW) is None
    with pytest.raises(SourceGone):
        write(store, SITE, NEW, CONTENT)
    store.now += 2 * DAY
    collection(store, SITE)
    assert orphans(store) == set()


def test_p15_a_frozen_collection_does_not_end_what_was_sealed_meanwhile() -> None:
    store = MemoryStore()
    bank_on(store).open()
    scheduler = Scheduler(store)
    writer = scheduler.start("w", lambda s: write(s, SITE, NEW, CONTENT))
    scheduler.until(writer, "PUT", "/seals/")
    store.now += 2 * DAY
    frozen = scheduler.start("gc", lambda s: collection(s, SITE))
    scheduler.until(frozen, "PUT", "/seals/")
    scheduler.finish(writer)
    scheduler.finish(frozen)
    assert bank_on(store).find(NEW) is not None
    Invariant(store).check()


@pytest.mark.parametrize("seed", range(5))
def test_p15_two_collections_at_once(seed: int) -> None:
    store = MemoryStore()
    bank_on(store).open()
    write(store, SITE, OLD, CONTENT)
    write(store, SITE, NEW, CHANGED, base_of())
    store.put(layout.tomb(SITE, OLD), Tomb(VOLUME).dump())
    scheduler = Scheduler(store, seed, page_rows=2)
    for site in (SITE, "site-b"):
        scheduler.start("gc", lambda s, site=site: collection(s, site))  # type: ignore[misc]
    while living := scheduler.living():
        scheduler.step(scheduler.chance.choice(living))
        Invariant(store).check()
    assert bank_on(store).find(NEW) is not None


@pytest.mark.parametrize("hours_off", [-24, 24])
def test_p17_a_wrong_clock_breaks_nobody_who_lives(
    monkeypatch: pytest.MonkeyPatch, hours_off: int
) -> None:
    """No clock of a site is asked; the store's own is."""
    monkeypatch.setattr("time.time", lambda: 1.0e9 + 3600 * hours_off)
    store = MemoryStore()
    bank_on(store).open()
    scheduler = Scheduler(store)
    writer = scheduler.start("w", lambda s: write(s, SITE, NEW, CONTENT))
    scheduler.until(writer, "PUT", "manifest")
    assert collection(store, "site-b").broken_sessions == 0
    scheduler.finish(writer)
    assert bank_on(store).find(NEW) is not None


def test_p17_a_beat_keeps_a_session_that_takes_longer_than_a_day() -> None:
    store = MemoryStore()
    bank_on(store).open()
    scheduler = Scheduler(store)
    writer = scheduler.start("w", lambda s: write(s, SITE, NEW, CONTENT))
    scheduler.until(writer, "PUT", "manifest")
    store.now += 3 * DAY
    bank_on(store).beat(NEW, SITE)
    assert collection(store, SITE).broken_sessions == 0
    scheduler.finish(writer)
    assert bank_on(store).find(NEW) is not None
