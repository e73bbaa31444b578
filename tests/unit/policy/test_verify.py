"""The verify schedule: one check for each bank and time, never two, and old ones go."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinderbank.domain.policy.schedule import read_timetable
from cinderbank.domain.policy.verify import (
    MadeCheck,
    VerifyMemory,
    VerifyRules,
    check_name,
    checked,
    plan_checks,
)
from tests.fakes.clock import START

RULES = VerifyRules(read_timetable("0 3 * * *", "Etc/UTC"))
DAY = timedelta(days=1)


def made(
    bank: str, at: datetime, seed: int, phase: str = "Completed", intact: str = "True"
) -> MadeCheck:
    name = check_name("nightly", bank, at)
    return MadeCheck(name, f"uid-{name}", bank, at, seed, phase, intact, "AllWhole")


def test_names() -> None:
    names = {
        check_name(policy, bank, START + days * DAY)
        for policy in ("nightly", "n" * 253, "Ünder_score")
        for bank in ("main", "far")
        for days in range(3)
    }
    assert len(names) == 18
    assert all(len(name) <= 63 and name[0].isalnum() for name in names)


def test_a_new_schedule_has_missed_nothing() -> None:
    plan = plan_checks(RULES, VerifyMemory(), [], ["main"], START)
    assert (plan.run_at, plan.make, plan.memory.missed) == (None, (), 0)
    assert plan.memory.judged_until == START


def test_one_check_for_each_bank_and_the_seed_counts_the_runs() -> None:
    memory, checks, seeds = VerifyMemory(), list[MadeCheck](), []
    for day in range(5):
        plan = plan_checks(RULES, memory, checks, ["main", "far"], START + day * DAY)
        memory = plan.memory
        if plan.run_at is not None:
            assert plan.make == ("main", "far")
            checks += [made(bank, plan.run_at, plan.seed) for bank in plan.make]
            seeds.append(plan.seed)
    assert seeds == [0, 1, 2, 3]


def test_an_interrupted_run_is_made_again_under_the_same_names_and_seed() -> None:
    """The status was not written, and the first bank's check is there."""
    before = VerifyMemory(RULES.fingerprint, START, 7)
    first = plan_checks(RULES, before, [], ["main", "far"], START + DAY)
    assert first.run_at is not None
    there = [made("main", first.run_at, first.seed, "Running", "")]
    again = plan_checks(RULES, before, there, ["main", "far"], START + DAY)
    assert (again.run_at, again.make, again.seed) == (first.run_at, first.make, first.seed)
    assert again.memory == first.memory


def test_a_lost_status_goes_on_after_the_last_check() -> None:
    at = START
    checks = [made("main", at, 41)]
    plan = plan_checks(RULES, VerifyMemory(), checks, ["main"], at + timedelta(hours=1))
    assert plan.run_at is None
    plan = plan_checks(RULES, plan.memory, checks, ["main"], at + 2 * DAY)
    assert plan.run_at is not None and plan.seed == 42


def test_a_bank_whose_check_is_at_work_is_left_out() -> None:
    memory = VerifyMemory(RULES.fingerprint, START, 1)
    checks = [made("main", START, 0, "Running", "")]
    plan = plan_checks(RULES, memory, checks, ["main", "far"], START + DAY)
    assert (plan.make, plan.left_out) == (("far",), ("main",))


def test_suspended() -> None:
    memory = VerifyMemory(RULES.fingerprint, START, 1)
    plan = plan_checks(RULES, memory, [], ["main"], START + 9 * DAY, suspended=True)
    assert (plan.run_at, plan.memory.missed) == (None, 0)
    after = plan_checks(RULES, plan.memory, [], ["main"], START + 9 * DAY + timedelta(minutes=1))
    assert after.run_at is None


def test_what_stays() -> None:
    checks = [
        *(made("main", START + day * DAY, day) for day in range(6)),
        *(made("main", START + day * DAY, day, "Completed", "False") for day in range(6, 12)),
        *(made("far", START + day * DAY, day, "Failed", "") for day in range(3)),
        made("far", START - DAY, 0, "Running", ""),
    ]
    memory = VerifyMemory(RULES.fingerprint, START + 20 * DAY, 1)
    plan = plan_checks(RULES, memory, checks, ["main"], START + 20 * DAY)
    assert [each.seed for each in plan.give_up] == [8, 7, 6, 2, 1, 0]


def test_the_last_one_of_a_bank_stays_whatever_the_limits_say() -> None:
    rules = VerifyRules(RULES.timetable, successful_limit=0, failed_limit=0)
    checks = [
        made("main", START, 0),
        made("main", START + DAY, 1, "Completed", "False"),
        made("far", START, 0),
    ]
    memory = VerifyMemory(rules.fingerprint, START + 20 * DAY, 1)
    plan = plan_checks(rules, memory, checks, ["main", "far"], START + 20 * DAY)
    left = [each for each in checks if each not in plan.give_up]
    assert left == checks[1:]
    assert checked(left, ["main", "far"]).reason == "DamageFound"


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([], ("Unknown", "NoCheckYet")),
        ([("Running", "")], ("Unknown", "NoCheckYet")),
        ([("Completed", "True")], ("True", "AllWhole")),
        ([("Completed", "False"), ("Completed", "True")], ("True", "AllWhole")),
        ([("Completed", "True"), ("Completed", "False")], ("False", "DamageFound")),
        ([("Completed", "True"), ("Completed", "Unknown")], ("False", "CheckFailed")),
        ([("Completed", "True"), ("Failed", "")], ("False", "CheckFailed")),
        ([("Completed", "False"), ("Running", "")], ("False", "DamageFound")),
    ],
)
def test_the_condition(ends: list[tuple[str, str]], expected: tuple[str, str]) -> None:
    checks = [made("main", START + n * DAY, n, *end) for n, end in enumerate(ends)]
    found = checked(checks, ["main"])
    assert (found.status, found.reason) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4000), st.booleans(), st.booleans()), max_size=40))
def test_no_time_is_checked_twice(looks: list[tuple[int, bool, bool]]) -> None:
    """Looks at any time, each of which may lose its status or be interrupted before it wrote it."""
    memory, now = VerifyMemory(), START
    checks: dict[str, MadeCheck] = {}
    for minutes, loses, interrupted in looks:
        now += timedelta(minutes=minutes)
        plan = plan_checks(RULES, memory, list(checks.values()), ["main"], now)
        for bank in plan.make:
            assert plan.run_at is not None and plan.run_at <= now
            one = made(bank, plan.run_at, plan.seed)
            assert checks.setdefault(one.name, one) == one, "the same name with another seed"
        memory = memory if interrupted else plan.memory
        if loses:
            memory = VerifyMemory()
    times = sorted(each.run_at for each in checks.values())
    assert len(set(times)) == len(times)
