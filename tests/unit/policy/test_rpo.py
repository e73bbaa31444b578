"""Late or not, and which one is worst."""

from __future__ import annotations

from datetime import timedelta

from cinderbank.domain.policy.children import ChildState, newest_good
from cinderbank.domain.policy.rpo import judge_rpo
from tests.fakes.clock import START
from tests.unit.policy.children import DAY, child, volume

FIRST, SECOND = volume(1), volume(2)
YOUNG = volume(3, created_at=START + 9 * DAY)
NOW = START + 10 * DAY


def test_met_and_when_it_turns() -> None:
    newest = newest_good([child(9), child(8), child(9.5, of=2)])
    found = judge_rpo(DAY, [FIRST, SECOND], newest, NOW, START)
    assert found is not None
    assert (found.met, found.late, found.worst) == (True, 0, FIRST)
    assert found.turns_at == START + 10 * DAY
    later = judge_rpo(DAY, [FIRST, SECOND], newest, NOW + timedelta(seconds=1), START)
    assert later is not None
    assert (later.met, later.late, later.worst_point_at) == (False, 1, START + 9 * DAY)
    assert later.turns_at == START + 10.5 * DAY


def test_only_good_copies_count() -> None:
    newest = newest_good([child(1), child(9, ChildState.FAILED), child(9.9, ChildState.WORKING)])
    found = judge_rpo(DAY, [FIRST], newest, NOW, START)
    assert found is not None and not found.met
    assert found.worst_point_at == START + DAY
    assert found.turns_at is None


def test_a_new_volume_is_not_late_at_once() -> None:
    found = judge_rpo(2 * DAY, [YOUNG], {}, NOW, START)
    assert found is not None and found.met
    assert found.turns_at == START + 11 * DAY
    found = judge_rpo(2 * DAY, [volume(4)], {}, NOW, NOW - DAY)
    assert found is not None and found.met, "nor is a new policy"


def test_the_worst_is_the_one_without_any() -> None:
    found = judge_rpo(DAY, [FIRST, SECOND], newest_good([child(2)]), NOW, START)
    assert found is not None
    assert (found.late, found.worst, found.worst_point_at) == (2, SECOND, None)


def test_nothing_selected_is_nothing_to_judge() -> None:
    assert judge_rpo(DAY, [], {}, NOW, START) is None
