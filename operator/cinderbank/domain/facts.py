"""What was observed in a cloud and in a bank: frozen, in the field's own words and units.

Statuses are Cinder's and Glance's verbatim. Sizes of volumes and snapshots are GiB (Cinder's unit),
of images bytes (Glance's). Times are aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType

from cinderbank.domain.errors import CinderbankError

VolumeId = NewType("VolumeId", str)
SnapshotId = NewType("SnapshotId", str)
ImageId = NewType("ImageId", str)
BackupId = NewType("BackupId", str)
"""A ULID (26 Crockford base32 characters, upper case): sorts by the time it was minted."""

GIB = 1 << 30


def size_gib(size_bytes: int) -> int:
    """Bytes as whole GiB, rounded up."""
    return -(-size_bytes // GIB)


@dataclass(frozen=True, slots=True)
class VolumeEncryption:
    """How Cinder encrypts a volume, GET /v3/volumes/{id}/encryption; the key itself is the key manager's."""

    provider: str
    """luks, luks2, ..."""
    cipher: str
    """Such as aes-xts-plain64."""
    key_size_bits: int
    control_location: str = "front-end"
    key_id: str = ""
    """Of its secret in the key manager of its own site; means nothing at another one."""


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """A secret in a key manager, without its payload."""

    id: str


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """A Cinder volume, GET /v3/volumes/{id}."""

    id: VolumeId
    name: str
    status: str
    size_gib: int
    description: str = ""
    volume_type: str = ""
    availability_zone: str = ""
    bootable: bool = False
    encrypted: bool = False
    snapshot_id: SnapshotId | None = None
    created_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    image_metadata: Mapping[str, str] = field(default_factory=dict)
    encryption: VolumeEncryption | None = None
    """Looked up only for an encrypted volume whose key is escrowed."""


@dataclass(frozen=True, slots=True)
class VolumeTypeFacts:
    """A Cinder volume type that this project may use, GET /v3/{project}/types."""

    id: str
    name: str
    availability_zones: tuple[str, ...] | None = None
    """The only ones that it may be in (extra spec RESKEY:availability_zones); None is any."""


@dataclass(frozen=True, slots=True)
class QuotaLeft:
    """What a project may still make of volumes; None is without limit, or not told."""

    volumes: int | None
    gib: int | None


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """A Cinder snapshot, GET /v3/snapshots/{id}."""

    id: SnapshotId
    name: str
    status: str
    volume_id: VolumeId
    size_gib: int
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """A Glance image, GET /v2/images/{id}; sizes and hash are None until it is `active`."""

    id: ImageId
    name: str
    status: str
    disk_format: str = "raw"
    size_bytes: int | None = None
    virtual_size_bytes: int | None = None
    """Of the disk inside, where Glance looked for it; None also when it did not."""
    hash_algo: str | None = None
    hash_value: str | None = None
    created_at: datetime | None = None
    encryption_key_id: str | None = None
    """cinder_encryption_key_id: the secret that opens its ciphertext."""
    owns_key: bool = False
    """Whether Glance is to delete that secret with the image (on_image_deletion)."""


@dataclass(frozen=True, slots=True)
class UserMessage:
    """A Cinder user message, GET /v3/messages: the only place where background failures are told."""

    event_id: str
    text: str
    resource_id: str
    created_at: datetime
    request_id: str = ""


NOT_ENCRYPTED = "ManifestNotEncrypted"


