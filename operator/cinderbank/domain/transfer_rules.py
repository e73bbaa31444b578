"""What a transfer that runs, or has ended, means; the same for a backup and for a restore.

| transfer | step |
|---|---|
| absent | None: the stage before decides whether the next attempt starts |
| running | wait; without progress for too long: forget it, counted |
| succeeded | None: what it made is looked at, not its word |
| failed for want of a right or of the right bank | forget it, not counted, on a slow beat |
| failed, otherwise not retryable | Conclude(Failed) |
| failed, an outage | forget it, not counted: the next attempt waits for the back-off, for ever |
| failed, otherwise | forget it, counted; Conclude(Failed) after `retry_limit` fresh attempts |
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cinderbank.domain import intents
from cinderbank.domain.errors import CinderbankError, Forbidden, Retryable, Unavailable
from cinderbank.domain.facts import (
    TransferAbsent,
    TransferFacts,
    TransferFailed,
    TransferRunning,
    TransferSucceeded,
)
from cinderbank.domain.record import Memory, Outcome, Phase
from cinderbank.domain.steps import Conclude, ForgetTransfer, Wait

OUTAGES = frozenset(
    {
        "AuthenticationFailed",
        "BankCredentialsRefused",
        "BankUnavailable",
        "BucketNotFound",
        "Conflict",
        "ImageBusy",
        "OutcomeUnknown",
        "QuotaExceeded",
        "TLSNotTrusted",
        "Unavailable",
    }
)
"""Reasons that say something about a system, not about this backup: they never use up a try."""

MENDABLE = frozenset(
    {
        "BankAccessDenied",
        "BankIdMismatch",
        "BankReadOnly",
        "EncryptionKeyForbidden",
        "Forbidden",
        "KeyManagerNotFound",
    }
)
"""Not retryable, says the transfer; but a right, a BackupBank or a catalogue can be mended while we wait."""

POLL_SECONDS = 5.0


def transfer_step(
    transfer: TransferFacts,
    *,
    memory: Memory,
    now: datetime,
    no_progress: timedelta,
    retry_limit: int,
) -> Wait | ForgetTransfer | Conclude | None:
    match transfer:
        case TransferAbsent() | TransferSucceeded():
            return None
        case TransferRunning(moved_at=moved_at):
            if moved_at is not None and now - moved_at > no_progress:
                error = Retryable(
                    f"the transfer moved nothing since {moved_at:%Y-%m-%dT%H:%M:%SZ}, longer than "
                    "spec.timeouts.noProgress; it was ended",
                    reason="NoProgress",
                )
                return counted(memory, error, now, retry_limit)
            return Wait(POLL_SECONDS, "Transferring", "data is being transferred")
        case TransferFailed(reason=reason, message=message, retryable=retryable):
            if reason in MENDABLE:
                return ForgetTransfer(Forbidden(message, reason=reason), counts=False)
            if not retryable:
                return Conclude(Outcome(Phase.FAILED, reason, message, now))
            if reason in OUTAGES:
                return ForgetTransfer(Unavailable(message, reason=reason), counts=False)
            return counted(memory, Retryable(message, reason=reason), now, retry_limit)


def counted(
    memory: Memory, error: CinderbankError, now: datetime, retry_limit: int
) -> ForgetTransfer | Conclude:
    """The next attempt, or the end after `retry_limit` fresh ones."""
    failed = intents.tries(memory, intents.TRANSFER_ERRORS)
    if failed < retry_limit:
        return ForgetTransfer(error, counts=True)
    message = f"{error.message} (attempt {failed + 1} of {retry_limit + 1}; no more are made)"
    return Conclude(Outcome(Phase.FAILED, error.reason, message, now))
