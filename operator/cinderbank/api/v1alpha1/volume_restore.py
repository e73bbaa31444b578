"""VolumeRestore: one new Cinder volume from one backup."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from cinderbank.api.v1alpha1.claim import ClaimTarget
from cinderbank.api.v1alpha1.model import ApiModel, Ruled, immutable, one_way, rule
from cinderbank.api.v1alpha1.references import CloudCredentialsRef
from cinderbank.api.v1alpha1.resource import AGE, MESSAGE, Column, Resource
from cinderbank.api.v1alpha1.restore_source import RestoreSource
from cinderbank.api.v1alpha1.restore_status import VolumeRestoreStatus
from cinderbank.api.v1alpha1.run_status import UNSEEN
from cinderbank.api.v1alpha1.volume_backup import CancelSwitch, RetryLimit, Timeouts
from cinderbank.domain import record
from cinderbank.domain.facts import BackupId
from cinderbank.domain.placement import Wanted
from cinderbank.domain.record import OnDelete


class RestoreTransport(StrEnum):
    AUTO = "Auto"
    RAW = "Raw"
    QCOW2 = "Qcow2"


CinderText = Annotated[str, Field(max_length=255)]
"""Cinder's own limit of names, descriptions and metadata."""


class RestoreTarget(ApiModel):
    """How the new volume is to be; what is left out is as it was when the backup was made."""

    name: Annotated[CinderText, Field(min_length=1)] | None = Field(
        default=None, description="Name of the new volume. Defaults to the backed-up volume's name."
    )
    description: CinderText | None = Field(
        default=None, description="Description of the new volume."
    )
    volume_type: Annotated[CinderText, Field(min_length=1)] | None = Field(
        default=None,
        description="Volume type at this site, for example ssd. Defaults to what spec.mappings says of"
        " the backed-up volume's type, else to the type of the same name where this site has one, else to"
        " the cloud's own default, told in status.placement.warnings.",
    )
    availability_zone: Annotated[CinderText, Field(min_length=1)] | None = Field(
        default=None,
        description="Availability zone at this site, for example nova. Defaults as volumeType does.",
    )
    size_gib: Annotated[int, Field(ge=1, le=1 << 24)] | None = Field(
        default=None,
        description="Size of the new volume in GiB, at least that of the backed-up volume, which is"
        " the default.",
    )
    metadata: Annotated[
        dict[str, CinderText],
        Field(
            max_length=64,
        ),
        Ruled(
            "self.all(key, key.size() >= 1 && key.size() <= 255)",
            "a metadata key must have 1 to 255 characters",
        ),
    ] = Field(
        default_factory=dict, description="Metadata to add to the new volume, for example app: db."
    )
    bootable: bool | None = Field(
        default=None,
        description="Whether a server can boot from it. Defaults to what the backed-up volume was.",
    )
    persistent_volume_claim: ClaimTarget | None = Field(
        default=None,
        description="A PersistentVolumeClaim in this namespace that gets the new volume, by a"
        " PersistentVolume of the Cinder CSI driver. See docs/kubernetes-volumes.md.",
    )


Mapping = Annotated[
    dict[str, Annotated[CinderText, Field(min_length=1)]],
    Field(max_length=64),
    Ruled(
        "self.all(key, key.size() >= 1 && key.size() <= 255)",
        "a name must have 1 to 255 characters",
    ),
]


class Mappings(ApiModel):
    """What things of the site that made the backup are called at this one."""

    volume_type: Mapping = Field(
        default_factory=dict, description="Old volume type to new one, for example ssd: nvme."
    )
    availability_zone: Mapping = Field(
        default_factory=dict, description="Old availability zone to new one, for example az1: nova."
    )


_ANEW = "make a new VolumeRestore instead"

DRILL_RULES = (
    rule(
        "!has(self.drill) || !self.drill || !(has(self.dryRun) && self.dryRun"
        " || has(self.salvage) && self.salvage || has(self.onDelete) && self.onDelete == 'Delete')",
        "a drill goes without dryRun, salvage and onDelete: Delete; its volume is always deleted",
    ),
    rule(
        "!has(self.drill) || !self.drill || !has(self.target)"
        " || !(has(self.target.name) || has(self.target.description) || has(self.target.sizeGiB)"
        " || has(self.target.bootable) || has(self.target.persistentVolumeClaim)"
        " || has(self.target.metadata) && self.target.metadata.size() > 0)",
        "of spec.target a drill takes only volumeType and availabilityZone",
    ),
)


