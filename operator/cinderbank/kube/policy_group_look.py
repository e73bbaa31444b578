"""One look of a policy at its group's run: what it knows, what it tells, and what it makes of the spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cinderbank.api.v1alpha1.duration import parse_duration
from cinderbank.api.v1alpha1.policy_status import VolumeBackupPolicyStatus
from cinderbank.api.v1alpha1.resource import FINALIZER
from cinderbank.api.v1alpha1.volume_backup_policy import VolumeBackupPolicySpec
from cinderbank.domain import record
from cinderbank.domain.cleanup import STUBBORN_TRIES
from cinderbank.domain.errors import CinderbankError, Conflict, InvalidSpec, OverQuota, Retryable
from cinderbank.domain.facts import VolumeFacts
from cinderbank.domain.policy import group, moment, telling
from cinderbank.domain.policy.group import GroupRun
from cinderbank.domain.policy.runs import Run, RunMemory
from cinderbank.kube.known import Key
from cinderbank.kube.policy_report import Told
from cinderbank.kube.reconcile import Raw

DEFAULT_TIMEOUT = record.Timeouts().snapshot


@dataclass(frozen=True, slots=True)
class GroupFound:
    """The group that spec.group names, as it is now."""

    facts: moment.GroupFacts
    promised: bool | None
    """Whether its type promises one moment; None when Cinder does not tell."""


@dataclass(frozen=True, slots=True)
class GroupTick:
    """A run of a group, under way."""

    key: Key
    raw: Raw
    spec: VolumeBackupPolicySpec | None
    """None: the policy leaves, and makes nothing more."""
    before: VolumeBackupPolicyStatus
    memory: RunMemory
    now: datetime

    @property
    def run(self) -> Run:
        assert self.memory.run is not None
        return self.memory.run

    def with_run(self, run: GroupRun | None) -> GroupTick:
        return replace(self, memory=replace(self.memory, run=replace(self.run, group=run)))


@dataclass(frozen=True, slots=True)
class GroupTold:
    """What one look at it did; `tick` has the object, status and memory as they are now."""

    tick: GroupTick
    rest_seconds: float
    ended: bool = False
    not_made: record.Condition | None = None
    """BackupsMade, of a run that has ended without a backup of each member."""
    error: CinderbankError | None = None

    def to_told(self, next_at: datetime) -> Told:
        """As a policy tells it; of one without an error."""
        memory, not_made, trouble = self.tick.memory, self.not_made, None
        run = None if memory.run is None else memory.run.group
        if run is not None and run.problem:
            not_made = telling.run_refused(run.problem, run.message)
        if run is not None and run.deletes >= STUBBORN_TRIES:
            trouble = Retryable(run.message, reason="CleanUpFailing")
        return Told(
            memory,
            next_at,
            left_out=0 if self.ended else None,
            not_made=not_made,
            rest_seconds=self.rest_seconds,
            trouble=trouble,
        )


def condition_of(
    spec: VolumeBackupPolicySpec, volumes: Sequence[VolumeFacts], found: GroupFound | None
) -> record.Condition | None:
    """OneMoment, of whatever policy."""
    if found is None or spec.group is None:
        return moment.of_volumes(volumes)
    return moment.of_group(found.facts, spec.group.consistency, found.promised)


def is_held(raw: Raw) -> bool:
    """Whether the policy has our finalizer."""
    return FINALIZER in (raw["metadata"].get("finalizers") or ())


def cloud_of(spec: VolumeBackupPolicySpec) -> group.CloudRef:
    credentials = spec.template.spec.cloud_credentials_ref
    return group.CloudRef(credentials.secret_name, credentials.cloud_name)


def changed(spec: VolumeBackupPolicySpec | None, run: GroupRun) -> CinderbankError | None:
    """Why no further backup is made of a snapshot that another spec has asked for."""
    wanted = None if spec is None or spec.group is None else spec.group.group_id.lower()
    if spec is not None and wanted == run.group_id and cloud_of(spec) == run.cloud:
        return None
    message = "spec.group or the cloud credentials were changed, or can not be read, during a run"
    return InvalidSpec(message, reason="GroupChanged")


def timeout(spec: VolumeBackupPolicySpec | None) -> timedelta:
    if spec is None:
        return DEFAULT_TIMEOUT
    return parse_duration(spec.template.spec.timeouts.snapshot, "spec.template.spec.timeouts")


def saying(run: GroupRun, message: str) -> GroupRun:
    """What went wrong stays to be read."""
    return run if run.problem else replace(run, message=message)


def with_way_out(error: CinderbankError) -> CinderbankError:
    """A Conflict of Cinder's is not one of the object's: it is told, and tried again."""
    if isinstance(error, Conflict):
        return Retryable(error.message, reason="GroupBusy", request_id=error.request_id)
    if isinstance(error, OverQuota):
        return OverQuota(
            f"{error.message}. A group snapshot counts as a snapshot of each of its volumes, and its"
            " backups then need a volume each at the same time; free some of the project's quota or have"
            " it raised, it goes on by itself",
            reason=error.reason,
            request_id=error.request_id,
        )
    return error
