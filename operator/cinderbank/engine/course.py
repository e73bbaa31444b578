"""One tick, whatever the object is: the order of observing, intent, effect and publishing.

    observe ─► decide ─► intent (durable, with the optimistic lock) ─► one effect ─► publish ─► event

A crash between any two of these is met by the next tick: what was begun stands in memory before the
effect, and what happened is seen in the cloud and in the bank.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypeVar

from cinderbank.domain import failure, intents
from cinderbank.domain.conditions import PHASE_MESSAGES
from cinderbank.domain.errors import BrokenInvariant, CinderbankError, Conflict
from cinderbank.domain.record import Identity, LastError, Memory, Phase, Report
from cinderbank.domain.steps import (
    AddFinalizer,
    Conclude,
    DeleteClaim,
    DeleteImage,
    DeletePersistentVolume,
    DeleteSecret,
    DeleteSnapshot,
    DeleteVolume,
    Effect,
    Finish,
    ForgetTransfer,
    GiveBack,
    Idle,
    RemoveFinalizer,
    Step,
    Wait,
)
from cinderbank.ports.records import Records
from cinderbank.ports.transfers import Transfers

Look = TypeVar("Look")
"""What one kind observes."""
Taken = TypeVar("Taken", bound=Step)
"""The steps that one kind takes."""

LOOK_AGAIN_SECONDS = 0.05
"""After an effect: the cloud answers before it has done anything. A backup has a dozen effects, so a whole
second after each was most of the time of a small one (measured: 12 of 18 s). What is not there by
then is waited for as `poll_seconds` says."""

LEAST_WAIT_SECONDS = 0.1
"""A rest that rounds to nothing would be slept for ever: clocks count in microseconds."""


@dataclass(frozen=True, slots=True)
class TickResult:
    """What a tick did, for logs, metrics and the queue; memory and report are already published."""

    memory: Memory
    report: Report
    requeue_after_seconds: float | None
    """None: done until the object changes."""
    step: str
    """Class name of the step that was decided, e.g. CreateSnapshot; empty when none could be."""
    error: CinderbankError | None = None


class Course(Protocol[Look, Taken]):
    """One kind of object: how it is looked at, how it is moved on, how it is told."""

    identity: Identity
    memory: Memory
    """As it was when the tick began."""

    def observe(self, now: datetime) -> Look:
        """Look at all that the present state needs. Raises what the ports raise."""
        ...

    def remembered(self, observed: Look) -> Memory:
        """Memory with what the look has taught."""
        ...

    def decide(self, observed: Look) -> Taken: ...

    def perform(self, step: Taken, observed: Look, memory: Memory, now: datetime) -> Memory:
        """Do the one effect of a step that only this kind has; memory holds its intent already."""
        ...

    def phase(self, memory: Memory) -> Phase: ...

    def report(self, memory: Memory, observed: Look | None, waiting: Wait | None) -> Report: ...


def run(
    course: Course[Look, Taken], records: Records, transfers: Transfers | None, now: datetime
) -> TickResult:
    """One tick. Never raises an Exception."""
    memory = course.memory
    observed: Look | None = None
    step: Taken | None = None
    error: CinderbankError | None = None
    try:
        observed = course.observe(now)
        memory = course.remembered(observed)
        step = course.decide(observed)
        memory = _with_intent(memory, step, now)
        if step.durable:
            try:
                records.remember(memory, course.report(memory, observed, None))
            except CinderbankError as not_stored:
                return _not_stored(course, step, not_stored)
        memory = _perform(course, step, observed, memory, transfers, records, now)
        if not isinstance(step, ForgetTransfer):
            memory = failure.recovered(memory, now)
    except Exception as raised:  # noqa: BLE001  the edge of the engine: nothing may stop the others
        error = failure.as_cinderbank_error(raised)
        memory = failure.noted(
            memory, error, now=now, seed=course.identity.uid, performing=observed is not None
        )
    return _publish(course, records, memory, observed, step, error, now)


def run_blocked(
    course: Course[Look, Taken], records: Records, error: CinderbankError, now: datetime
) -> TickResult:
    """A tick that could not even begin: noted and told, never the end of the object."""
    memory = failure.noted(
        course.memory, error, now=now, seed=course.identity.uid, performing=False, may_end=False
    )
    return _publish(course, records, memory, None, None, error, now)


def is_offline(step: Step) -> bool:
    """Whether a step needs neither a cloud nor a bank."""
    return not isinstance(step, (Effect, GiveBack))


def _with_intent(memory: Memory, step: Step, now: datetime) -> Memory:
    match step:
        case (
            DeleteImage()
            | DeleteVolume()
            | DeleteSnapshot()
            | DeleteClaim()
            | DeletePersistentVolume()
            | DeleteSecret()
        ):
            return intents.delete_begun(memory, step.intent, step.resource_id, now)
        case _ if step.intent == intents.TRANSFER:
            # Before the start: no two attempts may ever write under the same number.
            memory = replace(memory, transfer_attempt=memory.transfer_attempt + 1)
            return intents.begun(memory, step.intent, now, creates=True)
        case _ if step.intent:
            return intents.begun(memory, step.intent, now, creates=step.durable)
        case _:
            return memory


def _perform(
    course: Course[Look, Taken],
    step: Taken,
    observed: Look,
    memory: Memory,
    transfers: Transfers | None,
    records: Records,
    now: datetime,
) -> Memory:
    """The steps that all kinds share; the others are the course's."""
    match step:
        case Idle() | Wait():
            return memory
        case GiveBack(error=error):
            raise error
        case AddFinalizer():
            records.add_finalizer()
            return memory
        case RemoveFinalizer():
            records.remove_finalizer()
            return memory
        case Conclude(outcome=outcome):
            if outcome.phase is Phase.FAILED:
                told = LastError(outcome.reason, outcome.message, now, retryable=False)
                memory = replace(memory, last_error=told)
            return failure.concluded(memory, outcome)
        case Finish(outcome=outcome):
            # What was begun has ended, and every settle window is over.
            return replace(failure.concluded(memory, outcome), completed_at=now, intents=())
        case ForgetTransfer(error=error, counts=counts) if transfers is not None:
            transfers.cancel()
            return failure.transfer_ended(
                memory, error, counts=counts, now=now, seed=course.identity.uid
            )
        case (
            DeleteImage(because=because)
            | DeleteVolume(because=because)
            | DeleteSnapshot(because=because)
        ):
            if because is not None:
                memory = replace(memory, last_error=_told(because, now))
            return course.perform(step, observed, memory, now)
        case _:
            return course.perform(step, observed, memory, now)


