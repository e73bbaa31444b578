"""Checking backups of a bank, in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cinderbank.domain.facts import BackupId


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What to look at; `level` is manifest, existence, sample or full."""

    level: str
    backup_id: BackupId | None = None
    """None: every backup in the bank, of all sites."""
    sample_percent: int = 100
    seed: int = 0


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """How far a check is, or what it came to."""

    percent: float
    backups: int
    """So many were judged."""
    ok: int = 0
    damaged: int = 0
    unchecked: int = 0
    chunks: int = 0
    chunks_read: int = 0
    bytes_read: int = 0


@dataclass(frozen=True, slots=True)
class DamagedBackup:
    """One that is not whole, or that could not be judged (`outcome` unchecked)."""

    backup_id: str
    site: str
    volume_id: str
    outcome: str
    problem: str
    lost_bytes: int
    lost: tuple[tuple[int, int], ...]
    """First and last byte of some of the ranges of the volume that are lost."""


@dataclass(frozen=True, slots=True)
class CheckAbsent:
    """No process works on it, and none has ended since this operator started."""


@dataclass(frozen=True, slots=True)
class CheckRunning:
    progress: CheckProgress | None
    damaged: tuple[DamagedBackup, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckEnded:
    """It looked at everything; `damaged` is bounded, the counts are not."""

    progress: CheckProgress
    damaged: tuple[DamagedBackup, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckFailed:
    """It could not look: that says nothing about any backup."""

    reason: str
    message: str
    retryable: bool


CheckFacts = CheckAbsent | CheckRunning | CheckEnded | CheckFailed


class Checks(Protocol):
    """The check of one custom resource."""

    def observe(self) -> CheckFacts:
        """What the last started check does; absent when none was started in this process' life."""
        ...

    def start(self, request: CheckRequest) -> None:
        """Start it, or start it again; returns at once. Raises Conflict while it runs, Unavailable
        (NoCheckSlot) while too many others do."""
        ...
