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
from cinderbank.domain.errors import CinderbankError, Conflict, InvalidSpec, OverQuota, Retryable
from cinderbank.domain.facts import VolumeFacts
from cinderbank.domain.policy import group, moment, telling
from cinderbank.domain.policy.group import GroupRun
from cinderbank.domain.policy.runs import Run, RunMemory
from cinderbank.kube.known import Key
from cinderbank.kube.policy_report import Told
from cinderbank.kube.reconcile import Raw

GONE_REASON = "SecretNotFound"
"""The reason that app.clouds gives."""

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
    trouble: CinderbankError | None = None
    """Why it can not end."""

    def to_told(self, next_at: datetime) -> Told:
        """As a policy tells it; of one without an error."""
        memory, not_made = self.tick.memory, self.not_made
        run = None if memory.run is None else memory.run.group
        if run is not None and run.problem:
            not_made = telling.run_refused(run.problem, run.message)
        return Told(
            memory,
            next_at,
            left_out=0 if self.ended else None,
            not_made=not_made,
            rest_seconds=self.rest_seconds,
            trouble=self.trouble,
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


def is_only_for_clean_up(spec: VolumeBackupPolicySpec | None, run: GroupRun) -> bool:
    """Whether the cloud of the run is no longer the one that the policy works with."""
    return spec is None or cloud_of(spec) != run.cloud


def out_of_reach(error: CinderbankError, run: GroupRun, name: str) -> CinderbankError:
    """Of credentials that nothing but what a run has begun still needs."""
    secret = run.cloud.secret_name
    patience = ""
    if error.reason == GONE_REASON:
        patience = (
            f" When it has not come back {hours(group.SECRET_PATIENCE)} after it was found to be gone, the"
            " run is given up and the snapshot stays."
        )
    return type(error)(
        f"status.run.group: group snapshot {run.snapshot_id or name} was asked for with Secret {secret},"
        f" cloud {run.cloud.cloud_name}: {error.message}. Put the credentials back into Secret {secret} until the"
        " snapshot is deleted; or delete it by hand, and take the run out of the policy's status"
        f" (docs/troubleshooting.md).{patience}",
        reason=error.reason,
        status_code=error.status_code,
        request_id=error.request_id,
        retry_after_seconds=error.retry_after_seconds,
    )


def left_behind(run: GroupRun, name: str) -> str:
    return (
        f"Secret {run.cloud.secret_name} has been gone for more than {hours(group.SECRET_PATIENCE)}, so the"
        f" run is given up: group snapshot {run.snapshot_id or name} of group {run.group_id} is left in"
        f" cloud {run.cloud.cloud_name}; delete it by hand"
    )


def hours(patience: timedelta) -> str:
    return f"{patience // timedelta(hours=1)} h"


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
