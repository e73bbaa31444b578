"""VolumeBackup.spec.copies and status.copies, and the way between them and domain.copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from cinderbank.api.v1alpha1.conditions import Condition, merge_conditions
from cinderbank.api.v1alpha1.model import ApiModel, BackupULID, ObjectName, Time, clipped, rule
from cinderbank.api.v1alpha1.progress import at_rest, progress_of
from cinderbank.api.v1alpha1.references import BankRef
from cinderbank.api.v1alpha1.run_status import Progress
from cinderbank.domain import copies as domain
from cinderbank.domain.copies import Copy, CopyPhase
from cinderbank.domain.facts import BackupId

COPIES_LIMIT = 8
MESSAGE_LIMIT = 1024
COPIED = "Copied"


class PlainCopy(StrEnum):
    REFUSED = "Refused"
    ALLOWED = "Allowed"


class CopyTarget(ApiModel):
    """Another bank that gets a copy of the backup."""

    bank_ref: BankRef = Field(
        description="The BackupBank that gets the copy. Its spec.site must be that of spec.bankRef's"
        " bank: a copy stays the site's own."
    )
    plain_copy: PlainCopy = Field(
        default=PlainCopy.REFUSED,
        description="Whether an encrypted backup may be copied into a bank that is not encrypted, where"
        " everybody who can read the bucket can read it.",
    )


COPIES_RULES = (
    rule(
        "!has(self.copies) || self.copies.all(one, one.bankRef.name != self.bankRef.name)",
        "a copy must go to another bank than bankRef",
        field="copies",
    ),
    rule(
        "!has(self.copies) || self.copies.all(one,"
        " self.copies.exists_one(other, other.bankRef.name == one.bankRef.name))",
        "each bank can have one copy",
        field="copies",
    ),
)
"""Of VolumeBackup.spec."""

Copies = Annotated[tuple[CopyTarget, ...], Field(max_length=COPIES_LIMIT)]


class CopyStatus(ApiModel):
    """One copy of the backup in another bank."""

    rules = (
        rule(
            "oldSelf.phase != 'Completed' || self.phase in ['Completed', 'Deleting', 'Deleted', 'Left']",
            "a copy that is Completed stays so",
        ),
    )

    bank: ObjectName = Field(description="Name of the BackupBank that has the copy.")
    backup_id: BackupULID = Field(
        description="Id of the copy in that bank: what a restore from there names. It is the backup's"
        " own, unless that bank has had, and lost, a session of that id.",
    )
    phase: Literal[
        "Pending", "Copying", "Retrying", "Stalled", "Completed", "Deleting", "Deleted", "Left"
    ] = Field(
        description="Pending, Copying, Completed; Retrying after what mends itself, Stalled after what a"
        " human must mend (both go on by themselves then). While the object is deleted: Deleting,"
        " Deleted, or Left when the bank could not be asked to delete it."
    )
    reason: Annotated[str, Field(max_length=128)] = Field(
        description="Why, in one stable CamelCase word."
    )
    message: Annotated[str, Field(max_length=MESSAGE_LIMIT)] = Field(
        description="Why, for a human, with the way out."
    )
    last_transition_time: Time | None = Field(default=None, description="When phase last changed.")
    attempts: Annotated[int, Field(ge=0)] = Field(
        default=0, description="How often the copying was begun or gone on with."
    )
    failures: Annotated[int, Field(ge=0)] = Field(
        default=0, description="How often in a row it failed."
    )
    next_try_time: Time | None = Field(default=None, description="When it is tried again.")
    completion_time: Time | None = Field(default=None, description="When it was Completed.")
    progress: Progress | None = Field(default=None, description="How far it is.")


CopyStatuses = Annotated[
    tuple[CopyStatus, ...],
    Field(
        max_length=COPIES_LIMIT,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["bank"]},
    ),
]


def read_copies(status: object) -> tuple[CopyStatus, ...]:
    """`status.copies` as far as it can be read. What can not counts as never begun: the bank itself tells
    then what is there."""
    raw = status.get("copies") if isinstance(status, Mapping) else None
    found: dict[str, CopyStatus] = {}
    for each in raw[:COPIES_LIMIT] if isinstance(raw, list) else ():
        try:
            read = CopyStatus.model_validate(each)
        except ValidationError:
            continue
        found.setdefault(read.bank, read)
    return tuple(found.values())


def to_domain(copy: CopyStatus) -> Copy:
    return Copy(
        bank=copy.bank,
        backup_id=BackupId(copy.backup_id),
        phase=CopyPhase(copy.phase),
        reason=copy.reason,
        message=copy.message,
        changed_at=copy.last_transition_time,
        attempts=copy.attempts,
        failures=copy.failures,
        next_try_at=copy.next_try_time,
        completed_at=copy.completion_time,
    )


def status_with(
    raw: Mapping[str, Any], copies: Sequence[Copy], generation: int, now: datetime
) -> dict[str, Any]:
    """The whole status `raw` with these copies in it, and the condition Copied of them."""
    before = {each.bank: each for each in read_copies(raw)}
    rows = [_told(each, before.get(each.bank)).dump() for each in copies]
    others = [
        each
        for each in raw.get("conditions") or ()
        if not (isinstance(each, Mapping) and each.get("type") == COPIED)
    ]
    found = domain.condition(copies)
    ours = merge_conditions(
        () if found is None else (found,), raw.get("conditions"), generation, now
    )
    status = {**raw, "conditions": [*others, *(each.dump() for each in ours)], "copies": rows}
    if not rows:
        del status["copies"]
    return status


def kept_condition(raw: object, type_: str = COPIED) -> tuple[Condition, ...]:
    """A condition (Copied) as it was told last; none when it can not be read."""
    conditions = raw.get("conditions") if isinstance(raw, Mapping) else None
    for each in conditions if isinstance(conditions, list) else ():
        if isinstance(each, Mapping) and each.get("type") == type_:
            try:
                return (Condition.model_validate(each),)
            except ValidationError:
                return ()
    return ()


def _told(copy: Copy, before: CopyStatus | None) -> CopyStatus:
    progress = None if before is None else before.progress
    completed = copy.phase is CopyPhase.COMPLETED
    if copy.progress is not None:
        progress = progress_of(copy.progress)
    if progress is not None and copy.phase is not CopyPhase.COPYING:
        progress = at_rest(progress, completed=completed)
    return CopyStatus(
        bank=copy.bank,
        backup_id=copy.backup_id,
        phase=copy.phase.value,
        reason=clipped(copy.reason, 128),
        message=clipped(copy.message, MESSAGE_LIMIT),
        last_transition_time=_seconds(copy.changed_at),
        attempts=copy.attempts,
        failures=copy.failures,
        next_try_time=copy.next_try_at,
        completion_time=_seconds(copy.completed_at),
        progress=progress,
    )


def _seconds(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(microsecond=0)
