"""A policy over a Cinder group, interrupted everywhere: both backups of one moment, the group snapshot gone in the
end, and never gone while a volume hung on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cinderbank.domain.errors import Conflict, OutcomeUnknown, OverQuota, Unavailable
from cinderbank.domain.names import BACKUP_TAG
from cinderbank.domain.policy.moment import GROUP_SNAPSHOT_TAG, MOMENT_TAG, ONE_MOMENT_TAG
from tests.crash.policy_simulation import BACKUPS, POLICY, GroupSimulation
from tests.fakes.groups import GroupSnapshot
from tests.unit.policy.children import volume_id


def simulated(**spec: Any) -> GroupSimulation:
    simulation = GroupSimulation(**spec)
    simulation.run()
    return simulation


def effects_of_a_clean_run() -> int:
    return simulated().faults.begun


EFFECTS = effects_of_a_clean_run()
POINTS = [(n, "after") for n in range(EFFECTS)]
"""Before an effect is after the one before it: nothing is written in between."""


def assert_one_set(simulation: GroupSimulation, *, one_moment: str = "True") -> None:
    """Two backups in the bank, of the same group snapshot and the same moment."""
    simulation.assert_nothing_left()
    sealed = [each for each in simulation.bank.sessions.values() if each.sealed]
    assert {each.volume_id for each in sealed} == {volume_id(1), volume_id(2)}
    assert len(sealed) == 2
    assert len({each.content for each in sealed}) == 1
    assert len({each.snapshot_at for each in sealed}) == 1
    [snapshot_id] = {each.tags[GROUP_SNAPSHOT_TAG] for each in sealed}
    assert {each.tags[ONE_MOMENT_TAG] for each in sealed} == {one_moment}
    assert len({each.tags[MOMENT_TAG] for each in sealed}) == 1
    for child in simulation.children():
        assert child["status"]["phase"] == "Completed"
        assert child["metadata"]["labels"][GROUP_SNAPSHOT_TAG] == snapshot_id
    assert "run" not in simulation.policy_status()
    assert simulation.policy_status()["lastTrigger"] == "now"
    assert simulation.condition("Ready") == ("True", "OnSchedule")


def test_a_run() -> None:
    simulation = simulated()
    assert_one_set(simulation)
    assert simulation.groups.made == 1
    assert simulation.cloud.snapshots_made == 0
    assert simulation.condition("OneMoment") == ("True", "Consistent")


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_one_crash(point: tuple[int, Any]) -> None:
    simulation = GroupSimulation()
    simulation.faults.crashes = {point}
    simulation.run()
    assert simulation.crashes == 1
    assert_one_set(simulation)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_is_looked_for(when: Any) -> None:
    simulation = GroupSimulation()
    lost = OutcomeUnknown("no answer")
    simulation.faults.fail_next("create_group_snapshot", lost, when=when)
    simulation.run()
    assert_one_set(simulation)
    assert simulation.groups.made == 1


def test_one_that_turns_up_after_another_was_asked_for() -> None:
    simulation = GroupSimulation()
    simulation.cloud.appear_late("group-snapshot", 75.0)
    simulation.faults.fail_next("create_group_snapshot", OutcomeUnknown("?"), when="after")
    simulation.run()
    assert_one_set(simulation)
    assert simulation.groups.made == 2


def test_a_failed_snapshot_is_made_anew() -> None:
    simulation = GroupSimulation()
    simulation.cloud.turn_out("group-snapshot", "error", times=2)
    simulation.run()
    assert_one_set(simulation)
    assert simulation.groups.made == 3


def test_one_that_always_fails_ends_the_run() -> None:
    simulation = GroupSimulation()
    simulation.cloud.turn_out("group-snapshot", "error", times=9)
    simulation.run()
    simulation.assert_nothing_left()
    assert simulation.children() == []
    assert simulation.groups.made == 4
    assert simulation.condition("BackupsMade") == ("False", "GroupSnapshotFailed")
    assert simulation.condition("Ready") == ("False", "GroupSnapshotFailed")


def test_one_that_hangs_ends_the_run() -> None:
    simulation = GroupSimulation()
    simulation.cloud.turn_out("group-snapshot", "creating")
    simulation.run(1500.0)
    assert simulation.policy_status()["run"]["group"]["problem"] == "GroupSnapshotTimeout"
    assert simulation.condition("Ready") == ("False", "GroupSnapshotTimeout")
    simulation.run(1500.0)
    assert simulation.condition("BackupsMade") == ("False", "GroupSnapshotTimeout")
    assert simulation.condition("Ready") == ("False", "CleanUpFailing")
    [hanging] = simulation.groups.snapshots.values()
    assert f"group snapshot {hanging.id} is creating; " in simulation.message("Ready")
    hanging.status = "error"  # an administrator resets it
    simulation.run()
    simulation.assert_nothing_left()
    assert simulation.condition("BackupsMade") == ("False", "GroupSnapshotTimeout")


@pytest.mark.parametrize(
    "error", [OverQuota("quota"), Conflict("the group is updating"), Unavailable("away")]
)
def test_what_passes_is_waited_for(error: Exception) -> None:
    simulation = GroupSimulation()
    simulation.faults.fail_next("create_group_snapshot", error, times=3)
    simulation.run()
    assert_one_set(simulation)


def test_a_delete_that_comes_to_nothing_is_asked_for_again() -> None:
    simulation = GroupSimulation()
    simulation.faults.fail_next("delete_group_snapshot", Conflict("busy"), times=2)
    simulation.faults.fail_next("delete_group_snapshot", Unavailable("away"))
    simulation.run()
    assert_one_set(simulation)


def test_one_that_can_not_be_deleted_is_told() -> None:
    simulation = GroupSimulation()
    simulation.faults.fail_next("delete_group_snapshot", Conflict("busy"), times=6)
    simulation.run(150.0)
    assert simulation.condition("Ready") == ("False", "CleanUpFailing")
    assert simulation.condition("Reconciling")[0] == "True"
    simulation.run()
    assert_one_set(simulation)


def look_until(simulation: GroupSimulation, wanted: Callable[[], bool]) -> None:
    while not wanted():
        assert simulation.look()


def hang_in_deleting(simulation: GroupSimulation) -> GroupSnapshot:
    found = simulation.groups.snapshots
    look_until(simulation, lambda: "deleting" in [each.status for each in found.values()])
    [hanging] = found.values()
    hanging.next = []
    return hanging


def test_a_delete_that_hangs_is_told() -> None:
    simulation = GroupSimulation()
    hanging = hang_in_deleting(simulation)
    simulation.run(1200.0)
    assert simulation.condition("Ready") == ("True", "OnSchedule")
    simulation.run(1200.0)
    assert simulation.condition("Ready") == ("False", "CleanUpFailing")
    assert f"group snapshot {hanging.id} is deleting; " in simulation.message("Ready")
    hanging.status = "error"
    simulation.run()
    assert_one_set(simulation)


def test_a_delete_that_hangs_is_told_of_a_policy_that_leaves() -> None:
    simulation = GroupSimulation()
    hanging = hang_in_deleting(simulation)
    simulation.kube.user_deletes(POLICY)
    simulation.run(2400.0)
    assert simulation.condition("Ready") == ("False", "CleanUpFailing")
    hanging.status = "error"
    simulation.run()
    simulation.assert_nothing_left()
    assert simulation.kube.get(POLICY) is None


def test_a_temporary_volume_that_stays_is_told() -> None:
    """Its VolumeBackup does not know it: nobody deletes it."""
    simulation = GroupSimulation()
    groups = simulation.groups
    look_until(simulation, lambda: len(simulation.children()) == 2)
    member = min(each.id for each in simulation.cloud.snapshots.values())
    ours = {BACKUP_TAG: "01JD0000000000000000000000"}
    simulation.cloud.add_volume("orphan", snapshot_id=member, metadata=ours)
    simulation.run(3600.0)
    assert {each["status"]["phase"] for each in simulation.children()} == {"Completed"}
    assert len(groups.snapshots) == 1
    assert simulation.condition("Ready") == ("False", "CleanUpFailing")
    assert "temporary volume orphan" in simulation.message("Ready")
    del simulation.cloud.volumes["orphan"]
    simulation.run()
    assert_one_set(simulation)


# Who leaves, and when.


def cut(simulation: GroupSimulation, looks: int) -> None:
    """Run for so many looks."""
    for _ in range(looks):
        simulation.look()


def run_for_hours(simulation: GroupSimulation, hours: int) -> None:
    """What can not work is looked at every ten minutes."""
    for _ in range(6 * hours):
        end = simulation.cloud.after(600.0)
        simulation.run(600.0)
        left = (end - simulation.clock.now()).total_seconds()
        simulation.clock.advance(max(left, 0.0))


LOOKS = simulated().looks


@pytest.mark.parametrize("looks", range(0, LOOKS, 7))
def test_the_policy_is_deleted(looks: int) -> None:
    simulation = GroupSimulation()
    cut(simulation, looks)
    simulation.kube.user_deletes(POLICY)
    simulation.run()
    simulation.assert_nothing_left()
    assert simulation.kube.get(POLICY) is None
    for child in simulation.children():
        assert child["status"]["phase"] == "Completed"


@pytest.mark.parametrize("looks", range(0, LOOKS, 10))
def test_a_backup_is_deleted(looks: int) -> None:
    simulation = GroupSimulation()
    cut(simulation, looks)
    for path in list(simulation.kube.objects):
        if path.startswith(BACKUPS):
            simulation.kube.user_deletes(path)
            break
    simulation.run()
    simulation.assert_nothing_left()
    assert "run" not in simulation.policy_status()


@pytest.mark.parametrize("looks", range(0, LOOKS, 12))
def test_everything_is_deleted(looks: int) -> None:
    """A namespace whose Secret is still there."""
    simulation = GroupSimulation()
    cut(simulation, looks)
    for path in list(simulation.kube.objects):
        simulation.kube.user_deletes(path)
    simulation.run()
    simulation.assert_nothing_left()
    assert simulation.kube.objects == {}


@pytest.mark.parametrize("looks", range(0, LOOKS, 20))
@pytest.mark.parametrize(
    "change",
    [
        "group",
        "selector",
        "no such group",
        "not readable",
        "no such time",
        "no such zone",
        "no such deadline",
    ],
)
def test_the_spec_is_changed(looks: int, change: str) -> None:
    """Into another cloud's Secret, or to a selector: what was begun is cleaned up where it was begun."""
    simulation = GroupSimulation()
    cut(simulation, looks)
    if change == "group":
        credentials = {"secretName": "other", "cloudName": "a"}
        spec: dict[str, Any] = {"template": {"spec": {"cloudCredentialsRef": credentials}}}
    elif change == "no such group":
        spec = {"group": {"groupID": "00000009-0000-4000-8001-000000000000"}}
    elif change == "not readable":
        spec = {"group": {"groupID": "00000001"}}
    elif change == "no such time":
        spec = {"schedule": "61 * * * *"}
    elif change == "no such zone":
        spec = {"timeZone": "Nowhere/Here"}
    elif change == "no such deadline":
        spec = {"startingDeadline": "0s"}
    else:
        spec = {"group": None, "selector": {"volumeNames": ["none-*"]}}
    simulation.kube.merge_patch(POLICY, {"spec": spec})
    run_for_hours(simulation, 2)
    simulation.assert_nothing_left()
    assert "run" not in simulation.policy_status()


