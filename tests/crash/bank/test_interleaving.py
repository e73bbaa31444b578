"""P14: the real code, interleaved at every request, never loses what a backup needs."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from cinderbank.bank.census import Census, CensusTaker
from tests.crash.bank.actors import Lost
from tests.crash.bank.interleaving import Interleaving

SEEDS = int(os.environ.get("CINDERBANK_INTERLEAVINGS", "12"))
"""More of them by night."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_p14_two_sites_at_once(seed: int) -> None:
    schedule = Interleaving(seed)
    schedule.run()
    # A schedule in which nothing happens would lose nothing either.
    assert len(schedule.invariant.completed) >= 3


def test_p14_collections_do_free_something() -> None:
    schedules = [Interleaving(seed) for seed in (0, 1, 3)]
    for schedule in schedules:
        schedule.run()
    assert sum(schedule.collected for schedule in schedules) > 20


def _pins_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Census, "pinned", lambda self: set())


def _sessions_are_listed_last(monkeypatch: pytest.MonkeyPatch) -> None:
    first, rest = CensusTaker.list_sessions, CensusTaker.list_the_rest

    def both(self: CensusTaker) -> None:
        rest(self)
        first(self)

    monkeypatch.setattr(CensusTaker, "list_sessions", lambda self: None)
    monkeypatch.setattr(CensusTaker, "list_the_rest", both)


@pytest.mark.parametrize(
    ("seed", "change"), [(20, _pins_are_ignored), (0, _sessions_are_listed_last)]
)
def test_p14_a_wrong_collection_is_caught(
    monkeypatch: pytest.MonkeyPatch, seed: int, change: Callable[[pytest.MonkeyPatch], None]
) -> None:
    Interleaving(seed).run()
    change(monkeypatch)
    with pytest.raises(Lost):
        Interleaving(seed).run()
