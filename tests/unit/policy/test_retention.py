"""What is kept and why; the last good copy is never in what goes."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.domain.policy.children import Child, ChildState
from cinderbank.domain.policy.retention import PERIODS, Retention, Verdict, Why, judge
from tests.unit.policy.children import DAY, child, made_at

UTC = ZoneInfo("Etc/UTC")
GOOD, FAILED = ChildState.GOOD, ChildState.FAILED
COPYING, LOST = ChildState.COPYING, ChildState.LOST
WORKING, LEAVING = ChildState.WORKING, ChildState.LEAVING


def told(verdicts: tuple[Verdict, ...]) -> dict[float, str]:
    """Days after the start -> why, with - before what goes."""
    first = child(0).point_at
    return {
        (v.child.point_at - first) / DAY: ("" if v.kept else "-") + "+".join(v.why)
        for v in verdicts
    }


def test_keep_last() -> None:
    found = judge(Retention({Why.LAST: 2}), [child(n) for n in range(4)], UTC)
    assert told(found) == {
        0: "-NoRuleKeepsIt",
        1: "-NoRuleKeepsIt",
        2: "Last",
        3: "MinGood+Last",
    }
    assert [v.kept for v in found] == [False, False, True, True], (
        "those that go first, oldest first"
    )


def test_one_whose_copies_are_not_made_replaces_nothing() -> None:
    found = judge(Retention({Why.LAST: 1}), [child(0), child(1), child(2, COPYING)], UTC)
    assert told(found) == {0: "-NoRuleKeepsIt", 1: "MinGood+Last", 2: "Copying"}


def test_one_that_is_lost_replaces_nothing() -> None:
    found = judge(Retention({Why.LAST: 1}), [child(0), child(1), child(2, LOST)], UTC)
    assert told(found) == {0: "NewestFailed", 1: "MinGood+Last", 2: "Lost"}


def test_the_newest_of_each_period_stays() -> None:
    children = [child(n / 4) for n in range(12)]  # from Sunday noon, four a day
    found = told(judge(Retention({Why.DAILY: 2, Why.WEEKLY: 2}), children, UTC))
    assert found[2.75] == "MinGood+Daily+Weekly"
    assert found[2.25] == "Daily"
    assert found[0.25] == "Weekly", "Sunday is the last day of the week before"
    assert sum(1 for why in found.values() if not why.startswith("-")) == 3


def test_periods_are_of_the_policy_s_zone() -> None:
    late, early = child(0.45), child(0.55)  # 22:48 and 01:12 in UTC
    retention = Retention({Why.DAILY: 2})
    assert all(v.kept for v in judge(retention, [late, early], UTC))
    found = judge(retention, [late, early], ZoneInfo("America/New_York"))
    assert [v.child for v in found if not v.kept] == [late], "one day there"


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    zone = ZoneInfo("Europe/Paris")
    at = child(0).run_at.replace(month=10, day=25, hour=0, minute=30)
    children = [made_at(at + timedelta(hours=n), GOOD) for n in range(2)]
    assert {c.point_at.astimezone(zone).hour for c in children} == {2}
    assert all(v.kept for v in judge(Retention({Why.HOURLY: 5}), children, zone))


def test_without_a_rule_everything_stays() -> None:
    for keep in ({}, {Why.LAST: 0, Why.DAILY: 0}):
        found = judge(Retention(keep), [child(n) for n in range(9)], UTC)
        assert all(v.kept and v.why == (Why.NO_RULE,) for v in found)
    assert Retention({Why.LAST: 0}).would_keep_nothing
    assert not Retention({}).would_keep_nothing


def test_what_is_held_stays_and_does_not_take_a_place() -> None:
    children = [child(0, hold=True), child(1), child(2)]
    assert told(judge(Retention({Why.LAST: 1}), children, UTC)) == {
        0: "Held",
        1: "-NoRuleKeepsIt",
        2: "MinGood+Last",
    }


def test_after_a_failure_what_it_should_have_replaced_stays() -> None:
    good = [child(n) for n in range(4)]
    retention = Retention({Why.LAST: 2})
    found = told(judge(retention, [*good, child(4, FAILED)], UTC))
    assert found[0] == found[1] == "NewestFailed"
    healed = told(judge(retention, [*good, child(4, FAILED), child(5)], UTC))
    assert healed[0] == healed[1] == healed[2] == "-NoRuleKeepsIt"
    assert healed[4] == "FailedLast"


def test_a_failure_is_not_forgotten_when_no_failed_ones_are_kept() -> None:
    """Judged again after what goes is gone: what the failed one should have replaced still stays."""
    retention = Retention({Why.LAST: 1}, failed_last=0)
    children = [child(0), child(1), child(2, FAILED), child(3, FAILED)]
    found = judge(retention, children, UTC)
    assert told(found) == {
        0: "NewestFailed",
        1: "MinGood+Last",
        2: "-OldFailure",
        3: "NewestFailed",
    }
    left = [v.child for v in found if v.kept]
    assert told(judge(retention, left, UTC))[0] == "NewestFailed"
    healed = told(judge(retention, [*left, child(4)], UTC))
    assert healed[3] == "-OldFailure"


def test_failed_ones_never_count_as_copies() -> None:
    children = [child(0), *(child(n, FAILED) for n in range(1, 9)), child(9, WORKING)]
    found = told(judge(Retention({Why.LAST: 1}, failed_last=2), children, UTC))
    assert found[0] == "MinGood+Last"
    assert [day for day, why in found.items() if why == "-OldFailure"] == [1, 2, 3, 4, 5, 6]
    assert found[9] == "Working"


def test_a_held_failure_stays() -> None:
    children = [child(0, FAILED, hold=True), child(1, FAILED), child(2)]
    found = judge(Retention({}, failed_last=0), children, UTC)
    assert told(found) == {2: "NoRule", 1: "-OldFailure", 0: "Held"}


def test_what_is_leaving_counts_as_gone() -> None:
    children = [child(0), child(1, LEAVING), child(2, LEAVING)]
    assert told(judge(Retention({Why.LAST: 1}), children, UTC)) == {0: "MinGood+Last"}


def test_a_run_deletes_only_so_many() -> None:
    children = [child(n) for n in range(10)]
    retention = Retention({Why.LAST: 1}, max_deletes_per_run=4)
    found = judge(retention, children, UTC, deleted_in_run=1)
    assert [v.child for v in found if not v.kept] == children[:3], "the oldest first"
    assert sum(Why.DELETES_LIMITED in v.why for v in found) == 6
    assert not [v for v in judge(retention, children, UTC, deleted_in_run=4) if not v.kept]


def test_failures_take_no_room_from_copies() -> None:
    children = (
        [child(n) for n in range(6)] + [child(n, FAILED) for n in range(10, 14)] + [child(20)]
    )
    retention = Retention({Why.LAST: 1}, failed_last=0, max_deletes_per_run=5)
    going = [v.child for v in judge(retention, children, UTC) if not v.kept]
    assert going == [*children[6:10], children[0]], "failed ones first, then the oldest copy"


def test_the_limit_grows_with_the_volumes() -> None:
    many = [child(n, of=volume) for volume in range(30) for n in range(9)]
    assert sum(not v.kept for v in judge(Retention({Why.LAST: 1}), many, UTC)) == 60
    few = [child(n) for n in range(30)]
    assert sum(not v.kept for v in judge(Retention({Why.LAST: 1}), few, UTC)) == 10


def test_each_volume_by_itself() -> None:
    children = [child(0, of=1), child(1, of=2), child(2, of=2), child(3, of=2)]
    found = judge(Retention({Why.LAST: 2}), children, UTC)
    assert [v.child for v in found if not v.kept] == [children[1]]


children_lists = st.lists(
    st.builds(
        child,
        st.integers(0, 3000).map(lambda n: n / 24),
        st.sampled_from(ChildState),
        of=st.integers(1, 3),
        hold=st.booleans(),
    ),
    max_size=40,
    unique_by=lambda c: c.name,
)
retentions = st.builds(
    Retention,
    st.dictionaries(st.sampled_from([Why.LAST, *PERIODS]), st.integers(0, 5)),
    min_good=st.integers(1, 4),
    failed_last=st.integers(0, 4),
    max_deletes_per_run=st.one_of(st.none(), st.integers(0, 20)),
)


def good_of(children: list[Child], volume_id: str) -> list[Child]:
    found = [c for c in children if c.state is GOOD and c.volume_id == volume_id]
    return sorted(found, key=lambda c: (c.point_at, c.name))


@given(retentions, children_lists, st.sampled_from(["Etc/UTC", "America/New_York"]))
def test_invariants(retention: Retention, children: list[Child], zone: str) -> None:
    verdicts = judge(retention, children, ZoneInfo(zone))
    going = [v.child for v in verdicts if not v.kept]
    left = [c for c in children if c not in going]
    assert {v.child.name for v in verdicts} == {c.name for c in children if c.state is not LEAVING}
    assert all(v.why for v in verdicts)
    assert not any(c.hold or c.state in (WORKING, LEAVING) for c in going)
    if retention.max_deletes_per_run is not None:
        assert len(going) <= retention.max_deletes_per_run
    for volume_id in {c.volume_id for c in children}:
        before, after = good_of(children, volume_id), good_of(left, volume_id)
        assert len(after) >= min(retention.min_good, len(before))
        assert after[-1:] == before[-1:], "the newest good copy always stays"
        ended = [c for c in children if c.volume_id == volume_id and c.state in (GOOD, FAILED)]
        newest = max(ended, key=lambda c: c.point_at, default=None)
        if (
            newest is not None
            and newest.state is FAILED
            and newest.point_at > (before[-1].point_at if before else newest.point_at - DAY)
        ):
            assert after == before, "nothing goes after a failure"


@given(retentions, children_lists)
def test_judging_again_after_it_was_done_finds_nothing_more(
    retention: Retention, children: list[Child]
) -> None:
    unlimited = Retention(
        retention.keep, retention.min_good, retention.failed_last, max_deletes_per_run=1000
    )
    left = [v.child for v in judge(unlimited, children, UTC) if v.kept]
    assert all(v.kept for v in judge(unlimited, left, UTC))


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_what_is_told_says_nothing(order: int) -> None:
    children = [child(n, GOOD if n % 3 else FAILED, of=n % 2) for n in range(20)]
    retention = Retention({Why.LAST: 2, Why.WEEKLY: 1})
    assert judge(retention, children[::order], UTC) == judge(retention, children, UTC)
