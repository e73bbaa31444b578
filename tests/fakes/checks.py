"""A check whose process a test plays."""

from __future__ import annotations

from typing import Any

from cinderbank.domain.errors import CinderbankError
from cinderbank.kube.known import Key
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.checks import CheckAbsent, CheckFacts, CheckRequest, CheckRunning


class FakeChecks:
    """`ports.checks.Checks` of one object."""

    def __init__(self) -> None:
        self.facts: CheckFacts = CheckAbsent()
        self.started: list[CheckRequest] = []
        self.refusal: CinderbankError | None = None

    def observe(self) -> CheckFacts:
        return self.facts

    def start(self, request: CheckRequest) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.started.append(request)
        self.facts = CheckRunning(None)


class FakeCheckWorlds:
    """An API server that keeps one object, and a bank that may be missing."""

    def __init__(self) -> None:
        self.door = FakeChecks()
        self.missing: CinderbankError | None = None
        self.said: list[tuple[str, bool]] = []
        self.statuses: list[dict[str, Any]] = []

    def checks(self, key: Key, bank_name: str) -> FakeChecks:
        if self.missing is not None:
            raise self.missing
        return self.door

    def write_status(self, raw: Raw, status: dict[str, Any]) -> None:
        self.statuses.append(status)
        raw["status"] = status

    def say(self, raw: Raw, reason: str, message: str, warning: bool) -> None:
        self.said.append((reason, warning))
