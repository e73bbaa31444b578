"""Runs: what begins one, what it still has to do, and a lost status."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from cinderbank.domain.policy.children import ChildState, trigger_digest
from cinderbank.domain.policy.runs import (
    MOST_AT_WORK,
    Concurrency,
    Run,
    RunMemory,
    RunRules,
    ended,
    given_up,
    judge_runs,
    plan_run,
)
from cinderbank.domain.policy.schedule import read_timetable
from tests.fakes.clock import START
from tests.unit.policy.children import DAY, child, made_at, volume_id

RULES = RunRules(read_timetable("0 12 * * *", "Etc/UTC"))  # START is noon
V1, V2 = volume_id(1), volume_id(2)


def test_a_run_begins_once() -> None:
    first = judge_runs(RULES, RunMemory(), [], START, START + DAY)
    assert first.began
    assert first.memory.run == Run(START + DAY)
    again = judge_runs(RULES, first.memory, [], START, START + DAY)
    assert not again.began
    after = judge_runs(RULES, ended(first.memory), [], START, START + DAY)
    assert not after.began and after.memory.run is None
    assert after.next_at == START + 2 * DAY


def test_nothing_of_the_time_before_the_policy_was_made_is_missed() -> None:
    found = judge_runs(RULES, RunMemory(), [], START + 5 * DAY, START + 5.5 * DAY)
    assert (found.began, found.missed) == (False, 0)


def test_missed_runs_are_told() -> None:
    found = judge_runs(RULES, RunMemory(), [], START, START + 4.5 * DAY)
    assert (found.began, found.missed, found.memory.missed) == (True, 3, 3)
    assert found.memory.run == Run(START + 4 * DAY)
    rules = replace(RULES, starting_deadline=timedelta(hours=1))
    late = judge_runs(rules, RunMemory(), [], START, START + 4.5 * DAY)
    assert (late.began, late.memory.missed) == (False, 4)
    assert late.memory.last_missed_at == START + 4 * DAY


def test_a_trigger_runs_once_also_while_suspended() -> None:
    now = START + timedelta(hours=3)
    rules = replace(RULES, suspend=True, trigger="before the upgrade")
    found = judge_runs(rules, RunMemory(), [], START, now)
    assert found.memory.run == Run(now, "before the upgrade")
    memory = ended(found.memory)
    assert memory.last_trigger == "before the upgrade"
    assert not judge_runs(rules, memory, [], START, now + DAY).began
    other = replace(rules, trigger="after it")
    assert judge_runs(other, memory, [], START, now + DAY).began


def test_a_trigger_at_the_time_of_the_schedule_is_one_run() -> None:
    rules = replace(RULES, trigger="x")
    found = judge_runs(rules, RunMemory(), [], START, START + 1.2 * DAY)
    assert found.memory.run == Run(START + DAY, "x")
    assert not judge_runs(rules, ended(found.memory), [], START, START + 1.2 * DAY).began


def test_a_clock_that_was_ahead_once_stops_nothing() -> None:
    ahead = judge_runs(RULES, RunMemory(), [], START, START + 365 * DAY)
    memory, now = ended(ahead.memory), START + 1.5 * DAY
    made = [made_at(START + DAY, ChildState.GOOD), made_at(START + 365 * DAY, ChildState.GOOD)]
    back = judge_runs(RULES, memory, made, START, now)
    assert (back.began, back.missed) == (False, 0)
    assert (back.ahead_until, back.next_at) == (START + 365 * DAY, START + 2 * DAY)
    after = judge_runs(RULES, back.memory, made, START, START + 2 * DAY)
    assert (after.memory.run, after.ahead_until) == (Run(START + 2 * DAY), None)
    lost = judge_runs(RULES, RunMemory(), made, START, now)
    assert lost.next_at == START + 2 * DAY, "nor what is found again from the children"
    under_way = judge_runs(RULES, ahead.memory, made, START, now)
    assert (under_way.memory.run, under_way.next_at) == (ahead.memory.run, START + 2 * DAY)


def test_a_lost_status_is_found_again_from_the_children() -> None:
    made = [made_at(START + 3 * DAY, ChildState.GOOD), child(2)]
    found = judge_runs(RULES, RunMemory(), made, START + 3.5 * DAY, START + 3.6 * DAY)
    assert (found.began, found.missed) == (False, 0)
    triggered = made_at(START + 3.2 * DAY, ChildState.GOOD, trigger=trigger_digest("x"))
    rules = replace(RULES, trigger="x")
    assert not judge_runs(rules, RunMemory(), [triggered], START, START + 3.3 * DAY).began


def test_another_schedule_begins_now() -> None:
    memory = ended(judge_runs(RULES, RunMemory(), [], START, START + DAY).memory)
    hourly = replace(RULES, timetable=read_timetable("0 * * * *", "Etc/UTC"))
    now = START + 1.99 * DAY
    found = judge_runs(hourly, memory, [], START, now)
    assert (found.began, found.missed) == (False, 0)
    assert found.next_at == START + 2 * DAY


def test_a_run_makes_what_is_missing() -> None:
    run = Run(START)
    made = [made_at(START, ChildState.WORKING, of=1)]
    plan = plan_run(run, Concurrency.FORBID, [V1, V2], made)
    assert (plan.create, plan.cancel, plan.left_out) == ((V2,), (), ())
    both = [*made, made_at(START, ChildState.FAILED, of=2)]
    assert plan_run(run, Concurrency.FORBID, [V1, V2], both).create == ()


def test_an_earlier_one_at_work() -> None:
    older = made_at(START - DAY, ChildState.WORKING, of=1)
    gone = made_at(START - DAY, ChildState.LEAVING, of=2)
    run, both = Run(START), [V1, V2]
    forbid = plan_run(run, Concurrency.FORBID, both, [older, gone])
    assert (forbid.create, forbid.cancel, forbid.left_out) == ((V2,), (), (V1,))
    allow = plan_run(run, Concurrency.ALLOW, both, [older, gone])
    assert (allow.create, allow.cancel, allow.left_out) == ((V1, V2), (), ())
    instead = plan_run(run, Concurrency.REPLACE, both, [older, gone])
    assert (instead.create, instead.cancel) == ((V1, V2), (older,))


@pytest.mark.parametrize("policy", [Concurrency.ALLOW, Concurrency.REPLACE])
@pytest.mark.parametrize("at_work", [MOST_AT_WORK - 1, MOST_AT_WORK])
def test_no_more_than_so_many_at_work(policy: Concurrency, at_work: int) -> None:
    older = [made_at(START - number * DAY, ChildState.WORKING) for number in range(1, at_work + 1)]
    plan = plan_run(Run(START), policy, [V1, V2], older)
    if at_work == MOST_AT_WORK:
        assert (plan.create, plan.cancel, plan.crowded) == ((V2,), (), (V1,))
    else:
        assert (plan.create, plan.crowded) == ((V1, V2), ())


def test_with_nothing_selected_no_run_begins_and_it_is_told() -> None:
    found = judge_runs(RULES, RunMemory(), [], START, START + 2.5 * DAY, selected=False)
    assert (found.began, found.missed, found.memory.missed) == (False, 2, 2)
    assert (found.memory.last_run_at, found.memory.last_missed_at) == (None, START + 2 * DAY)
    again = judge_runs(RULES, found.memory, [], START, START + 2.6 * DAY, selected=False)
    assert (again.missed, again.next_at) == (0, START + 3 * DAY)
    rules = replace(RULES, trigger="now")
    waits = judge_runs(rules, again.memory, [], START, START + 2.7 * DAY, selected=False)
    assert not waits.began and waits.memory.last_trigger == ""
    runs = judge_runs(rules, waits.memory, [], START, START + 2.8 * DAY)
    assert runs.memory.run == Run(START + 2.8 * DAY, "now"), "a trigger waits"


def test_a_run_that_could_make_nothing_was_none() -> None:
    scheduled = given_up(RunMemory(run=Run(START)))
    assert (scheduled.run, scheduled.missed, scheduled.last_missed_at) == (None, 1, START)
    both = given_up(RunMemory(run=Run(START, "now"), judged_until=START))
    assert (both.run, both.missed, both.last_trigger) == (None, 1, ""), "of the schedule, too"
    triggered = given_up(RunMemory(run=Run(START, "now"), judged_until=START - DAY))
    assert (triggered.run, triggered.missed, triggered.last_trigger) == (None, 0, "")