def _told(error: CinderbankError, now: datetime) -> LastError:
    """A failure that fresh tries still may mend."""
    return LastError(error.reason, error.message, now, True, error.request_id or "")


def _publish(
    course: Course[Look, Taken],
    records: Records,
    memory: Memory,
    observed: Look | None,
    step: Step | None,
    error: CinderbankError | None,
    now: datetime,
) -> TickResult:
    waiting = step if isinstance(step, Wait) else None
    name = "" if step is None else type(step).__name__
    try:
        report = course.report(memory, observed, waiting)
        if not _is_leaving(course.identity, step, error):
            records.publish(memory, report)
        _tell(course, records, memory)
    except CinderbankError as not_stored:
        return _not_stored(course, step, not_stored)
    return TickResult(memory, report, _requeue_seconds(memory, step, error, now), name, error)


def _is_leaving(identity: Identity, step: Step | None, error: CinderbankError | None) -> bool:
    """Whether there is nobody left to tell: the object is gone, or goes without us."""
    return identity.deleting and error is None and isinstance(step, (Idle, RemoveFinalizer))


def _not_stored(
    course: Course[Look, Taken], step: Step | None, error: CinderbankError
) -> TickResult:
    """The object could not be written: this tick never was, the next one looks anew."""
    seconds = 1.0 if isinstance(error, Conflict) else 5.0
    name = "" if step is None else type(step).__name__
    return TickResult(course.memory, course.report(course.memory, None, None), seconds, name, error)


def _requeue_seconds(
    memory: Memory, step: Step | None, error: CinderbankError | None, now: datetime
) -> float | None:
    if error is not None:
        if memory.next_try_at is None:
            return 0.0  # concluded
        return max(0.0, (memory.next_try_at - now).total_seconds())
    if isinstance(step, Wait):
        return max(step.seconds, LEAST_WAIT_SECONDS)
    if isinstance(step, Idle):
        return None
    return LOOK_AGAIN_SECONDS if isinstance(step, Effect) else 0.0


def _tell(course: Course[Look, Taken], records: Records, memory: Memory) -> None:
    """Events: each phase once, each trouble once, not each retry."""
    before = course.memory
    phase, outcome = course.phase(memory), memory.outcome
    if phase is not course.phase(before):
        failed = phase is Phase.FAILED
        message = PHASE_MESSAGES.get(phase, "") if outcome is None else outcome.message
        records.event(str(phase), message, warning=failed)
    error = memory.last_error
    if error is None or error == before.last_error:
        return
    if (
        before.last_error is None
        or before.last_error.reason != error.reason
        or before.failures == 0
    ):
        warning = error.reason != failure.NO_TRANSFER_SLOT
        records.event(error.reason, error.message, warning=warning)


def unexpected(step: Step) -> BrokenInvariant:
    """A step that this kind does not know: a rule and its `match` do not fit together."""
    return BrokenInvariant(f"no effect is written for the step {type(step).__name__}")
