"""The state of one OpenStack project: what FakeCinder and FakeGlance show and change.

Asynchronous as the real one: things go on only when the clock does. Contents are short strings, so
that a test can follow the bytes from the source to the restored volume.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cinderbank.domain.errors import Unsupported
from cinderbank.domain.facts import (
    GIB,
    ImageFacts,
    ImageId,
    QuotaLeft,
    SnapshotFacts,
    SnapshotId,
    UserMessage,
    VolumeEncryption,
    VolumeFacts,
    VolumeId,
)
from tests.fakes import contents
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Faults


@dataclass
class Volume:
    id: VolumeId
    name: str
    size_gib: int
    status: str
    content: str
    created_at: datetime
    visible_at: datetime
    description: str = ""
    volume_type: str = "ssd"
    availability_zone: str = "nova"
    bootable: bool = False
    encrypted: bool = False
    snapshot_id: SnapshotId | None = None
    image_id: ImageId | None = None
    parent: str = ""
    """The image or the snapshot that it shares its data with."""
    metadata: dict[str, str] = field(default_factory=dict)
    image_metadata: dict[str, str] = field(default_factory=dict)
    next: list[tuple[datetime, str]] = field(default_factory=list)
    """(when, status): what becomes of it; "gone" takes it away."""
    told_on_error: tuple[str, str] | None = ("VOLUME_VOLUME_001_003", "no weighed backends")
    encryption: VolumeEncryption | None = None

    def facts(self) -> VolumeFacts:
        return VolumeFacts(
            id=self.id,
            name=self.name,
            status=self.status,
            size_gib=self.size_gib,
            description=self.description,
            volume_type=self.volume_type,
            availability_zone=self.availability_zone,
            bootable=self.bootable,
            encrypted=self.encryption is not None or self.encrypted,
            snapshot_id=self.snapshot_id,
            created_at=self.created_at,
            metadata=dict(self.metadata),
            image_metadata=dict(self.image_metadata),
        )


@dataclass
class Snapshot:
    id: SnapshotId
    name: str
    status: str
    volume_id: VolumeId
    size_gib: int
    content: str
    created_at: datetime
    visible_at: datetime
    metadata: dict[str, str]
    next: list[tuple[datetime, str]] = field(default_factory=list)
    encryption: VolumeEncryption | None = None
    group_snapshot_id: str = ""

    def facts(self) -> SnapshotFacts:
        return SnapshotFacts(
            self.id, self.name, self.status, self.volume_id, self.size_gib, self.created_at
        )


@dataclass
class Image:
    id: ImageId
    name: str
    status: str
    content: str
    full_size_bytes: int
    """Of the disk inside; that is the image itself when it is raw."""
    created_at: datetime
    visible_at: datetime
    disk_format: str = "raw"
    length_bytes: int = 196_624
    """Of an image that is not raw: what Glance holds."""
    inspected: bool = True
    """Whether this Glance looks for the size of the disk inside."""
    next: list[tuple[datetime, str]] = field(default_factory=list)
    encryption_key_id: str | None = None
    owns_key: bool = False

    def facts(self) -> ImageFacts:
        size = self.full_size_bytes if self.disk_format == "raw" else self.length_bytes
        active = self.status == "active"
        return ImageFacts(
            self.id,
            self.name,
            self.status,
            self.disk_format,
            size_bytes=size if active else None,
            virtual_size_bytes=self.full_size_bytes if active and self.inspected else None,
            created_at=self.created_at,
            encryption_key_id=self.encryption_key_id,
            owns_key=self.owns_key,
        )


@dataclass
class StoredSecret:
    """In the key manager; `mark` is what Cinder's copies lose."""

    payload: bytes
    mark: str
    visible_at: datetime


LUKS = VolumeEncryption("luks", "aes-xts-plain64", 256, "front-end", "")
LUKS_HEADER_BYTES = 2_068_480


