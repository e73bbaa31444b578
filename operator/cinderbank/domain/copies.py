"""Copies of a backup in other banks: what each one's state is, and when it is tried again. Pure.

    Pending ──► Copying ──► Completed ──► Deleting ──► Deleted | Left
       ▲           │
       └───────────┴──► Retrying (by itself) | Stalled (a human is needed; looked at now and then)

A copy never touches the backup: its phase is final before the first copy begins, and stays. Only
Completed is final for a copy; what else it was is tried again as long as it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from cinderbank.domain.backoff import Curve, jittered
from cinderbank.domain.facts import BackupId, TransferProgress
from cinderbank.domain.record import Condition

RETRIES = Curve(5, 300)
STALLS = Curve(300, 6 * 3600)
"""What a human must mend; a damaged original is read again each time, so not too often."""

DELETE_PATIENCE = timedelta(hours=1)
"""So long a bank that does not answer may hold up the deletion of its object."""

CAN_NOT_DELETE = frozenset({"BankNotFound", "BankReadOnly", "BankIdMismatch", "BankFormatUnknown"})
"""Reasons that no waiting mends: the copy stays where it is."""


class CopyPhase(StrEnum):
    PENDING = "Pending"
    COPYING = "Copying"
    RETRYING = "Retrying"
    STALLED = "Stalled"
    COMPLETED = "Completed"
    DELETING = "Deleting"
    DELETED = "Deleted"
    LEFT = "Left"


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy, as status remembers it."""

    bank: str
    """Name of the BackupBank."""
    backup_id: BackupId
    """Of the copy: the backup's own, unless that bank could not take it again."""
    phase: CopyPhase = CopyPhase.PENDING
    reason: str = "Pending"
    message: str = "not begun yet"
    changed_at: datetime | None = None
    """When `phase` last changed."""
    attempts: int = 0
    failures: int = 0
    next_try_at: datetime | None = None
    completed_at: datetime | None = None
    progress: TransferProgress | None = None
    """None: nothing new to say."""


def aligned(
    banks: Sequence[str], known: Iterable[Copy], backup_id: BackupId, now: datetime
) -> tuple[Copy, ...]:
    """One copy for each bank that is asked for, in that order; the others are forgotten."""
    before = {each.bank: each for each in known}
    return tuple(before.get(bank) or Copy(bank, backup_id, changed_at=now) for bank in banks)


def moved(copy: Copy, phase: CopyPhase, reason: str, message: str, now: datetime) -> Copy:
    changed_at = copy.changed_at if phase is copy.phase else now
    return replace(copy, phase=phase, reason=reason, message=message, changed_at=changed_at)


def is_due(copy: Copy, now: datetime) -> bool:
    """Whether it is to be started, when nothing runs."""
    waits = copy.next_try_at is not None and copy.next_try_at > now
    return copy.phase is not CopyPhase.COMPLETED and not waits


def started(copy: Copy, now: datetime) -> Copy:
    copy = replace(copy, attempts=copy.attempts + 1, next_try_at=None)
    return running(copy, None, now)


def running(copy: Copy, progress: TransferProgress | None, now: datetime) -> Copy:
    copy = moved(copy, CopyPhase.COPYING, "Copying", "the copy is being made", now)
    return replace(copy, progress=progress)


def completed(copy: Copy, progress: TransferProgress, now: datetime) -> Copy:
    copy = moved(copy, CopyPhase.COMPLETED, "Copied", "the copy is committed to its bank", now)
    return replace(copy, progress=progress, failures=0, next_try_at=None, completed_at=now)


def queued(copy: Copy, reason: str, message: str, now: datetime) -> Copy:
    """All transfer slots are taken: nothing is wrong."""
    return moved(copy, CopyPhase.PENDING, reason, message, now)


def blocked(copy: Copy, reason: str, message: str, *, retryable: bool, now: datetime) -> Copy:
    """A bank could not even be opened here: looked at again on the slow beat, or when it is Ready."""
    phase = CopyPhase.RETRYING if retryable else CopyPhase.STALLED
    return replace(moved(copy, phase, reason, message, now), next_try_at=None)


def failed(
    copy: Copy, reason: str, message: str, *, retryable: bool, now: datetime, seed: str
) -> Copy:
    """An attempt ended without a copy."""
    failures = copy.failures + 1
    curve, phase = (RETRIES, CopyPhase.RETRYING) if retryable else (STALLS, CopyPhase.STALLED)
    pause = jittered(curve.seconds(failures), f"{seed}:{copy.bank}:{failures}")
    return replace(
        moved(copy, phase, reason, message, now),
        failures=failures,
        next_try_at=now + timedelta(seconds=pause),
    )


def anew(copy: Copy, minted: BackupId, now: datetime) -> Copy:
    """The bank has ended the session of this id for ever, so the next attempt has another one."""
    message = (
        f"the bank has ended the session of copy {copy.backup_id} (it was deleted there, or nobody"
        f" worked at it for a day), and never takes an id twice; it is copied anew as {minted}"
    )
    copy = replace(copy, backup_id=minted, next_try_at=now)
    return moved(copy, CopyPhase.RETRYING, "SessionBroken", message, now)


def rest_seconds(copies: Iterable[Copy], now: datetime, slow_seconds: float) -> float | None:
    """Until the next look; None when all are Completed. A running one wakes us by itself."""
    open_ = [each for each in copies if each.phase is not CopyPhase.COMPLETED]
    return min((_rest(each, now, slow_seconds) for each in open_), default=None)


def _rest(copy: Copy, now: datetime, slow_seconds: float) -> float:
    if copy.next_try_at is not None:
        return max(0.1, (copy.next_try_at - now).total_seconds())
    return slow_seconds


def deleting(copy: Copy, now: datetime) -> Copy:
    """There is more of it to delete."""
    told = "the copy is being deleted from its bank"
    return replace(moved(copy, CopyPhase.DELETING, "Deleting", told, now), next_try_at=now)


def gone(copy: Copy, now: datetime) -> Copy:
    return moved(copy, CopyPhase.DELETED, "Deleted", "the copy was deleted from its bank", now)


def not_deleted(
    copy: Copy, reason: str, message: str, *, since: datetime, now: datetime, seed: str
) -> Copy:
    """Its bank did not let it go: tried again for a while, then left there."""
    if reason in CAN_NOT_DELETE or now - since >= DELETE_PATIENCE:
        told = f"copy {copy.backup_id} stays in bank {copy.bank}: {message}"
        return moved(copy, CopyPhase.LEFT, reason, told, now)
    failures = copy.failures + 1
    pause = jittered(RETRIES.seconds(failures), f"{seed}:{copy.bank}:{failures}")
    return replace(
        moved(copy, CopyPhase.DELETING, reason, message, now),
        failures=failures,
        next_try_at=now + timedelta(seconds=pause),
    )


def condition(copies: Sequence[Copy]) -> Condition | None:
    """`Copied` of the backup: True when every copy is there. None when none is asked for."""
    if not copies:
        return None
    missing = [each for each in copies if each.phase is not CopyPhase.COMPLETED]
    if not missing:
        banks = ", ".join(each.bank for each in copies)
        return Condition("Copied", "True", "Copied", f"there is a copy in {banks}")
    told = "; ".join(f"{each.bank}: {each.message}" for each in missing)
    # What a human must mend is told before what goes on by itself.
    first = next((each for each in missing if each.phase is CopyPhase.STALLED), missing[0])
    return Condition("Copied", "False", first.reason, told)
