"""Time and chance, so that the engine has none of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from cinderbank.domain.facts import BackupId


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware UTC."""
        ...


class Identities(Protocol):
    def mint_backup_id(self) -> BackupId:
        """A new ULID."""
        ...