@dataclass
class FakeCloud:
    clock: FakeClock
    faults: Faults
    snapshot_seconds: float = 2.0
    clone_seconds: float = 3.0
    upload_seconds: float = 12.0
    download_seconds: float = 8.0
    delete_seconds: float = 2.0
    busy_with_children: bool = True
    """A Cinder that does not flatten the children of a snapshot: it comes back `available` after its delete."""
    volumes: dict[str, Volume] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    messages: list[UserMessage] = field(default_factory=list)
    volume_types: list[str] = field(default_factory=lambda: ["ssd", "hdd"])
    """The first is the default; so it is with the zones."""
    availability_zones: list[str] = field(default_factory=lambda: ["nova"])
    quota_left: QuotaLeft | None = field(default_factory=lambda: QuotaLeft(7, 90))
    image_size_bytes: int | None = None
    """What upload-to-image makes, when it is not the volume's size."""
    clones_images: bool = False
    """Glance keeps its images in the Ceph of the volumes, in clone format 1."""
    backend: str = "rbd"
    converts: bool = True
    """False: image_conversion_disable in cinder.conf."""
    disk_formats: tuple[str, ...] = ("raw", "qcow2", "vdi")
    """What Glance takes."""
    inspects: bool = True
    """Whether Glance tells virtual_size."""
    refused_contents: tuple[str, ...] = ()
    """Disk formats whose data Glance answers with 415."""
    image_pinned: bool = False
    """The image store refuses deletes: 409."""
    snapshots_made: int = 0
    secrets: dict[str, StoredSecret] = field(default_factory=dict)
    encrypted_types: dict[str, VolumeEncryption] = field(default_factory=lambda: {"luks": LUKS})
    deletes_keys: bool = False
    """Whether Glance can delete a key with its image: not with an application credential."""
    header_bytes: int = LUKS_HEADER_BYTES
    untagged_deletes: list[str] = field(default_factory=list)
    _turn_out: dict[str, list[str]] = field(default_factory=dict)
    _late: dict[str, float] = field(default_factory=dict)
    _ids: int = 0

    def turn_out(self, kind: str, status: str, *, times: int = 1) -> None:
        """What the next resources of a kind (snapshot, volume, image) become; "gone" for an image."""
        self._turn_out.setdefault(kind, []).extend([status] * times)

    def appear_late(self, kind: str, seconds: float) -> None:
        """The next resource of this kind is in no listing for so long."""
        self._late[kind] = seconds

    def add_volume(self, volume_id: str, **changes: object) -> Volume:
        now = self.clock.now()
        volume = Volume(VolumeId(volume_id), "db", 1, "available", "data", now, now)
        for name, value in changes.items():
            setattr(volume, name, value)
        self.volumes[volume_id] = volume
        return volume

    def add_secret(self, payload: bytes, mark: str = "") -> str:
        secret_id = self.new_id("secret")
        self.secrets[secret_id] = StoredSecret(payload, mark, self.visible_at("secret"))
        return secret_id

    def copied_key(self, of: VolumeEncryption | None) -> VolumeEncryption | None:
        """As Cinder does it for every clone."""
        if of is None:
            return None
        return replace(of, key_id=self.add_secret(self.secrets[of.key_id].payload))

    def key_of(self, volume: Volume) -> bytes:
        """The payload that opens what is in the volume."""
        assert volume.encryption is not None
        return self.secrets[volume.encryption.key_id].payload

    def new_id(self, kind: str) -> str:
        self._ids += 1
        return f"{kind}-{self._ids}"

    def becomes(self, kind: str, normally: str) -> str:
        waiting = self._turn_out.get(kind)
        return waiting.pop(0) if waiting else normally

    def visible_at(self, kind: str) -> datetime:
        return self.after(self._late.pop(kind, 0.0))

    def after(self, seconds: float) -> datetime:
        return self.clock.now() + timedelta(seconds=seconds)

    def tell(self, event_id: str, text: str, resource_id: str) -> None:
        now = self.clock.now()
        self.messages.append(UserMessage(event_id, text, resource_id, now, f"req-{resource_id}"))

    def settle(self) -> None:
        """Let everything happen that is due by now."""
        now = self.clock.now()
        for volume in list(self.volumes.values()):
            while volume.next and volume.next[0][0] <= now:
                volume.status = volume.next.pop(0)[1]
                if volume.status == "gone":
                    del self.volumes[volume.id]
                    if volume.encryption is not None:
                        self.secrets.pop(volume.encryption.key_id, None)
                elif volume.status == "error" and volume.told_on_error is not None:
                    self.tell(*volume.told_on_error, volume.id)
        for snapshot in list(self.snapshots.values()):
            while snapshot.next and snapshot.next[0][0] <= now:
                self._snapshot_becomes(snapshot, snapshot.next.pop(0)[1])
        for image in list(self.images.values()):
            while image.next and image.next[0][0] <= now:
                image.status = image.next.pop(0)[1]
                if image.status == "gone":
                    self.take_away(image)

    def _snapshot_becomes(self, snapshot: Snapshot, status: str) -> None:
        children = [v for v in self.volumes.values() if v.parent == snapshot.id]
        if status == "gone" and children and self.busy_with_children:
            snapshot.status = "available"
            self.tell("VOLUME_VOLUME_SNAPSHOT_010_015", "snapshot is busy", snapshot.id)
            return
        snapshot.status = status
        if status == "gone":
            for child in children:
                child.parent = ""
            del self.snapshots[snapshot.id]
        if status == "error":
            self.tell("VOLUME_VOLUME_SNAPSHOT_009_013", "driver failed", snapshot.id)

    def take_away(self, image: Image) -> None:
        del self.images[image.id]
        if image.owns_key and self.deletes_keys:
            self.secrets.pop(image.encryption_key_id or "", None)

    def shown(self, resources: dict[str, Volume]) -> list[Volume]:
        self.settle()
        return [v for v in resources.values() if v.visible_at <= self.clock.now()]

    def refuse_format(self, disk_format: str) -> None:
        """As Glance says it, also through Cinder."""
        if disk_format not in self.disk_formats:
            text = f"Unable to set 'disk_format' to '{disk_format}': it is not one of {self.disk_formats}"
            raise Unsupported(text, reason="ImageFormatRefused", status_code=400)

    def uploaded(self, volume: Volume, disk_format: str) -> tuple[str, int] | None:
        """Content and size of the disk in the image that upload-to-image makes; None: none is made."""
        if disk_format != "raw" and not self.converts:
            return None
        size = volume.size_gib * GIB
        if volume.encryption is not None:
            return volume.content, size + self.header_bytes
        made = contents.uploaded(volume.content, size, self.backend, disk_format)
        return made and (made[0], self.image_size_bytes or made[1])
