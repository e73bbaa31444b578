"""P14: the real code, interleaved at every request, never loses what a backup needs."""

from __future__ import annotations

import os

import pytest

from cinderbank.bank.census import Census, CensusTaker
from cinderbank.bank.marks import BaseRef
from tests.crash.bank.actors import Invariant, Lost, collection, write
from tests.crash.bank.interleaving import Interleaving
from tests.crash.bank.scheduler import Scheduler
from tests.fakes.backups import BACKUP, OTHER_BACKUP, SITE, VOLUME, bank_on, sample
from tests.fakes.object_store import MemoryStore

SEEDS = int(os.environ.get("CINDERBANK_INTERLEAVINGS", "12"))
"""More of them by night."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_p14_two_sites_at_once(seed: int) -> None:
    schedule = Interleaving(seed)
    schedule.run()
    # A schedule in which nothing happens would lose nothing either.
    assert len(schedule.invariant.completed) >= 3


@pytest.mark.parametrize("seed", range(min(SEEDS, 100) // 3))
def test_two_operators_under_one_site_name_lose_nothing(seed: int) -> None:
    """Which is a mistake that is told (bank.writers); ids of sessions are unique all the same."""
    schedule = Interleaving(seed, sites=(SITE,))
    schedule.run()
    assert len(schedule.invariant.completed) >= 3


def test_p14_collections_do_free_something() -> None:
    schedules = [Interleaving(seed) for seed in (0, 1, 3)]
    for schedule in schedules:
        schedule.run()
    assert sum(schedule.collected for schedule in schedules) > 20


def _sessions_are_listed_last(monkeypatch: pytest.MonkeyPatch) -> None:
    first, rest = CensusTaker.list_sessions, CensusTaker.list_the_rest

    def both(self: CensusTaker) -> None:
        rest(self)
        first(self)

    monkeypatch.setattr(CensusTaker, "list_sessions", lambda self: None)
    monkeypatch.setattr(CensusTaker, "list_the_rest", both)


def test_p14_a_collection_in_the_wrong_order_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    _sessions_are_listed_last(monkeypatch)
    with pytest.raises(Lost):
        for seed in range(10):
            Interleaving(seed).run()


@pytest.mark.parametrize("ignored", [False, True])
def test_p14_a_collection_that_ignores_pins_is_caught(
    monkeypatch: pytest.MonkeyPatch, ignored: bool
) -> None:
    store = MemoryStore()
    bank_on(store).open()
    content = sample("trs")
    write(store, SITE, BACKUP, content)
    base = (BaseRef(SITE, BACKUP, VOLUME),)
    scheduler = Scheduler(store)
    writer = scheduler.start("w", lambda s: write(s, SITE, OTHER_BACKUP, content, base))
    scheduler.until(writer, "PUT", "/manifest")
    bank_on(store).delete(SITE, BACKUP)
    if ignored:
        monkeypatch.setattr(Census, "pinned", lambda self: set())
    scheduler.run("gc", lambda s: collection(s, "site-b"))
    scheduler.finish(writer)
    if ignored:
        with pytest.raises(Lost):
            Invariant(store).check()
    else:
        Invariant(store).check()


def test_a_schedule_is_the_same_for_the_same_seed() -> None:
    def requests() -> list[str]:
        schedule = Interleaving(3)
        schedule.run(800)
        # A probe of a store's clock has a random name.
        return [f"{verb} {key}" for verb, key in schedule.store.requests if "probes" not in key]

    assert requests() == requests()
