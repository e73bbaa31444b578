"""One custom resource as the engine sees it: what was asked, what we must remember, what we tell.

The kube edge turns a CR into a record and a record into its `status`; the engine knows no Kubernetes.
`Memory` holds only what can not be observed in the cloud or in the bank. `Report` is printed and
never read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from cinderbank.domain.claim import ClaimedVolume, ReclaimPolicy, VolumeMode
from cinderbank.domain.facts import (
    BackupId,
    ImageId,
    LostRanges,
    SnapshotId,
    TransferProgress,
    VolumeFacts,
    VolumeId,
)
from cinderbank.domain.placement import Placement, Wanted
from cinderbank.domain.plan import Plan
from cinderbank.domain.selection import BackupSelector, Resolved


class Phase(StrEnum):
    """What `status.phase` may say, forward only but for Queued; the last three never change."""

    PENDING = "Pending"
    # backup
    SNAPSHOTTING = "Snapshotting"
    CLONING = "Cloning"
    IMAGING = "Imaging"
    QUEUED = "Queued"
    TRANSFERRING = "Transferring"
    COMMITTING = "Committing"
    # restore (Queued and Transferring are shared)
    CREATING_VOLUME = "CreatingVolume"
    # drill (Imaging is shared)
    COMPARING = "Comparing"
    # both
    CLEANING_UP = "CleaningUp"
    DELETING = "Deleting"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"


TERMINAL_PHASES = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.CANCELED})


class DeletionPolicy(StrEnum):
    RETAIN = "Retain"
    DELETE = "Delete"


class Incremental(StrEnum):
    """How a backup is made: against the newest usable one of the volume, or all of it."""

    AUTO = "Auto"
    FULL = "Full"


class Transport(StrEnum):
    """How a volume's bytes travel through Glance; what is chosen is never AUTO."""

    AUTO = "Auto"
    RAW = "Raw"
    QCOW2 = "Qcow2"
    VDI = "Vdi"
    """Of backups only."""

    @property
    def disk_format(self) -> str:
        """Glance's word for it; raw where nothing is chosen."""
        return "raw" if self is Transport.AUTO else self.value.lower()

    @property
    def is_sparse(self) -> bool:
        """Whether the image has only what is used, so that Cinder has to convert."""
        return self in (Transport.QCOW2, Transport.VDI)


@dataclass(frozen=True, slots=True)
class TransportChoice:
    """What was chosen, and why."""

    transport: Transport
    reason: str
    """CamelCase and stable."""
    message: str


class EncryptedVolumes(StrEnum):
    """What becomes of the backup of an encrypted volume."""

    REFUSE = "Refuse"
    ESCROW_KEY = "EscrowKey"
    """Its key goes into the bank with it, encrypted under the bank's own."""


class OnDelete(StrEnum):
    DETACH = "Detach"
    DELETE = "Delete"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which object; `uid` tells a re-created one of the same name from the first."""

    namespace: str
    name: str
    uid: str
    generation: int
    deleting: bool = False
    has_finalizer: bool = False


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a step may take before it is an error; `no_progress` is for the transfer."""

    snapshot: timedelta = timedelta(minutes=10)
    clone: timedelta = timedelta(hours=1)
    image: timedelta = timedelta(hours=6)
    no_progress: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """`spec.target.persistentVolumeClaim`; None is for as it was when the backup was made."""

    name: str
    storage_class: str | None = None
    access_modes: tuple[str, ...] = ()
    volume_mode: VolumeMode | None = None
    fs_type: str | None = None
    reclaim_policy: ReclaimPolicy = ReclaimPolicy.RETAIN


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """`spec` of a VolumeBackup, checked. Exactly one of volume_id, volume_name, claim_name and snapshot_id
    is set."""

    volume_id: VolumeId | None
    volume_name: str | None
    backup_name: str
    description: str = ""
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    cancel: bool = False
    hold: bool = False
    timeouts: Timeouts = Timeouts()
    retry_limit: int = 3
    incremental: Incremental = Incremental.AUTO
    transport: Transport = Transport.AUTO
    tags: Mapping[str, str] = field(default_factory=dict)
    claim_name: str | None = None
    """Of a PersistentVolumeClaim in the object's namespace."""
    encrypted_volumes: EncryptedVolumes = EncryptedVolumes.REFUSE
    snapshot_id: SnapshotId | None = None
    """Of a snapshot that is somebody else's."""


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """`spec` of a VolumeRestore, checked; `backup_id` is resolved from backupRef or recoveryPointRef at
    the edge, and empty while `selector` has to find it."""

    backup_id: BackupId
    volume_name: str
    """What the new volume is called: target.name, or the backup's own volume name when empty."""
    description: str | None = None
    wanted: Wanted = field(default_factory=Wanted)
    size_gib: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    bootable: bool | None = None
    bank_name: str = ""
    """The BackupBank that is read."""
    site: str | None = None
    """That wrote the backup, and of which volume, as far as the source tells."""
    volume_id: VolumeId | None = None
    selector: BackupSelector | None = None
    dry_run: bool = False
    drill: bool = False
    """The volume is a scratch volume: compared with the backup, then deleted, whatever the outcome."""
    transport: Transport = Transport.AUTO
    salvage: bool = False
    """Go on where the bank has lost something: zeros in its place, told as `Memory.lost`."""
    claim: ClaimRequest | None = None
    """The claim that the new volume is for."""
    cancel: bool = False
    on_delete: OnDelete = OnDelete.DETACH
    timeouts: Timeouts = Timeouts()
    retry_limit: int = 3


