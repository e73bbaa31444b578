"""Parts of a VolumeBackupPolicy about proofs: restore drills and the verify schedule."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from cinderbank.api.v1alpha1.bank_check import CheckLevel
from cinderbank.api.v1alpha1.model import ApiModel, Time, rule
from cinderbank.domain.policy import drills, verify
from cinderbank.domain.policy.schedule import read_timetable

Count = Annotated[int, Field(ge=0)]
HistoryLimit = Annotated[int, Field(ge=0, le=100)]
CinderName = Annotated[str, Field(min_length=1, max_length=255)]


class PolicyDrill(ApiModel):
    """Backups of the policy that are restored into a scratch volume, compared, and deleted there."""

    every: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        description="Of each volume about every so many backups are drilled: its newest good one, once so"
        " many have been made since the last drill. 1 is each of them."
    )
    max_concurrent: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1,
        description="At most so many drills of this policy at once; they share the operator's transfer"
        " slots with the backups.",
    )
    volume_type: CinderName | None = Field(
        default=None,
        description="Volume type of the scratch volumes, not an encrypted one. Defaults to that of the volume itself.",
    )
    availability_zone: CinderName | None = Field(
        default=None,
        description="Availability zone of the scratch volumes. Defaults to that of the volume itself.",
    )
    successful_history_limit: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="So many good drills of each volume stay to be read."
    )
    failed_history_limit: HistoryLimit = Field(
        default=3,
        description="So many drills of each volume stay that could not be run. One that has found a"
        " difference always stays.",
    )

    def to_rules(self) -> drills.DrillRules:
        return drills.DrillRules(
            self.every,
            self.max_concurrent,
            self.successful_history_limit,
            self.failed_history_limit,
        )


class PolicyVerify(ApiModel):
    """BankChecks of the policy's banks, by a schedule."""

    rules = (
        rule(
            "has(self.samplePercent) == (!has(self.level) || self.level == 'Sample')",
            "samplePercent goes with level Sample, and only with it",
        ),
    )

    schedule: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="When, as spec.schedule; in spec.timeZone, and with spec.jitter."
    )
    level: CheckLevel = Field(
        default=CheckLevel.SAMPLE,
        description="Level of the BankChecks: Manifest, Existence, Sample or Full. Only the last two"
        " make a backup Verified.",
    )
    sample_percent: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None,
        description="For level Sample: how many of the chunks each check reads, in percent. Each reads"
        " the part after the last one's, so that 100/samplePercent checks read everything.",
    )
    successful_history_limit: HistoryLimit = Field(
        default=3, description="So many good checks of each bank stay to be read."
    )
    failed_history_limit: HistoryLimit = Field(
        default=3, description="So many others of each bank stay."
    )

    def to_rules(self, time_zone: str, jitter: timedelta) -> verify.VerifyRules:
        """Raises InvalidSpec (InvalidSchedule, UnknownTimeZone)."""
        return verify.VerifyRules(
            read_timetable(self.schedule, time_zone, "spec.verify.schedule"),
            jitter,
            self.successful_history_limit,
            self.failed_history_limit,
        )


class DrillsTold(ApiModel):
    """How the drills of a policy stand."""

    working: Count = Field(description="Drills at work.")
    waiting: Count = Field(description="Drills that are due and wait for their turn.")
    found_different: Count = Field(default=0, description="Drills that have found a difference.")


class VerifyStatus(ApiModel):
    """How the verify schedule stands."""

    next_run_time: Time | None = Field(default=None, description="When it runs next.")
    last_run_time: Time | None = Field(
        default=None, description="The time that its last run was for."
    )
    runs: Count = Field(
        default=0, description="How many runs there were; the seed of the next one's checks."
    )
    missed_runs: Count = Field(default=0, description="How many runs were missed, ever.")
    scheduled_until: Time | None = Field(
        default=None, description="Up to here every time of the schedule has run or was missed."
    )
    observed_schedule: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="The schedule and time zone that scheduledUntil is about."
    )

    def to_memory(self) -> verify.VerifyMemory:
        return verify.VerifyMemory(
            self.observed_schedule or "", self.scheduled_until, self.runs, self.missed_runs
        )

    def remembering(self, plan: verify.VerifyPlan) -> VerifyStatus:
        memory = plan.memory
        return VerifyStatus(
            next_run_time=plan.next_at,
            last_run_time=plan.run_at or self.last_run_time,
            runs=memory.runs,
            missed_runs=memory.missed,
            scheduled_until=memory.judged_until,
            observed_schedule=memory.fingerprint,
        )
