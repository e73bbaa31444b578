"""Moving the bytes, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from cinderbank.domain.facts import BackupId, ImageFacts, ImageId, TransferFacts, VolumeFacts


@dataclass(frozen=True, slots=True)
class BackupTransfer:
    """Glance image -> bank: chunks, index parts, manifest. Not the seal: that is the engine's commit."""

    site: str
    backup_id: BackupId
    attempt: int
    """1, 2, ...: part of every chunk's key, so that no key is ever written twice."""
    image: ImageFacts
    size_bytes: int
    """The volume's size; the image MUST be exactly that long."""
    source: VolumeFacts
    backup_name: str
    description: str
    snapshot_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RestoreTransfer:
    """Bank -> Glance image: sends the bytes into a `queued` image, or proves those of an `active` one."""

    site: str
    backup_id: BackupId
    attempt: int
    image_id: ImageId
    size_bytes: int
    salvage: bool = False
    """Zeros in place of what the bank has lost, instead of an error."""


@dataclass(frozen=True, slots=True)
class CompareTransfer:
    """Glance image <-> bank: whether an `active` image of a scratch volume holds what the backup does.
    Changes nothing anywhere."""

    site: str
    backup_id: BackupId
    image_id: ImageId
    size_bytes: int
    """Of the backup."""
    volume_bytes: int
    """Of the scratch volume; the image MUST be of a disk of that size. What lies behind the backup's end
    is not compared."""


@dataclass(frozen=True, slots=True)
class CopyTransfer:
    """Bank -> another bank: reads a sealed backup and ends with the seal of its copy. No cloud."""

    site: str
    """That wrote the backup, and so the one that its copy is of."""
    backup_id: BackupId
    copy_id: BackupId
    """In the other bank: the same, unless that bank has had a session of this id that is over."""
    size_bytes: int
    """The volume's size; the backup MUST be exactly that long."""
    allow_plain: bool = False
    """Whether what is encrypted may be written into a bank without keys."""


Transfer = BackupTransfer | RestoreTransfer | CompareTransfer | CopyTransfer


class Transfers(Protocol):
    """The transfers of one custom resource, at most one at a time.

    A transfer does not outlive the operator that started it: after a restart `observe` says absent
    and the engine starts the next attempt.
    """

    def observe(self) -> TransferFacts:
        """What the last started transfer does; absent when none was started in this process' life."""
        ...

    def start(self, transfer: Transfer) -> None:
        """Start it; returns at once. Raises Conflict while one runs, Unavailable when no slot is free."""
        ...

    def cancel(self) -> None:
        """End a running one (SIGTERM, then SIGKILL) and forget it; returns when no process is left. Idempotent."""
        ...
