"""Phase and conditions: what a user, kubectl, Argo CD and Flux read. Printed, never read back.

Ready, Reconciling and Stalled follow kstatus, which looks at Reconciling first, then at Stalled:

| situation | Ready | Reconciling | Stalled | kstatus says |
|---|---|---|---|---|
| under way, also backing off after an outage | False | True | False | InProgress |
| cannot go on until a human mends something, looked at on a slow beat | False | False | True | Failed |
| being deleted and something is unreachable, or held | False | False | True | (Terminating) |
| committed, clean-up under way | False | True | False | InProgress |
| committed, clean-up fails again and again | True | False | False | Current |
| Completed | True | False | False | Current |
| Failed, Canceled | False | False | True | Failed |

The fifth row is because a good backup, or a restored volume, is usable whatever is left behind: that
is told by CleanedUp=False.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cinderbank.domain import intents
from cinderbank.domain.cleanup import is_stubborn
from cinderbank.domain.deletion import HELD
from cinderbank.domain.failure import NO_TRANSFER_SLOT
from cinderbank.domain.record import Condition, LastError, Memory, Phase, Temporary

BACKUP_PHASES = (
    (intents.SEAL, Phase.COMMITTING),
    (intents.TRANSFER, Phase.TRANSFERRING),
    (intents.IMAGE, Phase.IMAGING),
    (intents.VOLUME, Phase.CLONING),
)
RESTORE_PHASES = (
    (intents.COMPARE, Phase.COMPARING),
    (intents.DRILL_IMAGE, Phase.IMAGING),
    (intents.VOLUME, Phase.CREATING_VOLUME),
    (intents.IMAGE, Phase.TRANSFERRING),
)
"""By the farthest step that was ever begun: a step that is done again does not turn a phase back. Only
Queued comes in between, while a transfer was asked for and others have the slots."""

PHASE_MESSAGES = {
    Phase.SNAPSHOTTING: "taking a snapshot of the volume",
    Phase.CLONING: "making a temporary volume of the snapshot",
    Phase.IMAGING: "uploading the temporary volume to an image",
    Phase.QUEUED: "waiting until a transfer slot is free",
    Phase.TRANSFERRING: "moving the data between image and bank",
    Phase.COMMITTING: "committing the backup to the bank",
    Phase.CREATING_VOLUME: "making the new volume of the image",
    Phase.COMPARING: "comparing the scratch volume with the backup",
    Phase.DELETING: "being deleted",
}


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything the conditions are made of."""

    memory: Memory
    deleting: bool
    working_reason: str
    """Why we wait, or the phase; CamelCase."""
    working_message: str
    temporaries: Sequence[Temporary] = ()


def backup_phase(memory: Memory, *, deleting: bool) -> Phase:
    begun = Phase.SNAPSHOTTING if memory.backup_id is not None else Phase.PENDING
    return _phase(memory, deleting, BACKUP_PHASES, begun)


def restore_phase(memory: Memory, *, deleting: bool) -> Phase:
    return _phase(memory, deleting, RESTORE_PHASES, Phase.PENDING)


def _phase(
    memory: Memory, deleting: bool, phases: Sequence[tuple[str, Phase]], begun: Phase
) -> Phase:
    if deleting:
        return Phase.DELETING
    if memory.outcome is not None:
        return memory.outcome.phase if memory.outcome.final else Phase.CLEANING_UP
    trouble = _trouble(memory)
    if trouble is not None and trouble.reason == NO_TRANSFER_SLOT:
        return Phase.QUEUED
    return next((phase for step, phase in phases if intents.find(memory, step)), begun)


def backup_conditions(s: Situation) -> tuple[Condition, ...]:
    return (*_kstatus(s), _accepted(s), _banked(s), _cleaned_up(s))


def restore_conditions(s: Situation, *, drill: bool = False) -> tuple[Condition, ...]:
    told = (*_kstatus(s), _accepted(s), _cleaned_up(s))
    return (*told, _verified(s.memory)) if drill else told


