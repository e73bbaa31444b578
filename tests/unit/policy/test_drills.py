"""Which backup is drilled next: about every n-th, none twice, and a failed one is made up for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from cinderbank.domain.policy.children import (
    Child,
    ChildState,
    child_name,
    labels_of,
    read_number,
)
from cinderbank.domain.policy.drills import (
    Drill,
    DrillRules,
    DrillState,
    drill_name,
    drilled,
    is_drill,
    next_number,
    plan_drills,
)
from tests.unit.policy.children import child, volume_id

V1 = volume_id(1)


def numbered(days: int, number: int, state: ChildState = ChildState.GOOD, of: int = 1) -> Child:
    return replace(child(days, state, of=of), number=number)


def drill_of(backup: Child, state: DrillState = DrillState.VERIFIED, reason: str = "") -> Drill:
    name = drill_name(backup.name)
    return Drill(name, f"uid-{name}", backup.volume_id, backup.run_at, backup.number, state, reason)


def started(
    every: int,
    children: list[Child],
    drills: list[Drill],
    selected: set[int] | None = None,
    **rules: int,
) -> list[str]:
    chosen = {volume_id(n) for n in (selected or {1, 2, 3, 4, 5})}
    plan = plan_drills(DrillRules(every, **rules), children, drills, chosen)
    return [backup.name for backup, _ in plan.start]


def test_the_name_and_the_labels_are_the_proof() -> None:
    backup = numbered(1, 7)
    labels = labels_of("nightly", V1, backup.run_at, number=7)
    assert is_drill(drill_name(backup.name), labels)
    assert not is_drill(backup.name, labels)
    assert not is_drill(drill_name(backup.name), {**labels, "cinderbank.io/policy": "other"})


def test_every_name_is_one_that_kubernetes_takes() -> None:
    names = set()
    for length in (1, 27, 28, 29, 33, 34, 35, 63, 253):
        for day in range(3):
            at = child(day).run_at
            labels = labels_of("p" * length, V1, at)
            name = drill_name(child_name("p" * length, V1, at))
            assert len(name) <= 63 and is_drill(name, labels) and name.endswith("-drill")
            names.add(name)
    assert len(names) == 27


def test_numbers_of_labels() -> None:
    assert [read_number(each) for each in ("7", None, "-1", "1e9", "99999999999", "9999999999")] == [
        7, 0, 0, 0, 0, 10**9,
    ]  # fmt: skip


def test_every_third() -> None:
    children: list[Child] = []
    drills: list[Drill] = []
    made = []
    for day in range(10):
        children.append(numbered(day, next_number(children, V1)))
        for name in started(3, children, drills):
            made.append(day + 1)
            [backup] = [each for each in children if each.name == name]
            drills.append(drill_of(backup))
    assert made == [3, 6, 9]


def test_the_next_good_one_takes_the_place_of_one_that_failed() -> None:
    children = [numbered(1, 1), numbered(2, 2), numbered(3, 3, ChildState.FAILED)]
    assert started(3, children, []) == []
    children.append(numbered(4, 4))
    assert started(3, children, []) == [children[-1].name]


def test_backups_without_a_number_are_counted() -> None:
    children = [child(day) for day in range(4)]
    assert started(4, children, []) == [children[-1].name]
    assert started(5, children, []) == []
    assert next_number(children, V1) == 5


def test_retention_does_not_make_it_forget() -> None:
    """Only the newest backups are there, and the numbers go on."""
    children = [numbered(41, 42)]
    assert next_number(children, V1) == 43
    assert started(10, children, [drill_of(numbered(39, 40))]) == []
    newer = numbered(49, 50)
    assert started(10, [newer], [drill_of(numbered(39, 40))]) == [newer.name]


def test_at_most_so_many_at_once_and_the_volume_that_waits_longest_first() -> None:
    children = [numbered(9, 9, of=n) for n in (1, 2, 3)]
    drills = [drill_of(numbered(2, 2, of=1)), drill_of(numbered(1, 1, of=2))]
    order = started(3, children, drills, max_concurrent=3)
    assert order == [children[2].name, children[1].name, children[0].name]
    assert started(3, children, drills, max_concurrent=1) == order[:1]
    working = drill_of(numbered(9, 9, of=3), DrillState.WORKING)
    plan = plan_drills(
        DrillRules(3), children, [*drills, working], {volume_id(n) for n in (1, 2, 3)}
    )
    assert (plan.start, plan.waiting) == ((), 2)


def test_suspended_and_not_selected() -> None:
    children = [numbered(9, 9)]
    assert started(3, children, [], selected={2}) == []
    plan = plan_drills(DrillRules(3), children, [], {V1}, suspended=True)
    assert (plan.start, plan.waiting) == ((), 1)


def test_backups_of_encrypted_volumes_are_passed_over() -> None:
    encrypted = replace(numbered(1, 1), encrypted=True)
    assert started(1, [encrypted, numbered(1, 1, of=2)], []) == [numbered(1, 1, of=2).name]


def test_backups_that_were_all_deleted_are_counted_anew() -> None:
    long_ago = drill_of(numbered(0, 70))
    assert started(3, [numbered(9, 2)], [long_ago]) == []
    third = numbered(9, 3)
    assert started(3, [third], [long_ago]) == [third.name]
    assert started(3, [third, numbered(8, 70)], [long_ago]) == [], (
        "the newest number is of an older one"
    )


def test_what_stays_and_what_goes() -> None:
    drills = [
        drill_of(numbered(day, day), state)
        for day, state in enumerate(
            [
                DrillState.DIFFERENT,
                DrillState.VERIFIED,
                DrillState.FAILED,
                DrillState.VERIFIED,
                DrillState.FAILED,
                DrillState.WORKING,
            ]
        )
    ]
    plan = plan_drills(DrillRules(1, 1, 1, 0), [], drills, {V1})
    assert [each.number for each in plan.give_up] == [4, 2, 1]
    last = [drill_of(numbered(day, day), DrillState.FAILED) for day in range(3)]
    plan = plan_drills(DrillRules(1, 1, 1, 0), [], last, {V1})
    assert [each.number for each in plan.give_up] == [1, 0], "the last one says what comes next"


def test_the_condition() -> None:
    good = drill_of(numbered(1, 1))
    failed = drill_of(numbered(2, 2), DrillState.FAILED, "VolumeTimeout")
    different = drill_of(numbered(0, 0), DrillState.DIFFERENT)
    stuck = drill_of(numbered(3, 3), DrillState.WORKING, "QuotaExceeded")

    def told(*drills: Drill, waiting: int = 0) -> tuple[str, str]:
        found = drilled(drills, {V1}, waiting)
        return found.status, found.reason

    assert told() == ("Unknown", "NoDrillYet")
    assert told(good) == ("True", "DrillsPassed")
    assert told(good, failed) == ("False", "DrillFailed")
    assert told(failed, replace(good, number=5)) == ("True", "DrillsPassed")
    assert told(different, good) == ("False", "DrillFoundDifference")
    leaving = replace(good, number=9, state=DrillState.LEAVING)
    assert told(leaving) == ("Unknown", "NoDrillYet"), "nobody knows how it would have ended"
    assert told(failed, leaving) == ("False", "DrillFailed")
    assert told(good, stuck) == ("True", "DrillsPassed")
    assert told(good, stuck, waiting=1) == ("False", "DrillWaits")


OUTCOMES = st.sampled_from([ChildState.GOOD, ChildState.GOOD, ChildState.FAILED])


@settings(deadline=None)
@given(
    st.integers(1, 5),
    st.lists(st.tuples(OUTCOMES, st.integers(0, 3), st.booleans()), max_size=40),
)
def test_none_is_drilled_twice_and_every_nth_is_made_up_for(
    every: int, days: list[tuple[ChildState, int, bool]]
) -> None:
    """Whatever fails, whatever retention takes away, and although looks are left out."""
    children: list[Child] = []
    drills: dict[str, Drill] = {}
    for day, (state, kept, looks) in enumerate(days, 1):
        children.append(numbered(day, next_number(children, V1), state))
        if kept:
            good = [each for each in children if each.state is ChildState.GOOD]
            children = [each for each in children if each in good[-kept:] or each is children[-1]]
        assert children[-1].number <= day
        if looks:
            for _ in range(2):  # the second look finds nothing more to do
                for name in started(every, children, list(drills.values())):
                    assert name + "-drill" not in drills
                    [backup] = [each for each in children if each.name == name]
                    assert backup.state is ChildState.GOOD
                    drills[drill_name(name)] = drill_of(backup)
    places = sorted(each.number // every for each in drills.values())
    assert len(set(places)) == len(places), "at most one for each n"
