"""VolumeBackup: one backup of one Cinder volume into a bank."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cinderbank.api.v1alpha1.backup_status import VolumeBackupStatus
from cinderbank.api.v1alpha1.claim import ClaimSource
from cinderbank.api.v1alpha1.copies import COPIES_RULES, Copies
from cinderbank.api.v1alpha1.duration import Duration, parse_duration
from cinderbank.api.v1alpha1.model import (
    UUID_FORM,
    ApiModel,
    Matching,
    Ruled,
    VolumeUUID,
    exactly_one,
    immutable,
    one_way,
)
from cinderbank.api.v1alpha1.references import BankRef, CloudCredentialsRef
from cinderbank.api.v1alpha1.resource import AGE, MESSAGE, Column, Resource
from cinderbank.api.v1alpha1.run_status import UNSEEN
from cinderbank.domain import record
from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.facts import SnapshotId, VolumeId
from cinderbank.domain.record import DeletionPolicy

RETRY_LIMIT = 100
DESCRIPTION_LIMIT = 1024

CancelSwitch = Annotated[
    bool,
    Field(
        description="Set to true to stop and to clean up; the phase then ends in Canceled. It can not"
        " be taken back, and changes nothing once the phase is final."
    ),
]
RetryLimit = Annotated[
    int,
    Field(
        ge=0,
        le=RETRY_LIMIT,
        description="How often a failing step is tried again before the phase becomes Failed. An"
        " outage does not count.",
    ),
]


class Timeouts(ApiModel):
    """How long a step may take before it counts as failed; such as 90s, 15m or 1h30m."""

    snapshot: Duration = Field(default="10m", description="For Cinder to take the snapshot.")
    clone: Duration = Field(
        default="1h", description="For Cinder to make the temporary volume of a backup."
    )
    image: Duration = Field(
        default="6h",
        description="For Cinder to copy a volume: a backup's into the temporary image, a restore's out"
        " of it.",
    )
    no_progress: Duration = Field(
        default="15m", description="A transfer that moves no byte for so long is started anew."
    )

    def to_domain(self) -> record.Timeouts:
        """Raises InvalidSpec."""
        return record.Timeouts(
            snapshot=parse_duration(self.snapshot, "spec.timeouts.snapshot"),
            clone=parse_duration(self.clone, "spec.timeouts.clone"),
            image=parse_duration(self.image, "spec.timeouts.image"),
            no_progress=parse_duration(self.no_progress, "spec.timeouts.noProgress"),
        )


SnapshotUUID = Annotated[
    str,
    Field(max_length=36),
    Matching(UUID_FORM, "must be a snapshot's UUID as `openstack volume snapshot list` shows it"),
]


class BackupSource(ApiModel):
    """Which volume; exactly one field is set."""

    rules = (exactly_one("volumeID", "volumeName", "persistentVolumeClaim", "snapshotID"),)

    volume_id: VolumeUUID | None = Field(
        default=None, description="Id (UUID) of the volume in Cinder."
    )
    volume_name: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None,
        description="Name of the volume in Cinder; it must be unique in the project, else the backup"
        " is refused rather than taken of the wrong volume.",
    )
    persistent_volume_claim: ClaimSource | None = Field(
        default=None, description="A claim in this namespace whose volume is backed up."
    )
    snapshot_id: SnapshotUUID | None = Field(
        default=None,
        description="Id (UUID) of a snapshot in Cinder that is backed up as it is: none is taken, and"
        " this one is never deleted. It must be available, and stay until phase Imaging is over.",
    )


_ANEW = "make a new VolumeBackup instead"


class VolumeBackupSpec(ApiModel):
    """What to back up, and where to. All but deletionPolicy, cancel, hold and copies stays as created."""

    rules = (
        immutable("source", _ANEW, required=True),
        immutable("cloudCredentialsRef", _ANEW, required=True),
        immutable("bankRef", _ANEW, required=True),
        immutable("backupName", _ANEW),
        immutable("description", _ANEW),
        immutable("timeouts", _ANEW),
        immutable("retryLimit", _ANEW),
        immutable("tags", _ANEW),
        immutable("incremental", _ANEW),
        immutable("transport", _ANEW),
        immutable("encryptedVolumes", _ANEW),
        one_way("cancel", "cancel can not be taken back; " + _ANEW),
        *COPIES_RULES,
    )

    source: BackupSource = Field(description="The volume to back up; it may be in use.")
    cloud_credentials_ref: CloudCredentialsRef = Field(
        description="The OpenStack project that the volume is in."
    )
    bank_ref: BankRef = Field(description="Where the backup goes.")
    backup_name: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None,
        description="Name of the backup in the bank, for people; need not be unique. Defaults to metadata.name.",
    )
    description: Annotated[str, Field(max_length=DESCRIPTION_LIMIT)] | None = Field(
        default=None, description="Free text that goes into the bank, for example why it was made."
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="What deleting this object does to the backup in the bank: Retain keeps it,"
        " Delete deletes it. May be changed at any time.",
    )
    cancel: CancelSwitch = False
    hold: bool = Field(
        default=False,
        description="While true the backup in the bank is not deleted: where deletionPolicy is Delete,"
        " deleting this object waits. May be changed at any time.",
    )
    timeouts: Timeouts = Field(default=Timeouts(), description="Limits of time for each step.")
    retry_limit: RetryLimit = 3
    incremental: record.Incremental = Field(
        default=record.Incremental.AUTO,
        description="Auto stores only what differs from the newest usable backup of the same volume"
        " that this site has in the bank, if there is one; each backup is whole by itself all the"
        " same, and any can be deleted. Full stores everything anew.",
    )
    transport: record.Transport = Field(
        default=record.Transport.AUTO,
        description="How the volume goes through Glance. Vdi and Qcow2 move only what is used; Vdi is"
        " the faster one, as Cinder does not compress it; Raw moves all. Auto is Vdi but for a volume"
        " that was full or looked like a disk image in its last backup, and changes to Qcow2 or Raw by"
        " itself where the cloud does not take part.",
    )
    encrypted_volumes: record.EncryptedVolumes = Field(
        default=record.EncryptedVolumes.REFUSE,
        description="What becomes of a volume that Cinder encrypts. Refuse refuses it before anything is"
        " made. EscrowKey reads its key from the key manager (Barbican) and keeps it in the bank with the"
        " ciphertext, encrypted under the bank's own key, so that whoever has that key can restore the"
        " volume at any site; a bank without a key is refused.",
    )
    tags: Annotated[
        dict[str, Annotated[str, Field(max_length=255)]],
        Field(max_length=32),
        Ruled(
            "self.all(key, key.size() >= 1 && key.size() <= 63)",
            "a tag's name must have 1 to 63 characters",
        ),
    ] = Field(
        default_factory=dict,
        description="Words that go into the bank with the backup, for example app: db.",
    )

    copies: Copies = Field(
        default=(),
        description="Other banks that get a copy, from bank to bank, once the backup is Completed; it"
        " stays Completed whatever becomes of them. May be changed at any time: a bank that is added"
        " gets its copy, one that is taken away keeps what it has.",
    )

    def to_request(self, name: str) -> record.BackupRequest:
        """The engine's view; `name` is metadata.name. Raises InvalidSpec."""
        source, claim = self.source, self.source.persistent_volume_claim
        ways = (source.volume_id, source.volume_name, claim, source.snapshot_id)
        if sum(way is not None for way in ways) != 1:
            raise InvalidSpec(
                "spec.source: set exactly one of volumeID, volumeName, persistentVolumeClaim and snapshotID"
            )
        return record.BackupRequest(
            volume_id=None if source.volume_id is None else VolumeId(source.volume_id.lower()),
            volume_name=source.volume_name,
            backup_name=self.backup_name or name,
            description=self.description or "",
            deletion_policy=self.deletion_policy,
            cancel=self.cancel,
            hold=self.hold,
            timeouts=self.timeouts.to_domain(),
            retry_limit=self.retry_limit,
            incremental=self.incremental,
            transport=self.transport,
            encrypted_volumes=self.encrypted_volumes,
            tags=self.tags,
            claim_name=None if claim is None else claim.name,
            snapshot_id=None
            if source.snapshot_id is None
            else SnapshotId(source.snapshot_id.lower()),
        )