def _verified(memory: Memory) -> Condition:
    """Of a drill. That it could not be run says nothing about the backup."""
    drill, outcome = memory.drill, memory.outcome
    if drill is None or not drill.compared or outcome is None:
        reason = "NotCompared" if outcome is None else outcome.reason
        return Condition("Verified", "Unknown", reason, "the backup was not compared by this drill")
    if drill.different is None:
        return Condition("Verified", "True", "RestoreDrill", outcome.message)
    return Condition("Verified", "False", "DrillFoundDifference", outcome.message)


def _kstatus(s: Situation) -> tuple[Condition, ...]:
    outcome, trouble = s.memory.outcome, _trouble(s.memory)
    if s.working_reason == HELD:
        return _stalled(HELD, s.working_message)
    if s.deleting and trouble is not None:
        return _stalled(trouble.reason, trouble.message)
    if outcome is not None and outcome.final:
        if outcome.phase is Phase.COMPLETED:
            return _ready(outcome.reason, outcome.message)
        return _stalled(outcome.reason, outcome.message)
    if outcome is not None:
        if outcome.phase is Phase.COMPLETED and is_stubborn(s.memory):
            return _ready(outcome.reason, f"{outcome.message}; cleaning up after it still fails")
        return _reconciling("CleaningUp", f"{outcome.message}; {s.working_message}")
    if trouble is not None and _needs_a_human(trouble):
        return _stalled(trouble.reason, trouble.message)
    if trouble is not None:
        return _reconciling(trouble.reason, trouble.message)
    return _reconciling(s.working_reason, s.working_message)


def _trouble(memory: Memory) -> LastError | None:
    """The error that is being backed off from; None when the last tick went well."""
    return memory.last_error if memory.failures > 0 else None


def _needs_a_human(error: LastError) -> bool:
    return not error.retryable or error.reason == "InternalError"


def _ready(reason: str, message: str) -> tuple[Condition, ...]:
    return (
        Condition("Ready", "True", reason, message),
        Condition("Reconciling", "False", reason, ""),
        Condition("Stalled", "False", reason, ""),
    )


def _reconciling(reason: str, message: str) -> tuple[Condition, ...]:
    return (
        Condition("Ready", "False", reason, message),
        Condition("Reconciling", "True", reason, message),
        Condition("Stalled", "False", reason, ""),
    )


def _stalled(reason: str, message: str) -> tuple[Condition, ...]:
    return (
        Condition("Ready", "False", reason, message),
        Condition("Reconciling", "False", reason, ""),
        Condition("Stalled", "True", reason, message),
    )


def _accepted(s: Situation) -> Condition:
    if s.memory.source is not None:
        return Condition("Accepted", "True", "Accepted", "everything that it names was found")
    outcome, trouble = s.memory.outcome, _trouble(s.memory)
    if outcome is not None:
        return Condition("Accepted", "False", outcome.reason, outcome.message)
    if trouble is not None:
        return Condition("Accepted", "False", trouble.reason, trouble.message)
    return Condition("Accepted", "Unknown", "Pending", "not looked at yet")


def _banked(s: Situation) -> Condition:
    outcome = s.memory.outcome
    if outcome is None:
        return Condition("Banked", "False", "NotCommitted", "not committed to the bank yet")
    status = "True" if outcome.phase is Phase.COMPLETED else "False"
    return Condition("Banked", status, outcome.reason, outcome.message)


def _cleaned_up(s: Situation) -> Condition:
    outcome, left = s.memory.outcome, ", ".join(f"{t.kind} {t.id}" for t in s.temporaries)
    if outcome is not None and outcome.final:
        return Condition("CleanedUp", "True", "CleanedUp", "nothing temporary is left in the cloud")
    if outcome is None:
        if not left:
            return Condition("CleanedUp", "True", "NothingTemporary", "nothing temporary is there")
        return Condition("CleanedUp", "False", "InUse", f"in use: {left}")
    trouble = _trouble(s.memory)
    reason = "CleanUpFailing" if is_stubborn(s.memory) else "CleaningUp"
    parts = (f"left: {left}" if left else "", s.working_message, trouble.message if trouble else "")
    return Condition("CleanedUp", "False", reason, "; ".join(part for part in parts if part))
