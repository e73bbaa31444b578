"""A Cinder that is as slow, as forgetful and as strict about statuses as the real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from cinderbank.domain.errors import Conflict, InvalidSpec, SourceGone, Unsupported
from cinderbank.domain.facts import (
    GIB,
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
from cinderbank.domain.names import TAG_PREFIX
from tests.fakes.cloud import FakeCloud, Image, Snapshot, Volume
from tests.fakes.contents import restored

NOT_CONVERTED = ("VOLUME_VOLUME_005_029", "The image disk format must be the same as the volume's.")
DELETABLE = ("available", "error", "error_restoring", "error_extending", "error_managing")


class FakeCinder:
    def __init__(self, cloud: FakeCloud) -> None:
        self.cloud = cloud
        self._faults = cloud.faults

    def find_volume(self, volume_id: VolumeId) -> VolumeFacts | None:
        self._faults.read("find_volume")
        self.cloud.settle()
        volume = self.cloud.volumes.get(volume_id)
        return None if volume is None else volume.facts()

    def volumes_named(self, name: str) -> Sequence[VolumeFacts]:
        self._faults.read("volumes_named")
        shown = self.cloud.shown(self.cloud.volumes)
        return [volume.facts() for volume in shown if volume.name == name]

    def volumes(self) -> Sequence[VolumeFacts]:
        self._faults.read("volumes")
        return [volume.facts() for volume in self.cloud.shown(self.cloud.volumes)]

    def volumes_tagged(self, key: str, value: str) -> Sequence[VolumeFacts]:
        self._faults.read("volumes_tagged")
        shown = self.cloud.shown(self.cloud.volumes)
        return [volume.facts() for volume in shown if volume.metadata.get(key) == value]

    def find_snapshot(self, snapshot_id: SnapshotId) -> SnapshotFacts | None:
        self._faults.read("find_snapshot")
        self.cloud.settle()
        snapshot = self.cloud.snapshots.get(snapshot_id)
        return None if snapshot is None else snapshot.facts()

    def snapshots_tagged(self, key: str, value: str) -> Sequence[SnapshotFacts]:
        self._faults.read("snapshots_tagged")
        self.cloud.settle()
        now = self.cloud.clock.now()
        return [
            snapshot.facts()
            for snapshot in self.cloud.snapshots.values()
            if snapshot.metadata.get(key) == value and snapshot.visible_at <= now
        ]

    def create_snapshot(
        self, volume_id: VolumeId, *, name: str, description: str, metadata: Mapping[str, str]
    ) -> SnapshotFacts:
        cloud = self.cloud
        with self._faults.effect("create_snapshot"):
            cloud.settle()
            source = cloud.volumes.get(volume_id)
            if source is None:
                raise SourceGone(f"volume {volume_id} not found", reason="VolumeNotFound")
            if source.status not in ("available", "in-use"):
                raise Conflict(f"volume {volume_id} is {source.status}")
            now = cloud.clock.now()
            snapshot = Snapshot(
                SnapshotId(cloud.new_id("snapshot")),
                name,
                "creating",
                volume_id,
                source.size_gib,
                source.content,
                now,
                cloud.visible_at("snapshot"),
                dict(metadata),
                encryption=source.encryption,
            )
            becomes = cloud.becomes("snapshot", "available")
            snapshot.next = [(cloud.after(cloud.snapshot_seconds), becomes)]
            cloud.snapshots[snapshot.id] = snapshot
            cloud.snapshots_made += 1
        return snapshot.facts()

    def create_volume_from_snapshot(
        self,
        snapshot: SnapshotFacts,
        *,
        name: str,
        description: str,
        metadata: Mapping[str, str],
    ) -> VolumeFacts:
        cloud = self.cloud
        with self._faults.effect("create_volume_from_snapshot"):
            cloud.settle()
            origin = cloud.snapshots.get(snapshot.id)
            if origin is None:
                raise SourceGone(f"snapshot {snapshot.id} not found", reason="SnapshotNotFound")
            if origin.status != "available":
                raise Conflict(f"snapshot {snapshot.id} is {origin.status}")
            volume = self._new_volume(name, origin.size_gib, origin.content, description, metadata)
            volume.snapshot_id, volume.parent = snapshot.id, snapshot.id
            source = cloud.volumes.get(origin.volume_id)
            if source is not None:
                volume.bootable, volume.volume_type = source.bootable, source.volume_type
                volume.image_metadata = dict(source.image_metadata)
            volume.encryption = cloud.copied_key(origin.encryption)
            becomes = cloud.becomes("volume", "available")
            volume.next = [(cloud.after(cloud.clone_seconds), becomes)]
        return volume.facts()

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
        cloud = self.cloud
        with self._faults.effect("create_volume_from_image"):
            cloud.settle()
            image = cloud.images.get(image_id)
            if image is None:
                raise SourceGone(f"image {image_id} not found", reason="ImageNotFound")
            if image.status != "active":
                raise Conflict(f"image {image_id} is {image.status}")
            if volume_type is not None and volume_type not in cloud.volume_types:
                raise InvalidSpec(f"volume type {volume_type} unknown", reason="VolumeTypeNotFound")
            gib = -(-(image.facts().size_bytes or 0) // GIB)
            if gib > size_gib:
                raise InvalidSpec(
                    f"Size of specified image {gib}GB is larger than volume size {size_gib}GB."
                )
            if availability_zone not in (None, *cloud.availability_zones):
                raise InvalidSpec(f"Availability zone '{availability_zone}' is invalid.")
            volume = self._new_volume(name, size_gib, image.content, description, metadata)
            volume.volume_type = volume_type or cloud.volume_types[0]
            volume.availability_zone = availability_zone or cloud.availability_zones[0]
            volume.image_id, volume.bootable = image_id, True
            volume.image_metadata = {
                "image_id": image_id,
                "image_name": image.name,
                "disk_format": image.disk_format,
                "os_distro": "of the temporary image",
            }
            becomes = cloud.becomes("volume", "available")
            if image.disk_format != "raw" and not cloud.converts:
                becomes, volume.told_on_error = "error", NOT_CONVERTED
            content = restored(image.content, cloud.backend, image.disk_format)
            if content is None:
                becomes, volume.told_on_error = "error", None
            else:
                volume.content = content
            self._encrypt(volume, image)
            if image.encryption_key_id is not None and volume.encryption is None:
                becomes, volume.told_on_error = "error", None
            if cloud.clones_images and image.disk_format == "raw" and volume.encryption is None:
                volume.parent = image_id
            half = cloud.download_seconds / 2
            volume.next = [(cloud.after(half), "downloading"), (cloud.after(2 * half), becomes)]
        return volume.facts()

    def _encrypt(self, volume: Volume, image: Image) -> None:
        kind = self.cloud.encrypted_types.get(volume.volume_type)
        if kind is None:
            return
        if image.encryption_key_id is None:
            volume.content = f"encrypted again: {volume.content}"
            volume.encryption = replace(kind, key_id=self.cloud.add_secret(b"new"))
        else:
            volume.encryption = self.cloud.copied_key(replace(kind, key_id=image.encryption_key_id))

    def volume_encryption(self, volume_id: VolumeId) -> VolumeEncryption | None:
        self._faults.read("volume_encryption")
        self.cloud.settle()
        volume = self.cloud.volumes.get(volume_id)
        return None if volume is None else volume.encryption

    def _new_volume(
        self, name: str, size_gib: int, content: str, description: str, metadata: Mapping[str, str]
    ) -> Volume:
        cloud = self.cloud
        volume = Volume(
            VolumeId(cloud.new_id("volume")),
            name,
            size_gib,
            "creating",
            content,
            cloud.clock.now(),
            cloud.visible_at("volume"),
            description=description,
            metadata=dict(metadata),
        )
        cloud.volumes[volume.id] = volume
        return volume

    def upload_to_image(self, volume_id: VolumeId, *, image_name: str, disk_format: str) -> ImageId:
        cloud = self.cloud
        with self._faults.effect("upload_to_image"):
            cloud.settle()
            volume = cloud.volumes.get(volume_id)
            if volume is None:
                raise SourceGone(f"volume {volume_id} not found", reason="VolumeNotFound")
            if volume.status != "available":
                raise Conflict(f"volume {volume_id} status must be available")
            cloud.refuse_format(disk_format)
            if volume.encryption is not None and disk_format != "raw":
                raise Unsupported("must use 'raw' disk_format", reason="ImageFormatRefused")
            made = cloud.uploaded(volume, disk_format)
            content, size_bytes = made or ("", 0)
            image = Image(
                ImageId(cloud.new_id("image")),
                image_name,
                "queued",
                content,
                size_bytes,
                cloud.clock.now(),
                cloud.visible_at("image"),
                disk_format,
                inspected=cloud.inspects,
            )
            if (key := cloud.copied_key(volume.encryption)) is not None:
                image.encryption_key_id, image.owns_key = key.key_id, True
            cloud.images[image.id] = image
            done = cloud.after(cloud.upload_seconds)
            becomes = cloud.becomes("image", "active") if made else "gone"
            volume.status = "uploading"
            if becomes != "stuck":  # cinder-volume died: for ever uploading, for ever queued
                image.next = [(cloud.after(1), "saving"), (done, becomes)]
                volume.next = [(done, "available")]
            if becomes == "gone":
                text = "Failed to upload volume to image at backend."
                cloud.tell("VOLUME_VOLUME_003_004", text, volume_id)
        return image.id

    def set_bootable(self, volume_id: VolumeId, bootable: bool) -> None:
        with self._faults.effect("set_bootable"):
            self._volume(volume_id).bootable = bootable

    def delete_image_metadata(self, volume_id: VolumeId, keys: Sequence[str]) -> None:
        with self._faults.effect("delete_image_metadata"):
            volume = self._volume(volume_id)
            for key in keys:
                volume.image_metadata.pop(key, None)

    def set_image_metadata(self, volume_id: VolumeId, metadata: Mapping[str, str]) -> None:
        with self._faults.effect("set_image_metadata"):
            self._volume(volume_id).image_metadata.update(metadata)

    def _volume(self, volume_id: VolumeId) -> Volume:
        self.cloud.settle()
        volume = self.cloud.volumes.get(volume_id)
        if volume is None:
            raise SourceGone(f"volume {volume_id} not found", reason="VolumeNotFound")
        return volume

    def delete_snapshot(self, snapshot_id: SnapshotId) -> None:
        cloud = self.cloud
        with self._faults.effect("delete_snapshot"):
            cloud.settle()
            snapshot = cloud.snapshots.get(snapshot_id)
            if snapshot is None:
                return
            self._note_untagged(snapshot_id, snapshot.metadata)
            if snapshot.group_snapshot_id:
                raise Conflict(f"snapshot {snapshot_id} must not be part of a group")
            if snapshot.status not in ("available", "error"):
                raise Conflict(f"snapshot {snapshot_id} status must be available or error")
            snapshot.status = "deleting"
            snapshot.next = [(cloud.after(cloud.delete_seconds), "gone")]

    def delete_volume(self, volume_id: VolumeId) -> None:
        cloud = self.cloud
        with self._faults.effect("delete_volume"):
            cloud.settle()
            volume = cloud.volumes.get(volume_id)
            if volume is None:
                return
            self._note_untagged(volume_id, volume.metadata)
            if volume.status not in DELETABLE:
                raise Conflict(f"volume {volume_id} status must be available or error")
            if any(snapshot.volume_id == volume_id for snapshot in cloud.snapshots.values()):
                raise Conflict(f"volume {volume_id} must not have snapshots")
            volume.status = "deleting"
            volume.next = [(cloud.after(cloud.delete_seconds), "gone")]

    def _note_untagged(self, resource_id: str, metadata: Mapping[str, str]) -> None:
        if not any(key.startswith(TAG_PREFIX) for key in metadata):
            self.cloud.untagged_deletes.append(resource_id)

    def messages(self, resource_id: str, *, since: datetime) -> Sequence[UserMessage]:
        self._faults.read("messages")
        found = [m for m in self.cloud.messages if m.resource_id == resource_id]
        return [m for m in reversed(found) if m.created_at >= since]

    def volume_types(self) -> Sequence[VolumeTypeFacts]:
        self._faults.read("volume_types")
        return [VolumeTypeFacts(f"id-of-{name}", name) for name in self.cloud.volume_types]

    def availability_zones(self) -> Sequence[str] | None:
        self._faults.read("availability_zones")
        return list(self.cloud.availability_zones)

    def quota_left(self) -> QuotaLeft | None:
        self._faults.read("quota_left")
        return self.cloud.quota_left