class VolumeRestoreSpec(ApiModel):
    """What to restore, and as what. All but onDelete and cancel stays as created."""

    rules = (
        immutable("source", _ANEW, required=True),
        immutable("cloudCredentialsRef", _ANEW, required=True),
        immutable("target", _ANEW),
        immutable("mappings", _ANEW),
        immutable("dryRun", _ANEW),
        immutable("drill", _ANEW),
        *DRILL_RULES,
        immutable("timeouts", _ANEW),
        immutable("retryLimit", _ANEW),
        immutable("transport", _ANEW),
        immutable("salvage", _ANEW),
        one_way("cancel", "cancel can not be taken back; " + _ANEW),
    )

    source: RestoreSource = Field(description="The backup to restore.")
    cloud_credentials_ref: CloudCredentialsRef = Field(
        description="The OpenStack project that gets the new volume."
    )
    target: RestoreTarget = Field(
        default_factory=RestoreTarget, description="How the new volume is to be."
    )
    mappings: Mappings = Field(
        default_factory=Mappings,
        description="Names to use in place of the backed-up volume's; spec.target goes first.",
    )
    dry_run: bool = Field(
        default=False,
        description="Make nothing: look at everything, tell a plan in status.plan, and end in Completed"
        " with the reason DryRun; or in Failed with the reason that a restore would fail with.",
    )
    drill: bool = Field(
        default=False,
        description="A restore drill: the volume is a scratch volume. It is read back, compared with the"
        " backup byte for byte, and deleted, whatever the outcome; condition Verified tells it. Of"
        " spec.target only volumeType and availabilityZone may be given. See docs/verification.md.",
    )
    on_delete: OnDelete = Field(
        default=OnDelete.DETACH,
        description="What deleting this object does to the restored volume: Detach leaves it alone,"
        " Delete deletes it. May be changed at any time.",
    )
    transport: RestoreTransport = Field(
        default=RestoreTransport.AUTO,
        description="How the backup goes through Glance. Qcow2 moves only what is used; Raw moves all."
        " Auto is Qcow2 but for a nearly full backup, whose qcow2 image Cinder refuses for its size,"
        " and where the cloud does not take qcow2. A backup whose content looks like a disk image"
        " (but LUKS) is restored only when Qcow2 is asked for: exactly on back ends like Ceph, with an error or"
        " with other bytes where volumes are files (NFS).",
    )
    salvage: bool = Field(
        default=False,
        description="Restore what is left of a damaged backup: what the bank has lost becomes zeros,"
        " and status.lost lists it. Without it a damaged backup fails, and no volume is made.",
    )
    cancel: CancelSwitch = False
    timeouts: Timeouts = Field(default=Timeouts(), description="Limits of time for each step.")
    retry_limit: RetryLimit = 3

    def to_request(self, backup_id: BackupId, bank_name: str) -> record.RestoreRequest:
        """The engine's view; the caller has resolved `source` to `backup_id`, unless that has a selector,
        and to the bank. Raises InvalidSpec."""
        target, bank = self.target, self.source.bank
        claim = self.target.persistent_volume_claim
        selector = None if bank is None or bank.selector is None else bank.selector.to_domain()
        return record.RestoreRequest(
            backup_id=backup_id,
            volume_name=target.name or "",
            description=target.description,
            wanted=Wanted(
                target.volume_type,
                target.availability_zone,
                self.mappings.volume_type,
                self.mappings.availability_zone,
            ),
            size_gib=target.size_gib,
            metadata=target.metadata,
            bootable=target.bootable,
            transport=record.Transport(self.transport),
            bank_name=bank_name,
            selector=selector,
            dry_run=self.dry_run,
            drill=self.drill,
            salvage=self.salvage,
            claim=None if claim is None else claim.to_domain(),
            cancel=self.cancel,
            on_delete=self.on_delete,
            timeouts=self.timeouts.to_domain(),
            retry_limit=self.retry_limit,
        )


VOLUME_RESTORE = Resource(
    kind="VolumeRestore",
    plural="volumerestores",
    short_name="vrs",
    description="VolumeRestore makes one new OpenStack Cinder volume from one backup. It runs once."
    " Deleting the object leaves the new volume alone unless spec.onDelete is Delete.",
    spec=VolumeRestoreSpec,
    status=VolumeRestoreStatus,
    status_default=UNSEEN,
    columns=(
        Column("Phase", ".status.phase", "Where the restore stands"),
        Column("Progress", ".status.progress.summary", "Percent, rate and time left"),
        Column("Restored-Volume", ".status.volumeID", "The new volume in Cinder"),
        Column("Target", ".spec.target.name", "Name asked for the new volume"),
        Column(
            "Verified",
            '.status.conditions[?(@.type=="Verified")].status',
            "Of a drill: were all bytes the backup's",
        ),
        Column("Claim", ".status.persistentVolumeClaim.name", "The claim that gets it", wide=True),
        Column("Snapshot-Time", ".status.snapshotTime", "The moment the data is of", type="date"),
        AGE,
        Column("Transport", ".status.transport", "Raw or Qcow2", wide=True),
        Column("Backup-ID", ".status.backupID", "The backup in the bank", wide=True),
        Column("Site", ".status.site", "Site that wrote the backup", wide=True),
        MESSAGE,
    ),
)
