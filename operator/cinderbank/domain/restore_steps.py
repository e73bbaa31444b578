"""What a restore's rules see, and what they may answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cinderbank.domain import intents
from cinderbank.domain.claim import ClaimedVolume
from cinderbank.domain.claim_steps import ClaimLook, ClaimStep
from cinderbank.domain.drill_steps import DrillStep
from cinderbank.domain.errors import CinderbankError
from cinderbank.domain.facts import (
    BackupId,
    ImageFacts,
    ImageId,
    LostRanges,
    SecretFacts,
    SnapshotFacts,
    TransferAbsent,
    TransferFacts,
    UserMessage,
    VolumeEncryption,
    VolumeFacts,
    VolumeId,
)
from cinderbank.domain.flatten_steps import FlattenStep
from cinderbank.domain.placement import Offered, Placement
from cinderbank.domain.plan import Plan, Survey
from cinderbank.domain.record import Identity, Memory, RestoreRequest, TransportChoice
from cinderbank.domain.selection import Chosen, Selection
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
class FoundBackup:
    """A sealed backup, as its manifest describes it."""

    site: str
    """Where it was written."""
    size_bytes: int
    content_hash: str
    snapshot_at: datetime
    source: VolumeFacts
    """The volume it is of, as that was; its status means nothing here."""
    data_bytes: int | None = None
    """Of size_bytes that are not zeros; None when it was not counted."""
    content_format: str | None = None
    """The disk image that the volume's own bytes look like, if any."""
    claim: ClaimedVolume | None = None
    """The claim that it is of, if it is of one."""


@dataclass(frozen=True, slots=True)
class RestoreObserved:
    """One look at everything; volumes carry our tag, images our name, oldest first. Volumes are read before
    images, as for a backup."""

    identity: Identity
    request: RestoreRequest
    memory: Memory
    now: datetime
    selected: Selection | None = None
    """What spec.source.bank.selector comes to; looked up only until it is resolved in memory."""
    found: FoundBackup | None = None
    """Looked up only until a backup is pinned in memory."""
    offered: Offered | None = None
    """Looked up once, just before a backup is pinned."""
    survey: Survey | None = None
    """Only for a dry run."""
    volumes: Sequence[VolumeFacts] = ()
    images: Sequence[ImageFacts] = ()
    snapshots: Sequence[SnapshotFacts] = ()
    """Ours of the new volume; looked for from the moment when it is freed of its image."""
    drill_images: Sequence[ImageFacts] = ()
    """Of a drill: by which its scratch volume is read back."""
    secrets: Sequence[SecretFacts] = ()
    """Ours in the key manager; looked for only when the backup is of an encrypted volume. So are the next."""
    encryptions: Mapping[VolumeId, VolumeEncryption | None] = field(default_factory=dict)
    """Of the volumes that Cinder has made."""
    secrets_error: CinderbankError | None = None
    """Why both are not known, and clean-up goes on without them as far as it can."""
    transfer: TransferFacts = field(default_factory=TransferAbsent)
    messages: Sequence[UserMessage] = ()
    claims: ClaimLook = field(default_factory=ClaimLook)
    """Only where a claim was asked for."""


@dataclass(frozen=True, slots=True)
class Resolve(Step):
    """Memory only: which backup the selector came to, for good."""

    chosen: Chosen


@dataclass(frozen=True, slots=True)
class PinBackup(Step):
    """Memory only: which backup, where, how large, with which hash, how it travels, what type and zone
    the new volume gets, and for a dry run its plan."""

    found: FoundBackup
    choice: TransportChoice
    placement: Placement
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class PinReader(Effect):
    """Tell the bank that its data is being read."""

    intent = intents.PIN
    durable = True
    site: str
    backup_id: BackupId


@dataclass(frozen=True, slots=True)
class UnpinReader(Effect):
    intent = intents.UNPIN
    backup_id: BackupId


@dataclass(frozen=True, slots=True)
class CreateSecret(Effect):
    """Put the key of the encrypted volume into this site's key manager."""

    intent = intents.SECRET
    durable = True
    site: str
    backup_id: BackupId


@dataclass(frozen=True, slots=True)
class CreateImage(Effect):
    intent = intents.IMAGE
    durable = True
    name: str
    disk_format: str
    encryption_key_id: str | None = None


@dataclass(frozen=True, slots=True)
class StartTransfer(Effect):
    intent = intents.TRANSFER
    durable = True
    site: str
    backup_id: BackupId
    image_id: ImageId
    size_bytes: int
    salvage: bool = False


@dataclass(frozen=True, slots=True)
class ProveImage(Step):
    """Memory only: this image holds what the backup holds, or with `lost` what is left of it."""

    image_id: ImageId
    lost: LostRanges | None = None


@dataclass(frozen=True, slots=True)
class CreateVolume(Effect):
    intent = intents.VOLUME
    durable = True
    image_id: ImageId
    name: str
    description: str
    size_gib: int
    volume_type: str | None
    availability_zone: str | None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetBootable(Effect):
    intent = intents.BOOTABLE
    volume_id: VolumeId
    bootable: bool


@dataclass(frozen=True, slots=True)
class DeleteImageMetadata(Effect):
    """Take away what the new volume has only from the temporary image."""

    intent = intents.IMAGE_METADATA
    volume_id: VolumeId
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetImageMetadata(Effect):
    """Give the new volume what the old one had, in place of what is there under the same keys."""

    intent = intents.SET_IMAGE_METADATA
    volume_id: VolumeId
    metadata: Mapping[str, str]


RestoreStep = (
    DrillStep
    | FlattenStep
    | AddFinalizer
    | RemoveFinalizer
    | Resolve
    | PinBackup
    | PinReader
    | UnpinReader
    | CreateSecret
    | CreateImage
    | StartTransfer
    | CancelTransfer
    | ForgetTransfer
    | FallBack
    | ProveImage
    | CreateVolume
    | SetBootable
    | DeleteImageMetadata
    | SetImageMetadata
    | DeleteImage
    | DeleteSecret
    | DeleteSnapshot
    | DeleteVolume
    | ClaimStep
    | Conclude
    | Finish
    | Wait
    | GiveBack
    | Idle
)
