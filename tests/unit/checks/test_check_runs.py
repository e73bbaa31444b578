"""BankCheck: from an object to a process to a status, and never a second look."""

from __future__ import annotations

from typing import Any

import pytest

from cinderbank.api.v1alpha1.bank_check import BankCheckStatus
from cinderbank.domain.errors import InvalidSpec, Unavailable
from cinderbank.kube.checks import CheckRuns, seed_of
from cinderbank.kube.known import Key, known_of
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.checks import (
    CheckAbsent,
    CheckEnded,
    CheckFailed,
    CheckProgress,
    CheckRequest,
    CheckRunning,
    DamagedBackup,
)
from tests.fakes.backups import BACKUP, SITE, VOLUME
from tests.fakes.checks import FakeCheckWorlds
from tests.fakes.clock import FakeClock

KEY = Key("BankCheck", "team", "all", "uid-1")
HALF = CheckProgress(50.0, 1, ok=1, chunks=10, chunks_read=5, bytes_read=4096)
LOST = DamagedBackup(BACKUP, SITE, VOLUME, "damaged", "1 chunks are missing", 4096, ((0, 4095),))


class Stage:
    def __init__(self, **spec: Any) -> None:
        self.clock = FakeClock()
        self.worlds = FakeCheckWorlds()
        self.forgotten: list[Key] = []
        self.errors: list[str] = []
        self.runs = CheckRuns(
            self.worlds, self.clock, self.forgotten.append, self.errors.append, 60.0
        )
        self.raw: Raw = {
            "kind": "BankCheck",
            "metadata": {"namespace": "team", "name": "all", "uid": "uid-1", "generation": 1},
            "spec": {"bankRef": {"name": "main"}, **spec},
        }

    def run(self) -> float | None:
        return self.runs.run(KEY, self.raw)

    @property
    def status(self) -> BankCheckStatus:
        return BankCheckStatus.read(self.raw["status"], "status")

    def conditions(self) -> dict[str, tuple[str, str]]:
        return {c.type: (c.status, c.reason) for c in self.status.conditions or ()}


def test_a_check_from_its_beginning_to_its_good_end() -> None:
    stage = Stage(level="Sample", samplePercent=5, backupID=BACKUP)
    assert stage.run() is not None
    assert stage.worlds.door.started == [CheckRequest("sample", BACKUP, 5, seed_of("uid-1"))]
    assert (stage.status.phase, stage.status.attempts) == ("Running", 1)
    assert stage.conditions()["Reconciling"] == ("True", "Checking")
    stage.worlds.door.facts = CheckRunning(HALF)
    stage.run()
    assert stage.status.progress is not None
    assert stage.status.progress.summary == "50 %  1 checked, none damaged"
    stage.worlds.door.facts = CheckEnded(CheckProgress(100.0, 2, ok=2))
    assert stage.run() is None
    assert stage.status.phase == "Completed"
    assert stage.status.completed_time is not None
    assert stage.conditions() == {"Ready": ("True", "Checked"), "Intact": ("True", "AllWhole")}
    assert stage.worlds.said == [("AllWhole", False)]


def test_what_has_ended_is_never_done_again() -> None:
    stage = Stage()
    stage.run()
    stage.worlds.door.facts = CheckEnded(CheckProgress(100.0, 1, ok=1))
    stage.run()
    stage.worlds.door.facts = CheckAbsent()  # the operator was started anew
    written = len(stage.worlds.statuses)
    assert stage.run() is None
    assert len(stage.worlds.door.started) == 1
    assert len(stage.worlds.statuses) == written
    assert stage.forgotten == [KEY]
    assert known_of(stage.raw).finished


def test_damage_is_told_with_its_ranges() -> None:
    stage = Stage()
    stage.run()
    stage.worlds.door.facts = CheckRunning(HALF, (LOST,))
    stage.run()
    assert stage.status.damaged is not None
    assert stage.status.damaged[0].lost == ("0-4095",)
    progress = CheckProgress(100.0, 2, ok=1, damaged=1)
    stage.worlds.door.facts = CheckEnded(progress, (LOST,), ("a report is locked",))
    stage.run()
    assert stage.status.phase == "Completed"
    assert stage.conditions()["Intact"] == ("False", "DamageFound")
    assert "locked" in str(stage.status.conditions)
    assert stage.worlds.said == [("DamageFound", True)]


