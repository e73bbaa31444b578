"""VolumeBackupPolicy: the object, its children and its status, on an API server and a cloud in memory."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cinderbank.adapters.kube.rates import ProgressRule, TokenBucket
from cinderbank.adapters.kube.records import StatusWriter
from cinderbank.api.v1alpha1.volume_backup import VolumeBackupSpec
from cinderbank.api.v1alpha1.volume_backup_policy import OF_EACH_BACKUP, Template
from cinderbank.app.policies import AppPolicyWorlds
from cinderbank.app.policy_proofs import AppProofWorlds
from cinderbank.domain.errors import CinderbankError, Forbidden, InvalidSpec, Unavailable
from cinderbank.domain.facts import BackupId, VolumeFacts
from cinderbank.domain.policy.children import (
    RUN_LABEL,
    VOLUME_LABEL,
    child_name,
    labels_of,
)
from cinderbank.kube.coverage import Coverage
from cinderbank.kube.known import VOLUME_BACKUP_POLICY, Key, key_of
from cinderbank.kube.known_proofs import PolicyProofs
from cinderbank.kube.policies import PolicyRuns
from cinderbank.kube.policy_children import PolicyChildren
from cinderbank.kube.policy_groups import BATCH
from cinderbank.kube.policy_proofs import PolicyProofRuns
from cinderbank.kube.reconcile import Raw
from tests.fakes.clock import START, FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.faults import Faults
from tests.fakes.groups import GROUP_ID, FakeGroups
from tests.fakes.kube import FakeKube
from tests.unit.policy.children import volume, volume_id

API = "/apis/cinderbank.io/v1alpha1/namespaces/team"
BACKUPS = f"{API}/volumebackups"
POLICIES = f"{API}/volumebackuppolicies"
HOUR = 3600.0
NOON = "0 12 * * *"
TEMPLATE = {
    "spec": {
        "cloudCredentialsRef": {"secretName": "openstack", "cloudName": "a"},
        "bankRef": {"name": "main"},
        "tags": {"app": "db"},
    }
}


class FakeClouds:
    """The volumes of one project."""

    def __init__(self) -> None:
        self.found: list[VolumeFacts] = [volume(1), volume(2), volume(3)]
        self.error: CinderbankError | None = None
        self.lists = 0
        cloud = FakeCloud(FakeClock(), Faults())
        self.groups = FakeGroups(cloud, [each.id for each in self.found], promised=None)
        """Nothing can be made of it here: tests/crash/test_groups.py."""

    def open(self, namespace: str, secret_name: str, cloud_name: str) -> Any:
        if self.error is not None:
            raise self.error
        secret = SimpleNamespace(uid=secret_name, resource_version="1")
        return SimpleNamespace(cinder=self, groups=self.groups, secret=secret)

    def volumes(self) -> list[VolumeFacts]:
        self.lists += 1
        return self.found


class House:
    """One operator, as far as policies go."""

    def __init__(self, **spec: Any) -> None:
        self.kube, self.clouds, self.clock = FakeKube(), FakeClouds(), FakeClock()
        self.coverage, self.known = Coverage(), PolicyChildren()
        self.not_in_bank: set[str] = set()
        self.not_held: set[str] = set()
        self.bank_error: CinderbankError | None = None
        self._ids = 0
        self.asked: list[str] = []
        """What the bank was asked for, by site and id."""
        self.damaged: set[BackupId] = set()
        self.said: list[str] = []
        self.errors: list[str] = []
        writer = StatusWriter(
            self.kube,  # type: ignore[arg-type]
            TokenBucket(per_second=1e6, burst=10**6, clock=lambda: 0.0),
            ProgressRule(),
        )
        self.writer = writer
        self.worlds = AppPolicyWorlds(self.kube, writer, self.clouds, self.known, self)  # type: ignore[arg-type]
        self.proofs = PolicyProofs()
        proofs = PolicyProofRuns(
            AppProofWorlds(self.kube, self.proofs, self.say),  # type: ignore[arg-type]
            self.errors.append,
        )
        self.runs = PolicyRuns(
            self.worlds, self.clock, self.coverage, self.errors.append, 60.0, proofs
        )
        self.put("nightly", **spec)

    def put(self, name: str, **spec: Any) -> None:
        body = {
            "apiVersion": "cinderbank.io/v1alpha1",
            "kind": VOLUME_BACKUP_POLICY,
            "metadata": {
                "namespace": "team",
                "name": name,
                "uid": f"uid-{name}",
                "creationTimestamp": self.clock.now().isoformat(),
                "labels": {"argocd.argoproj.io/instance": "team"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "spec": {
                "schedule": NOON,
                "selector": {"volumeNames": ["v*"]},
                "template": TEMPLATE,
                **spec,
            },
        }
        self.kube.put(f"{POLICIES}/{name}", body)

    def change(self, **spec: Any) -> None:
        self.kube.merge_patch(f"{POLICIES}/nightly", {"spec": spec})

    def tick(self, name: str = "nightly") -> float | None:
        """As the watches and the queue do."""
        for raw in [*self.kube.list_all(BACKUPS), *self.kube.list_all(POLICIES)]:
            self.known.see(raw)
        for raw in [*self.drills(), *self.checks()]:
            self.proofs.see(raw)
        raw = self.policy(name)
        return self.runs.run(key_of(raw), raw)

    def settle(self, ticks: int = 50) -> None:
        """Tick until it rests."""
        for _ in range(ticks):
            for key in self._known_gone():
                self.known.drop(key)
            there = {raw["metadata"]["uid"] for raw in [*self.drills(), *self.checks()]}
            nightly = Key(VOLUME_BACKUP_POLICY, "team", "nightly", "")
            for kind, known in (
                ("VolumeRestore", self.proofs.drills(nightly)),
                ("BankCheck", self.proofs.checks(nightly)),
            ):
                for each in known:
                    if each.uid not in there:
                        self.proofs.drop(Key(kind, "team", each.name, each.uid))
            after = self.tick()
            if after is None or after > 1:
                return
        raise AssertionError("it does not come to rest")

    def _known_gone(self) -> list[Any]:
        there = {raw["metadata"]["uid"] for raw in self.kube.list_all(BACKUPS)}
        gone = [c for c in self.known.of("team", "nightly") if c.uid not in there]
        return [SimpleKey("VolumeBackup", "team", c.name, c.uid) for c in gone]

    def policy(self, name: str = "nightly") -> Raw:
        raw = self.kube.get(f"{POLICIES}/{name}")
        assert raw is not None
        return raw

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.policy()["status"]
        return found

    def condition(self, type_: str) -> tuple[str, str]:
        [found] = [c for c in self.status["conditions"] if c["type"] == type_]
        return found["status"], found["reason"]

    def children(self) -> list[Raw]:
        return list(self.kube.list_all(BACKUPS))

    def drills(self) -> list[Raw]:
        return list(self.kube.list_all(f"{API}/volumerestores"))

    def checks(self) -> list[Raw]:
        return list(self.kube.list_all(f"{API}/bankchecks"))

    def end(self, phase: str = "Completed", **status: Any) -> None:
        """Every backup that is at work comes to this end."""
        for raw in self.children():
            if "outcome" in (raw.get("status") or {}):
                continue
            now = self.clock.now().isoformat()
            raw["status"] = {
                "phase": phase,
                "outcome": {"final": True},
                "snapshotTime": now,
                "completionTime": now,
                "backupID": self._new_id(),
                "site": "a",
                **status,
            }
            path = f"{BACKUPS}/{raw['metadata']['name']}"
            self.kube.put(path, raw)

    def put_child(self, number: int, at: datetime, state: str) -> None:
        """A backup of that run: Good, Lost (Completed, not in the bank), Failed, or at Work."""
        name = child_name("nightly", volume_id(number), at)
        labels = labels_of("nightly", volume_id(number), at)
        status: dict[str, Any] = {}
        if state != "W":
            backup_id, phase = self._new_id(), "Failed" if state == "F" else "Completed"
            if state == "L":
                self.not_held.add(backup_id)
            status = {
                "phase": phase,
                "outcome": {"final": True},
                "snapshotTime": at.isoformat(),
                "completionTime": at.isoformat(),
                "backupID": backup_id,
                "site": "a",
            }
        metadata = {"namespace": "team", "name": name, "labels": labels}
        body = {"kind": "VolumeBackup", "metadata": metadata, "spec": TEMPLATE["spec"]}
        self.kube.put(f"{BACKUPS}/{name}", {**body, "status": status})

    def _new_id(self) -> str:
        self._ids += 1
        return f"01JD{self._ids:022d}"

    def copied(self, *banks: str) -> None:
        """The copies of every backup in these banks are made; Copied is of all that were known then."""
        for raw in self.children():
            raw["status"]["copies"] = [
                {
                    "bank": bank,
                    "backupID": "01JD0000000000000000000000",
                    "phase": "Completed",
                    "reason": "Copied",
                    "message": "",
                }
                for bank in banks
            ]
            raw["status"]["conditions"] = [{"type": "Copied", "status": "True"}]
            self.kube.put(f"{BACKUPS}/{raw['metadata']['name']}", raw)

    def days(self, number: int, phase: str = "Completed") -> None:
        for _ in range(number):
            self.clock.advance(24 * HOUR)
            self.settle()
            self.end(phase)
        self.settle()

    # app.policies.Deeds

    def damaged_backups(self, namespace: str, bank: str) -> frozenset[tuple[str, BackupId]]:
        if self.bank_error is not None:
            raise self.bank_error
        return frozenset(("a", each) for each in self.damaged)

    def holds_backup(self, namespace: str, bank: str, site: str, backup_id: BackupId) -> bool:
        self.asked.append(backup_id)
        return bank not in self.not_in_bank and backup_id not in self.not_held

    def write_status(self, raw: Raw, status: dict[str, Any]) -> None:
        self.writer.write_if_worth_it(raw, status)

    def say(self, raw: Raw, reason: str, message: str, warning: bool) -> None:
        self.said.append(reason)


def SimpleKey(kind: str, namespace: str, name: str, uid: str) -> Any:
    return key_of({"kind": kind, "metadata": {"namespace": namespace, "name": name, "uid": uid}})


def remaining(house: House) -> list[str]:
    """Days of the runs of volume 1 that are still there and are not on their way out."""
    return [
        c["metadata"]["labels"][RUN_LABEL][6:8]
        for c in house.children()
        if c["metadata"]["labels"][VOLUME_LABEL] == volume_id(1)
        and "deletionTimestamp" not in c["metadata"]
    ]


def test_a_run_makes_one_backup_of_each_volume_once() -> None:
    house = House(rpo="26h")
    assert house.tick() == 600.0
    assert house.children() == []
    house.clock.advance(24 * HOUR)
    house.settle()
    at = START + timedelta(days=1)
    assert house.kube.names(BACKUPS) == [child_name("nightly", volume_id(n), at) for n in (1, 2, 3)]
    house.settle()
    assert len(house.children()) == 3
    assert house.condition("Ready") == ("True", "OnSchedule")
    assert house.status["lastRunTime"] == "2026-11-23T12:00:00Z"
    assert house.status["nextRunTime"] == "2026-11-24T12:00:00Z"
    assert "run" not in house.status
    house.end()
    house.tick()
    assert (house.status["volumesSelected"], house.status["volumesCovered"]) == (3, 3)
    assert house.status["lastSuccessTime"] == "2026-11-23T12:00:00Z"
    assert house.condition("RPOMet") == ("True", "YoungEnough")


def test_what_a_child_is() -> None:
    labels = {"team": "db", "argocd.argoproj.io/instance": "x", "a.toolkit.fluxcd.io/name": "y"}
    house = House(template={**TEMPLATE, "metadata": {"labels": labels}}, trigger="now")
    house.settle()
    child = house.children()[0]
    metadata = child["metadata"]
    assert not metadata.keys() & {"ownerReferences", "annotations", "finalizers"}
    assert metadata["labels"].items() >= labels_of("nightly", volume_id(1), START).items()
    assert metadata["labels"]["team"] == "db"
    assert not any("argo" in key or "flux" in key for key in metadata["labels"])
    spec = VolumeBackupSpec.read(child["spec"], "spec")
    assert (spec.source.volume_id, spec.tags) == (volume_id(1), {"app": "db"})
    assert spec.deletion_policy.value == "Retain"


def test_a_template_is_a_spec_without_what_is_of_one_backup() -> None:
    fields = set(Template.model_fields["spec"].annotation.model_fields)  # type: ignore[union-attr]
    assert fields == set(VolumeBackupSpec.model_fields) - set(OF_EACH_BACKUP)
    assert set(OF_EACH_BACKUP) <= set(VolumeBackupSpec.model_fields)


@pytest.mark.parametrize("lost", ["before", "after"])
def test_an_interruption_makes_nothing_twice(lost: str) -> None:
    house = House()
    house.tick()
    house.clock.advance(24 * HOUR)
    if lost == "before":  # the run is written down, and nothing is made
        house.kube.failing["create"] = Unavailable("away")
        assert house.tick() == 60.0
        assert house.condition("Reconciling")[0] == "True"
        assert house.status["run"] == {"time": "2026-11-23T12:00:00Z"}
        del house.kube.failing["create"]
        house.clock.advance(HOUR)
    else:  # all is made, and the status is lost
        house.tick()
        raw = house.policy()
        del raw["status"]
        house.kube.put(f"{POLICIES}/nightly", raw)
    house.settle()
    assert len(house.children()) == 3
    assert {c["metadata"]["labels"][RUN_LABEL] for c in house.children()} == {"20261123120000"}


def test_more_than_a_batch() -> None:
    house = House()
    house.clouds.found = [volume(n) for n in range(BATCH * 2 + 5)]
    house.clock.advance(24 * HOUR)
    house.tick()
    assert len(house.children()) == BATCH
    house.settle()
    assert len(house.children()) == BATCH * 2 + 5
    assert house.clouds.lists == 1, "one list a minute"


def test_a_name_that_is_taken_is_told() -> None:
    house = House()
    name = child_name("nightly", volume_id(1), START + timedelta(days=1))
    stranger = {"metadata": {"namespace": "team", "name": name}, "spec": {}}
    stranger["kind"] = "VolumeBackup"
    house.kube.put(f"{BACKUPS}/{name}", stranger)
    house.clock.advance(24 * HOUR)
    house.settle()
    assert len(house.children()) == 3, "the others are made"
    assert "run" not in house.status
    for _ in range(2):
        assert house.condition("Stalled") == ("True", "ChildNameTaken")
        assert house.condition("BackupsMade") == ("False", "ChildNameTaken")
        house.clock.advance(600)
        house.tick()
    assert house.said == ["BackupsRefused"]
    house.kube.objects.pop(f"{BACKUPS}/{name}")
    house.clouds.error = Unavailable("away")
    house.tick()
    assert house.condition("BackupsMade")[0] == "False", "also while nobody can look"
    house.clouds.error = None
    house.end()
    house.change(trigger="again")
    house.settle()
    assert len(house.children()) == 5
    assert house.condition("Stalled")[0] == "False"
    assert "BackupsMade" not in str(house.status)


def test_a_quota_that_is_full_is_freed_by_retention() -> None:
    house = House(retention={"keepLast": 1})
    house.clouds.found = [volume(n) for n in range(BATCH + 5)]
    house.days(1)
    house.change(retention={"keepLast": 2})
    house.days(1)
    house.change(retention={"keepLast": 1})
    full = Forbidden("exceeded quota: backups")
    house.kube.failing["create"] = full
    house.clock.advance(24 * HOUR)
    house.settle()
    assert house.condition("BackupsMade") == ("False", "Forbidden")
    assert f"{BATCH + 5} backups" in str(house.status["conditions"])
    assert "exceeded quota" in str(house.status["conditions"])
    assert remaining(house) == ["24"]
    assert house.status["retention"]["deletedInRun"] == BATCH + 5
    assert house.errors == ["Forbidden"]


def test_missed_runs_are_told() -> None:
    house = House(startingDeadline="1h")
    house.tick()
    house.clock.advance(24 * HOUR * 3 + 2 * HOUR)
    house.settle()
    assert house.children() == []
    assert house.said == ["RunMissed"]
    assert (house.status["missedRuns"], house.status["lastMissedTime"]) == (
        3,
        "2026-11-25T12:00:00Z",
    )


def test_a_clock_that_was_ahead_is_told_once() -> None:
    house = House()
    house.clock.advance(365 * 24 * HOUR)
    house.settle()
    house.end()
    assert house.status["scheduledUntil"] == "2027-11-22T12:00:00Z"
    house.clock.advance(-364 * 24 * HOUR)
    house.settle()
    house.settle()
    assert house.said.count("ClockWasAhead") == 1
    assert house.status["nextRunTime"] == "2026-11-24T12:00:00Z"
    house.days(1)
    assert len(house.children()) == 6


def test_a_trigger_runs_at_once_and_once() -> None:
    house = House(suspend=True)
    house.tick()
    assert house.condition("Ready") == ("True", "Suspended")
    house.change(trigger="before the upgrade")
    house.settle()
    assert len(house.children()) == 3
    assert house.status["lastTrigger"] == "before the upgrade"
    house.clock.advance(30 * 24 * HOUR)
    house.settle()
    assert len(house.children()) == 3


@pytest.mark.parametrize(("policy", "made"), [("Forbid", 3), ("Allow", 6), ("Replace", 6)])
def test_concurrency(policy: str, made: int) -> None:
    house = House(concurrencyPolicy=policy)
    house.clock.advance(24 * HOUR)
    house.settle()
    house.clock.advance(24 * HOUR)
    house.settle()
    assert len(house.children()) == made
    canceled = [c for c in house.children() if c["spec"].get("cancel")]
    assert len(canceled) == (3 if policy == "Replace" else 0)
    assert ("VolumesLeftOut" in house.said) == (policy == "Forbid")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"schedule": "60 * * * *"}, "InvalidSchedule"),
        ({"timeZone": "Mars/One"}, "UnknownTimeZone"),
        ({"rpo": "never"}, "InvalidConfiguration"),
        ({"selector": {"volumeNames": ["x*"]}}, "NothingSelected"),
    ],
)
def test_what_a_person_must_mend(spec: dict[str, Any], reason: str) -> None:
    house = House(**spec)
    assert house.tick() is not None
    assert house.condition("Stalled") == ("True", reason)
    assert house.condition("Ready") == ("False", reason)
    good = {
        "schedule": NOON,
        "timeZone": "Etc/UTC",
        "rpo": "1h",
        "selector": {"volumeNames": ["v*"]},
    }
    house.change(**good)
    house.tick()
    assert house.condition("Stalled")[0] == "False"


def test_a_cloud_that_is_away_is_waited_for_and_no_run_is_lost() -> None:
    house = House()
    house.clouds.error = InvalidSpec("no Secret", reason="SecretNotFound")
    house.clock.advance(25 * HOUR)
    assert house.tick() == 60.0
    assert house.condition("Reconciling") == ("True", "Retrying")
    house.clouds.error = None
    house.settle()
    assert len(house.children()) == 3
    assert house.said == []


def test_ids_that_are_not_there_are_told() -> None:
    house = House(selector={"volumeIDs": [volume_id(1), volume_id(99)]})
    house.tick()
    assert house.condition("Ready") == ("True", "OnSchedule")
    assert volume_id(99) in str(house.status["conditions"])


def test_times_are_aware() -> None:
    house = House()
    house.tick()
    assert datetime.fromisoformat(house.status["nextRunTime"]).tzinfo is not None


# One moment.


def test_volumes_with_snapshots_of_their_own_are_not_of_one_moment() -> None:
    house = House()
    house.tick()
    assert house.condition("OneMoment") == ("False", "NoGroup")
    [told] = [c for c in house.status["conditions"] if c["type"] == "OneMoment"]
    assert all(volume_id(n) in told["message"] for n in (1, 2, 3))
    assert "spec.group.groupID" in told["message"]


def test_one_volume_is_always_of_one_moment() -> None:
    house = House(selector={"volumeIDs": [volume_id(1)]})
    house.tick()
    assert "OneMoment" not in {c["type"] for c in house.status["conditions"]}


def test_a_group_tells_before_its_first_run() -> None:
    """Its volumes are those that are selected; no finalizer while nothing is held."""
    house = House(selector=None, group={"groupID": GROUP_ID}, rpo="26h")
    house.tick()
    assert house.condition("OneMoment") == ("Unknown", "NotTold")
    assert house.status["volumesSelected"] == 3
    assert house.condition("RPOMet")[0] == "True"
    assert "finalizers" not in house.policy()["metadata"]


def test_a_group_that_is_not_there() -> None:
    house = House(selector=None, group={"groupID": GROUP_ID.replace("1", "2", 1)})
    assert house.tick() == 600.0
    assert house.condition("Stalled") == ("True", "GroupNotFound")
