"""What a check said, as the status of its BankCheck: bounded, and with the conditions of kstatus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cinderbank.api.v1alpha1.bank_check import MAX_DAMAGED, CheckedProgress, Damaged
from cinderbank.api.v1alpha1.model import clipped
from cinderbank.api.v1alpha1.run_status import LastError
from cinderbank.domain.errors import CinderbankError, Retryable
from cinderbank.domain.record import Condition
from cinderbank.ports.checks import CheckEnded, CheckFailed, CheckProgress, DamagedBackup


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What is told now; None keeps what was told before."""

    phase: str
    conditions: tuple[Condition, ...]
    progress: CheckedProgress | None = None
    damaged: tuple[Damaged, ...] | None = None


def progress_of(seen: CheckProgress | None) -> CheckedProgress | None:
    if seen is None:
        return None
    percent = min(100, max(0, int(seen.percent)))
    found = f"{seen.damaged} damaged" if seen.damaged else "none damaged"
    return CheckedProgress(
        summary=f"{percent} %  {seen.backups} checked, {found}",
        percent=percent,
        backups=seen.backups,
        ok=seen.ok,
        damaged=seen.damaged,
        unchecked=seen.unchecked,
        chunks=seen.chunks,
        chunks_read=seen.chunks_read,
        bytes_read=seen.bytes_read,
    )


def damaged_of(found: Sequence[DamagedBackup]) -> tuple[Damaged, ...] | None:
    """What does not fit the schema is left out: a child of another image may have written it."""
    told = [each for row in found[:MAX_DAMAGED] if (each := _damaged(row)) is not None]
    return tuple(told) or None


def _damaged(row: DamagedBackup) -> Damaged | None:
    try:
        return Damaged(
            backup_id=row.backup_id,
            site=row.site,
            volume_id=row.volume_id,
            outcome="damaged" if row.outcome == "damaged" else "unchecked",
            problem=clipped(row.problem, 512),
            lost_bytes=max(0, row.lost_bytes),
            lost=tuple(f"{first}-{last}" for first, last in row.lost[:10]),
        )
    except ValueError:  # pydantic's ValidationError is one
        return None


def working_conditions() -> tuple[Condition, ...]:
    told = "The check runs"
    return (
        Condition("Ready", "False", "Checking", told),
        Condition("Reconciling", "True", "Checking", told),
    )


def waiting_conditions(error: CinderbankError) -> tuple[Condition, ...]:
    """As a bank's own (engine.bank_validation): Reconciling where waiting mends it, else Stalled."""
    ready = Condition("Ready", "False", error.reason, error.message)
    if isinstance(error, Retryable):
        return (ready, Condition("Reconciling", "True", "Retrying", "It goes on by itself"))
    return (ready, Condition("Stalled", "True", error.reason, error.message))


def failed_conditions(failed: CheckFailed) -> tuple[Condition, ...]:
    return (
        Condition("Ready", "False", failed.reason, failed.message),
        Condition("Stalled", "True", failed.reason, failed.message),
    )


def ended_conditions(ended: CheckEnded) -> tuple[Condition, ...]:
    """Ready first, then Intact."""
    seen = ended.progress
    counts = f"{seen.ok} backups are whole, {seen.damaged} damaged, {seen.unchecked} not judged"
    told = "; ".join((counts, *ended.problems))
    if seen.damaged:
        intact = Condition("Intact", "False", "DamageFound", told)
    elif seen.unchecked:
        intact = Condition("Intact", "Unknown", "NotAllJudged", told)
    else:
        intact = Condition("Intact", "True", "AllWhole", told)
    return (Condition("Ready", "True", "Checked", told), intact)


def error_of(failed: CheckFailed, now: datetime) -> LastError:
    return LastError(
        reason=clipped(failed.reason, 128) or "Unknown",
        message=clipped(failed.message, 1024),
        time=now,
        retryable=failed.retryable,
    )