def test_a_run_under_a_schedule_that_can_not_be_read_makes_all_its_backups() -> None:
    simulation = GroupSimulation()
    look_until(simulation, lambda: bool(simulation.groups.snapshots))
    simulation.kube.merge_patch(POLICY, {"spec": {"schedule": "61 * * * *"}})
    run_for_hours(simulation, 2)
    assert simulation.condition("Ready") == ("False", "InvalidSchedule")
    assert [each["status"]["phase"] for each in simulation.children()] == ["Completed"] * 2
    simulation.kube.merge_patch(POLICY, {"spec": {"schedule": "@yearly"}})
    simulation.run()
    assert_one_set(simulation)


# A Secret that is renamed, or goes for good.

OTHER = {"cloudCredentialsRef": {"secretName": "other", "cloudName": "a"}}
MIDDLES = range(10, LOOKS - 10, 40)


def renamed(looks: int) -> tuple[GroupSimulation, str]:
    """In the middle of a run; and the id of its group snapshot."""
    simulation = GroupSimulation()
    cut(simulation, looks)
    [left] = simulation.groups.snapshots
    simulation.kube.merge_patch(POLICY, {"spec": {"template": {"spec": OTHER}}})
    simulation.secrets_gone = {"openstack"}
    run_for_hours(simulation, 2)
    for told in ("status.run.group", left, "Secret openstack"):
        assert told in simulation.message("Ready")
    assert simulation.condition("Ready") == ("False", "SecretNotFound")
    return simulation, left


