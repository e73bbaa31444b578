"""VolumeBackups tell what their bank knows: only those that tell something else are written."""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import timedelta
from typing import Any

import pytest

from cinderbank.api.v1alpha1 import backup_status
from cinderbank.domain.errors import CinderbankError, Conflict, Unavailable
from cinderbank.domain.facts import BackupId
from cinderbank.domain.proofs import Backup, Found, Standing
from cinderbank.domain.record import Memory, Phase, Report
from cinderbank.kube.known import Key, key_of
from cinderbank.kube.policy_children import child_of
from cinderbank.kube.reconcile import Raw
from cinderbank.kube.verified import BATCH, INTERVAL, VerifiedRuns
from tests.fakes.clock import START, FakeClock

BANK = Key("BackupBank", "team", "main", "uid-bank")
DRILLED = Standing(START, Found.DRILL)


def backup_id(number: int) -> BackupId:
    return BackupId(f"01JD{number:022d}")


def backup(number: int, phase: str = "Completed", bank: str = "main") -> Raw:
    return {
        "kind": "VolumeBackup",
        "metadata": {
            "namespace": "team",
            "name": f"b{number}",
            "uid": f"uid-{number}",
            "generation": 1,
        },
        "spec": {"bankRef": {"name": bank}},
        "status": {
            "phase": phase,
            "observedGeneration": 1,
            "backupID": backup_id(number),
            "site": "a",
            "outcome": {"final": True, "phase": phase},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "Committed",
                    "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
        },
    }


class House:
    """The worlds, and the watches that tell what is written."""

    def __init__(self, *backups: Raw) -> None:
        self.clock = FakeClock()
        self.objects = {raw["metadata"]["name"]: raw for raw in backups}
        self.known: dict[Backup, Standing] = {}
        self.error: CinderbankError | None = None
        self.asked = 0
        self.written: list[str] = []
        self.refused: set[str] = set()
        self.said: list[tuple[str, str]] = []
        self.errors: list[str] = []
        self.banks_ran = 0
        self.bank: Raw = {
            "kind": "BackupBank",
            "metadata": {"namespace": "team", "name": "main", "uid": "uid-bank"},
        }
        self.runs = VerifiedRuns(self._banks, self, self.clock, self.errors.append)
        self.runs.see(self.bank)
        for raw in backups:
            self.runs.see(raw)

    def run(self) -> float | None:
        return self.runs.run(BANK, self.bank)

    def _banks(self, key: Key, raw: Raw) -> float | None:
        self.banks_ran += 1
        return 300.0

    def standings(self, namespace: str, bank: str, among: Set[Backup]) -> Mapping[Backup, Standing]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return {of: each for of, each in self.known.items() if of in among}

    def find(self, kind: str, namespace: str, name: str) -> Raw | None:
        return self.objects.get(name)

    def write_status(self, raw: Raw, status: dict[str, Any]) -> None:
        name = raw["metadata"]["name"]
        if name in self.refused:
            raise Conflict("somebody wrote it")
        self.written.append(name)
        self.objects[name] = {**raw, "status": status}
        self.runs.see(self.objects[name])

    def say(self, raw: Raw, reason: str, message: str, warning: bool) -> None:
        self.said.append((raw["metadata"]["name"], reason))

    def told(self, number: int) -> tuple[str, str, str | None]:
        status = self.objects[f"b{number}"]["status"]
        found = [each for each in status["conditions"] if each["type"] == "Verified"]
        first = found[0] if found else {"status": "", "reason": ""}
        return first["status"], first["reason"], status.get("verifiedTime")


def test_what_the_bank_knows_is_told_once() -> None:
    house = House(backup(1), backup(2))
    house.known[("a", backup_id(1))] = DRILLED
    assert house.run() == 300.0
    assert house.told(1) == ("True", "RestoreDrill", f"{START:%Y-%m-%dT%H:%M:%SZ}")
    assert house.told(2) == ("", "", None)
    house.clock.advance(INTERVAL.total_seconds() + 1)
    house.run()
    assert (house.written, house.asked) == (["b1"], 2)


def test_the_engine_s_own_status_keeps_it() -> None:
    """And nonsense in it stops nothing."""
    house = House(backup(1))
    house.known[("a", backup_id(1))] = DRILLED
    house.run()
    status = house.objects["b1"]["status"]
    read = backup_status.memory_of({"verifiedTime": 5, "backupID": backup_id(1)})
    assert read.backup_id == backup_id(1)
    again = backup_status.status_of(Memory(), Report(Phase.COMPLETED, ()), status, 1, START).dump()
    assert [each["type"] for each in again["conditions"]] == ["Verified"]
    assert again["verifiedTime"] == status["verifiedTime"]


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        (Standing(START, Found.FULL), ("True", "BankCheckFull")),
        (Standing(START, Found.SAMPLE), ("True", "BankCheckSample")),
        (Standing(START, Found.DRILL, START), ("False", "DrillFoundDifference")),
        (Standing(START, Found.DRILL, damaged=True), ("False", "DamageFound")),
    ],
)
def test_every_standing(standing: Standing, expected: tuple[str, str]) -> None:
    house = House(backup(1))
    house.known[("a", backup_id(1))] = standing
    house.run()
    status, reason, at = house.told(1)
    assert (status, reason) == expected
    assert (at is None) == (status == "False"), "no age of what is not so"


