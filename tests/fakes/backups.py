"""Backups made by the real writer on a fake store: the start of most tests about banks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from blake3 import blake3

from cinderbank.bank.bank import StoredBank
from cinderbank.bank.chunk import Envelope
from cinderbank.bank.geometry import Geometry, allocation_map
from cinderbank.bank.keyring import BackupKeys
from cinderbank.bank.manifest import SessionRef, SourceHash
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.writer import BackupWriter, encode_chunk
from cinderbank.domain.facts import BackupId, ImageFacts, ImageId, VolumeFacts, VolumeId
from cinderbank.ports.bank import BackupDescription
from cinderbank.ports.transfers import BackupTransfer

SITE = "site-a"
VOLUME = VolumeId("11111111-2222-4333-8444-555555555555")
BACKUP = BackupId("01KAPZ5J3VQ6Z0C4M8T2R7W9XE")
OTHER_BACKUP = BackupId("01KAPZ5J3VQ6Z0C4M8T2R7W9XF")
READER = "99999999-2222-4333-8444-555555555555"
IMAGE = ImageId("33333333-2222-4333-8444-555555555555")
CHUNK = 4096
NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)


def content_hash_of(content: bytes, chunk_bytes: int = CHUNK) -> str:
    """As docs/bank-format.md says it, by itself; of a backup that is not encrypted."""
    digests = []
    for first in range(0, len(content), chunk_bytes):
        chunk = content[first : first + chunk_bytes]
        digests.append(blake3(chunk).digest() if any(chunk) else bytes(32))
    return hashlib.sha256(b"".join(digests)).hexdigest()


def data_bytes_of(content: bytes, chunk_bytes: int = CHUNK) -> int:
    piece = chunk_bytes // 64
    pieces = (content[first : first + piece] for first in range(0, len(content), piece))
    return sum(len(each) for each in pieces if any(each))


def describe(content: bytes, stored: int = 0, backup_id: BackupId = BACKUP) -> BackupDescription:
    return BackupDescription(
        backup_id=backup_id,
        volume_id=VOLUME,
        site=SITE,
        size_bytes=len(content),
        backup_name="nightly",
        description="größer",
        snapshot_at=NOW,
        content_hash=content_hash_of(content),
        volume_name="db",
        volume_description="",
        volume_type="ssd",
        availability_zone="nova",
        bootable=True,
        volume_metadata={"owner": "me"},
        image_metadata={"hw_disk_bus": "scsi"},
        tags={"kind": "full"},
        stored_bytes=stored,
        data_bytes=data_bytes_of(content),
        transport="Raw",
    )


def bank_on(store: ObjectStore, site: str = SITE, **options: Any) -> StoredBank:
    return StoredBank(store, site, **{"now": lambda: NOW, **options})


def write_chunks(
    store: ObjectStore,
    content: bytes,
    *,
    bank_id: str,
    part_entries: int = 3,
    attempt: int = 1,
    backup_id: BackupId = BACKUP,
    keys: BackupKeys | None = None,
    site: str = SITE,
) -> None:
    """W3 and W4."""
    geometry = Geometry(len(content), CHUNK, part_entries)
    writer = BackupWriter(store, SessionRef(site, backup_id), VOLUME, attempt, geometry, keys)
    envelope, stored, zero = Envelope(keys), 0, 0
    for index in range(geometry.chunk_count):
        plain = content[index * CHUNK : index * CHUNK + geometry.chunk_length(index)]
        allocation = allocation_map(plain.ljust(CHUNK, b"\0"))
        if allocation:
            key = writer.chunk_key(index)
            stored += writer.put_chunk(encode_chunk(envelope, index, plain, allocation, key))
        else:
            writer.put_holes(index)
            zero += len(plain)
    description = replace(describe(content, stored, backup_id), site=site)
    writer.finish(description, bank_id, zero, SourceHash())


def back_up(
    store: ObjectStore,
    content: bytes,
    *,
    part_entries: int = 3,
    backup_id: BackupId = BACKUP,
    site: str = SITE,
    **options: Any,
) -> StoredBank:
    """W1 to W7; `options` are those of StoredBank."""
    bank = bank_on(store, site, **options)
    bank.open_session(site, backup_id, VOLUME)
    write_chunks(
        store,
        content,
        bank_id=bank.open().bank_id,
        part_entries=part_entries,
        backup_id=backup_id,
        keys=bank.writing_keys(),
        site=site,
    )
    bank.seal(site, backup_id, VOLUME)
    return bank


def sample(pieces: Iterable[str], tail: int = 0) -> bytes:
    """A volume of chunks: `z` zeros, `t` text, `r` noise, `s` sparse (one byte); and a tail."""
    made = {
        "z": bytes(CHUNK),
        "t": (b"all work and no play " * 200)[:CHUNK],
        "r": b"".join(hashlib.sha512(bytes([i])).digest() for i in range(CHUNK // 64)),
        "s": bytes(CHUNK - 1) + b"\x01",
    }
    return b"".join(made[piece] for piece in pieces) + made["r"][:tail]


def backup_transfer(content: bytes, attempt: int = 1) -> BackupTransfer:
    return BackupTransfer(
        site=SITE,
        backup_id=BACKUP,
        attempt=attempt,
        image=ImageFacts(IMAGE, "image", "active"),
        size_bytes=len(content),
        source=VolumeFacts(VOLUME, "db", "available", 1, metadata={"owner": "me"}),
        backup_name="nightly",
        description="",
        snapshot_at=NOW,
        tags={"a": "b"},
    )