@pytest.mark.parametrize("looks", MIDDLES)
def test_a_secret_that_is_renamed_and_comes_back(looks: int) -> None:
    simulation, _ = renamed(looks)
    assert "secretGoneTime" in simulation.policy_status()["run"]["group"]
    run_for_hours(simulation, 20)
    simulation.secrets_gone = set()
    run_for_hours(simulation, 5)
    simulation.assert_nothing_left()
    assert "run" not in simulation.policy_status()
    assert "GroupSnapshotLeft" not in [reason for reason, _ in simulation.said]


@pytest.mark.parametrize("looks", MIDDLES)
def test_a_secret_that_is_renamed_holds_backups_up_for_a_day(looks: int) -> None:
    simulation, left = renamed(looks)
    run_for_hours(simulation, 21)
    assert simulation.condition("Ready") == ("False", "SecretNotFound")
    run_for_hours(simulation, 2)
    [told] = [message for reason, message in simulation.said if reason == "GroupSnapshotLeft"]
    assert left in told
    assert "run" not in simulation.policy_status()
    assert list(simulation.groups.snapshots) == [left]
    before = len(simulation.children())
    simulation.kube.merge_patch(POLICY, {"spec": {"trigger": "again"}})
    simulation.run()
    assert simulation.policy_status()["lastTrigger"] == "again"
    assert len(simulation.children()) == before + 2
    assert simulation.condition("Ready") == ("True", "OnSchedule")
    assert not simulation.kube.objects[POLICY]["metadata"]["finalizers"]


