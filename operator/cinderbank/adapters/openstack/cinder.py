"""ports.cinder.Cinder over the Block Storage API v3 of one project.

Microversions are named per call and as low as the call can be, because a higher one changes more
than what is wanted. Nothing ever asks for all_tenants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import requests
from openstack.connection import Connection

from cinderbank.adapters.openstack import bodies, snapshots
from cinderbank.adapters.openstack.calls import is_uuid, made, pages, read, uuid, write
from cinderbank.adapters.openstack.errors import Call, mapped
from cinderbank.adapters.openstack.user_messages import user_messages
from cinderbank.domain.errors import Conflict, Forbidden, SourceGone, Unsupported
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

UPLOAD_MICROVERSION = "3.1"
"""The first that takes `visibility`; at 3.0 Cinder answers 400."""


OWNER = "os-vol-tenant-attr:tenant_id"


class OpenStackCinder:
    """One project of one Cinder; may be shared by threads as its Connection may be."""

    def __init__(self, connection: Connection) -> None:
        self._cinder = connection.block_storage
        self._session = connection.session

    # --- reads ---------------------------------------------------------------------------------

    def find_volume(self, volume_id: VolumeId) -> VolumeFacts | None:
        """The volume, or None (404, or another project's, which an administrator would be shown).

        A 404 that is not Cinder's own raises Unavailable.
        """
        call = Call("read", f"volume {volume_id}")
        if not is_uuid(volume_id):
            return None
        try:
            body = read(self._cinder, f"/volumes/{volume_id}", call).get("volume")
        except SourceGone:
            return None
        facts = bodies.volume(body, call)
        return facts if self._is_ours(body) else None

    def volumes_named(self, name: str) -> Sequence[VolumeFacts]:
        """All volumes of this project with exactly this name, oldest first."""
        call = Call("list", f"volumes named {name!r}")
        found = self._volumes({"name": name}, call)
        return [facts for facts in found if facts.name == name]

    def volumes(self) -> Sequence[VolumeFacts]:
        """All volumes of this project, oldest first; page by page."""
        return self._volumes({}, Call("list", "the volumes of the project"))

    def volumes_tagged(self, key: str, value: str) -> Sequence[VolumeFacts]:
        """All volumes with metadata {key: value}, oldest first.

        Cinder reads the filter as a Python literal. Where an administrator has taken `metadata`
        out of the filters, Cinder ignores it below 3.31: hence no microversion, and a look of ours.
        """
        call = Call("list", f"volumes with metadata {key}={value}")
        found = self._volumes({"metadata": str({key: value})}, call)
        return [facts for facts in found if facts.metadata.get(key) == value]

    def find_snapshot(self, snapshot_id: SnapshotId) -> SnapshotFacts | None:
        """The snapshot, or None (404, or another project's)."""
        return snapshots.find(self._cinder, snapshot_id, self._project_id())

    def snapshots_tagged(self, key: str, value: str) -> Sequence[SnapshotFacts]:
        """All snapshots with metadata {key: value}, oldest first."""
        return snapshots.tagged(self._cinder, key, value)

    def messages(self, resource_id: str, *, since: datetime) -> Sequence[UserMessage]:
        """See adapters.openstack.user_messages."""
        return user_messages(self._cinder, resource_id, since)

    def volume_types(self) -> Sequence[VolumeTypeFacts]:
        """The volume types that this project sees, by name."""
        call = Call("list", "volume types")
        found = pages(self._cinder, "/types", call, key="volume_types", params={})
        return sorted((bodies.volume_type(item, call) for item in found), key=lambda it: it.name)

    def availability_zones(self) -> Sequence[str] | None:
        """Names of the zones for volumes, sorted; None when this cloud does not say."""
        call = Call("list", "availability zones")
        try:
            body = read(self._cinder, "/os-availability-zone", call)
        except (SourceGone, Unsupported, Forbidden):
            return None
        return bodies.availability_zones(body, call)

    def quota_left(self) -> QuotaLeft | None:
        """By /limits, which every user may read; None when this cloud does not say."""
        call = Call("read", "the limits of this project")
        try:
            body = read(self._cinder, "/limits", call)
        except (SourceGone, Unsupported, Forbidden):
            return None
        return bodies.quota_left(body, call)

    # --- creates -------------------------------------------------------------------------------

    def volume_encryption(self, volume_id: VolumeId) -> VolumeEncryption | None:
        """How this volume is encrypted; None for one that is not, and for one that is not there.

        Forbidden where an administrator keeps it from members (volume_extension:volume_encryption_metadata).
        """
        call = Call("read", f"the encryption of volume {volume_id}")
        path = f"/volumes/{uuid(volume_id, 'volume')}/encryption"
        try:
            return bodies.volume_encryption(read(self._cinder, path, call), call)
        except SourceGone:
            return None

    def create_snapshot(
        self, volume_id: VolumeId, *, name: str, description: str, metadata: Mapping[str, str]
    ) -> SnapshotFacts:
        """Snapshot a volume, attached or not (force).

        Not idempotent. Raises OverQuota, Conflict (its status forbids it), SourceGone, OutcomeUnknown.
        """
        call = Call("snapshot", f"volume {volume_id}", makes=True)
        snapshot = {
            "volume_id": uuid(volume_id, "volume"),
            "name": name,
            "description": description,
            "metadata": dict(metadata),
            "force": True,
        }
        response = write(
            self._cinder,
            "POST",
            "/snapshots",
            call,
            expected=(200, 202),
            json={"snapshot": snapshot},
            microversion=snapshots.MICROVERSION,
        )
        return made(response, call, lambda body: bodies.snapshot(body.get("snapshot"), call))

    def create_volume_from_snapshot(
        self, snapshot: SnapshotFacts, *, name: str, description: str, metadata: Mapping[str, str]
    ) -> VolumeFacts:
        """A volume of the snapshot's size and type; its zone is left to Cinder (cloned_volume_same_az).

        Not idempotent. Raises OverQuota, Conflict, SourceGone, OutcomeUnknown.
        """
        call = Call("create", f"volume {name!r} from snapshot {snapshot.id}", makes=True)
        return self._create_volume(
            {
                "snapshot_id": uuid(snapshot.id, "snapshot"),
                "size": snapshot.size_gib,
                "name": name,
                "description": description,
                "metadata": dict(metadata),
            },
            call,
        )

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
        """A volume from an active image; it is bootable until set_bootable says otherwise.

        Not idempotent. Raises OverQuota, Conflict (image not active), InvalidSpec (type or zone
        unknown, size too small), SourceGone (image not there), OutcomeUnknown.
        """
        call = Call("create", f"volume {name!r} from image {image_id}", makes=True)
        wanted: dict[str, Any] = {
            "imageRef": uuid(image_id, "image"),
            "size": size_gib,
            "name": name,
            "description": description,
            "metadata": dict(metadata),
        }
        if volume_type is not None:
            wanted["volume_type"] = volume_type
        if availability_zone is not None:
            wanted["availability_zone"] = availability_zone
        return self._create_volume(wanted, call)

    def upload_to_image(self, volume_id: VolumeId, *, image_name: str, disk_format: str) -> ImageId:
        """Copy an `available` volume into a new private image; the copy goes on after the answer.

        Not idempotent, but a volume that is `uploading` already raises Conflict. When the copy
        fails, Cinder deletes the image and puts a message under the volume. Raises Unsupported
        (ImageFormatRefused) when Glance does not take this disk_format.
        """
        what = f"volume {volume_id} to a {disk_format} image"
        call = Call("upload", what, makes=True, disk_format=disk_format)
        upload = {
            "image_name": image_name,
            "disk_format": disk_format,
            "container_format": "bare",
            "visibility": "private",
            "protected": False,
            "force": False,
        }
        response = self._act(volume_id, "os-volume_upload_image", upload, call, UPLOAD_MICROVERSION)
        return made(
            response,
            call,
            lambda body: ImageId(
                bodies.Body(body, call).inner("os-volume_upload_image").id("image_id")
            ),
        )

    # --- changes and deletes, all idempotent -----------------------------------------------------

    def set_bootable(self, volume_id: VolumeId, bootable: bool) -> None:
        """Idempotent. Raises SourceGone."""
        call = Call("set bootable of", f"volume {volume_id}")
        self._act(volume_id, "os-set_bootable", {"bootable": bootable}, call)

    def delete_image_metadata(self, volume_id: VolumeId, keys: Sequence[str]) -> None:
        """Take keys out of the volume's image metadata; keys that are not there are fine.

        Idempotent. Raises SourceGone. Cinder's 404 does not tell a missing key from a missing
        volume, so the volume is read after it.
        """
        call = Call("delete image metadata of", f"volume {volume_id}")
        for key in keys:
            try:
                self._act(volume_id, "os-unset_image_metadata", {"key": key}, call)
            except SourceGone:
                if key in self._image_metadata(volume_id, call):
                    raise Conflict(
                        f"{call}: the key {key!r} is there and cannot be found"
                    ) from None

    def set_image_metadata(self, volume_id: VolumeId, metadata: Mapping[str, str]) -> None:
        """Idempotent. Raises SourceGone, InvalidSpec (a key or a value that Cinder does not take)."""
        call = Call("set image metadata of", f"volume {volume_id}")
        self._act(volume_id, "os-set_image_metadata", {"metadata": dict(metadata)}, call)

    def delete_snapshot(self, snapshot_id: SnapshotId) -> None:
        """Idempotent, and asynchronous: on Ceph it may come back as `available` when it has a clone."""
        self._delete(f"/snapshots/{uuid(snapshot_id, 'snapshot')}", f"snapshot {snapshot_id}")

    def delete_volume(self, volume_id: VolumeId) -> None:
        """Idempotent and asynchronous; never cascades, never forces."""
        self._delete(f"/volumes/{uuid(volume_id, 'volume')}", f"volume {volume_id}")

    # --- shared --------------------------------------------------------------------------------

    def _volumes(self, params: Mapping[str, str], call: Call) -> list[VolumeFacts]:
        found = pages(self._cinder, "/volumes/detail", call, key="volumes", params=params)
        return bodies.oldest_first(
            [bodies.volume(item, call) for item in found if self._is_ours(item)]
        )

    def _is_ours(self, body: Any) -> bool:
        project = self._project_id()
        return bool(body.get(OWNER, project) == project)

    def _project_id(self) -> str:
        with mapped("read", "the project of these credentials"):
            return str(self._session.get_project_id())

    def _create_volume(self, volume: Mapping[str, Any], call: Call) -> VolumeFacts:
        response = write(
            self._cinder, "POST", "/volumes", call, expected=(200, 202), json={"volume": volume}
        )
        return made(response, call, lambda body: bodies.volume(body.get("volume"), call))

    def _image_metadata(self, volume_id: VolumeId, call: Call) -> Mapping[str, str]:
        volume = self.find_volume(volume_id)
        if volume is None:
            raise SourceGone(f"{call}: it is not there")
        return volume.image_metadata

    def _act(
        self,
        volume_id: VolumeId,
        action: str,
        arguments: Mapping[str, Any],
        call: Call,
        microversion: str | None = None,
    ) -> requests.Response:
        return write(
            self._cinder,
            "POST",
            f"/volumes/{uuid(volume_id, 'volume')}/action",
            call,
            expected=(200, 202),
            json={action: arguments},
            microversion=microversion,
        )

    def _delete(self, path: str, resource: str) -> None:
        """400 is how Cinder says that a status, a snapshot or a child forbids it: Conflict."""
        call = Call("delete", resource, bad_request=Conflict)
        try:
            write(self._cinder, "DELETE", path, call, expected=(202, 204))
        except SourceGone:
            return
