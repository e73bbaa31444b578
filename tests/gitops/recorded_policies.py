"""VolumeBackupPolicy: what a policy says while it runs, rests, can not look, or has too old backups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cinderbank.domain.errors import Unavailable
from cinderbank.domain.facts import VolumeId
from cinderbank.domain.policy.runs import MOST_AT_WORK
from cinderbank.kube.known import VOLUME_BACKUP_POLICY
from cinderbank.kube.policy_groups import BATCH
from tests.fakes.groups import GROUP_ID
from tests.gitops.kstatus import CURRENT, FAILED, IN_PROGRESS, TERMINATING
from tests.gitops.recorded import DELETED_AT, Recorded, unseen
from tests.unit.kube.test_policies import HOUR, House
from tests.unit.kube.test_policy_proofs import CHECKED, DRILLED, end_proofs
from tests.unit.policy.children import volume

ABSENT = VolumeId("ffffffff-0000-4000-8000-000000000000")


def rests(house: House) -> None:
    house.settle()


def runs(house: House) -> None:
    house.clouds.found = [volume(n) for n in range(BATCH + 5)]
    house.clock.advance(24 * HOUR)
    house.tick()
    assert "run" in house.status


def cloud_is_away(house: House) -> None:
    house.clouds.error = Unavailable("away")
    house.tick()


def away_too_long(house: House) -> None:
    house.days(1)
    house.clouds.error = Unavailable("away")
    house.clock.advance(27 * HOUR)
    house.tick()
    assert house.condition("RPOMet") == ("False", "TooOld")


def crowds(house: House) -> None:
    for _ in range(MOST_AT_WORK + 1):
        house.clock.advance(60)
        house.settle()


def a_day(house: House) -> None:
    house.days(1)


def too_late(house: House) -> None:
    house.days(1)
    house.change(suspend=True)
    house.clock.advance(48 * HOUR)
    house.settle()


def last_failed(house: House) -> None:
    house.days(3)
    house.days(1, "Failed")


def lost(house: House) -> None:
    house.not_in_bank.add("main")
    house.days(3)


def group_refused(house: House) -> None:
    house.clock.advance(24 * HOUR)
    house.settle()
    assert house.condition("BackupsMade") == ("False", "NotTold")


def group_run(house: House) -> None:
    """Cinder takes the group snapshot."""
    for each in house.clouds.found:
        house.clouds.groups.cloud.add_volume(each.id)
    house.clock.advance(24 * HOUR)
    for _ in range(3):
        house.tick()
    assert house.status["run"]["group"]["groupSnapshotID"]


def group_run_hangs(house: House) -> None:
    """Its backups have ended, and Cinder's delete of the group snapshot does not."""
    group_run(house)
    [snapshot] = house.clouds.groups.snapshots.values()
    snapshot.status, snapshot.next = "available", []
    for _ in range(4):
        house.tick()
    house.end()
    house.tick()
    snapshot.status = "deleting"
    snapshot.next = []
    house.clock.advance(HOUR)
    house.tick()
    assert house.condition("Ready") == ("False", "CleanUpFailing")


def group_is_new(house: House) -> None:
    house.clouds.found = []
    house.tick()
    assert house.condition("Ready") == ("False", "VolumesNotListed")


def changed(house: House) -> None:
    house.settle()
    house.change(suspend=True)


def drills_pass(house: House) -> None:
    house.days(2)
    end_proofs(house)


def drill_differs(house: House) -> None:
    house.days(2)
    end_proofs(house, different=True)


GROUP: dict[str, Any] = {"selector": None, "group": {"groupID": GROUP_ID}}
REQUIRED = {**GROUP, "group": {"groupID": GROUP_ID, "consistency": "Required"}}
NO_GROUP = {**GROUP, "group": {"groupID": ABSENT}}

COURSES: list[tuple[str, dict[str, Any], Callable[[House], None], str, bool]] = [
    ("on schedule", {}, rests, CURRENT, False),
    ("suspended", {"suspend": True}, rests, CURRENT, False),
    ("a run is under way", {}, runs, CURRENT, False),
    ("covered", {"rpo": "26h", "retention": {"keepLast": 1}}, a_day, CURRENT, False),
    ("backups are too old", {"rpo": "26h"}, too_late, CURRENT, True),
    ("the last backups failed", {"retention": {"keepLast": 1}}, last_failed, CURRENT, False),
    ("backups are lost", {"retention": {"keepLast": 1}}, lost, CURRENT, False),
    ("dry run", {"retention": {"keepLast": 1, "dryRun": True}}, last_failed, CURRENT, False),
    ("retention keeps nothing", {"retention": {"keepLast": 0}}, a_day, CURRENT, False),
    ("drills pass", DRILLED, drills_pass, CURRENT, False),
    ("no drill yet", DRILLED, rests, CURRENT, False),
    ("a drill found a difference", DRILLED, drill_differs, CURRENT, True),
    ("a check found damage", CHECKED, drill_differs, CURRENT, True),
    ("checks pass", CHECKED, drills_pass, CURRENT, False),
    ("no such time of checks", {"verify": {"schedule": "61 * * * *"}}, rests, CURRENT, True),
    ("the cloud is away", {}, cloud_is_away, IN_PROGRESS, False),
    ("the cloud is away for too long", {"rpo": "26h"}, away_too_long, IN_PROGRESS, False),
    ("a group at rest", GROUP, rests, CURRENT, False),
    ("a group snapshot is being taken", GROUP, group_run, CURRENT, False),
    ("the clean-up of a group hangs", GROUP, group_run_hangs, IN_PROGRESS, False),
    ("volumes of a group are not listed yet", GROUP, group_is_new, IN_PROGRESS, False),
    ("a group is refused", REQUIRED, group_refused, FAILED, False),
    ("no such group", NO_GROUP, rests, FAILED, False),
    ("changed, and not looked at yet", {}, changed, IN_PROGRESS, False),
    ("no such time", {"schedule": "61 * * * *"}, rests, FAILED, False),
    ("nothing is selected", {"selector": {"volumeIDs": [ABSENT]}}, rests, FAILED, False),
    ("too much is selected", {"maxVolumes": 2, "rpo": "26h"}, rests, FAILED, False),
    (
        "too many are at work",
        {"schedule": "* * * * *", "concurrencyPolicy": "Allow"},
        crowds,
        FAILED,
        False,
    ),
]


def record_policies() -> Iterator[Recorded]:
    yield unseen(VOLUME_BACKUP_POLICY)
    for situation, spec, course, expected, unsound in COURSES:
        house = House(**spec)
        course(house)
        found = house.policy()
        yield Recorded(situation, found, expected, unsound)
        deleted = {**found, "metadata": {**found["metadata"], "deletionTimestamp": DELETED_AT}}
        yield Recorded(f"{situation}, being deleted", deleted, TERMINATING)
