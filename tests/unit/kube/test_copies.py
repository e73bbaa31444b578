"""Copies of a VolumeBackup: when they begin, what status says, and that the backup is never touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cinderbank.api.v1alpha1 import backup_status
from cinderbank.api.v1alpha1.copies import read_copies
from cinderbank.domain.copies import DELETE_PATIENCE, Copy
from cinderbank.domain.errors import CinderbankError, Forbidden, InvalidSpec, Unavailable
from cinderbank.domain.facts import (
    BackupId,
    TransferAbsent,
    TransferFacts,
    TransferFailed,
    TransferProgress,
    TransferRunning,
    TransferSucceeded,
)
from cinderbank.domain.record import Memory, Outcome, Phase, Report
from cinderbank.kube.copies import CopyRuns
from cinderbank.kube.known import Key, key_of, known_of
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.transfers import CopyTransfer
from tests.unit.kube.test_runs import ENDED, NOW, raw

MINTED = BackupId("01JD0000000000000000000009")
ENDED_MEMORY = replace(ENDED, size_bytes=1 << 30)
PROGRESS = TransferProgress(100, 40)
SLOW = 60.0


@dataclass
class Stage:
    """`CopyWorlds`, a clock, a mint, and the backup's own work."""

    now_at: datetime = NOW
    facts: dict[str, TransferFacts] = field(default_factory=dict)
    refuses: dict[str, CinderbankError] = field(default_factory=dict)
    started: list[tuple[str, str, CopyTransfer]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    deletes: dict[str, list[bool | CinderbankError]] = field(default_factory=dict)
    deleted: list[tuple[str, str, str]] = field(default_factory=list)
    said: list[tuple[str, bool]] = field(default_factory=list)
    backup_ran: int = 0
    backup_wants: float | None = None
    torn_down: bool = False

    def now(self) -> datetime:
        return self.now_at

    def mint_backup_id(self) -> BackupId:
        return MINTED

    def backups(self, key: Key, found: Raw) -> float | None:
        self.backup_ran += 1
        return self.backup_wants

    def observe_copy(self, key: Key, bank_name: str) -> TransferFacts:
        return self.facts.get(bank_name, TransferAbsent())

    def start_copy(self, key: Key, source: str, target: str, transfer: CopyTransfer) -> None:
        if target in self.refuses:
            raise self.refuses[target]
        self.started.append((source, target, transfer))
        self.facts[target] = TransferRunning(None)

    def forget_copy(self, key: Key, bank_name: str) -> None:
        self.forgotten.append(bank_name)
        self.facts.pop(bank_name, None)

    def delete_copy(self, namespace: str, bank_name: str, site: str, copy: Copy) -> bool:
        self.deleted.append((bank_name, site, copy.backup_id))
        answer = self.deletes.get(bank_name, [True]).pop(0)
        if isinstance(answer, CinderbankError):
            raise answer
        return answer

    def is_torn_down(self, key: Key) -> bool:
        return self.torn_down

    def write_status(self, found: Raw, status: dict[str, Any]) -> None:
        found["status"] = status

    def say(self, found: Raw, reason: str, message: str, warning: bool) -> None:
        self.said.append((reason, warning))

    def run(self, found: Raw) -> float | None:
        runs = CopyRuns(self.backups, self, self, self, SLOW)
        return runs.run(key_of(found), found)


def backup(*banks: str, memory: Memory = ENDED_MEMORY, **options: Any) -> Raw:
    found = raw(memory=memory, **options)
    found["spec"]["copies"] = [{"bankRef": {"name": bank}} for bank in banks]
    return found


def copies_of(found: Raw) -> dict[str, tuple[str, str]]:
    return {each.bank: (each.phase, each.reason) for each in read_copies(found["status"])}


def condition_of(found: Raw, kind: str = "Copied") -> tuple[str, str] | None:
    rows = [each for each in found["status"]["conditions"] if each["type"] == kind]
    assert len(rows) <= 1
    return (rows[0]["status"], rows[0]["reason"]) if rows else None


def test_a_backup_without_copies_costs_nothing() -> None:
    stage, found = Stage(), raw(memory=ENDED_MEMORY)
    before = dict(found["status"])
    assert stage.run(found) is None
    assert (stage.backup_ran, found["status"]) == (1, before)


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.CANCELED, None])
def test_only_a_completed_backup_is_copied(phase: Phase | None) -> None:
    outcome = None if phase is None else Outcome(phase, "R", "m", NOW, final=True)
    stage, found = Stage(backup_wants=5.0), backup("far", memory=replace(ENDED, outcome=outcome))
    assert stage.run(found) == 5.0
    assert (stage.started, "copies" in found["status"]) == ([], False)


