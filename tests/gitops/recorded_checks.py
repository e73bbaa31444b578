"""BankCheck: what is written while its process looks, and when it has ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cinderbank.domain.errors import CinderbankError, InvalidSpec, Unavailable
from cinderbank.kube.checks import CheckRuns
from cinderbank.kube.known import BANK_CHECK, Key
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.checks import CheckEnded, CheckFacts, CheckFailed, CheckProgress, CheckRunning
from tests.fakes.checks import FakeCheckWorlds
from tests.fakes.clock import FakeClock
from tests.gitops.kstatus import CURRENT, FAILED, IN_PROGRESS, TERMINATING
from tests.gitops.recorded import Recorded, an_object, unseen

KEY = Key(BANK_CHECK, "shop", "db", "uid-1")
HALF = CheckProgress(50.0, 1, ok=1)

COURSES: list[tuple[str, CheckFacts, str, bool]] = [
    ("runs", CheckRunning(HALF), IN_PROGRESS, False),
    ("all is whole", CheckEnded(CheckProgress(100.0, 2, ok=2)), CURRENT, False),
    ("damage is found", CheckEnded(CheckProgress(100.0, 2, ok=1, damaged=1)), CURRENT, True),
    ("not all was judged", CheckEnded(CheckProgress(100.0, 2, ok=1, unchecked=1)), CURRENT, False),
    ("the bank is away", CheckFailed("BankUnavailable", "away", True), IN_PROGRESS, False),
    ("no such backup", CheckFailed("BackupNotFound", "no such backup", False), FAILED, False),
]
REFUSALS: list[tuple[str, CinderbankError, str]] = [
    ("no such bank", InvalidSpec("no bank", reason="BankNotFound"), FAILED),
    ("not looked at", Unavailable("not looked at yet", reason="BankNotReady"), IN_PROGRESS),
]


class Check:
    def __init__(self) -> None:
        self.worlds = FakeCheckWorlds()
        self.raw: Raw = an_object(BANK_CHECK, {}, spec={"bankRef": {"name": "main"}})
        self.runs = CheckRuns(self.worlds, FakeClock(), self._forget, self._error, 60.0)

    def run(self) -> dict[str, Any]:
        self.runs.run(KEY, self.raw)
        return {**self.raw}

    def _forget(self, key: Key) -> None:
        """Nothing is kept in memory here."""

    def _error(self, reason: str) -> None:
        """Counts are no part of a status."""


def record_checks() -> Iterator[Recorded]:
    yield unseen(BANK_CHECK)
    for situation, facts, expected, unsound in COURSES:
        check = Check()
        yield Recorded(f"{situation}: started", check.run(), IN_PROGRESS)
        check.worlds.door.facts = facts
        found = check.run()
        yield Recorded(situation, found, expected, unsound)
        deleted = {**found, "metadata": {**found["metadata"], "deletionTimestamp": "2026"}}
        yield Recorded(f"{situation}, being deleted", deleted, TERMINATING)
    for situation, error, expected in REFUSALS:
        check = Check()
        check.worlds.missing = error
        yield Recorded(f"{situation}, before it began", check.run(), expected)
        check = Check()
        check.worlds.door.refusal = error
        yield Recorded(f"{situation}, at its start", check.run(), expected)
        check = Check()
        check.run()
        check.worlds.missing = error
        yield Recorded(f"{situation}, while it runs", check.run(), expected)