@dataclass(frozen=True, slots=True)
class BankFacts:
    """What a bank holds of one backup; the four objects that decide its state."""

    intent: bool = False
    manifest: bool = False
    """Of a sealed one: that the very manifest is there that the seal names."""
    sealed: bool = False
    tombed: bool = False
    manifest_digest: str | None = None
    """`sha256:<hex>` of the manifest object, when there is one."""
    size_bytes: int | None = None
    stored_bytes: int | None = None
    zero_bytes: int | None = None
    reused_bytes: int | None = None
    base_id: BackupId | None = None
    """The earlier backup whose chunks it shares, when it does."""
    content_format: str | None = None
    """The disk image that the volume's own bytes look like; known while it is not sealed."""
    not_ours: str = ""
    """Why the manifest can not be what we wrote; empty when it may be. Nothing else is told of it then."""
    not_ours_reason: str = NOT_ENCRYPTED
    unreadable: CinderbankError | None = None
    """Why nobody can say here whether a sealed one is ours: a key that is missing, a newer version."""


@dataclass(frozen=True, slots=True)
class ChunkLook:
    """Whether the chunks of one backup are there, as far as it was looked."""

    total: int
    """Chunks of the volume; holes are among them, and are never missing."""
    looked: int
    missing: int
    """Of `looked`: not there, or known to be damaged."""
    problem: str = ""
    """Why it could not be looked further: an index that does not hold."""

    @property
    def is_whole(self) -> bool:
        return self.looked == self.total and not self.missing and not self.problem


@dataclass(frozen=True, slots=True)
class PreviousBackup:
    """The newest usable backup of a volume, as far as it tells of the next one."""

    size_bytes: int
    data_bytes: int | None = None
    """Of it that are not zeros; None when it was not counted."""
    content_format: str | None = None


@dataclass(frozen=True, slots=True)
class StoreCapabilities:
    """What an S3 store was seen to do when it was tried."""

    read_after_write: bool
    list_after_write: bool
    delete_visible: bool
    conditional_put: bool
    """One winner among many that create a key at once, and what is there is never overwritten."""
    range_reads: bool

    @property
    def fit(self) -> bool:
        """Whether a bank is safe there: what was acknowledged must be seen. The rest is told only."""
        return self.read_after_write and self.list_after_write and self.delete_visible


@dataclass(frozen=True, slots=True)
class BackupCount:
    """How much a bank holds, of one site or of all."""

    backups: int = 0
    stored_bytes: int | None = None
    """What these backups stored themselves, as their seals say; None until each was read. Chunks of a
    deleted backup that later ones still use are not in it."""
    newest: BackupId | None = None
    newest_snapshot_at: datetime | None = None
    """None also when its manifest can not be read (a key is missing, it is damaged)."""


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """How far a transfer is; counted in bytes of the volume but for `stored` (bytes in the bank)."""

    bytes_total: int
    bytes_processed: int
    bytes_stored: int = 0
    bytes_zero: int = 0
    bytes_reused: int = 0
    rate_bytes_per_second: float = 0.0
    eta_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TransferAbsent:
    """No process works on it, and none has ended since this operator started."""


@dataclass(frozen=True, slots=True)
class TransferRunning:
    progress: TransferProgress | None
    moved_at: datetime | None = None
    """When `bytes_processed` last grew (the start, before it ever did); None when nobody watches that."""


MAX_LOST_RANGES = 100


@dataclass(frozen=True, slots=True)
class LostRanges:
    """Parts of a volume that a salvage filled with zeros, in the volume's order."""

    count: int
    lost_bytes: int
    ranges: tuple[tuple[int, int], ...]
    """First and last byte of each; only the first MAX_LOST_RANGES are kept, `count` counts all."""


@dataclass(frozen=True, slots=True)
class TransferSucceeded:
    progress: TransferProgress
    content_hash: str
    """The manifest's, of a backup that was salvaged too: what it should be."""
    lost: LostRanges | None = None
    """Restore with salvage: what is zeros now; None when nothing is lost."""
    compared: bool = False
    """Of a drill: every byte of the scratch volume was compared with the backup."""
    different: LostRanges | None = None
    """Of that: the sectors (512 bytes) that differ; None when all is the same."""


@dataclass(frozen=True, slots=True)
class TransferFailed:
    reason: str
    message: str
    retryable: bool


TransferFacts = TransferAbsent | TransferRunning | TransferSucceeded | TransferFailed
