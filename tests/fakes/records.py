"""One stored object, and the view of it that one tick has."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from cinderbank.domain.errors import Conflict, SourceGone
from cinderbank.domain.record import BackupRecord, Memory, Report, RestoreRecord
from tests.fakes.faults import Faults

R = TypeVar("R", BackupRecord, RestoreRecord)


@dataclass
class FakeObject(Generic[R]):
    """The object as the API server has it."""

    record: R
    faults: Faults
    report: Report | None = None
    version: int = 0
    gone: bool = False
    events: list[tuple[str, str, bool]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    def open(self) -> FakeRecords[R]:
        return FakeRecords(self, self.version)

    def change(self, record: R) -> None:
        """Somebody edits it."""
        self.record = record
        self.version += 1

    def delete(self) -> None:
        """kubectl delete: at once without a finalizer."""
        self.change(replace(self.record, identity=replace(self.record.identity, deleting=True)))
        self.gone = not self.record.identity.has_finalizer


@dataclass
class FakeRecords(Generic[R]):
    stored: FakeObject[R]
    version: int

    def remember(self, memory: Memory, report: Report) -> None:
        with self.stored.faults.effect("remember"):
            self._write(memory, report)

    def publish(self, memory: Memory, report: Report) -> None:
        if memory == self.stored.record.memory and self._kept(report) == self.stored.report:
            return
        with self.stored.faults.effect("publish"):
            self._write(memory, report)

    def _write(self, memory: Memory, report: Report) -> None:
        self._check()
        self.stored.change(replace(self.stored.record, memory=memory))
        self.stored.report = self._kept(report)
        self.stored.reports.append(self.stored.report)
        self.version = self.stored.version

    def _kept(self, report: Report) -> Report:
        """What is shown: a report without progress leaves the last one."""
        last = None if self.stored.report is None else self.stored.report.progress
        return report if report.progress is not None else replace(report, progress=last)

    def _check(self) -> None:
        if self.stored.gone:
            raise SourceGone("the object is gone", reason="ObjectGone")
        if self.version != self.stored.version:
            raise Conflict("the object was changed")

    def add_finalizer(self) -> None:
        with self.stored.faults.effect("add_finalizer"):
            self._check()
            self._finalizer(True)

    def remove_finalizer(self) -> None:
        with self.stored.faults.effect("remove_finalizer"):
            self._finalizer(False)
            self.stored.gone = self.stored.record.identity.deleting

    def _finalizer(self, there: bool) -> None:
        identity = replace(self.stored.record.identity, has_finalizer=there)
        self.stored.change(replace(self.stored.record, identity=identity))
        self.version = self.stored.version

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        self.stored.events.append((reason, message, warning))