@dataclass(frozen=True, slots=True)
class Intent:
    """We were about to do this at that time: written before a create, so that a lost answer is looked for.

    The newest of each step is kept; most steps have one at most.
    """

    step: str
    at: datetime
    tries: int = 1
    """How often this step was begun anew because what it made had failed or vanished; 0 when what was
    made so far does not count."""
    resource_id: str = ""
    """What the cloud answered, or what was found; empty while nobody can say whether it exists."""
    seen: bool = False
    """The effect was observed by a read of its own: nothing of this intent can turn up late any more."""


@dataclass(frozen=True, slots=True)
class LastError:
    reason: str
    message: str
    at: datetime
    retryable: bool
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended; written once. Until clean-up is proven it is only the goal of the clean-up."""

    phase: Phase
    reason: str
    message: str
    at: datetime
    final: bool = False
    """True when nothing temporary is left and nobody comes back unless the object is deleted."""


@dataclass(frozen=True, slots=True)
class Drill:
    """How the scratch volume of a drill comes back, and what the comparison came to."""

    transport: Transport
    reason: str
    compared: bool = False
    different: LostRanges | None = None
    """The sectors that differ; None while not compared, and when all is the same."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What status must keep; for a backup and for a restore alike (unused fields stay None)."""

    backup_id: BackupId | None = None
    site: str | None = None
    """Where the backup was written: ours for a backup, the finder's answer for a restore."""
    started_at: datetime | None = None
    source: VolumeFacts | None = None
    """The source volume as it was when it was pinned; statuses in it are history."""
    snapshot_taken_at: datetime | None = None
    size_bytes: int | None = None
    content_hash: str | None = None
    content_format: str | None = None
    """The disk image that the volume's own bytes look like (qcow2, vmdk, luks, ...), if any."""
    transport: Transport | None = None
    """Once it is chosen: before the first image is asked for."""
    transport_reason: str = ""
    intents: tuple[Intent, ...] = ()
    transfer_attempt: int = 0
    image_proven: ImageId | None = None
    """Restore: the image whose bytes a transfer has proven."""
    created_volume_id: VolumeId | None = None
    """Restore: the new volume."""
    flattens: bool | None = None
    """Restore: True once Glance would not delete the image because the new volume is a clone of it; False
    when that is put up with."""
    failures: int = 0
    """Consecutive failures of the present step."""
    next_try_at: datetime | None = None
    last_error: LastError | None = None
    manifest_digest: str | None = None
    base_id: BackupId | None = None
    """Backup: the earlier one whose unchanged chunks it shares."""
    claim: ClaimedVolume | None = None
    """Backup: the claim that led to the source. Restore: the claim that is to have the new volume."""
    lost: LostRanges | None = None
    """Restore: what was not in the bank any more and is zeros in the volume."""
    resolved: Resolved | None = None
    """Restore: which backup, before anything else is done."""
    placement: Placement | None = None
    """Restore: the type and zone of the new volume, chosen when the backup is pinned."""
    plan: Plan | None = None
    """Restore: what a dry run found."""
    drill: Drill | None = None
    """Restore that is a drill: from the moment when the scratch volume is there."""
    outcome: Outcome | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Temporary:
    """Something that exists in the cloud because of us, right now."""

    kind: str
    """snapshot | volume | image | secret | persistentvolume | persistentvolumeclaim"""
    id: SnapshotId | VolumeId | ImageId | str
    name: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A metav1.Condition without its lastTransitionTime, which the edge keeps."""

    type: str
    status: str
    """True | False | Unknown"""
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the user sees; derived anew in every tick."""

    phase: Phase
    conditions: tuple[Condition, ...]
    progress: TransferProgress | None = None
    """None when there is nothing new to say: what was last shown stays."""
    temporaries: tuple[Temporary, ...] = ()


@dataclass(frozen=True, slots=True)
class BackupRecord:
    identity: Identity
    request: BackupRequest
    memory: Memory


@dataclass(frozen=True, slots=True)
class RestoreRecord:
    identity: Identity
    request: RestoreRequest
    memory: Memory