def test_damage_that_is_found_later_turns_it_and_mending_turns_it_back() -> None:
    labels = {
        "cinderbank.io/policy": "p",
        "cinderbank.io/volume-id": "11111111-2222-4333-8444-555555555555",
        "cinderbank.io/run": "20260101000000",
    }
    raw = backup(1)
    raw["metadata"] |= {"name": "p-11111111-2222-20260101000000", "labels": labels}
    house = House(raw)
    name, of = raw["metadata"]["name"], ("a", backup_id(1))
    states = []
    for standing in (DRILLED, Standing(START, Found.DRILL, damaged=True), DRILLED):
        house.known[of] = standing
        house.clock.advance(INTERVAL.total_seconds() + 1)
        house.run()
        child = child_of(house.objects[name])
        assert child is not None
        states.append(str(child.state))
    assert states == ["Good", "Lost", "Good"]
    assert house.said == [(name, "DamageFound")] and house.errors == ["DamageFound"]


@pytest.mark.parametrize(
    "ended",
    [
        {
            "kind": "BankCheck",
            "spec": {"bankRef": {"name": "main"}},
            "status": {"phase": "Completed"},
        },
        {
            "kind": "VolumeRestore",
            "spec": {"drill": True},
            "status": {"outcome": {"final": True}, "resolved": {"bank": "main"}},
        },
    ],
)
def test_the_end_of_a_check_or_a_drill_is_told_at_once(ended: Raw) -> None:
    house = House(backup(1))
    house.run()
    ended["metadata"] = {"namespace": "team", "name": "x", "uid": "uid-x"}
    assert house.runs.see({**ended, "status": {"phase": "Running"}}) is None
    assert house.runs.see(ended) == BANK
    assert house.runs.see(ended) is None, "once"
    house.known[("a", backup_id(1))] = DRILLED
    house.run()
    assert house.asked == 2 and house.told(1)[1] == "RestoreDrill"
    house.runs.drop(key_of(ended))
    assert house.runs.see(ended) == BANK


def test_a_restore_that_is_no_drill_wakes_nobody() -> None:
    house = House(backup(1))
    raw = {
        "kind": "VolumeRestore",
        "metadata": {"namespace": "team", "name": "r", "uid": "u"},
        "spec": {},
        "status": {"outcome": {"final": True}, "resolved": {"bank": "main"}},
    }
    assert house.runs.see(raw) is None


def test_many_are_told_in_batches() -> None:
    house = House(*(backup(n) for n in range(BATCH + 3)))
    house.known |= {("a", backup_id(n)): DRILLED for n in range(BATCH + 3)}
    assert house.run() == 1.0
    assert len(house.written) == BATCH
    house.clock.advance(1)
    house.run()
    assert len(set(house.written)) == BATCH + 3


def test_a_bank_that_is_away_is_asked_again_and_changes_nothing() -> None:
    house = House(backup(1))
    house.known[("a", backup_id(1))] = DRILLED
    house.run()
    house.error = Unavailable("away", reason="BankUnavailable")
    house.clock.advance(INTERVAL.total_seconds() + 1)
    assert house.run() == 60.0
    assert house.told(1)[0] == "True" and house.errors == ["BankUnavailable"]
    house.error = None
    house.clock.advance(timedelta(minutes=2).total_seconds())
    house.run()
    assert house.asked == 3


def test_what_is_written_meanwhile_is_told_the_next_time() -> None:
    house = House(backup(1), backup(2))
    house.known |= {("a", backup_id(n)): DRILLED for n in (1, 2)}
    house.refused = {"b1"}
    house.run()
    assert house.written == ["b2"]
    house.refused = set()
    house.clock.advance(INTERVAL.total_seconds() + 1)
    house.run()
    assert house.written == ["b2", "b1"]


def test_only_completed_ones_of_this_bank_and_of_this_uid() -> None:
    house = House(backup(1, "Failed"), backup(2, bank="far"), backup(3))
    house.known |= {("a", backup_id(n)): DRILLED for n in (1, 2, 3)}
    anew = backup(3)
    anew["metadata"]["uid"] = "another"
    house.objects["b3"] = anew
    house.run()
    assert house.written == []


def test_a_bank_without_backups_here_is_not_asked() -> None:
    house = House()
    assert house.run() == 300.0 and house.asked == 0
    house.runs.see(backup(1))
    house.runs.drop(key_of(backup(1)))
    house.run()
    assert house.asked == 0 and house.banks_ran == 2
