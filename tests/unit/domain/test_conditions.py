"""Conditions, read by kstatus' rules: what Flux and Argo CD would say."""

from __future__ import annotations

from typing import Any

import pytest

from cinderbank.domain.conditions import (
    Situation,
    backup_conditions,
    backup_phase,
    restore_conditions,
    restore_phase,
)
from cinderbank.domain.record import Condition, LastError, Memory, Outcome, Phase, Temporary
from tests.builders import LONG_AGO, intent, memory, restore_memory, snapshotted, temporary_volume
from tests.fakes.clock import START
from tests.gitops.kstatus import verdict

NO_SLOT = LastError("NoTransferSlot", "all transfer slots are in use", START, True)
OUTAGE = LastError("Unavailable", "Cinder does not answer", START, True)
REFUSED = LastError("Forbidden", "403", START, False)
BUG = LastError("InternalError", "oops", START, True)


def outcome(phase: Phase, *, final: bool) -> Outcome:
    return Outcome(phase, "SomeReason", "some message", LONG_AGO, final)


def situation(mem: Memory, **changes: Any) -> Situation:
    known: dict[str, Any] = {
        "memory": mem,
        "deleting": False,
        "working_reason": "Imaging",
        "working_message": "image x is saving",
        **changes,
    }
    return Situation(**known)


def kstatus(conditions: tuple[Condition, ...]) -> str:
    """What kstatus says of an object that was looked at and is not being deleted."""
    told = [{"type": c.type, "status": c.status} for c in conditions]
    return verdict({"metadata": {}, "status": {"conditions": told}})


ROWS: list[tuple[str, Situation, str]] = [
    ("new", situation(Memory()), "InProgress"),
    ("under way", situation(snapshotted()), "InProgress"),
    ("outage", situation(memory(failures=9, last_error=OUTAGE)), "InProgress"),
    ("outage is over", situation(memory(last_error=REFUSED)), "InProgress"),
    ("no rights", situation(memory(failures=1, last_error=REFUSED)), "Failed"),
    ("our bug", situation(memory(failures=1, last_error=BUG)), "Failed"),
    ("cleaning up", situation(memory(outcome=outcome(Phase.COMPLETED, final=False))), "InProgress"),
    (
        "cleaning up fails",
        situation(memory(outcome=outcome(Phase.COMPLETED, final=False), failures=3, last_error=OUTAGE)),
        "Current",
    ),
    (
        "a delete is repeated",
        situation(memory(intent("delete-image", tries=3), outcome=outcome(Phase.COMPLETED, final=False))),
        "Current",
    ),
    ("completed", situation(memory(outcome=outcome(Phase.COMPLETED, final=True))), "Current"),
    ("failing", situation(memory(outcome=outcome(Phase.FAILED, final=False))), "InProgress"),
    ("failed", situation(memory(outcome=outcome(Phase.FAILED, final=True))), "Failed"),
    ("canceled", situation(memory(outcome=outcome(Phase.CANCELED, final=True))), "Failed"),
    ("deleting", situation(memory(), deleting=True), "InProgress"),
    (
        "deleting, cloud away",
        situation(memory(failures=1, last_error=OUTAGE), deleting=True),
        "Failed",
    ),
    ("held", situation(memory(), deleting=True, working_reason="Held"), "Failed"),
]  # fmt: skip


@pytest.mark.parametrize(("told", "expected"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_kstatus(told: Situation, expected: str) -> None:
    for conditions in (backup_conditions(told), restore_conditions(told)):
        assert kstatus(conditions) == expected
        assert len({c.type for c in conditions}) == len(conditions)
        for condition in conditions:
            assert condition.status in ("True", "False", "Unknown")
            assert condition.reason.isalnum() and condition.reason[0].isupper()


def test_leftovers_are_named_by_id() -> None:
    left = Temporary("volume", temporary_volume().id, "cinderbank")
    told = situation(memory(outcome=outcome(Phase.FAILED, final=False)), temporaries=(left,))
    (cleaned,) = [c for c in backup_conditions(told) if c.type == "CleanedUp"]
    assert cleaned.status == "False" and "volume temp" in cleaned.message


@pytest.mark.parametrize(
    ("mem", "phase"),
    [
        (Memory(), Phase.PENDING),
        (memory(), Phase.SNAPSHOTTING),
        (snapshotted(intent("volume")), Phase.CLONING),
        (snapshotted(intent("volume"), intent("image")), Phase.IMAGING),
        (snapshotted(intent("image"), intent("transfer")), Phase.TRANSFERRING),
        (snapshotted(intent("transfer"), failures=2, last_error=NO_SLOT), Phase.QUEUED),
        (snapshotted(intent("transfer"), last_error=NO_SLOT), Phase.TRANSFERRING),
        (snapshotted(intent("transfer"), intent("seal")), Phase.COMMITTING),
        (snapshotted(outcome=outcome(Phase.FAILED, final=False)), Phase.CLEANING_UP),
        (snapshotted(outcome=outcome(Phase.FAILED, final=True)), Phase.FAILED),
    ],
)
def test_backup_phase(mem: Memory, phase: Phase) -> None:
    assert backup_phase(mem, deleting=False) is phase
    assert backup_phase(mem, deleting=True) is Phase.DELETING


@pytest.mark.parametrize(
    ("mem", "phase"),
    [
        (Memory(), Phase.PENDING),
        (restore_memory(), Phase.PENDING),
        (restore_memory(intent("image")), Phase.TRANSFERRING),
        (restore_memory(intent("transfer"), failures=1, last_error=NO_SLOT), Phase.QUEUED),
        (restore_memory(intent("image"), intent("volume")), Phase.CREATING_VOLUME),
    ],
)
def test_restore_phase(mem: Memory, phase: Phase) -> None:
    assert restore_phase(mem, deleting=False) is phase
