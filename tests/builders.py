"""Facts and records with defaults; keyword-only, a test names only what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from cinderbank.domain.backup_steps import BackupObserved
from cinderbank.domain.facts import (
    GIB,
    BackupId,
    BankFacts,
    ImageFacts,
    ImageId,
    SnapshotFacts,
    SnapshotId,
    VolumeFacts,
    VolumeId,
)
from cinderbank.domain.record import (
    BackupRecord,
    BackupRequest,
    Identity,
    Intent,
    Memory,
    RestoreRecord,
    RestoreRequest,
    Transport,
)
from cinderbank.domain.restore_steps import FoundBackup, RestoreObserved
from tests.fakes.clock import START

BACKUP_ID = BackupId("01JD0000000000000000000001")
LONG_AGO = START - timedelta(minutes=5)


def identity(**changes: Any) -> Identity:
    return replace(Identity("shop", "db-nightly", "uid-1", 1, False, True), **changes)


def backup_request(**changes: Any) -> BackupRequest:
    return replace(BackupRequest(VolumeId("source"), None, "nightly"), **changes)


def restore_request(**changes: Any) -> RestoreRequest:
    return replace(RestoreRequest(BACKUP_ID, "", bank_name="main"), **changes)


def backup_record(**changes: Any) -> BackupRecord:
    record = BackupRecord(identity(has_finalizer=False), backup_request(), Memory())
    return replace(record, **changes)


def restore_record(**changes: Any) -> RestoreRecord:
    record = RestoreRecord(identity(has_finalizer=False), restore_request(), Memory())
    return replace(record, **changes)


def volume(**changes: Any) -> VolumeFacts:
    return replace(VolumeFacts(VolumeId("source"), "db", "in-use", 1, volume_type="ssd"), **changes)


def temporary_volume(status: str = "available", **changes: Any) -> VolumeFacts:
    return replace(VolumeFacts(VolumeId("temp"), "cinderbank", status, 1), **changes)


def snapshot(status: str = "available", **changes: Any) -> SnapshotFacts:
    facts = SnapshotFacts(SnapshotId("snap"), "s", status, VolumeId("source"), 1, LONG_AGO)
    return replace(facts, **changes)


def image(status: str = "active", **changes: Any) -> ImageFacts:
    size = GIB if status == "active" else None
    return replace(ImageFacts(ImageId("image"), "i", status, size_bytes=size), **changes)


def intent(step: str, *, at: datetime = LONG_AGO, **changes: Any) -> Intent:
    return replace(Intent(step, at), **changes)


def seen(step: str, *, at: datetime = LONG_AGO, tries: int = 1) -> Intent:
    return Intent(step, at, tries, resource_id=step, seen=True)


def memory(*intents: Intent, **changes: Any) -> Memory:
    """Of a backup whose source is pinned, whose session is open and which travels as Raw."""
    known = Memory(
        backup_id=BACKUP_ID,
        site="site-a",
        started_at=LONG_AGO,
        source=volume(),
        transport=Transport.RAW,
        intents=(seen("session"), *intents),
    )
    return replace(known, **changes)


def snapshotted(*intents: Intent, **changes: Any) -> Memory:
    """Of a backup whose snapshot has been available."""
    known = memory(seen("snapshot"), *intents, snapshot_taken_at=LONG_AGO, size_bytes=GIB)
    return replace(known, **changes)


def backup_observed(**changes: Any) -> BackupObserved:
    observed = BackupObserved(
        identity=identity(),
        request=backup_request(),
        memory=memory(),
        now=START,
        site="site-a",
        source=volume(),
        bank=BankFacts(intent=True),
    )
    return replace(observed, **changes)


def found_backup(**changes: Any) -> FoundBackup:
    return replace(FoundBackup("site-a", GIB, "sha512-data", LONG_AGO, volume()), **changes)


def restore_memory(*intents: Intent, **changes: Any) -> Memory:
    """Of a restore that has found its backup, told the bank that it reads, and travels as Raw."""
    known = Memory(
        backup_id=BACKUP_ID,
        site="site-a",
        source=volume(),
        size_bytes=GIB,
        content_hash="sha512-data",
        transport=Transport.RAW,
        intents=(seen("pin"), *intents),
    )
    return replace(known, **changes)


def restore_observed(**changes: Any) -> RestoreObserved:
    observed = RestoreObserved(
        identity=identity(), request=restore_request(), memory=restore_memory(), now=START
    )
    return replace(observed, **changes)
