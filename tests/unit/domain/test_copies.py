"""What becomes of a copy, row by row; nothing here knows a bank."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cinderbank.domain import copies
from cinderbank.domain.copies import Copy, CopyPhase
from cinderbank.domain.facts import BackupId, TransferProgress
from tests.builders import BACKUP_ID
from tests.fakes.clock import START

OTHER_ID = BackupId("01JD0000000000000000000002")
LATER = START + timedelta(seconds=1)
DONE = TransferProgress(100, 100)


def copy(phase: CopyPhase = CopyPhase.PENDING, **fields: object) -> Copy:
    return Copy("offsite", BACKUP_ID, phase, changed_at=START, **fields)  # type: ignore[arg-type]


def test_copies_follow_what_is_asked_for_and_remember() -> None:
    known = [copy(CopyPhase.COMPLETED), Copy("old", BACKUP_ID)]
    found = copies.aligned(["new", "offsite"], known, BACKUP_ID, LATER)
    assert [each.bank for each in found] == ["new", "offsite"]
    assert found[0] == Copy("new", BACKUP_ID, changed_at=LATER)
    assert found[1] is known[0]


def test_completed_is_the_end() -> None:
    done = copies.completed(copy(CopyPhase.COPYING, failures=3), DONE, LATER)
    assert (done.phase, done.failures, done.next_try_at) == (CopyPhase.COMPLETED, 0, None)
    assert (done.completed_at, done.changed_at) == (LATER, LATER)
    assert not copies.is_due(done, LATER + timedelta(days=1000))
    assert copies.rest_seconds([done], LATER, 60) is None


@pytest.mark.parametrize(
    ("retryable", "phase", "seconds"),
    [(True, CopyPhase.RETRYING, [5, 10, 20, 300]), (False, CopyPhase.STALLED, [300, 600, 1200])],
)
def test_a_failure_is_tried_again_ever_more_slowly(
    retryable: bool, phase: CopyPhase, seconds: list[float]
) -> None:
    found = copy(CopyPhase.COPYING)
    for number, pause in enumerate(seconds):
        if pause == 300 and number:
            found = copy(CopyPhase.COPYING, failures=40)
        found = copies.failed(found, "R", "m", retryable=retryable, now=START, seed="uid")
        assert (found.phase, found.reason, found.message) == (phase, "R", "m")
        assert found.next_try_at is not None
        rest = (found.next_try_at - START).total_seconds()
        assert pause <= rest <= pause * 1.2
        assert not copies.is_due(found, START)
        assert copies.is_due(found, found.next_try_at)
        assert copies.rest_seconds([found], START, 60) == rest


def test_a_time_of_change_is_kept_while_the_phase_is() -> None:
    running = copies.running(copy(CopyPhase.COPYING), DONE, LATER)
    assert running.changed_at == START
    assert copies.queued(running, "NoTransferSlot", "m", LATER).changed_at == LATER


def test_a_start_counts_and_is_due_no_more_by_time() -> None:
    found = copies.started(copy(CopyPhase.RETRYING, attempts=2, next_try_at=START), LATER)
    assert (found.phase, found.attempts, found.next_try_at) == (CopyPhase.COPYING, 3, None)


def test_what_a_bank_must_be_mended_for_is_looked_at_on_the_slow_beat() -> None:
    for retryable in (True, False):
        found = copies.blocked(copy(), "BankNotFound", "m", retryable=retryable, now=LATER)
        assert copies.is_due(found, LATER)
        assert copies.rest_seconds([found], LATER, 60) == 60


def test_a_broken_session_takes_another_id_at_once() -> None:
    found = copies.anew(copy(CopyPhase.COPYING), OTHER_ID, LATER)
    assert (found.backup_id, found.phase, found.reason) == (
        OTHER_ID,
        CopyPhase.RETRYING,
        "SessionBroken",
    )
    assert copies.is_due(found, LATER)
    assert copies.rest_seconds([found], LATER, 60) == 0.1


def test_a_bank_that_can_not_delete_is_told_and_left() -> None:
    for reason in copies.CAN_NOT_DELETE:
        found = copies.not_deleted(
            copy(CopyPhase.COMPLETED), reason, "why", since=START, now=START, seed="uid"
        )
        assert (found.phase, found.reason) == (CopyPhase.LEFT, reason)
        assert "stays in bank offsite: why" in found.message


def test_a_bank_that_does_not_answer_is_asked_for_an_hour() -> None:
    found, now = copy(CopyPhase.COMPLETED), START
    while found.phase is not CopyPhase.LEFT:
        found = copies.not_deleted(found, "Unavailable", "m", since=START, now=now, seed="uid")
        assert now - START <= copies.DELETE_PATIENCE + timedelta(seconds=400)
        now = found.next_try_at or now
    assert now - START >= copies.DELETE_PATIENCE


def test_the_condition_is_true_when_all_are_there() -> None:
    assert copies.condition([]) is None
    done = copies.completed(copy(), DONE, LATER)
    told = copies.condition([done])
    assert told is not None
    assert (told.type, told.status, told.reason) == ("Copied", "True", "Copied")


def test_the_condition_tells_first_what_a_human_must_mend() -> None:
    waits = Copy("near", BACKUP_ID)
    stalled = copies.blocked(copy(), "BankNotFound", "make it", retryable=False, now=LATER)
    told = copies.condition([waits, stalled])
    assert told is not None
    assert (told.status, told.reason) == ("False", "BankNotFound")
    assert told.message == "near: not begun yet; offsite: make it"
