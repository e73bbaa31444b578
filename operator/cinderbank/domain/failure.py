"""What an error means for memory: noted and tried again, or the end.

| error | consequence |
|---|---|
| Retryable, and every unknown one | back-off, for ever; `retry_limit` counts failed resources, not outages |
| Forbidden | the same on a slow beat, told as Stalled: a role can be granted while we wait |
| InvalidSpec while observing | the same: a bank or a Secret can be mended in place |
| InvalidSpec while performing, SourceGone, Unsupported, ResourceFailed, DataCorrupt | concluded as Failed |
| anything once the outcome is settled | back-off, for ever: a failed clean-up never spoils a backup |
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from cinderbank.domain import errors, intents
from cinderbank.domain.backoff import delay_seconds
from cinderbank.domain.record import LastError, Memory, Outcome, Phase
from cinderbank.domain.steps import Step, Wait

ENDS_IT = (errors.SourceGone, errors.Unsupported, errors.ResourceFailed, errors.DataCorrupt)

NO_TRANSFER_SLOT = "NoTransferSlot"
"""Reason of a `start` that was refused because the operator moves enough at once; not a fault."""

LONG_RUN_SECONDS = 600.0
"""A transfer that ran so long before an outage ended it starts the back-off anew."""


def as_cinderbank_error(error: Exception) -> errors.CinderbankError:
    """The error itself, or our own bug in the clothes of one."""
    if isinstance(error, errors.CinderbankError):
        return error
    return errors.BrokenInvariant(
        f"the operator met an unexpected {type(error).__name__}: {error}. Nothing was changed by it; "
        "please report it with the operator's log of this moment."
    )


def is_the_end(error: errors.CinderbankError, memory: Memory, *, performing: bool) -> bool:
    """Whether nothing but another object helps."""
    if memory.outcome is not None:
        return False
    return isinstance(error, ENDS_IT) or (performing and isinstance(error, errors.InvalidSpec))


def noted(
    memory: Memory,
    error: errors.CinderbankError,
    *,
    now: datetime,
    seed: str,
    performing: bool,
    may_end: bool = True,
) -> Memory:
    """Memory after this error; `seed` is the object's uid.

    With `may_end` False nothing is concluded: the error is about what surrounds the object.

    The same trouble met again before its back-off has run out (a watch event woke us) changes nothing.
    """
    if (
        memory.next_try_at is not None
        and memory.next_try_at > now
        and memory.last_error is not None
        and memory.last_error.reason == error.reason
    ):
        return memory
    told = LastError(
        reason=error.reason,
        message=error.message,
        at=now,
        retryable=not isinstance(error, errors.Permanent),
        request_id=error.request_id or "",
    )
    if may_end and is_the_end(error, memory, performing=performing):
        outcome = Outcome(phase=Phase.FAILED, reason=error.reason, message=error.message, at=now)
        return concluded(replace(memory, last_error=told), outcome)
    failures = memory.failures + 1
    wait = timedelta(seconds=delay_seconds(error, failures, seed))
    return replace(memory, failures=failures, last_error=told, next_try_at=now + wait)


def transfer_ended(
    memory: Memory, error: errors.CinderbankError, *, counts: bool, now: datetime, seed: str
) -> Memory:
    """Memory after a transfer that failed; the next attempt waits longer after every one in a row."""
    step = intents.TRANSFER_ERRORS if counts else intents.TRANSFER_OUTAGES
    started = intents.find(memory, intents.TRANSFER)
    ran_seconds = 0.0 if started is None else intents.age_seconds(started, now)
    if not counts and ran_seconds > LONG_RUN_SECONDS:
        memory = intents.drop(memory, step)  # the system had been there: a new outage
    memory = intents.begun(memory, step, now, creates=False)
    memory = replace(memory, failures=intents.tries(memory, step) - 1, next_try_at=None)
    return noted(memory, error, now=now, seed=seed, performing=False, may_end=False)


def concluded(memory: Memory, outcome: Outcome) -> Memory:
    """Memory with this outcome as the goal; clean-up starts with no failures of its own."""
    return replace(memory, outcome=outcome, failures=0, next_try_at=None)


def recovered(memory: Memory, now: datetime) -> Memory:
    """Memory after a tick without an error; a back-off that still runs is left alone."""
    if memory.next_try_at is not None and memory.next_try_at > now:
        return memory
    return replace(memory, failures=0, next_try_at=None)


def held_back(step: Step, memory: Memory, now: datetime) -> Wait | None:
    """The wait for the end of a back-off, when this step is one that a back-off holds."""
    if not step.waits_for_back_off or memory.next_try_at is None:
        return None
    error = memory.last_error
    waits_for_slot = error is not None and error.reason == NO_TRANSFER_SLOT
    if step.intent in (intents.TRANSFER, intents.COMPARE) and waits_for_slot:
        return None  # woken because a slot is free; asking for it costs nobody anything
    seconds = (memory.next_try_at - now).total_seconds()
    if seconds <= 0:
        return None
    reason, text = (error.reason, error.message) if error else ("BackingOff", "")
    return Wait(seconds, reason, f"trying again in {seconds:.0f} s: {text}")
