"""Which backup to restore, when it is named by what people know of it, and which one it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cinderbank.domain.facts import BackupId, VolumeId


@dataclass(frozen=True, slots=True)
class BackupSelector:
    """All that is set must fit; at least one of volume_id, volume_name, backup_name and tags is."""

    volume_id: VolumeId | None = None
    volume_name: str | None = None
    """A volume is known by the name that it had in its newest backup not later than `as_of`."""
    backup_name: str | None = None
    site: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    as_of: datetime | None = None
    """The snapshot must not be later; None is now."""
    require_verified: bool = False
    """Only a backup whose index holds and whose chunks were all seen to be there, just now."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The backup that fits a selector."""

    backup_id: BackupId
    site: str
    snapshot_at: datetime
    message: str
    """What was looked at, for the user."""


@dataclass(frozen=True, slots=True)
class NoneChosen:
    """No backup fits, or more than one volume does."""

    reason: str
    message: str


Selection = Chosen | NoneChosen


@dataclass(frozen=True, slots=True)
class Resolved:
    """What spec.source came to; never asked again."""

    backup_id: BackupId
    bank_name: str
    """The BackupBank that it is read from."""
    site: str
    snapshot_at: datetime
    reason: str
    message: str
