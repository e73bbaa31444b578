"""status of a VolumeBackupPolicy: what to remember, and what to tell; every list is bounded."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cinderbank.api.v1alpha1.conditions import Conditions
from cinderbank.api.v1alpha1.model import ApiModel, CloudID, ObjectName, Time
from cinderbank.api.v1alpha1.policy_group import GroupRunStatus, group_run_status
from cinderbank.api.v1alpha1.policy_proofs import DrillsTold, VerifyStatus
from cinderbank.domain.policy.runs import Run, RunMemory

MOST_TOLD = 20
Count = Annotated[int, Field(ge=0)]
VolumeName = Annotated[str, Field(max_length=255)]


class RunUnderWay(ApiModel):
    """A run whose backups are being made."""

    time: Time = Field(description="The time of the schedule that it is for, or of the trigger.")
    trigger: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="The spec.trigger that asked for it."
    )
    group: GroupRunStatus | None = Field(
        default=None, description="Of a policy with spec.group: its group snapshot."
    )

    def to_domain(self) -> Run:
        group = None if self.group is None else self.group.to_domain()
        return Run(self.time, self.trigger or "", group)


def _run_under_way(run: Run) -> RunUnderWay:
    group = None if run.group is None else group_run_status(run.group)
    return RunUnderWay(time=run.at, trigger=run.trigger or None, group=group)


class PolicyVolume(ApiModel):
    """A volume that the policy selects."""

    volume_id: CloudID = Field(description="Id of the volume in Cinder.")
    name: VolumeName | None = Field(default=None, description="Its name in Cinder.")
    recovery_point: Time | None = Field(
        default=None, description="The moment of its newest good copy; unset when it has none."
    )
    created_time: Time | None = Field(
        default=None, description="When Cinder made it; of one that has no good copy."
    )


class Judgement(ApiModel):
    """What retention makes of one backup."""

    name: ObjectName = Field(description="Name of the VolumeBackup.")
    recovery_point: Time = Field(description="The moment that its data is of.")
    kept: bool = Field(description="Whether it stays.")
    why: Annotated[tuple[Annotated[str, Field(max_length=32)], ...], Field(max_length=10)] = Field(
        description="Why it stays or goes; docs/policies.md has the words."
    )


class RetentionStatus(ApiModel):
    """What retention does."""

    kept: Count = Field(description="How many VolumeBackups stay.")
    going: Count = Field(description="How many go (would go, with dryRun).")
    deleted_in_run: Count = Field(
        default=0, description="How many have gone since the last run began."
    )
    preview: Annotated[tuple[Judgement, ...], Field(max_length=MOST_TOLD)] = Field(
        default=(), description="Those that go first, the oldest first; then the newest that stay."
    )


class Unprotected(ApiModel):
    """Volumes of the project that no policy of this namespace backs up."""

    count: Count = Field(description="How many volumes.")
    volumes: Annotated[tuple[PolicyVolume, ...], Field(max_length=MOST_TOLD)] = Field(
        default=(), description="Some of them, by id."
    )


class VolumeBackupPolicyStatus(ApiModel):
    """What the operator found and did; written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="The metadata.generation that this status is about."
    )
    conditions: Conditions | None = Field(
        default=None,
        description="Ready: the policy does its work. RPOMet: every volume's newest good copy is"
        " young enough. RetentionApplied: what should go, goes. OneMoment: the backups of a run are"
        " of one moment. BackupsMade: False when the last run could not make all its backups; not there"
        " when it could. Drilled: the last drill of each volume got every byte back. Checked: the last"
        " check of each bank found all whole.",
    )
    next_run_time: Time | None = Field(default=None, description="When it runs next.")
    last_run_time: Time | None = Field(
        default=None, description="The time that the last run was for."
    )
    last_success_time: Time | None = Field(
        default=None, description="When the last good copy was completed."
    )
    missed_runs: Count = Field(default=0, description="How many runs were missed, ever.")
    last_missed_time: Time | None = Field(
        default=None, description="The time of the last run that was missed."
    )
    last_trigger: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="The last spec.trigger that was done."
    )
    run: RunUnderWay | None = Field(default=None, description="The run under way.")
    scheduled_until: Time | None = Field(
        default=None,
        description="Up to here every time of the schedule has run, was missed or suspended.",
    )
    observed_schedule: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="The schedule and time zone that scheduledUntil is about."
    )
    volumes_selected: Count = Field(default=0, description="How many volumes the selector matches.")
    volumes_covered: Count = Field(default=0, description="How many of them have a good copy.")
    volumes: Annotated[tuple[PolicyVolume, ...], Field(max_length=MOST_TOLD)] = Field(
        default=(), description="Selected volumes, those with the oldest recovery point first."
    )
    retention: RetentionStatus | None = Field(default=None, description="What retention does.")
    drills: DrillsTold | None = Field(default=None, description="Only with spec.drill.")
    verify: VerifyStatus | None = Field(default=None, description="Only with spec.verify.")
    unprotected: Unprotected | None = Field(
        default=None,
        description="Volumes of the project that no policy of this namespace backs up; told by the"
        " first policy (by name) of those that use the same cloud credentials.",
    )

    def to_memory(self) -> RunMemory:
        run = None if self.run is None else self.run.to_domain()
        return RunMemory(
            fingerprint=self.observed_schedule or "",
            judged_until=self.scheduled_until,
            run=run,
            last_run_at=self.last_run_time,
            last_trigger=self.last_trigger or "",
            missed=self.missed_runs,
            last_missed_at=self.last_missed_time,
            deleted_in_run=0 if self.retention is None else self.retention.deleted_in_run,
        )

    def remembering(self, memory: RunMemory) -> VolumeBackupPolicyStatus:
        """With what must be known again after a restart."""
        run = memory.run
        retention = self.retention
        if memory.deleted_in_run or retention is not None:
            retention = (retention or RetentionStatus(kept=0, going=0)).model_copy(
                update={"deleted_in_run": memory.deleted_in_run}
            )
        return self.model_copy(
            update={
                "observed_schedule": memory.fingerprint or None,
                "scheduled_until": memory.judged_until,
                "run": None if run is None else _run_under_way(run),
                "last_run_time": memory.last_run_at,
                "last_trigger": memory.last_trigger or None,
                "missed_runs": memory.missed,
                "last_missed_time": memory.last_missed_at,
                "retention": retention,
            }
        )
