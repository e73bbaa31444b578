"""Cinder as the engine needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from cinderbank.domain.facts import (
    ImageId,
    QuotaLeft,
    SnapshotFacts,
    SnapshotId,
    UserMessage,
    VolumeEncryption,
    VolumeFacts,
    VolumeId,
    VolumeTypeFacts,
)


class Cinder(Protocol):
    """One project of one Cinder.

    Every method MAY raise Unavailable, AuthRefused, Forbidden. Reads are idempotent. Creates are not:
    Cinder has no idempotency token, so the caller MUST have recorded an intent and MUST look up by
    tag before it calls again; when the answer was lost they raise OutcomeUnknown. Deletes are
    idempotent and asynchronous: 404 is success, the resource is gone when a later read says so, and
    a resource that is busy raises Conflict.

    A tag is one metadata entry (key, value); resources that carry it are ours.
    """

    def find_volume(self, volume_id: VolumeId) -> VolumeFacts | None:
        """The volume, or None when this project has none of that id (404)."""
        ...

    def volumes_named(self, name: str) -> Sequence[VolumeFacts]:
        """All volumes of this project with exactly this name."""
        ...

    def volumes(self) -> Sequence[VolumeFacts]:
        """All volumes of this project, oldest first."""
        ...

    def volumes_tagged(self, key: str, value: str) -> Sequence[VolumeFacts]:
        """All volumes with metadata {key: value}, oldest first; filtered again by us, whatever the server did."""
        ...

    def find_snapshot(self, snapshot_id: SnapshotId) -> SnapshotFacts | None:
        """The snapshot, or None when this project has none of that id (404)."""
        ...

    def snapshots_tagged(self, key: str, value: str) -> Sequence[SnapshotFacts]:
        """All snapshots with metadata {key: value}, oldest first."""
        ...

    def volume_encryption(self, volume_id: VolumeId) -> VolumeEncryption | None:
        """How this volume is encrypted; None for one that is not, and for one that is not there."""
        ...

    def create_snapshot(
        self, volume_id: VolumeId, *, name: str, description: str, metadata: Mapping[str, str]
    ) -> SnapshotFacts:
        """Snapshot a volume, attached or not (force). Also raises OverQuota, Conflict (volume busy), SourceGone."""
        ...

    def create_volume_from_snapshot(
        self, snapshot: SnapshotFacts, *, name: str, description: str, metadata: Mapping[str, str]
    ) -> VolumeFacts:
        """A volume of the snapshot's size; its zone is left to Cinder (cloned_volume_same_az). Also raises OverQuota, Conflict."""
        ...

    def create_volume_from_image(
        self,
        image_id: ImageId,
        *,
        name: str,
        description: str,
        size_gib: int,
        volume_type: str | None,
        availability_zone: str | None,
        metadata: Mapping[str, str],
    ) -> VolumeFacts:
        """A volume from an active image. Also raises OverQuota, Conflict, InvalidSpec (type or zone unknown, size too small)."""
        ...

    def upload_to_image(self, volume_id: VolumeId, *, image_name: str, disk_format: str) -> ImageId:
        """Copy an `available` volume into a new private Glance image; returns at once
        (os-volume_upload_image, 3.1).

        Also raises Conflict, SourceGone, and Unsupported (reason ImageFormatRefused) when the cloud does
        not take this disk_format. What it can not convert fails later, as any upload.
        """
        ...

    def set_bootable(self, volume_id: VolumeId, bootable: bool) -> None:
        """Idempotent. A volume made from an image is always bootable; data volumes must get this put back."""
        ...

    def delete_image_metadata(self, volume_id: VolumeId, keys: Sequence[str]) -> None:
        """Take keys out of the volume's image metadata; keys that are not there are fine."""
        ...

    def set_image_metadata(self, volume_id: VolumeId, metadata: Mapping[str, str]) -> None:
        """Put entries into the volume's image metadata, in place of what is there under the same keys.
        Idempotent. Also raises SourceGone, InvalidSpec (a key or a value that Cinder does not take)."""
        ...

    def delete_snapshot(self, snapshot_id: SnapshotId) -> None: ...

    def delete_volume(self, volume_id: VolumeId) -> None: ...

    def messages(self, resource_id: str, *, since: datetime) -> Sequence[UserMessage]:
        """User messages of one resource, newest first; empty when this cloud has none."""
        ...

    def volume_types(self) -> Sequence[VolumeTypeFacts]:
        """The volume types that this project sees, by name."""
        ...

    def availability_zones(self) -> Sequence[str] | None:
        """Names of the zones for volumes, sorted; None when this cloud does not say."""
        ...

    def quota_left(self) -> QuotaLeft | None:
        """What this project may still make of volumes; None when this cloud does not say."""
        ...
