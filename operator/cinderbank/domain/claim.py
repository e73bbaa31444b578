"""PersistentVolumeClaims and PersistentVolumes as facts, and whether a claim leads to a volume of ours.

A claim and its persistent volume name each other: the claim by spec.volumeName, the volume by
spec.claimRef with the claim's uid. Whoever may create claims may write any volumeName into one; only
Kubernetes itself and administrators write a claimRef. So both must agree before anything of the volume
is believed or told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cinderbank.domain.errors import (
    CinderbankError,
    Conflict,
    SourceGone,
    Unavailable,
    Unsupported,
)
from cinderbank.domain.facts import VolumeId

CSI_DRIVER = "cinder.csi.openstack.org"

ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FS_TYPE = re.compile("[a-z0-9][a-z0-9._-]{0,31}")
_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class VolumeMode(StrEnum):
    FILESYSTEM = "Filesystem"
    BLOCK = "Block"


class ReclaimPolicy(StrEnum):
    """What becomes of the Cinder volume when its claim is deleted."""

    DELETE = "Delete"
    RETAIN = "Retain"


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """A PersistentVolumeClaim; the phase is Kubernetes' own (Pending, Bound, Lost)."""

    namespace: str
    name: str
    uid: str
    phase: str = "Pending"
    volume_name: str = ""
    """spec.volumeName: the persistent volume that it is bound to, or asks for."""
    storage_class: str = ""
    access_modes: tuple[str, ...] = ()
    volume_mode: VolumeMode = VolumeMode.FILESYSTEM
    requested_bytes: int = 0
    restore_uid: str = ""
    """Of the restore that made it, by its label; empty when none did."""
    wants_other_data: bool = False
    """Whether it has a selector or a data source of its own."""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class PersistentVolumeFacts:
    """A PersistentVolume; driver and handle are empty where it is no CSI volume."""

    name: str
    uid: str
    phase: str = "Pending"
    driver: str = ""
    volume_handle: str = ""
    claim_namespace: str = ""
    claim_name: str = ""
    claim_uid: str = ""
    fs_type: str = ""
    restore_uid: str = ""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class ClaimedVolume:
    """A claim and what it is bound to: of a backup the source, of a restore what is to be made."""

    name: str
    persistent_volume: str
    storage_class: str = ""
    access_modes: tuple[str, ...] = ()
    volume_mode: VolumeMode = VolumeMode.FILESYSTEM
    fs_type: str = ""


@dataclass(frozen=True, slots=True)
class NewPersistentVolume:
    """One Cinder volume for one claim of this namespace, and for no other."""

    claim: ClaimedVolume
    """Its `persistent_volume` is the name."""
    volume_id: VolumeId
    size_gib: int
    reclaim_policy: ReclaimPolicy
    restore_uid: str
    zone: str = ""
    """The only zone whose nodes may use it; empty for all nodes."""


@dataclass(frozen=True, slots=True)
class NewClaim:
    """A claim that asks for one persistent volume by name."""

    claim: ClaimedVolume
    size_gib: int
    restore_uid: str


def volume_mode_of(text: object) -> VolumeMode:
    """Block, else what Kubernetes takes where nothing is said."""
    return VolumeMode.BLOCK if text == VolumeMode.BLOCK else VolumeMode.FILESYSTEM


def is_bound(claim: ClaimFacts, volume: PersistentVolumeFacts) -> bool:
    """Whether each names the other, and by the uid of this very claim."""
    return (
        claim.volume_name == volume.name
        and bool(claim.uid)
        and (volume.claim_uid, volume.claim_namespace, volume.claim_name)
        == (claim.uid, claim.namespace, claim.name)
    )


def source_problem(
    name: str, claim: ClaimFacts | None, volume: PersistentVolumeFacts | None
) -> CinderbankError | None:
    """Why there is no Cinder volume behind the claim; Retryable when there may be one later."""
    what = f'PersistentVolumeClaim "{name}" of spec.source'
    if claim is None:
        return Unavailable(
            f"{what} is not in this namespace; check the name. It is looked for again",
            reason="ClaimNotFound",
        )
    if claim.deleting:
        return Conflict(
            f"{what} is being deleted; to back up its volume all the same, name it by volumeID",
            reason="ClaimDeleting",
        )
    if claim.phase in ("Bound", "Lost") and volume is None:
        return SourceGone(
            f'{what} was bound to PersistentVolume "{claim.volume_name}", which is gone; if its Cinder '
            "volume still exists, name it by volumeID",
            reason="PersistentVolumeGone",
        )
    if volume is None or claim.phase != "Bound" or not is_bound(claim, volume):
        return Unavailable(
            f"{what} is {claim.phase} and not bound to a volume yet; it is looked at again (a class "
            "with WaitForFirstConsumer binds when the first Pod uses the claim)",
            reason="ClaimNotBound",
        )
    if volume.driver != CSI_DRIVER or _UUID.fullmatch(volume.volume_handle) is None:
        return Unsupported(
            f'{what} is of the driver "{volume.driver or "(no CSI driver)"}"; only volumes of '
            f"{CSI_DRIVER} can be backed up",
            reason="ClaimNotCinder",
        )
    return None


def volume_id_of(volume: PersistentVolumeFacts) -> VolumeId:
    """The Cinder volume of one that `source_problem` has nothing against."""
    return VolumeId(volume.volume_handle)


def claimed(claim: ClaimFacts, volume: PersistentVolumeFacts) -> ClaimedVolume:
    """What a backup remembers of its source."""
    return ClaimedVolume(
        name=claim.name,
        persistent_volume=volume.name,
        storage_class=claim.storage_class,
        access_modes=tuple(mode for mode in claim.access_modes if mode in ACCESS_MODES),
        volume_mode=claim.volume_mode,
        fs_type=volume.fs_type if _FS_TYPE.fullmatch(volume.fs_type) else "",
    )


TAG = "cinderbank.io/pvc-"
"""Beginning of the backup's tags that tell of the claim: bank format 1 has tags, and nothing else new."""


def to_tags(source: ClaimedVolume, namespace: str) -> dict[str, str]:
    """What goes into the bank with the backup; empty values are left out."""
    told = {
        "namespace": namespace,
        "name": source.name,
        "storage-class": source.storage_class,
        "access-modes": ",".join(source.access_modes),
        "volume-mode": str(source.volume_mode),
        "fs-type": source.fs_type,
    }
    return {TAG + key: value for key, value in told.items() if value}


def from_tags(tags: Mapping[str, str]) -> ClaimedVolume | None:
    """What a backup's tags tell of its claim, None when it was of no claim. They come out of a bank:
    what is not plainly a value of its field counts as left out."""
    name = tags.get(TAG + "name", "")
    if not _OBJECT_NAME.fullmatch(name):
        return None
    modes = tags.get(TAG + "access-modes", "")[:200].split(",")
    storage_class = tags.get(TAG + "storage-class", "")
    fs_type = tags.get(TAG + "fs-type", "")
    return ClaimedVolume(
        name=name,
        persistent_volume="",
        storage_class=storage_class if _OBJECT_NAME.fullmatch(storage_class) else "",
        access_modes=tuple(mode for mode in ACCESS_MODES if mode in modes),
        volume_mode=volume_mode_of(tags.get(TAG + "volume-mode")),
        fs_type=fs_type if _FS_TYPE.fullmatch(fs_type) else "",
    )