VOLUME_BACKUP = Resource(
    kind="VolumeBackup",
    plural="volumebackups",
    short_name="vbk",
    description="VolumeBackup is one backup of one OpenStack Cinder volume into a BackupBank. It runs"
    " once. Deleting the object keeps the backup unless spec.deletionPolicy is Delete.",
    spec=VolumeBackupSpec,
    status=VolumeBackupStatus,
    status_default=UNSEEN,
    columns=(
        Column("Phase", ".status.phase", "Where the backup stands"),
        Column("Progress", ".status.progress.summary", "Percent, rate and time left"),
        Column("Volume", ".status.source.name", "Name of the volume"),
        Column("Size-GiB", ".status.source.sizeGiB", "Provisioned size", type="integer"),
        Column("Bank", ".spec.bankRef.name", "The BackupBank"),
        Column("Snapshot-Time", ".status.snapshotTime", "The moment the data is of", type="date"),
        Column("Verified", ".status.verifiedTime", "Last found whole", type="date"),
        AGE,
        Column("Transport", ".status.transport", "Raw, Qcow2 or Vdi", wide=True),
        Column(
            "Copied",
            '.status.conditions[?(@.type=="Copied")].status',
            "Are all copies there",
            wide=True,
        ),
        Column("Volume-ID", ".status.source.volumeID", "The volume in Cinder", wide=True),
        Column("Backup-ID", ".status.backupID", "What restores it at any site", wide=True),
        MESSAGE,
    ),
)
