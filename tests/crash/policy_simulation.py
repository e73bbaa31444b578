"""A policy over a Cinder group, with the real work of its backups: one API server, one cloud, one operator that
can be killed at any effect on either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from cinderbank.adapters.kube.rates import ProgressRule, TokenBucket
from cinderbank.adapters.kube.records import KubeRecords, StatusWriter
from cinderbank.adapters.prometheus import Metrics
from cinderbank.app.policies import AppPolicyWorlds
from cinderbank.app.policy_proofs import AppProofWorlds
from cinderbank.app.worlds import RENDERS
from cinderbank.domain.errors import Conflict, InvalidSpec, SourceGone
from cinderbank.domain.facts import (
    BackupId,
    BankFacts,
    TransferFacts,
    TransferSucceeded,
    VolumeId,
)
from cinderbank.engine.tick import BackupWorld
from cinderbank.kube.coverage import Coverage
from cinderbank.kube.known import VOLUME_BACKUP, VOLUME_BACKUP_POLICY, Key, key_of
from cinderbank.kube.known_proofs import PolicyProofs
from cinderbank.kube.policies import PolicyRuns
from cinderbank.kube.policy_children import PolicyChildren
from cinderbank.kube.policy_proofs import PolicyProofRuns
from cinderbank.kube.reconcile import Raw, TickMeter
from cinderbank.kube.runs import BackupRuns, Needs
from cinderbank.ports.records import Records
from tests.crash.simulation import OPERATOR_RESTART_SECONDS
from tests.fakes.bank import FakeBank
from tests.fakes.cinder import FakeCinder
from tests.fakes.claims import FakeClaims
from tests.fakes.clock import FakeClock, FakeIdentities
from tests.fakes.cloud import FakeCloud
from tests.fakes.faults import Crash, Faults
from tests.fakes.glance import FakeGlance
from tests.fakes.groups import GROUP_ID, FakeGroups
from tests.fakes.key_manager import FakeKeyManager
from tests.fakes.kube import FakeKube, Object
from tests.fakes.transfers import FakeTransfers
from tests.unit.policy.children import volume_id

API = "/apis/cinderbank.io/v1alpha1/namespaces/team"
BACKUPS, POLICIES = f"{API}/volumebackups", f"{API}/volumebackuppolicies"
POLICY = f"{POLICIES}/shop"
LOOKS_AT_MOST = 3000
REST_SECONDS = 590.0


class FaultyKube(FakeKube):
    """Every write is an effect that the operator may be killed before or after."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults

    def create(self, path: str, body: Mapping[str, Any]) -> Object:
        with self.faults.effect("kube.create"):
            return super().create(path, body)

    def apply(self, path: str, body: Mapping[str, Any], field_manager: str) -> Object:
        with self.faults.effect("kube.status"):
            return super().apply(path, body, field_manager)

    def merge_patch(self, path: str, body: Mapping[str, Any]) -> Object:
        with self.faults.effect("kube.patch"):
            return super().merge_patch(path, body)

    def json_patch(
        self, path: str, operations: Sequence[Mapping[str, Any]], field_manager: str
    ) -> Object:
        with self.faults.effect("kube.finalizer"):
            metadata = {
                each["path"].rsplit("/", 1)[1]: each["value"]
                for each in operations
                if each["op"] == "test"
            }
            found = self._changeable(path, metadata)
            last = operations[-1]
            finalizers = found["metadata"].setdefault("finalizers", [])
            if last["op"] == "remove":
                del finalizers[int(last["path"].rsplit("/", 1)[1])]
            else:
                value = last["value"]
                finalizers.extend(value if isinstance(value, list) else [value])
            return self._changed(path, found)

    def user_deletes(self, path: str) -> None:
        found = self.objects.get(path)
        if found is not None:
            metadata = found["metadata"]
            FakeKube.delete(self, path, metadata["uid"], metadata["resourceVersion"])

    def _changed(self, path: str, found: Object) -> Object:
        """What is being deleted goes with its last finalizer."""
        answer = super()._changed(path, found)
        metadata = self.objects[path]["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            del self.objects[path]
        return answer


class HexTransfers(FakeTransfers):
    """What the CRD takes for a hash."""

    def observe(self) -> TransferFacts:
        found = super().observe()
        if isinstance(found, TransferSucceeded):
            return replace(found, content_hash=found.content_hash.encode().hex())
        return found


class HexBank(FakeBank):
    """As HexTransfers, for digests of manifests."""

    def observe(self, site: str, backup_id: BackupId) -> BankFacts:
        found = super().observe(site, backup_id)
        digest = None if found.manifest_digest is None else hex_digest(backup_id)
        return replace(found, manifest_digest=digest)

    def seal(self, site: str, backup_id: BackupId, volume_id: VolumeId) -> str:
        super().seal(site, backup_id, volume_id)
        return hex_digest(backup_id)


def hex_digest(backup_id: BackupId) -> str:
    return f"sha256:{backup_id.encode().hex()}"


class GroupSimulation:
    """`kubectl apply` of a policy over a group of two volumes, whose contents change with every look."""

    def __init__(self, **spec: Any) -> None:
        self.faults, self.clock = Faults(), FakeClock()
        self.cloud = FakeCloud(self.clock, self.faults)
        self.groups = FakeGroups(self.cloud)
        for number in (1, 2):
            self.cloud.add_volume(volume_id(number), status="in-use", name=f"v{number}")
            self.groups.members_now.append(volume_id(number))
        self.sources = set(self.cloud.volumes)
        self.bank = HexBank(self.faults)
        self.kube = FaultyKube(self.faults)
        self.identities = FakeIdentities()
        self.claims = FakeClaims(self.cloud, self.faults)
        self.transfers: dict[str, HexTransfers] = {}
        self.said: list[tuple[str, str]] = []
        self.secrets_gone: set[str] = set()
        self.crashes = self.looks = 0
        self._start()
        template = {
            "cloudCredentialsRef": {"secretName": "openstack", "cloudName": "a"},
            "bankRef": {"name": "main"},
        }
        body = {
            "kind": VOLUME_BACKUP_POLICY,
            "metadata": {
                "namespace": "team",
                "name": "shop",
                "uid": "uid-shop",
                "creationTimestamp": self.clock.now().isoformat(),
            },
            "spec": {
                "schedule": "@yearly",
                "trigger": "now",
                "group": {"groupID": GROUP_ID, "consistency": "Required"},
                "template": {"spec": template},
                **spec,
            },
        }
        self.kube.put(POLICY, body)

    def _start(self) -> None:
        """A new process: nothing is known but what is stored."""
        self.known = PolicyChildren()
        writer = StatusWriter(
            self.kube,  # type: ignore[arg-type]
            TokenBucket(per_second=1e6, burst=10**6, clock=lambda: 0.0),
            ProgressRule(),
        )
        self.writer = writer
        worlds = AppPolicyWorlds(self.kube, writer, self, self.known, self)  # type: ignore[arg-type]
        proofs = PolicyProofRuns(
            AppProofWorlds(self.kube, PolicyProofs(), self.say),  # type: ignore[arg-type]
            lambda reason: None,
        )
        self.policies = PolicyRuns(
            worlds, self.clock, Coverage(), lambda reason: None, 60.0, proofs
        )
        self.backups = BackupRuns(self, self.clock, TickMeter(Metrics()), 60.0)
        self._due: dict[Key, datetime] = {}
        self._asked: dict[Key, tuple[int, bool]] = {}
        """What each object asked for when this process last saw it."""
        for transfers in self.transfers.values():
            transfers.restart()

    def run(self, seconds: float = 4000.0) -> None:
        """Look at whatever is due, until nothing happens for so long that the policy rests."""
        end = self.cloud.after(seconds)
        while self.clock.now() < end and self.look():
            assert self.looks < LOOKS_AT_MOST, f"it does not converge: {self.policy_status()}"

    def look(self) -> bool:
        """At what is due first; False when nothing is for ten minutes."""
        self._watch()
        key = min(self._due, key=lambda each: (self._due[each], each.name), default=None)
        if key is None:
            return False
        wait = (self._due[key] - self.clock.now()).total_seconds()
        if wait >= REST_SECONDS:
            return False
        del self._due[key]
        self.looks += 1
        self.clock.advance(max(wait, 0.01))
        self._write_into_the_sources()
        try:
            self._look(key)
        except Crash:
            self.crashes += 1
            self.clock.advance(OPERATOR_RESTART_SECONDS)
            self._start()
        return True

    def _look(self, key: Key) -> None:
        path = f"{BACKUPS if key.kind == VOLUME_BACKUP else POLICIES}/{key.name}"
        raw = self.kube.get(path)
        if raw is None or raw["metadata"]["uid"] != key.uid:
            self.known.drop(key)
            return
        works = {VOLUME_BACKUP: self.backups.run, VOLUME_BACKUP_POLICY: self.policies.run}
        try:
            after = works[key.kind](key, raw)
        except (Conflict, SourceGone):
            after = 0.5
        if after is not None:
            self._due[key] = self.cloud.after(after)

    def _watch(self) -> None:
        """What the API server tells: new objects are due at once, and a policy whose backups changed."""
        rows = [*self.kube.list_all(BACKUPS), *self.kube.list_all(POLICIES)]
        there = {key_of(raw) for raw in rows}
        for key in list(self._due):
            if key not in there:
                del self._due[key]
                self.known.drop(key)
        for raw in rows:
            key, now = key_of(raw), self.clock.now()
            asked = (raw["metadata"].get("generation"), "deletionTimestamp" in raw["metadata"])
            if self._asked.get(key) != asked:
                self._asked[key], self._due[key] = asked, now
            if (woken := self.known.see(raw)) is not None and woken in there:
                self._due[woken] = now

    def _write_into_the_sources(self) -> None:
        for each in self.sources:
            if each in self.cloud.volumes:
                self.cloud.volumes[each].content = f"at look {self.looks}"

    # What is seen in the end.

    def policy_status(self) -> dict[str, Any]:
        found = self.kube.get(POLICY) or {}
        return found.get("status") or {}

    def children(self) -> list[Raw]:
        return list(self.kube.list_all(BACKUPS))

    def condition(self, type_: str) -> tuple[str, str]:
        [found] = [c for c in self.policy_status()["conditions"] if c["type"] == type_]
        return found["status"], found["reason"]

    def message(self, type_: str) -> str:
        [found] = [c for c in self.policy_status()["conditions"] if c["type"] == type_]
        return str(found["message"])

    def assert_nothing_left(self) -> None:
        self.groups.settle()
        assert set(self.cloud.volumes) == self.sources
        assert (self.cloud.snapshots, self.cloud.images, self.groups.snapshots) == ({}, {}, {})
        assert self.groups.leaked == []
        policy = self.kube.get(POLICY)
        assert policy is None or not policy["metadata"].get("finalizers")

    # app.policies: clouds and deeds

    def open(self, namespace: str, secret_name: str, cloud_name: str) -> Any:
        if secret_name in self.secrets_gone:
            raise InvalidSpec(f"Secret {secret_name} is not there", reason="SecretNotFound")
        secret = SimpleNamespace(uid=secret_name, resource_version="1")
        cinder = FakeCinder(self.cloud)
        return SimpleNamespace(cinder=cinder, groups=self.groups, secret=secret)

    def damaged_backups(self, namespace: str, bank: str) -> frozenset[tuple[str, BackupId]]:
        return frozenset()

    def holds_backup(self, namespace: str, bank: str, site: str, backup_id: BackupId) -> bool:
        return self.bank.observe(site, backup_id).sealed

    def write_status(self, raw: Raw, status: dict[str, Any]) -> None:
        self.writer.write_if_worth_it(raw, status)

    def say(self, raw: Any, reason: str, message: str, *_: Any, warning: bool = False) -> None:
        self.said.append((reason, message))

    # kube.runs.Worlds, as far as backups go

    def records(self, key: Key, raw: Raw) -> Records:
        return KubeRecords(
            raw,
            api=self.kube,  # type: ignore[arg-type]
            writer=self.writer,
            events=self,  # type: ignore[arg-type]
            render=RENDERS[key.kind],
            now=self.clock.now,
        )

    def for_backup(self, key: Key, needs: Needs, records: Records) -> BackupWorld:
        transfers = self.transfers.setdefault(key.uid, HexTransfers(self.cloud, self.bank))
        return BackupWorld(
            FakeCinder(self.cloud),
            FakeGlance(self.cloud),
            self.bank,
            transfers,
            records,
            self.clock,
            self.identities,
            "site-a",
            self.claims,
            FakeKeyManager(self.cloud),
        )

    def is_torn_down(self, key: Key, raw: Raw) -> bool:
        return False
