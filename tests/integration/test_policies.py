"""VolumeBackupPolicy on a real API server, with the operator's own rights; the cloud is in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.paths import collection_path, object_path
from cinderbank.adapters.kube.rates import ProgressRule, TokenBucket
from cinderbank.adapters.kube.records import StatusWriter
from cinderbank.app.policies import AppPolicyWorlds
from cinderbank.app.policy_proofs import AppProofWorlds
from cinderbank.domain.errors import InvalidSpec, Unavailable
from cinderbank.domain.facts import BackupId
from cinderbank.kube.coverage import Coverage
from cinderbank.kube.known import VOLUME_BACKUP, VOLUME_BACKUP_POLICY, key_of
from cinderbank.kube.known_proofs import PolicyProofs
from cinderbank.kube.policies import PolicyRuns
from cinderbank.kube.policy_children import PolicyChildren
from cinderbank.kube.policy_proofs import PolicyProofRuns
from cinderbank.kube.reconcile import Raw
from tests.fakes.clock import FakeClock
from tests.stage.namespace import GROUP, Namespace, Object, Refused, condition
from tests.stage.site import Site
from tests.unit.kube.test_policies import TEMPLATE, FakeClouds
from tests.unit.policy.children import volume, volume_id

ROOT = Path(__file__).resolve().parents[2]
DAY_SECONDS = 86_400.0
LIMIT_SECONDS = 180.0
"""Only what never comes is given up."""


@pytest.fixture
def namespace(site: Site) -> Iterator[Namespace]:
    found = site.namespace(f"policies-{os.urandom(3).hex()}")
    found.create()
    yield found
    for each in found.run("get", "vbk", "-o", "name").split():
        found.run("patch", each, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    found.delete("namespace", found.name)


def policy(name: str = "nightly", **spec: Any) -> Object:
    least = {"schedule": "0 3 * * *", "selector": {"volumeNames": ["v*"]}, "template": TEMPLATE}
    return {
        "apiVersion": GROUP,
        "kind": VOLUME_BACKUP_POLICY,
        "metadata": {"name": name},
        "spec": {**least, **spec},
    }


class Operator:
    """As much of one as a policy needs; its clock begins now, as the API server's does."""

    def __init__(self, api: KubeApi, namespace: Namespace) -> None:
        self.api, self.namespace = api, namespace.name
        self.clock = FakeClock(datetime.now(UTC))
        self.clouds = FakeClouds()
        self.clouds.found = [volume(1, "v1"), volume(2, "v2")]
        self.known = PolicyChildren()
        bucket = TokenBucket(per_second=1000, burst=1000, clock=lambda: 0.0)
        self.writer = StatusWriter(api, bucket, ProgressRule())
        worlds = AppPolicyWorlds(api, self.writer, self.clouds, self.known, self)  # type: ignore[arg-type]
        self.proofs = PolicyProofs()
        proofs = PolicyProofRuns(AppProofWorlds(api, self.proofs, self.say), lambda reason: None)
        self.runs = PolicyRuns(worlds, self.clock, Coverage(), lambda reason: None, 60.0, proofs)

    def settle(self, name: str = "nightly") -> Object:
        """Tick, with what a watch would have told, until it rests; the policy then."""
        for _ in range(30):
            raw = self.api.get(object_path(VOLUME_BACKUP_POLICY, self.namespace, name))
            assert raw is not None
            there = {}
            for each in self.children():
                self.known.see(each)
                there[each["metadata"]["uid"]] = each
            for child in self.known.of(self.namespace, name):
                if child.uid not in there:
                    metadata = {"namespace": self.namespace, "name": child.name, "uid": child.uid}
                    self.known.drop(key_of({"kind": VOLUME_BACKUP, "metadata": metadata}))
            self.known.see(raw)
            after = self.runs.run(key_of(raw), raw)
            if after is None or after > 1:
                found = self.api.get(object_path(VOLUME_BACKUP_POLICY, self.namespace, name))
                assert found is not None
                return found
        raise AssertionError("it does not come to rest")

    def children(self) -> list[Raw]:
        listed = self.api.list_all(collection_path(VOLUME_BACKUP, self.namespace))
        return [{"kind": VOLUME_BACKUP, **each} for each in listed]

    def end(self, phase: str = "Completed") -> None:
        """Every backup that is at work comes to this end."""
        now = self.clock.now().replace(microsecond=0).isoformat().replace("+00:00", "Z")
        outcome = {"phase": phase, "reason": "Committed", "message": "", "time": now}
        for raw in self.children():
            if "outcome" in raw.get("status", {}):
                continue
            status = {
                "phase": phase,
                "outcome": {**outcome, "final": True},
                "snapshotTime": now,
                "completionTime": now,
                "backupID": "01JD0000000000000000000000",
                "site": "site-a",
                "conditions": [],
            }
            self.writer.write_now(raw, status)

    def damaged_backups(self, namespace: str, bank: str) -> frozenset[tuple[str, BackupId]]:
        return frozenset()

    def holds_backup(self, namespace: str, bank: str, site: str, backup_id: BackupId) -> bool:
        return True

    def write_status(self, raw: Raw, status: dict[str, Any]) -> None:
        self.writer.write_if_worth_it(raw, status)

    def say(self, raw: Raw, reason: str, message: str, warning: bool) -> None:
        pass