@pytest.mark.parametrize("looks", MIDDLES)
def test_a_policy_that_leaves_waits_for_its_secret_a_day(looks: int) -> None:
    simulation = GroupSimulation()
    cut(simulation, looks)
    [left] = simulation.groups.snapshots
    simulation.kube.user_deletes(POLICY)
    simulation.secrets_gone = {"openstack"}
    run_for_hours(simulation, 23)
    assert simulation.condition("Ready") == ("False", "SecretNotFound")
    assert left in simulation.message("Ready")
    run_for_hours(simulation, 3)
    assert simulation.kube.get(POLICY) is None
    assert "GroupSnapshotLeft" in [reason for reason, _ in simulation.said]


def test_a_run_that_is_taken_out_of_status_by_hand_is_over() -> None:
    simulation, left = renamed(MIDDLES[-1])
    simulation.groups.snapshots[left].status = "error"
    simulation.groups.delete_group_snapshot(left)
    simulation.kube.merge_patch(POLICY, {"status": {"run": None}})
    run_for_hours(simulation, 1)
    simulation.assert_nothing_left()
    assert simulation.condition("Ready") == ("True", "OnSchedule")
    assert simulation.policy_status()["lastTrigger"] == "now"


def test_backups_that_fail_hold_nothing_up() -> None:
    simulation = GroupSimulation()
    simulation.cloud.volumes[volume_id(2)].encrypted = True
    simulation.run()
    simulation.assert_nothing_left()
    phases = {child["status"]["phase"] for child in simulation.children()}
    assert phases == {"Completed", "Failed"}


