"""What a policy does beside its backups: restore drills of them, and checks of their banks by a schedule.

Both are objects of their own (VolumeRestore, BankCheck), named by what they are for: a look that is late
makes nothing twice, and an interruption is made up for by the next look. What goes wrong here is told
in conditions and stops no backup.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, Protocol

from cinderbank.api.v1alpha1.conditions import merge_conditions
from cinderbank.api.v1alpha1.policy_proofs import DrillsTold, VerifyStatus
from cinderbank.api.v1alpha1.policy_status import VolumeBackupPolicyStatus
from cinderbank.api.v1alpha1.resource import API_VERSION
from cinderbank.api.v1alpha1.volume_backup_policy import VolumeBackupPolicySpec
from cinderbank.domain.errors import CinderbankError, Conflict
from cinderbank.domain.policy import drills, verify
from cinderbank.domain.policy.children import (
    POLICY_LABEL,
    RUN_LABEL,
    Child,
    labels_of,
)
from cinderbank.domain.policy.drills import Drill, DrillState
from cinderbank.domain.policy.verify import MadeCheck
from cinderbank.domain.record import Condition
from cinderbank.kube.known import (
    BANK_CHECK,
    VOLUME_RESTORE,
    Key,
)
from cinderbank.kube.policy_report import Look
from cinderbank.kube.reconcile import Raw

log = logging.getLogger(__name__)


class ProofWorlds(Protocol):
    """What this needs of the world. Every method may raise CinderbankError."""

    def drills(self, key: Key) -> tuple[Drill, ...]: ...
    def checks(self, key: Key) -> tuple[MadeCheck, ...]: ...
    def make(self, namespace: str, body: Raw) -> None:
        """Idempotent. Raises InvalidSpec: ChildNameTaken when another object has that name, CRDOutdated
        (and nothing is left) when a drill is not made as one."""
        ...

    def give_up(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete this very object. Idempotent."""
        ...

    def say(self, raw: Raw, reason: str, message: str, warning: bool) -> None: ...


class PolicyProofRuns:
    """The part of the work of kind VolumeBackupPolicy that is about proofs."""

    def __init__(self, worlds: ProofWorlds, on_error: Callable[[str], None]) -> None:
        self._worlds = worlds
        self._on_error = on_error

    def go_on(
        self,
        key: Key,
        raw: Raw,
        spec: VolumeBackupPolicySpec,
        status: VolumeBackupPolicyStatus,
        look: Look,
    ) -> tuple[VolumeBackupPolicyStatus, float]:
        """The status with what is told of drills and checks, and when to look again at the latest.
        Raises Conflict alone."""
        found: list[Condition] = []
        drills_told, verify_status, seconds = None, status.verify, float("inf")
        if spec.drill is not None:
            drills_told = self._drill(key, raw, spec, look, found)
        if spec.verify is not None:
            before = status.verify or VerifyStatus()
            verify_status, seconds = self._verify(key, raw, spec, before, look.now, found)
        generation = raw["metadata"].get("generation", 0)
        previous = (raw.get("status") or {}).get("conditions")
        conditions = merge_conditions(found, previous, generation, look.now)
        update = {
            "conditions": (*(status.conditions or ()), *conditions),
            "drills": drills_told,
            "verify": verify_status,
        }
        return status.model_copy(update=update), seconds

    def check(
        self,
        key: Key,
        raw: Raw,
        spec: VolumeBackupPolicySpec,
        status: VolumeBackupPolicyStatus,
        now: datetime,
    ) -> tuple[VolumeBackupPolicyStatus, float]:
        """As `go_on`, of a policy that can not look at its volumes: banks are checked all the same."""
        if spec.verify is None:
            return status, float("inf")
        found: list[Condition] = []
        before = status.verify or VerifyStatus()
        told, seconds = self._verify(key, raw, spec, before, now, found)
        previous = (raw.get("status") or {}).get("conditions")
        generation = raw["metadata"].get("generation", 0)
        others = [each for each in status.conditions or () if each.type != "Checked"]
        conditions = (*others, *merge_conditions(found, previous, generation, now))
        return status.model_copy(update={"conditions": conditions, "verify": told}), seconds

    def _drill(
        self,
        key: Key,
        raw: Raw,
        spec: VolumeBackupPolicySpec,
        look: Look,
        found: list[Condition],
    ) -> DrillsTold:
        assert spec.drill is not None
        made = self._worlds.drills(key)
        selected = frozenset(volume.id for volume in look.selection.volumes)
        plan = drills.plan_drills(
            spec.drill.to_rules(), look.children, made, selected, suspended=spec.suspend
        )
        told = drills.drilled(made, selected, plan.waiting)
        try:
            for child, number in plan.start:
                self._worlds.make(key.namespace, drill_body(key, spec, child, number))
                log.info("%s is drilled", child.name)
            for each in plan.give_up:
                self._worlds.give_up(VOLUME_RESTORE, key.namespace, each.name, each.uid)
        except CinderbankError as error:
            told = self._failed("Drilled", error)
        found.append(told)
        working = sum(1 for each in made if each.state is DrillState.WORKING)
        different = sum(1 for each in made if each.state is DrillState.DIFFERENT)
        return DrillsTold(
            working=working + len(plan.start), waiting=plan.waiting, found_different=different
        )

    def _verify(
        self,
        key: Key,
        raw: Raw,
        spec: VolumeBackupPolicySpec,
        before: VerifyStatus,
        now: datetime,
        found: list[Condition],
    ) -> tuple[VerifyStatus, float]:
        banks, made = banks_of(spec), self._worlds.checks(key)
        try:
            rules = spec.to_verify(key.uid)
            assert rules is not None
            plan = verify.plan_checks(
                rules,
                before.to_memory(),
                made,
                banks,
                now,
                suspended=spec.suspend,
            )
            for bank in plan.make:
                self._worlds.make(key.namespace, check_body(key, spec, bank, plan))
            for each in plan.give_up:
                self._worlds.give_up(BANK_CHECK, key.namespace, each.name, each.uid)
        except CinderbankError as error:
            found.append(self._failed("Checked", error))
            return before, float("inf")
        if plan.left_out:
            told = f"no check of {', '.join(plan.left_out)}: the last one is still at work"
            self._worlds.say(raw, "ChecksLeftOut", told, True)
        found.append(verify.checked(made, banks))
        seconds = (plan.next_at - now).total_seconds()
        return before.remembering(plan), max(0.0, seconds)

    def _failed(self, type_: str, error: CinderbankError) -> Condition:
        """Tried again with the next look."""
        if isinstance(error, Conflict):
            raise error
        self._on_error(error.reason)
        return Condition(type_, "False", error.reason, error.message)