def test_from_a_policy_to_backups_to_retention(api: KubeApi, namespace: Namespace) -> None:
    namespace.apply(policy(retention={"keepLast": 1, "failedLast": 1}, rpo="26h", trigger="now"))
    operator = Operator(api, namespace)
    found = operator.settle()
    assert found["status"]["lastTrigger"] == "now"
    assert found["status"]["volumesSelected"] == 2
    assert condition(found, "Ready")["reason"] == "OnSchedule"
    first = operator.children()
    assert len(first) == 2
    assert not any(each["metadata"].get("ownerReferences") for each in first)
    operator.end()
    operator.clock.advance(DAY_SECONDS)
    found = operator.settle()
    assert len(operator.children()) == 4
    assert condition(found, "RPOMet")["status"] == "True"
    operator.clock.advance(60)
    operator.end()
    found = operator.settle()
    assert condition(found, "RetentionApplied")["reason"] == "Applied"
    old = {each["metadata"]["name"] for each in first}
    for raw in operator.children():
        # one that goes waits for the engine, which takes its data out of the bank first
        leaving = "deletionTimestamp" in raw["metadata"]
        assert leaving == (raw["metadata"]["name"] in old)
        assert raw["spec"]["deletionPolicy"] == ("Delete" if leaving else "Retain")
        assert not leaving or raw["metadata"]["finalizers"] == ["cinderbank.io/protect"]


def test_rpo_goes_on_while_the_cloud_is_away(api: KubeApi, namespace: Namespace) -> None:
    """What it needs for that is in the status, as the API server keeps it."""
    namespace.apply(policy(rpo="26h"))
    operator = Operator(api, namespace)
    made_at = operator.clock.now().replace(microsecond=0)
    operator.clouds.found = [volume(1, "v1", created_at=made_at)]
    found = operator.settle()
    [told] = found["status"]["volumes"]
    assert datetime.fromisoformat(told["createdTime"]) == made_at
    assert condition(found, "RPOMet")["status"] == "True"
    operator.clouds.error = Unavailable("away")
    operator.clock.advance(27 * 3600)
    found = operator.settle()
    assert condition(found, "Reconciling")["status"] == "True"
    assert condition(found, "RPOMet")["reason"] == "TooOld"


def test_failed_ones_go_without_any_rule(api: KubeApi, namespace: Namespace) -> None:
    namespace.apply(policy(trigger="1"))
    operator = Operator(api, namespace)
    operator.settle()
    for number in range(2, 6):
        operator.end("Failed")
        operator.clock.advance(60)
        namespace.apply(policy(trigger=f"{number}"))
        operator.settle()
    operator.end("Failed")
    operator.settle()
    assert len(operator.children()) == 6, "the newest three of each of two volumes"


def test_a_status_that_is_lost_makes_nothing_twice(api: KubeApi, namespace: Namespace) -> None:
    """The policy is deleted and made again, as a GitOps tool does."""
    namespace.apply(policy(trigger="now"))
    operator = Operator(api, namespace)
    operator.settle()
    namespace.run("delete", "vbp", "nightly")
    assert len(operator.children()) == 2
    namespace.apply(policy(trigger="now"))
    again = operator.settle()
    assert len(operator.children()) == 2
    assert again["status"]["lastTrigger"] == "now"