# Members that come and go.


@pytest.mark.parametrize("looks", range(0, LOOKS, 15))
def test_a_member_is_added_meanwhile(looks: int) -> None:
    """It is in this run or in the next one, by when Cinder took the snapshot; never half."""
    simulation = GroupSimulation()
    cut(simulation, looks)
    simulation.cloud.add_volume(volume_id(3), status="in-use")
    simulation.sources.add(volume_id(3))
    simulation.groups.members_now.append(volume_id(3))
    simulation.run()
    simulation.assert_nothing_left()
    sealed = [each for each in simulation.bank.sessions.values() if each.sealed]
    assert len(sealed) in (2, 3)
    assert len({each.content for each in sealed}) == 1
    assert len(simulation.children()) == len(sealed)


@pytest.mark.parametrize("looks", range(0, LOOKS, 15))
def test_a_member_is_taken_out_meanwhile(looks: int) -> None:
    simulation = GroupSimulation()
    cut(simulation, looks)
    simulation.groups.members_now.remove(volume_id(2))
    simulation.run()
    simulation.assert_nothing_left()
    sealed = [each for each in simulation.bank.sessions.values() if each.sealed]
    assert len(sealed) == len(simulation.children()) in (1, 2)


# What the group is.


@pytest.mark.parametrize(
    ("consistency", "promised", "condition", "tag"),
    [
        ("Preferred", False, ("False", "NotConsistent"), "False"),
        ("Preferred", None, ("Unknown", "NotTold"), "Unknown"),
        ("Declared", None, ("True", "Declared"), "Declared"),
        ("Declared", True, ("True", "Consistent"), "True"),
    ],
)
def test_it_goes_on(
    consistency: str, promised: bool | None, condition: tuple[str, str], tag: str
) -> None:
    simulation = GroupSimulation(
        group={"groupID": "00000001-0000-4000-8001-000000000000", "consistency": consistency}
    )
    simulation.groups.promised = promised
    simulation.run()
    assert_one_set(simulation, one_moment=tag)
    assert simulation.condition("OneMoment") == condition


@pytest.mark.parametrize(
    ("consistency", "promised", "reason"),
    [
        ("Required", False, "NotConsistent"),
        ("Required", None, "NotTold"),
        ("Declared", False, "NotConsistent"),
    ],
)
def test_it_is_refused(consistency: str, promised: bool | None, reason: str) -> None:
    simulation = GroupSimulation(
        group={"groupID": "00000001-0000-4000-8001-000000000000", "consistency": consistency}
    )
    simulation.groups.promised = promised
    simulation.run()
    assert simulation.children() == []
    assert simulation.groups.made == 0
    assert simulation.condition("BackupsMade") == ("False", reason)
    assert simulation.condition("Ready") == ("False", reason)
    assert simulation.condition("OneMoment")[1] == reason


def test_too_many_members() -> None:
    simulation = GroupSimulation()
    simulation.groups.members_now = [volume_id(n) for n in range(65)]
    simulation.run()
    assert simulation.groups.made == 0
    assert simulation.condition("BackupsMade") == ("False", "GroupTooLarge")


def test_no_such_group() -> None:
    simulation = GroupSimulation(group={"groupID": "00000009-0000-4000-8001-000000000000"})
    simulation.run()
    assert simulation.condition("Ready") == ("False", "GroupNotFound")
    assert simulation.condition("Stalled") == ("True", "GroupNotFound")


def test_an_empty_group() -> None:
    simulation = GroupSimulation()
    simulation.groups.members_now = []
    simulation.run()
    assert simulation.groups.made == 0
    assert simulation.condition("Ready") == ("False", "GroupEmpty")


def test_a_group_that_is_busy_is_waited_for() -> None:
    simulation = GroupSimulation()
    simulation.groups.status = "updating"
    simulation.run(300.0)
    assert simulation.condition("Ready") == ("False", "GroupBusy")
    simulation.groups.status = "available"
    simulation.run()
    assert_one_set(simulation)
