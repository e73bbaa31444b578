"""BankCheck: look once whether the backups of a bank are whole."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from cinderbank.api.v1alpha1.conditions import WAITING, Conditions
from cinderbank.api.v1alpha1.model import ApiModel, BackupULID, Time, immutable, rule
from cinderbank.api.v1alpha1.references import BankRef
from cinderbank.api.v1alpha1.resource import AGE, MESSAGE, Column, Resource
from cinderbank.api.v1alpha1.run_status import LastError
from cinderbank.domain.facts import BackupId
from cinderbank.ports.checks import CheckRequest

Count = Annotated[int, Field(ge=0)]

MAX_DAMAGED = 20
_ANOTHER = "make a new BankCheck instead: one looks once"


class CheckLevel(StrEnum):
    MANIFEST = "Manifest"
    EXISTENCE = "Existence"
    SAMPLE = "Sample"
    FULL = "Full"


class BankCheckSpec(ApiModel):
    """What to look at, and how hard."""

    rules = (
        immutable("bankRef", _ANOTHER, required=True),
        immutable("backupID", _ANOTHER),
        immutable("level", _ANOTHER),
        immutable("samplePercent", _ANOTHER),
        immutable("seed", _ANOTHER),
        rule("!has(self.seed) || has(self.samplePercent)", "seed goes with samplePercent"),
        rule(
            "has(self.samplePercent) == (has(self.level) && self.level == 'Sample')",
            "samplePercent goes with level Sample, and only with it",
        ),
    )

    bank_ref: BankRef = Field(
        description="The bank to check. On a ReadOnly one damage is told here and noted nowhere."
    )
    backup_id: BackupULID | None = Field(
        default=None,
        description="Id of the one backup to check. Left out: every backup in the bank, of all sites.",
    )
    level: CheckLevel = Field(
        default=CheckLevel.EXISTENCE,
        description="Manifest: seal, manifest and index. Existence: also that every chunk is there."
        " Sample: also that samplePercent of the chunks hold what they must. Full: also that all of"
        " them do; reads every stored byte once.",
    )
    sample_percent: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="For level Sample: how many of the chunks are read, in percent."
    )

    seed: Annotated[int, Field(ge=0, le=(1 << 32) - 1)] | None = Field(
        default=None,
        description="For level Sample: which chunks are read. Consecutive seeds read consecutive parts, so"
        " that 100/samplePercent of them read everything. Left out: a part by chance.",
    )

    def to_request(self, seed: int) -> CheckRequest:
        return CheckRequest(
            level=self.level.value.lower(),
            backup_id=None if self.backup_id is None else BackupId(self.backup_id),
            sample_percent=self.sample_percent or 100,
            seed=seed,
        )


class CheckedProgress(ApiModel):
    """How far it is, and what was found so far."""

    summary: Annotated[str, Field(max_length=128)] = Field(
        description="Percent and what was found, for people."
    )
    percent: Annotated[int, Field(ge=0, le=100)] = Field(description="How much is done.")
    backups: Count = Field(description="Backups that were looked at.")
    ok: Count = Field(description="Those that are whole.")
    damaged: Count = Field(description="Those that are not.")
    unchecked: Count = Field(
        description="Those that could not be judged: a key is missing, or a newer cinderbank made them."
    )
    chunks: Count = Field(description="Chunks whose existence was looked at, each once.")
    chunks_read: Count = Field(description="Chunks whose bytes were compared.")
    bytes_read: Count = Field(description="Stored bytes that were read.")


class Damaged(ApiModel):
    """A backup that is not whole, or that could not be judged."""

    backup_id: BackupULID = Field(description="Id of the backup.")
    site: Annotated[str, Field(max_length=63)] = Field(description="Site that wrote it.")
    volume_id: Annotated[str, Field(max_length=36)] = Field(description="The volume it is of.")
    outcome: Literal["damaged", "unchecked"] = Field(description="damaged or unchecked.")
    problem: Annotated[str, Field(max_length=512)] = Field(description="What is wrong with it.")
    lost_bytes: Count = Field(default=0, description="How many bytes of the volume are lost.")
    lost: Annotated[tuple[Annotated[str, Field(max_length=48)], ...], Field(max_length=10)] = Field(
        default=(), description="Some of the ranges that are lost: first-last byte of the volume."
    )


class BankCheckStatus(ApiModel):
    """What the operator found; written by the operator only."""

    rules = (
        rule(
            "!has(oldSelf.phase) || !(oldSelf.phase in ['Completed', 'Failed'])"
            " || (has(self.phase) && self.phase == oldSelf.phase)",
            "a phase of Completed or Failed never changes",
        ),
    )

    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="The metadata.generation that this status is about."
    )
    phase: Literal["Pending", "Running", "Completed", "Failed"] | None = Field(
        default=None,
        description="Pending, Running, then Completed (it looked, whatever it found) or Failed (it"
        " could not look).",
    )
    conditions: Conditions | None = Field(
        default=None,
        description="Ready is True when Completed; Intact then says whether all is whole. Reconciling"
        " is True while it works, Stalled when a human is needed.",
    )
    progress: CheckedProgress | None = Field(
        default=None, description="How far it is, and what was found so far."
    )
    damaged: Annotated[tuple[Damaged, ...], Field(max_length=MAX_DAMAGED)] | None = Field(
        default=None,
        description="The first backups that are not whole; `cinderbank bank check` tells all.",
    )
    seed: Count | None = Field(
        default=None, description="Of level Sample: the same seed reads the same chunks again."
    )
    attempts: Count | None = Field(
        default=None,
        description="How often a process was started for it: again after an outage or a restart of"
        " the operator.",
    )
    started_time: Time | None = Field(default=None, description="When it first began.")
    completed_time: Time | None = Field(default=None, description="When it ended.")
    next_try_time: Time | None = Field(
        default=None, description="When it is tried again after an error."
    )
    last_error: LastError | None = Field(
        default=None, description="The last thing that went wrong; it stays."
    )


BANK_CHECK = Resource(
    kind="BankCheck",
    plural="bankchecks",
    short_name="bchk",
    description="BankCheck looks once whether the backups of a bank are whole, and notes in the bank"
    " what is not, so that no later backup relies on it.",
    spec=BankCheckSpec,
    status=BankCheckStatus,
    status_default={"conditions": WAITING},
    columns=(
        Column("Phase", ".status.phase", "Where the check stands"),
        Column("Progress", ".status.progress.summary", "Percent, and what was found"),
        Column("Intact", '.status.conditions[?(@.type=="Intact")].status', "Is all of it whole"),
        Column("Bank", ".spec.bankRef.name", "The bank"),
        Column("Level", ".spec.level", "How hard it looks"),
        AGE,
        Column("Backup-ID", ".spec.backupID", "The one backup to check", wide=True),
        MESSAGE,
    ),
)