def test_a_completed_backup_is_copied_under_its_own_id() -> None:
    stage, found = Stage(), backup("far", "near")
    assert stage.run(found) == SLOW
    asked = CopyTransfer("site-a", BackupId(str(ENDED.backup_id)), MINTED, 1 << 30)
    asked = replace(asked, copy_id=asked.backup_id)
    assert stage.started == [("main", "far", asked), ("main", "near", asked)]
    assert copies_of(found) == {"far": ("Copying", "Copying"), "near": ("Copying", "Copying")}
    assert condition_of(found) == ("False", "Copying")
    assert found["status"]["phase"] == "Completed"


def test_plain_copies_are_what_the_user_allows() -> None:
    stage, found = Stage(), backup("far")
    found["spec"]["copies"][0]["plainCopy"] = "Allowed"
    stage.run(found)
    assert stage.started[0][2].allow_plain


def test_progress_and_the_end_are_told_and_then_it_rests() -> None:
    stage, found = Stage(), backup("far")
    stage.run(found)
    stage.facts["far"] = TransferRunning(PROGRESS)
    stage.run(found)
    assert found["status"]["copies"][0]["progress"]["percent"] == 40
    stage.facts["far"] = TransferSucceeded(replace(PROGRESS, bytes_processed=100), "ab")
    assert stage.run(found) is None
    assert copies_of(found) == {"far": ("Completed", "Copied")}
    assert condition_of(found) == ("True", "Copied")
    assert found["status"]["copies"][0]["progress"]["percent"] == 100
    assert stage.said == [("Copied", False)]
    assert known_of(found).finished
    before, stage.facts = found["status"], {}
    assert stage.run(found) is None
    assert found["status"] == before
    assert len(stage.started) == 1


def test_until_then_it_is_not_finished_and_its_banks_wake_it() -> None:
    known = known_of(backup("far"))
    assert not known.finished
    assert known.references == {("BackupBank", "main"), ("BackupBank", "far")}


def test_a_failure_is_told_backed_off_from_and_spoils_nothing() -> None:
    stage, found = Stage(), backup("far")
    stage.run(found)
    ready = condition_of(found, "Ready")
    stage.facts["far"] = TransferFailed("BankUnavailable", "no room", retryable=True)
    seconds = stage.run(found)
    assert seconds is not None
    assert 5 <= seconds <= 6
    assert copies_of(found) == {"far": ("Retrying", "BankUnavailable")}
    assert condition_of(found) == ("False", "BankUnavailable")
    assert condition_of(found, "Ready") == ready
    assert (found["status"]["phase"], stage.said) == ("Completed", [("BankUnavailable", True)])
    assert stage.run(found) == seconds, "not before its time"
    assert len(stage.started) == 1
    stage.now_at += timedelta(seconds=7)
    stage.run(found)
    assert len(stage.started) == 2
    assert found["status"]["copies"][0]["attempts"] == 2
    assert found["status"]["copies"][0]["failures"] == 1


