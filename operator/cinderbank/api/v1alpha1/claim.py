"""PersistentVolumeClaims in spec and status of VolumeBackups and VolumeRestores."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from cinderbank.api.v1alpha1.model import ApiModel, Matching, ObjectName
from cinderbank.domain.claim import ClaimedVolume, ReclaimPolicy, VolumeMode
from cinderbank.domain.record import ClaimRequest

AccessMode = Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]
AccessModes = Annotated[tuple[AccessMode, ...], Field(max_length=4)]
FileSystem = Annotated[
    str,
    Field(max_length=32),
    Matching("^[a-z0-9][a-z0-9._-]*$", "must be the name of a file system, such as ext4 or xfs"),
]
StorageClassName = Annotated[
    str,
    Field(max_length=253),
    Matching(
        "^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$",
        "must be the name of a StorageClass, or empty for none",
    ),
]


class ClaimSource(ApiModel):
    """The volume that a claim is bound to."""

    name: ObjectName = Field(
        description="Name of a PersistentVolumeClaim in this namespace, bound to a volume of"
        " cinder.csi.openstack.org. Looked up once: the backup is of the volume that it had then."
    )


class ClaimTarget(ApiModel):
    """A claim that the new volume is for; what is left out is as it was when the backup was made."""

    name: ObjectName = Field(
        description="Name of the PersistentVolumeClaim in this namespace. It is made; one that is"
        " there already is used if it is unbound and fits, and never taken over from another volume."
    )
    storage_class_name: StorageClassName | None = Field(
        default=None,
        description="Class of the claim and of its PersistentVolume; empty for none. Nothing is"
        " provisioned by it. Defaults to that of the claim that is there, else of the backed-up claim,"
        " else none.",
    )
    access_modes: AccessModes = Field(
        default=(), description="Defaults like storageClassName, at last to ReadWriteOnce."
    )
    volume_mode: VolumeMode | None = Field(
        default=None, description="Filesystem or Block; defaults likewise, at last to Filesystem."
    )
    fs_type: FileSystem | None = Field(
        default=None,
        description="File system in the volume, for example xfs: the driver mounts it as this. Defaults"
        " to that of the backed-up claim, else to the driver's own default. Nothing is formatted by it"
        " that holds data.",
    )
    reclaim_policy: ReclaimPolicy = Field(
        default=ReclaimPolicy.RETAIN,
        description="What deleting the claim does to the Cinder volume: Retain keeps it, with Delete the"
        " Cinder CSI driver deletes it.",
    )

    def to_domain(self) -> ClaimRequest:
        return ClaimRequest(
            name=self.name,
            storage_class=self.storage_class_name,
            access_modes=self.access_modes,
            volume_mode=self.volume_mode,
            fs_type=self.fs_type,
            reclaim_policy=self.reclaim_policy,
        )


class ClaimStatus(ApiModel):
    """A claim and the PersistentVolume that it has, or is to get."""

    name: ObjectName = Field(description="Name of the claim, in this namespace.")
    persistent_volume: ObjectName = Field(description="Name of the PersistentVolume.")
    storage_class_name: StorageClassName = Field(
        default="", description="Its StorageClass; empty for none."
    )
    access_modes: AccessModes = Field(default=(), description="Its access modes.")
    volume_mode: VolumeMode = Field(
        default=VolumeMode.FILESYSTEM, description="Filesystem or Block."
    )
    fs_type: Annotated[str, Field(max_length=32)] = Field(
        default="", description="The file system that the PersistentVolume names, if any."
    )

    def to_domain(self) -> ClaimedVolume:
        return ClaimedVolume(
            name=self.name,
            persistent_volume=self.persistent_volume,
            storage_class=self.storage_class_name,
            access_modes=self.access_modes,
            volume_mode=self.volume_mode,
            fs_type=self.fs_type,
        )


def claim_status(claim: ClaimedVolume | None) -> dict[str, Any] | None:
    """What status tells and remembers of it."""
    if claim is None:
        return None
    return {
        "name": claim.name,
        "persistent_volume": claim.persistent_volume,
        "storage_class_name": claim.storage_class,
        "access_modes": claim.access_modes,
        "volume_mode": claim.volume_mode,
        "fs_type": claim.fs_type,
    }
