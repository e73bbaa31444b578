"""P13: the model of the protocol loses nothing, and each rule that is taken away is missed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.model.actors import Violation
from tests.model.director import Stage
from tests.model.protocol import MUTANTS, PLAIN_BREAK, PROTOCOL, Mutant, Protocol
from tests.model.schedule import Schedule, violation

BLOCKS = 10
SCHEDULES = 2000
OLD, BASE, NEW = 10, 30, 5
"""Sessions: NEW lies in front of the page that a collection reads after OLD, BASE behind it."""


@pytest.mark.parametrize("block", range(BLOCKS))
def test_p13_the_protocol_loses_nothing(block: int) -> None:
    size = SCHEDULES // BLOCKS
    completed = sum(Schedule(seed).run() for seed in range(block * size, (block + 1) * size))
    # A model in which nothing happens would lose nothing either.
    assert completed > 5 * size


def test_p13_breaking_by_the_intent_alone_loses_nothing_either() -> None:
    assert sum(Schedule(seed, PLAIN_BREAK).run() for seed in range(300)) > 1500


def test_a_schedule_is_the_same_for_the_same_seed() -> None:
    assert Schedule(7).run() == Schedule(7).run()
    found = next(mutant for mutant in MUTANTS if mutant.seed is not None)
    assert violation(found.seed or 0, found.protocol) == violation(found.seed or 0, found.protocol)


@pytest.mark.parametrize(
    "mutant", [m for m in MUTANTS if m.seed is not None], ids=lambda mutant: mutant.name
)
def test_p13_mutant(mutant: Mutant) -> None:
    assert mutant.seed is not None
    assert violation(mutant.seed, mutant.protocol) is not None
    assert violation(mutant.seed, mutant.of) is None


def base_goes_while_the_manifests_are_listed(protocol: Protocol) -> None:
    """Hole iii: NEW borrows from BASE and is put on a page that was read; BASE goes before its page is."""
    stage = Stage(protocol)
    stage.back_up(OLD)
    stage.back_up(BASE)
    slow = stage.collection().until("LIST", "manifest")
    slow.step()
    stage.back_up(NEW, BASE)
    stage.delete(BASE)
    stage.collect()
    assert stage.world.store.get("manifest", BASE) is None
    slow.finish()
    stage.world.check()


def pinned_base_goes_while_the_manifests_are_listed(protocol: Protocol) -> None:
    """The same, with NEW's pin among those that the collection read."""
    stage = Stage(protocol)
    stage.back_up(OLD)
    stage.back_up(BASE)
    new = stage.writer(NEW, BASE).until("PUT", "manifest")
    slow = stage.collection().until("LIST", "manifest")
    slow.step()
    new.finish()
    stage.delete(BASE)
    stage.collect()
    assert stage.world.store.get("manifest", BASE) is None
    slow.finish()
    stage.world.check()


def listed_base_goes_before_it_is_read(protocol: Protocol) -> None:
    """Hole i: BASE is in the listing, NEW is not, and BASE is gone when it should be read."""
    stage = Stage(protocol)
    stage.back_up(OLD)
    stage.back_up(BASE)
    slow = stage.collection().until("GET", "manifest")
    stage.back_up(NEW, BASE)
    stage.delete(BASE)
    stage.collect()
    slow.finish()
    stage.world.check()


def void_is_forgotten_while_its_writer_sleeps(protocol: Protocol) -> None:
    """Hole ii: a writer that sleeps in front of its seal wakes up when VOID has been removed."""
    stage = Stage(protocol)
    sleeper = stage.writer(NEW).until("PUT", "seal", NEW)
    collection = stage.collection(breaks_percent=100).until("DELETE", "manifest", NEW)
    sleeper.finish()
    stage.world.check()
    collection.finish()
    stage.world.check()


Play = Callable[[Protocol], None]

DIRECTED: tuple[tuple[Play, tuple[str, ...]], ...] = (
    (base_goes_while_the_manifests_are_listed, ("tombs_are_listed_again",)),
    (
        pinned_base_goes_while_the_manifests_are_listed,
        ("tombs_are_listed_again", "unreadable_base_aborts"),
    ),
    (base_goes_while_the_manifests_are_listed, ("tombs_stay",)),
    (listed_base_goes_before_it_is_read, ("vanished_manifest_aborts",)),
    (
        void_is_forgotten_while_its_writer_sleeps,
        ("void_seals_stay", "tomb_is_looked_for_after_the_seal"),
    ),
)


def _name(value: object) -> str:
    return "+".join(value) if isinstance(value, tuple) else getattr(value, "__name__", "?")


@pytest.mark.parametrize(("play", "rules"), DIRECTED, ids=_name)
def test_p13_directed_mutant(play: Play, rules: tuple[str, ...]) -> None:
    with pytest.raises(Violation):
        play(PROTOCOL.without(*rules))
    play(PROTOCOL)


def test_p13_each_of_the_two_guards_closes_hole_iii_for_a_pinned_base() -> None:
    """The second guard is a belt: whatever it stops, the first one stops too."""
    pinned_base_goes_while_the_manifests_are_listed(PROTOCOL.without("unreadable_base_aborts"))
    pinned_base_goes_while_the_manifests_are_listed(PROTOCOL.without("tombs_are_listed_again"))


def test_p13_every_mutant_is_caught_by_a_seed_or_a_directed_schedule() -> None:
    directed = {rules for _, rules in DIRECTED}
    assert [m.name for m in MUTANTS if m.seed is None and m.rules not in directed] == []
