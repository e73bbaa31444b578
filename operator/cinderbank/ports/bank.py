"""The bank as the engine needs it; chunks and index parts are the transfer's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cinderbank.domain.facts import BackupId, BankFacts, ChunkLook, VolumeEncryption, VolumeId
from cinderbank.domain.selection import BackupSelector, Selection
from cinderbank.ports.key_manager import Secret


@dataclass(frozen=True, slots=True)
class BackupDescription:
    """What the manifest says of the volume; all of it is what was asked of Cinder, none of it trusted later."""

    backup_id: BackupId
    volume_id: VolumeId
    site: str
    size_bytes: int
    backup_name: str
    description: str
    snapshot_at: datetime
    content_hash: str
    """SHA-256 over the hashes of all chunks in order, 32 zero bytes for a hole; in hex."""
    volume_name: str
    volume_description: str
    volume_type: str
    availability_zone: str
    bootable: bool
    volume_metadata: dict[str, str]
    image_metadata: dict[str, str]
    tags: dict[str, str]
    stored_bytes: int
    reused_bytes: int = 0
    """Bytes of the volume whose chunks are an earlier backup's."""
    base_id: BackupId | None = None
    """The backup that this one was compared with; None when all of it was stored."""
    data_bytes: int | None = None
    """Bytes of the volume in 1/64 chunks that are not all zeros: what a restore has to move."""
    transport: str | None = None
    """How it travelled through Glance: Raw or Qcow2."""
    content_format: str | None = None
    """The disk image that the volume's own bytes look like (qcow2, vmdk, luks, ...), if any."""
    encryption: VolumeEncryption | None = None
    """Of an encrypted volume, whose key is then in the manifest: the bytes are its ciphertext."""


class Bank(Protocol):
    """One bank (bucket + prefix). Every method MAY raise Unavailable (reason BankUnavailable or
    BucketNotFound), AuthRefused, Forbidden (reason BankAccessDenied), DataCorrupt (an object is not
    what format 1 says), InvalidSpec (another bank than before, format too new).

    `site` is where the backup was written; ids are checked before they become keys.
    """

    def observe(self, site: str, backup_id: BackupId) -> BankFacts:
        """What is there of this backup. Idempotent read."""
        ...

    def previous(self, site: str, volume_id: VolumeId) -> BackupDescription | None:
        """The newest backup of this volume at this site that is sealed, not deleted and can be read;
        None when there is none. A session that is open is none. Idempotent read."""
        ...

    def keeps_secrets(self) -> bool:
        """Whether what is written is encrypted, so that a volume's key may be among it."""
        ...

    def escrowed_key(self, site: str, backup_id: BackupId) -> Secret:
        """The key of the encrypted volume that this sealed backup is of. Idempotent read. Raises
        SourceGone (BackupNotFound; EncryptionKeyNotFound when it holds none)."""
        ...

    def open_session(
        self, site: str, backup_id: BackupId, volume_id: VolumeId, *, incremental: bool = True
    ) -> None:
        """Put the intent (W1). Idempotent while the session was never closed; MUST be done before any chunk.

        With `incremental` it pins the newest usable backup of this volume at this site, which then
        lends its unchanged chunks; an intent that is there already stays as it is.
        """
        ...

    def seal(self, site: str, backup_id: BackupId, volume_id: VolumeId) -> str:
        """Commit (W5 to W7) a session whose manifest is there: returns `sha256:<hex>` of the manifest.

        Idempotent: a seal that is already there and names the same manifest is success. Raises
        SourceGone (reason SessionBroken) when the intent is gone and no seal is there.
        """
        ...

    def discard(self, site: str, backup_id: BackupId) -> bool:
        """Delete intent, chunks, index parts and manifest of a session that is NOT sealed; bounded work.

        True when nothing is left, False when the caller should call again. Idempotent. Raises
        BrokenInvariant on a sealed one.
        """
        ...

    def delete(self, site: str, backup_id: BackupId) -> bool:
        """Tomb a sealed backup, then free what no other backup uses, unless that is much: the rest
        is maintenance's. Bounded work.

        True when done, False when the caller should call again. Idempotent; unknown backup: True.
        """
        ...

    def find(
        self, backup_id: BackupId, site: str | None = None, volume_id: VolumeId | None = None
    ) -> BackupDescription | None:
        """The sealed, untombed backup of this id, site and volume; None when there is none.

        Without `site` the one that has it: SourceGone (BackupAmbiguous) when several have, whether they
        can be read or not. With it no other site is asked."""
        ...

    def select(self, selector: BackupSelector) -> Selection:
        """The newest backup that fits, of one volume. Bounded requests and memory, whatever the size of
        the bank; what can not be read is passed over and counted. Idempotent read."""
        ...

    def look_for_chunks(self, site: str, backup_id: BackupId) -> ChunkLook:
        """Whether its chunks are there: one LIST for a thousand, bounded. Idempotent read. Raises
        SourceGone (BackupNotFound)."""
        ...

    def note_drill(self, site: str, backup_id: BackupId, *, is_whole: bool) -> bool:
        """Note what a restore drill found; that it found a difference stays, and counts at this site,
        and at every site when this one wrote the backup.
        False when nothing was noted: a ReadOnly bank, or the backup is gone. Idempotent."""
        ...

    def pin(self, site: str, backup_id: BackupId, reader: str) -> None:
        """Read pin of a restore (`reader` is its uid); no-op on a ReadOnly bank. Idempotent."""
        ...

    def beat(self, session: str, site: str | None = None) -> None:
        """Say that somebody works at this session: a backup id and its site, or a reader's uid. Else
        maintenance takes it for dead after a day. No-op on a ReadOnly bank. Idempotent, and cheap: at
        most one request a minute for each."""
        ...

    def unpin(self, backup_id: BackupId, reader: str) -> None:
        """Take the read pin away; idempotent."""
        ...
