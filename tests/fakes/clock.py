"""Time and chance that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cinderbank.domain.facts import BackupId

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class FakeClock:
    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class FakeIdentities:
    """ULIDs that count."""

    def __init__(self) -> None:
        self.minted = 0

    def mint_backup_id(self) -> BackupId:
        self.minted += 1
        return BackupId(f"01JD{self.minted:022d}")