def banks_of(spec: VolumeBackupPolicySpec) -> Collection[str]:
    """Where the backups of the policy and their copies go, each once."""
    template = spec.template.spec
    names = [template.bank_ref.name, *(each.bank_ref.name for each in template.copies)]
    return tuple(dict.fromkeys(names))


def drill_body(key: Key, spec: VolumeBackupPolicySpec, child: Child, number: int) -> Raw:
    """A VolumeRestore. No owner, as a policy's backups have none."""
    assert spec.drill is not None
    placed = {
        "volumeType": spec.drill.volume_type,
        "availabilityZone": spec.drill.availability_zone,
    }
    target = {name: value for name, value in placed.items() if value is not None}
    labels = labels_of(key.name, child.volume_id, child.run_at, number=number)
    return {
        "apiVersion": API_VERSION,
        "kind": VOLUME_RESTORE,
        "metadata": {
            "namespace": key.namespace,
            "name": drills.drill_name(child.name),
            "labels": {**spec.template.to_labels(), **labels},
        },
        "spec": {
            "source": {"backupRef": {"name": child.name}},
            "cloudCredentialsRef": spec.template.spec.cloud_credentials_ref.dump(),
            "drill": True,
            **({"target": target} if target else {}),
        },
    }


def check_body(key: Key, spec: VolumeBackupPolicySpec, bank: str, plan: verify.VerifyPlan) -> Raw:
    assert spec.verify is not None and plan.run_at is not None
    at = plan.run_at.astimezone(UTC)
    asked: dict[str, Any] = {"level": spec.verify.level.value}
    if spec.verify.sample_percent is not None:
        asked |= {"samplePercent": spec.verify.sample_percent, "seed": plan.seed}
    labels = {POLICY_LABEL: key.name, RUN_LABEL: f"{at:%Y%m%d%H%M%S}"}
    return {
        "apiVersion": API_VERSION,
        "kind": BANK_CHECK,
        "metadata": {
            "namespace": key.namespace,
            "name": verify.check_name(key.name, bank, at),
            "labels": {**spec.template.to_labels(), **labels},
        },
        "spec": {"bankRef": {"name": bank}, **asked},
    }