def test_what_the_api_server_has_against_a_template_is_told(
    api: KubeApi, namespace: Namespace
) -> None:
    """A stranger has the name that is needed."""
    namespace.apply(policy(trigger="now"))
    operator = Operator(api, namespace)
    operator.settle()
    [one, _] = operator.children()
    name = one["metadata"]["name"]
    namespace.run("label", "vbk", name, "cinderbank.io/policy-", "cinderbank.io/run-")
    worlds = AppPolicyWorlds(api, operator.writer, operator.clouds, operator.known, operator)  # type: ignore[arg-type]
    body = {key: value for key, value in one.items() if key != "status"}
    body["metadata"] = {"name": name, "labels": one["metadata"]["labels"]}
    with pytest.raises(InvalidSpec, match="not of this policy"):
        worlds.create_child(namespace.name, {"apiVersion": GROUP, **body})


def test_the_sample_is_taken(namespace: Namespace) -> None:
    [sample] = yaml.safe_load_all((ROOT / "deploy/samples/policy.yaml").read_text())
    namespace.apply(sample)
    found = namespace.get("vbp", "nightly")
    assert found is not None
    assert condition(found, "Ready")["status"] == "Unknown", "nobody has seen it"
    changed = {**sample, "spec": {**sample["spec"], "schedule": "@hourly", "suspend": True}}
    namespace.apply(changed)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"selector": {}}, "name volumes by volumeIDs"),
        ({"selector": {"volumeIDs": ["db"]}}, "UUID"),
        ({"selector": {"persistentVolumeClaims": {"matchLabels": {}}}}, "at least one label"),
        ({"schedule": ""}, "schedule"),
        ({"rpo": "1d"}, "duration"),
        ({"concurrencyPolicy": "Maybe"}, "Unsupported value"),
        ({"retention": {"minGood": 0}}, "minGood"),
        ({"maxVolumes": 0}, "maxVolumes"),
        (
            {
                "template": {
                    **TEMPLATE,
                    "metadata": {"labels": {"argocd.argoproj.io/instance": "x"}},
                }
            },
            "GitOps",
        ),
    ],
)
def test_what_is_refused(namespace: Namespace, spec: Object, words: str) -> None:
    with pytest.raises(Refused, match=words):
        namespace.apply(policy(**spec))


def test_a_claim_that_is_not_bound_selects_nothing(api: KubeApi, namespace: Namespace) -> None:
    """Whoever may make a claim may write any volume's name into it."""
    handle = volume_id(2)
    name = f"{namespace.name}-pv"
    namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "csi": {"driver": "cinder.csi.openstack.org", "volumeHandle": handle},
                "claimRef": {"namespace": "elsewhere", "name": "theirs"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "greedy", "labels": {"app": "db"}},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "volumeName": name,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
    )
    try:
        claims = {"persistentVolumeClaims": {"matchLabels": {"app": "db"}}}
        namespace.apply(policy(selector=claims))
        found = Operator(api, namespace).settle()
        assert condition(found, "Stalled")["reason"] == "NothingSelected"
    finally:
        namespace.run("delete", "pv", name, "--wait=false")


def test_the_operator_itself_looks_at_policies(site: Site, namespace: Namespace) -> None:
    """The real process: what a person must mend, then what it waits for."""
    running = site.operator({"CINDERBANK_NAMESPACES": namespace.name})
    running.log = site.stage.rig.log(f"operator-{namespace.name}")
    running.start()
    try:
        namespace.apply(policy(schedule="61 * * * *"))
        found = namespace.wait(
            "vbp", "nightly", lambda o: condition(o, "Stalled").get("status"), seconds=LIMIT_SECONDS
        )
        assert condition(found, "Stalled")["reason"] == "InvalidSchedule"
        namespace.apply(policy(schedule="1 * * * *"))
        namespace.wait(
            "vbp",
            "nightly",
            lambda o: condition(o, "Ready").get("reason") == "SecretNotFound",
            seconds=LIMIT_SECONDS,
        )
    finally:
        assert running.stop() == 0