def test_what_a_human_must_mend_is_stalled_and_looked_at_now_and_then() -> None:
    stage, found = Stage(), backup("far")
    stage.run(found)
    stage.facts["far"] = TransferFailed("CopyWouldBePlain", "give it a key", retryable=False)
    seconds = stage.run(found)
    assert seconds is not None
    assert 300 <= seconds <= 360
    assert copies_of(found) == {"far": ("Stalled", "CopyWouldBePlain")}


def test_one_that_moves_nothing_is_ended_and_begun_anew() -> None:
    stage, found = Stage(), backup("far")
    found["spec"]["timeouts"] = {"noProgress": "5m"}
    stage.run(found)
    stage.facts["far"] = TransferRunning(PROGRESS, NOW - timedelta(seconds=299))
    stage.run(found)
    assert copies_of(found) == {"far": ("Copying", "Copying")}
    stage.facts["far"] = TransferRunning(PROGRESS, NOW - timedelta(seconds=300))
    stage.run(found)
    assert copies_of(found) == {"far": ("Retrying", "NoProgress")}
    assert stage.forgotten == ["far"]


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (InvalidSpec("not there", reason="BankNotFound"), "Stalled"),
        (Unavailable("not Ready", reason="BankNotReady"), "Retrying"),
        (Unavailable("all in use", reason="NoTransferSlot"), "Pending"),
    ],
)
def test_a_copy_that_can_not_begin_says_why(error: CinderbankError, phase: str) -> None:
    stage, found = Stage(refuses={"far": error}), backup("far", "near")
    assert stage.run(found) == SLOW
    assert copies_of(found) == {"far": (phase, error.reason), "near": ("Copying", "Copying")}
    stage.refuses = {}
    stage.run(found)
    assert copies_of(found)["far"] == ("Copying", "Copying")


def test_an_operator_that_starts_again_goes_on() -> None:
    stage, found = Stage(), backup("far")
    stage.run(found)
    stage.facts.clear()  # its children died with it
    stage.run(found)
    assert len(stage.started) == 2
    assert copies_of(found) == {"far": ("Copying", "Copying")}


def test_a_session_that_the_other_bank_has_ended_is_made_anew_under_another_id() -> None:
    stage, found = Stage(), backup("far")
    stage.run(found)
    stage.facts["far"] = TransferFailed("SessionBroken", "over", retryable=False)
    assert stage.run(found) == 0.1
    assert found["status"]["copies"][0]["backupID"] == MINTED
    assert found["status"]["backupID"] == ENDED.backup_id
    stage.run(found)
    assert stage.started[-1][2].copy_id == MINTED


def test_a_bank_can_be_added_later_and_taken_away() -> None:
    stage, found = Stage(facts={"far": TransferSucceeded(PROGRESS, "ab")}), backup("far")
    assert stage.run(found) is None
    found["spec"]["copies"].append({"bankRef": {"name": "near"}})
    stage.run(found)
    assert copies_of(found) == {"far": ("Completed", "Copied"), "near": ("Copying", "Copying")}
    del found["spec"]["copies"][1]
    assert stage.run(found) is None
    assert stage.forgotten[-1] == "near"
    assert copies_of(found) == {"far": ("Completed", "Copied")}
    del found["spec"]["copies"]
    assert stage.run(found) is None
    assert ("copies" in found["status"], condition_of(found)) == (False, None)


@pytest.mark.parametrize("nonsense", ["x", [1], [{"bank": "far"}], [{"bank": "far", "phase": "?"}]])
def test_a_forged_status_is_made_anew(nonsense: object) -> None:
    stage, found = Stage(), backup("far")
    found["status"]["copies"] = nonsense
    stage.run(found)
    assert copies_of(found) == {"far": ("Copying", "Copying")}


def test_the_backups_own_status_keeps_what_is_said_of_copies() -> None:
    stage, found = Stage(facts={"far": TransferSucceeded(PROGRESS, "ab")}), backup("far")
    stage.run(found)
    before = found["status"]
    memory, report = backup_status.memory_of(before), Report(Phase.COMPLETED, ())
    after = backup_status.status_of(memory, report, before, 1, NOW).dump()
    assert after["copies"] == before["copies"]
    assert after["conditions"] == [
        each for each in before["conditions"] if each["type"] == "Copied"
    ]


