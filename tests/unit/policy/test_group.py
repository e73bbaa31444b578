"""The rules of a group's run: total, and no group snapshot goes while anything needs it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cinderbank.domain.cleanup import STUBBORN_TRIES
from cinderbank.domain.facts import SnapshotFacts, SnapshotId, VolumeFacts, VolumeId
from cinderbank.domain.intents import SETTLE_SECONDS
from cinderbank.domain.names import BACKUP_TAG
from cinderbank.domain.policy import group
from cinderbank.domain.policy.group import GroupLook, GroupRun, GroupSnapshotFacts
from cinderbank.domain.policy.moment import MOST_MEMBERS, OneMoment
from tests.fakes.clock import START
from tests.unit.policy.children import volume_id

CLOUD = group.CloudRef("openstack", "a")
RUN = GroupRun("group", CLOUD, OneMoment.TRUE, START)
STATUSES = ["creating", "available", "error", "deleting", "error_deleting", "what is this"]


def snapshot(number: int, status: str) -> GroupSnapshotFacts:
    return GroupSnapshotFacts(f"snapshot-{number}", "name", status, "group", START)


def member(number: int) -> SnapshotFacts:
    return SnapshotFacts(SnapshotId(f"m{number}"), "name", "available", volume_id(number), 1, START)


def hanging(number: int, ours: bool) -> VolumeFacts:
    metadata = {BACKUP_TAG: "x"} if ours else {}
    snapshot_id = SnapshotId(f"m{number}")
    return VolumeFacts(
        VolumeId(f"t{number}"), "t", "available", 1, snapshot_id=snapshot_id, metadata=metadata
    )


def look(**changes: object) -> GroupLook:
    base = GroupLook("uid", RUN, START, timedelta(minutes=10))
    return replace(base, **changes)  # type: ignore[arg-type]


RUNS = st.builds(
    GroupRun,
    group_id=st.just("group"),
    cloud=st.just(CLOUD),
    one_moment=st.sampled_from(OneMoment),
    asked_at=st.just(START),
    tries=st.integers(1, 5),
    snapshot_id=st.sampled_from(["", "snapshot-0", "snapshot-9"]),
    deleted_at=st.sampled_from([None, START, START + timedelta(hours=1)]),
    deletes=st.integers(0, 9),
    closed=st.booleans(),
)
LOOKS = st.builds(
    GroupLook,
    policy_uid=st.just("uid"),
    run=RUNS,
    now=st.integers(-60, 4000).map(lambda seconds: START + timedelta(seconds=seconds)),
    timeout=st.just(timedelta(minutes=10)),
    snapshots=st.lists(st.sampled_from(STATUSES), max_size=3).map(
        lambda found: [snapshot(number, status) for number, status in enumerate(found)]
    ),
    members=st.integers(0, MOST_MEMBERS + 1).map(lambda n: [member(each) for each in range(n)]),
    backed_up=st.frozensets(st.integers(0, 3).map(volume_id)),
    at_work=st.lists(st.sampled_from(["a", "b"]), max_size=2),
    volumes=st.lists(st.booleans(), max_size=2).map(
        lambda found: [hanging(number, ours) for number, ours in enumerate(found)]
    ),
)


@given(LOOKS)
def test_one_step_in_every_situation(found: GroupLook) -> None:
    step = group.next_group_step(group.absorbed(found))
    ours = [each for each in found.volumes if BACKUP_TAG in each.metadata]
    match step:
        case group.DeleteGroupSnapshot(snapshot_id=snapshot_id):
            assert snapshot_id in [each.id for each in found.snapshots]
            if found.run.closed:
                assert not found.at_work and not ours
            else:
                assert not found.backed_up, "a backup may still need it"
        case group.EndRun():
            assert found.run.closed
            assert not found.at_work and not ours and not found.snapshots
            assert found.now - found.run.asked_at >= timedelta(seconds=SETTLE_SECONDS)
        case group.CreateGroupSnapshot(tries=tries):
            assert not found.run.closed
            assert not found.snapshots or found.backed_up
            assert not (found.backed_up and found.run.snapshot_id), "of another moment"
            assert tries <= group.RETRY_LIMIT + 1 or not found.run.snapshot_id
        case group.MakeBackups(members=members):
            assert not found.run.closed
            assert not {each.volume_id for each in members} & found.backed_up
        case group.Rest(seconds=seconds):
            assert 0 < seconds <= 720


def test_of_two_the_oldest_counts_and_both_go() -> None:
    later = START + timedelta(minutes=5)
    two = [snapshot(0, "available"), snapshot(1, "available")]
    found = look(snapshots=two, members=[member(1)], now=later)
    assert group.absorbed(found).run.snapshot_id == "snapshot-0"
    closed = look(run=replace(RUN, closed=True), snapshots=two, now=later)
    assert group.next_group_step(closed) == group.DeleteGroupSnapshot("snapshot-0")
    left = replace(closed, snapshots=two[1:])
    assert group.next_group_step(left) == group.DeleteGroupSnapshot("snapshot-1")


def test_one_that_turns_up_late_never_takes_the_place_of_what_was_backed_up() -> None:
    """It is the older one; its moment is another."""
    two = [snapshot(0, "available"), snapshot(1, "available")]
    known = replace(RUN, snapshot_id="snapshot-1")
    for backed_up in (frozenset(), frozenset({volume_id(1)})):
        found = group.absorbed(look(run=known, snapshots=two, backed_up=backed_up))
        assert found.run.snapshot_id == "snapshot-1"
        counted = group.counted(found)
        assert counted is not None and counted.id == "snapshot-1"
    lost = look(
        run=known,
        snapshots=two[:1],
        backed_up=frozenset({volume_id(1)}),
        now=START + timedelta(minutes=5),
    )
    step = group.next_group_step(group.absorbed(lost))
    assert isinstance(step, group.Close)
    assert step.problem is not None and step.problem.reason == "GroupSnapshotLost"


def test_a_volume_of_somebody_else_is_not_waited_for() -> None:
    found = look(
        run=replace(RUN, closed=True),
        snapshots=[snapshot(0, "available")],
        volumes=[hanging(1, ours=False)],
    )
    assert group.next_group_step(found) == group.DeleteGroupSnapshot("snapshot-0")


def test_names_differ_by_policy_and_run() -> None:
    name = group.snapshot_name("uid", START)
    assert name == "cinderbank-uid-20261122120000-group"
    assert len(group.snapshot_name("0" * 36, START)) < 255


def trouble(**changes: object) -> str | None:
    found = look(**changes)
    told = group.clean_up_trouble(found, group.next_group_step(found))
    return None if told is None else f"{told.reason}: {told.message}"


CLOSED = replace(RUN, closed=True)
LATE = START + group.CLEAN_UP_PATIENCE + timedelta(seconds=1)


def test_a_clean_up_that_hangs_is_told_after_half_an_hour() -> None:
    deleting = [snapshot(0, "deleting")]
    asked = replace(CLOSED, deleted_at=START, deletes=1)
    assert trouble(run=asked, snapshots=deleting, now=START + group.CLEAN_UP_PATIENCE) is None
    told = trouble(run=asked, snapshots=deleting, now=LATE)
    assert told is not None
    assert told.startswith("CleanUpFailing: group snapshot snapshot-0 is deleting; ")
    hangs = [hanging(1, ours=True)]
    told = trouble(run=CLOSED, snapshots=[snapshot(0, "available")], volumes=hangs, now=LATE)
    assert told is not None and "temporary volume t1" in told


def test_what_hangs_before_the_run_is_closed_is_told_too() -> None:
    failed = replace(RUN, deleted_at=START, deletes=1)
    assert trouble(run=failed, snapshots=[snapshot(0, "deleting")], now=LATE) is not None
    patient = timedelta(hours=9)
    creating = [snapshot(0, "creating")]
    assert trouble(snapshots=creating, now=LATE, timeout=patient) is None


def test_the_problem_does_not_hide_what_is_waited_for() -> None:
    run = replace(CLOSED, problem="GroupSnapshotFailed", message="why", deleted_at=START, deletes=1)
    told = trouble(run=run, snapshots=[snapshot(0, "deleting")], now=LATE)
    assert told is not None and "is deleting" in told and "why" not in told


def test_deletes_without_effect_are_told_at_once_and_until_one_has_one() -> None:
    run = replace(CLOSED, deleted_at=START, deletes=STUBBORN_TRIES)
    there = [snapshot(0, "available")]
    assert trouble(run=run, snapshots=there, now=START) is not None  # rests
    assert trouble(run=run, snapshots=there, now=LATE) is not None  # asks again
    assert trouble(run=run, now=LATE) is None


def test_backups_at_work_are_no_trouble_nor_just_after() -> None:
    there: dict[str, Any] = {"run": CLOSED, "volumes": [hanging(1, ours=True)], "now": LATE}
    assert trouble(**there, at_work=["a"]) is None
    assert trouble(**there, last_ended_at=LATE) is None
    assert trouble(**there, last_ended_at=START) is not None


def test_a_secret_that_is_gone_is_waited_for_a_day() -> None:
    gone = replace(RUN, secret_gone_at=START)
    assert not group.is_given_up(gone, START + group.SECRET_PATIENCE)
    assert group.is_given_up(gone, START + group.SECRET_PATIENCE + timedelta(seconds=1))
    assert not group.is_given_up(RUN, START + timedelta(days=9))