def test_what_could_not_be_judged_is_no_clean_bill() -> None:
    stage = Stage()
    stage.run()
    stage.worlds.door.facts = CheckEnded(CheckProgress(100.0, 2, ok=1, unchecked=1))
    stage.run()
    assert stage.conditions()["Intact"] == ("Unknown", "NotAllJudged")


def test_a_line_that_does_not_fit_the_schema_is_left_out() -> None:
    stage = Stage()
    stage.run()
    forged = DamagedBackup("../x", SITE, VOLUME, "damaged", "p" * 9999, -5, ())
    long = DamagedBackup(BACKUP, SITE, VOLUME, "strange", "p" * 9999, -5, ((0, 1),) * 50)
    stage.worlds.door.facts = CheckRunning(HALF, (forged, *[long] * 40))
    stage.run()
    assert stage.status.damaged is not None
    assert len(stage.status.damaged) == 19
    assert stage.status.damaged[0].outcome == "unchecked"
    assert len(stage.status.damaged[0].lost) == 10


def test_a_restart_of_the_operator_begins_it_again_with_the_same_seed() -> None:
    stage = Stage(level="Sample", samplePercent=5)
    stage.run()
    first = stage.status.started_time
    stage.worlds.door.facts = CheckAbsent()
    stage.clock.advance(100)
    stage.run()
    assert stage.status.attempts == 2
    assert stage.status.started_time == first
    assert len({request.seed for request in stage.worlds.door.started}) == 1


def test_an_outage_is_tried_again_with_growing_pauses() -> None:
    stage = Stage()
    stage.run()
    pauses = []
    for _ in range(9):
        stage.worlds.door.facts = CheckFailed("BankUnavailable", "away", True)
        pause = stage.run()
        assert pause is not None
        assert stage.conditions()["Reconciling"] == ("True", "Retrying")
        assert stage.conditions()["Ready"] == ("False", "BankUnavailable")
        stage.clock.advance(pause / 2)
        assert stage.run() is not None
        assert stage.status.phase == "Pending", "not before its time"
        stage.clock.advance(pause)
        stage.run()
        assert stage.status.phase == "Running"
        pauses.append(pause)
    assert pauses == sorted(pauses)
    assert pauses[-1] <= 900
    assert stage.status.last_error is not None
    assert stage.status.attempts == 10


def test_what_trying_again_does_not_mend_fails() -> None:
    stage = Stage(backupID=BACKUP)
    stage.run()
    stage.worlds.door.facts = CheckFailed("BackupNotFound", "no such backup", False)
    assert stage.run() is None
    assert stage.status.phase == "Failed"
    assert stage.conditions()["Stalled"] == ("True", "BackupNotFound")
    assert stage.errors == ["BackupNotFound"]


def test_a_bank_that_is_not_ready_and_a_slot_that_is_taken_are_waited_for() -> None:
    stage = Stage()
    stage.worlds.missing = InvalidSpec("no bank", reason="BankNotFound")
    assert stage.run() == 60.0
    assert stage.status.phase == "Pending"
    assert stage.conditions()["Ready"] == ("False", "BankNotFound")
    stage.worlds.missing = None
    stage.worlds.door.refusal = Unavailable("one at a time", reason="NoCheckSlot")
    assert stage.run() == 60.0
    assert stage.conditions()["Ready"] == ("False", "NoCheckSlot")
    stage.worlds.door.refusal = None
    stage.run()
    assert stage.status.phase == "Running"


def test_a_deleted_one_ends_its_process() -> None:
    stage = Stage()
    stage.run()
    stage.raw["metadata"]["deletionTimestamp"] = "2026-11-22T20:00:00Z"
    assert stage.run() is None
    assert stage.forgotten == [KEY]


@pytest.mark.parametrize("status", [{"phase": "Sleeping"}, {"seed": "x"}])
def test_a_status_that_can_not_be_read_is_not_taken_for_a_new_object(status: Raw) -> None:
    stage = Stage()
    stage.raw["status"] = status
    with pytest.raises(InvalidSpec):
        stage.run()
    assert stage.worlds.door.started == []
