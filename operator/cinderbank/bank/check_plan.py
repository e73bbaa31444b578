"""What a check is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from cinderbank.bank.catalog import Filter
from cinderbank.bank.ranges import Ranges
from cinderbank.domain.facts import BackupId, VolumeId


class Level(StrEnum):
    """How hard to look; each includes the one before it."""

    MANIFEST = "manifest"
    """Seal, manifest and every index part, hashes compared."""
    EXISTENCE = "existence"
    """Also that every chunk is there and not of an impossible size: one LIST per 1000 chunks."""
    SAMPLE = "sample"
    """Also that some of the chunks hold what the index says."""
    FULL = "full"
    """Also that all of them do: reads every stored byte once."""


class Outcome(StrEnum):
    OK = "ok"
    DAMAGED = "damaged"
    UNCHECKED = "unchecked"
    """Of a newer cinderbank, or encrypted with a key that is not here: nothing is known."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to check. `sample_percent` and `seed` are for level sample: the same seed, the same chunks."""

    level: Level
    wanted: Filter = field(default_factory=Filter)
    backup_id: BackupId | None = None
    sample_percent: float = 100.0
    seed: int = 0
    workers: int = 2

    @property
    def covers_all(self) -> bool:
        return self.backup_id is None and self.wanted == Filter()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one backup. Ranges are of chunks; `chunk_bytes` and `size_bytes` (None when
    the manifest can not be read) make bytes of them."""

    site: str
    backup_id: BackupId
    volume_id: VolumeId
    outcome: Outcome
    problem: str = ""
    missing: Ranges = field(default_factory=Ranges)
    bad: Ranges = field(default_factory=Ranges)
    chunk_bytes: int = 0
    size_bytes: int | None = None

    def lost(self) -> Iterator[tuple[int, int]]:
        """First and last byte of the volume's ranges that can not be restored, in order."""
        both = Ranges([*self.missing, *self.bad])
        for first, last in both:
            end = (last + 1) * self.chunk_bytes
            yield first * self.chunk_bytes, min(end, self.size_bytes or end) - 1

    def lost_bytes(self) -> int:
        return sum(last - first + 1 for first, last in self.lost())


@dataclass(slots=True)
class Tally:
    """How far a check is, and at its end what it came to."""

    backups_total: int = 0
    ok: int = 0
    damaged: int = 0
    unchecked: int = 0
    chunks: int = 0
    """Distinct chunks whose existence was looked at."""
    chunks_read: int = 0
    bytes_read: int = 0
    """Stored bytes that were read and compared."""
    percent: float = 0.0
    unreadable_reports: tuple[str, ...] = ()
    reports_kept: tuple[str, ...] = ()
    """Reports of damage that is mended and which the store refused to delete."""