# Deleting.


def leaving(
    change: Callable[[Raw], None] = lambda found: None, **options: Any
) -> tuple[Stage, Raw]:
    stage = Stage(facts={"far": TransferSucceeded(PROGRESS, "ab")})
    found = backup("far", "near")
    stage.run(found)
    found["metadata"] = backup("far", deleting=True, **options)["metadata"]
    found["spec"]["deletionPolicy"] = "Delete"
    change(found)
    stage.backup_ran, stage.said = 0, []
    return stage, found


def test_copies_go_first_the_half_one_too() -> None:
    stage, found = leaving()
    assert stage.run(found) == 0.1
    assert stage.deleted == [
        ("far", "site-a", str(ENDED.backup_id)),
        ("near", "site-a", str(ENDED.backup_id)),
    ]
    assert "near" in stage.forgotten, "its process has ended before"
    assert copies_of(found) == {"far": ("Deleted", "Deleted"), "near": ("Deleted", "Deleted")}
    assert stage.backup_ran == 0
    stage.run(found)
    assert stage.backup_ran == 1
    assert len(stage.deleted) == 2


def test_what_was_never_begun_waits_for_nobody() -> None:
    stage, found = leaving()
    found["status"]["copies"][1]["attempts"] = 0
    stage.deletes["near"] = [Unavailable("no answer", reason="BankUnavailable")]
    stage.run(found)
    assert copies_of(found)["near"] == ("Deleted", "Deleted")


def test_much_is_deleted_bit_by_bit() -> None:
    stage, found = leaving()
    stage.deletes["far"] = [False, True]
    stage.run(found)
    assert copies_of(found)["far"] == ("Deleting", "Deleting")
    stage.run(found)
    assert copies_of(found)["far"] == ("Deleted", "Deleted")


@pytest.mark.parametrize(
    ("change", "finalizer", "torn_down"),
    [
        (lambda found: found["spec"].update(deletionPolicy="Retain"), True, False),
        (lambda found: found["spec"].update(hold=True), True, False),
        (lambda found: None, False, False),
        (lambda found: None, True, True),
    ],
    ids=["retain", "hold", "released", "torn-down"],
)
def test_copies_stay(change: Callable[[Raw], None], finalizer: bool, torn_down: bool) -> None:
    stage, found = leaving(change, finalizer=finalizer)
    stage.torn_down = torn_down
    stage.run(found)
    assert (stage.deleted, stage.backup_ran) == ([], 1)
    assert {"far", "near"} <= set(stage.forgotten)


def test_a_bank_that_can_not_delete_holds_nothing_up_and_is_told() -> None:
    stage, found = leaving()
    stage.deletes["far"] = [Forbidden("ReadOnly here", reason="BankReadOnly")]
    stage.run(found)
    assert copies_of(found)["far"] == ("Left", "BankReadOnly")
    assert ("BankReadOnly", True) in stage.said
    stage.run(found)
    assert stage.backup_ran == 1


def test_a_bank_that_does_not_answer_holds_it_up_for_an_hour() -> None:
    stage, found = leaving()
    away = Unavailable("no answer", reason="BankUnavailable")
    stage.deletes["far"] = [away] * 1000
    stage.run(found)
    assert copies_of(found)["far"] == ("Deleting", "BankUnavailable")
    seconds = stage.run(found)
    assert seconds is not None
    assert seconds > 1
    assert stage.backup_ran == 0
    since = datetime.fromisoformat(found["metadata"]["deletionTimestamp"])
    stage.now_at = since.astimezone(UTC) + DELETE_PATIENCE
    stage.run(found)
    assert copies_of(found)["far"] == ("Left", "BankUnavailable")
    stage.run(found)
    assert stage.backup_ran == 1
