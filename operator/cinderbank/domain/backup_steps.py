"""What a backup's rules see, and what they may answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cinderbank.domain import intents
from cinderbank.domain.claim import ClaimedVolume, ClaimFacts, PersistentVolumeFacts
from cinderbank.domain.errors import CinderbankError
from cinderbank.domain.facts import (
    BackupId,
    BankFacts,
    ImageFacts,
    PreviousBackup,
    SnapshotFacts,
    TransferAbsent,
    TransferFacts,
    UserMessage,
    VolumeFacts,
    VolumeId,
)
from cinderbank.domain.record import BackupRequest, Identity, Memory, TransportChoice
from cinderbank.domain.steps import (
    AddFinalizer,
    CancelTransfer,
    Conclude,
    DeleteImage,
    DeleteSecret,
    DeleteSnapshot,
    DeleteVolume,
    Effect,
    FallBack,
    Finish,
    ForgetTransfer,
    GiveBack,
    Idle,
    RemoveFinalizer,
    Step,
    Wait,
)


@dataclass(frozen=True, slots=True)
class BackupObserved:
    """One look at everything; resources are those that carry our tag, oldest first.

    Volumes are read before images: a volume that is `available` then had finished its upload before
    the image was looked at, so an image that is not `active` has failed.
    """

    identity: Identity
    request: BackupRequest
    memory: Memory
    now: datetime
    site: str
    source: VolumeFacts | None = None
    """The source volume, while it still matters: until the snapshot is there."""
    source_ids: tuple[VolumeId, ...] = ()
    """All volumes that `volume_name` names."""
    claim: ClaimFacts | None = None
    """The claim that `claim_name` names, until a volume is pinned."""
    claim_volume: PersistentVolumeFacts | None = None
    """The persistent volume that it names."""
    keeps_secrets: bool = False
    """Whether the bank encrypts what it holds; looked up only for an encrypted volume."""
    given: SnapshotFacts | None = None
    """The snapshot that `snapshot_id` names, until there is a volume of it; never among `snapshots`."""
    snapshots: Sequence[SnapshotFacts] = ()
    volumes: Sequence[VolumeFacts] = ()
    images: Sequence[ImageFacts] = ()
    transfer: TransferFacts = field(default_factory=TransferAbsent)
    bank: BankFacts | None = field(default_factory=BankFacts)
    """None when it could not be read and clean-up in the cloud goes on without it; see bank_error."""
    bank_error: CinderbankError | None = None
    previous: PreviousBackup | None = None
    """Looked up only until a transport is chosen."""
    messages: Sequence[UserMessage] = ()
    """Cinder's messages about our snapshot and temporary volume since they were begun, newest first."""


@dataclass(frozen=True, slots=True)
class MintBackupId(Step):
    """Memory only: id, site and start."""


@dataclass(frozen=True, slots=True)
class PinSource(Step):
    """Memory only: which volume, as it is now, and the claim that led to it."""

    source: VolumeFacts
    claim: ClaimedVolume | None = None


@dataclass(frozen=True, slots=True)
class ChooseTransport(Step):
    """Memory only: how the volume goes through Glance. Said once, so that a restart does not change it."""

    choice: TransportChoice


@dataclass(frozen=True, slots=True)
class OpenSession(Effect):
    intent = intents.SESSION
    durable = True
    backup_id: BackupId
    volume_id: VolumeId
    incremental: bool = True


@dataclass(frozen=True, slots=True)
class CreateSnapshot(Effect):
    intent = intents.SNAPSHOT
    durable = True
    backup_id: BackupId
    volume_id: VolumeId
    size_gib: int


@dataclass(frozen=True, slots=True)
class CreateVolume(Effect):
    intent = intents.VOLUME
    durable = True
    backup_id: BackupId
    snapshot: SnapshotFacts


@dataclass(frozen=True, slots=True)
class UploadToImage(Effect):
    intent = intents.IMAGE
    durable = True
    backup_id: BackupId
    volume_id: VolumeId
    disk_format: str


@dataclass(frozen=True, slots=True)
class StartTransfer(Effect):
    intent = intents.TRANSFER
    durable = True
    backup_id: BackupId
    image: ImageFacts
    source: VolumeFacts
    snapshot_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Seal(Effect):
    """The commit: from here on it is a backup."""

    intent = intents.SEAL
    durable = True
    backup_id: BackupId
    volume_id: VolumeId


@dataclass(frozen=True, slots=True)
class DiscardSession(Effect):
    """Free what an unsealed session left in the bank."""

    intent = intents.DISCARD
    backup_id: BackupId


@dataclass(frozen=True, slots=True)
class DeleteFromBank(Effect):
    """deletionPolicy Delete: tomb the backup and free it."""

    intent = intents.FREE
    backup_id: BackupId


BackupStep = (
    AddFinalizer
    | RemoveFinalizer
    | MintBackupId
    | PinSource
    | OpenSession
    | ChooseTransport
    | FallBack
    | CreateSnapshot
    | CreateVolume
    | UploadToImage
    | StartTransfer
    | CancelTransfer
    | ForgetTransfer
    | Seal
    | DeleteImage
    | DeleteSecret
    | DeleteVolume
    | DeleteSnapshot
    | DiscardSession
    | DeleteFromBank
    | Conclude
    | Finish
    | Wait
    | GiveBack
    | Idle
)
