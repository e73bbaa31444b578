"""The stages of a backup that make something in the cloud, asked from the farthest one back.

image_stage asks whether the image is good; without one it asks for a volume to upload, that asks for
a snapshot to copy, that asks for the source. Each makes its resource anew when it failed or vanished,
up to `retry_limit` times; only a snapshot that was once `available` is never taken again, because a
later one would be of another moment. A qcow2 or VDI image that Auto asked for is made anew as another one.
"""

from __future__ import annotations

from datetime import timedelta

from cinderbank.domain import encryption, given_snapshot, intents, messages
from cinderbank.domain.backoff import poll_seconds
from cinderbank.domain.backup_source import not_found
from cinderbank.domain.backup_steps import (
    BackupObserved,
    BackupStep,
    CreateSnapshot,
    CreateVolume,
    StartTransfer,
    UploadToImage,
)
from cinderbank.domain.cleanup import still_there
from cinderbank.domain.errors import (
    CinderbankError,
    DataCorrupt,
    ResourceFailed,
    Retryable,
    SourceGone,
)
from cinderbank.domain.facts import ImageFacts, SnapshotFacts, TransferSucceeded, VolumeFacts
from cinderbank.domain.record import Transport
from cinderbank.domain.stages import (
    USELESS_IMAGE,
    USELESS_SNAPSHOT,
    USELESS_VOLUME,
    age_seconds,
    before_fresh_try,
    fail,
    first_usable,
    remove_failed,
    settling,
)
from cinderbank.domain.steps import (
    Conclude,
    DeleteImage,
    DeleteSnapshot,
    DeleteVolume,
    FallBack,
    Wait,
)
from cinderbank.domain.transfer_rules import counted
from cinderbank.domain.transport import CONVERTED, fallback, unwanted, with_way_out

READY_VOLUME = frozenset({"available", "in-use"})
"""Cinder takes a snapshot of these."""

NOT_READ = frozenset({"ImageUnsupported", "ImageNotInOrder"})
"""Reasons of a transfer that met an image of a kind that it does not read."""


def image_stage(o: BackupObserved) -> BackupStep:
    images = still_there(o.images)
    if left := unwanted(images, o.memory):
        error = ResourceFailed(
            f"image {left.id} is {left.disk_format}, which is not wanted any more",
            reason="UploadToImageFailed",
        )
        return remove_failed(o, intents.IMAGE, DeleteImage(left.id), error)
    image = first_usable(images, USELESS_IMAGE)
    if image is None:
        return _volume_to_upload(o)
    if image.status == "active":
        return _transfer_stage(o, image)
    if image.status == "deactivated":
        message = f"image {image.id} was deactivated by an administrator, so it can not be read"
        return fail(o, ResourceFailed(message, reason="ImageDeactivated"))
    if image.status == "killed":
        return _remake_image(o, image, f"image {image.id} was killed")
    return _image_under_way(o, image)


def _transfer_stage(o: BackupObserved, image: ImageFacts) -> BackupStep:
    memory = o.memory
    if isinstance(o.transfer, TransferSucceeded):
        # Its manifest is not there, or `sealing` had answered.
        error = Retryable("the transfer ended well but left no manifest", reason="ManifestMissing")
        return counted(memory, error, o.now, o.request.retry_limit)
    if (
        memory.backup_id is None
        or memory.source is None
        or memory.size_bytes is None
        or memory.snapshot_taken_at is None
    ):
        lost = "there is an image of this backup, but its status does not know of a snapshot"
        return fail(o, SourceGone(lost, reason="StatusLost"))
    if problem := _not_the_volume(image, memory.size_bytes):
        return unconverted(o, problem)
    if memory.source.encryption is not None and image.encryption_key_id is None:
        lost = f"image {image.id} of the encrypted volume names no key, so nothing could open the backup"
        return fail(o, SourceGone(lost, reason="EncryptionKeyNotFound"))
    return StartTransfer(
        memory.backup_id, image, memory.source, memory.snapshot_taken_at, memory.size_bytes
    )


def _not_the_volume(image: ImageFacts, size_bytes: int) -> DataCorrupt | None:
    """Of a raw image its size tells; of another what Glance has seen in it, else the transfer looks."""
    converted = image.disk_format in CONVERTED
    found = image.virtual_size_bytes if converted else image.size_bytes
    if found == size_bytes or (not found and converted):
        return None
    message = (
        f"the image that Cinder made is of a disk of {found} bytes, the volume has {size_bytes}. "
        "Cinder unpacks a disk image (qcow2, vmdk, ...) that it finds inside a volume's data instead "
        "of copying the bytes, so nothing was stored"
    )
    if image.disk_format == "raw":
        message += ". It can not be backed up through this cloud's Glance as it is"
    return DataCorrupt(message, reason="ImageSizeMismatch")


def unconverted(o: BackupObserved, error: CinderbankError) -> FallBack | Conclude:
    """What follows when the image is not one of the volume, or can not be read: a raw one, or the end."""
    reason, what = "ContentIsImage", "Cinder has unpacked a disk image that it found in the volume"
    if error.reason in NOT_READ:
        reason, what = "ConversionFailed", "the image that Cinder made can not be read here"
    if choice := fallback(o.request.transport, o.memory, reason, what):
        return FallBack(choice)
    return fail(o, _told(o, error))


def _told(o: BackupObserved, error: CinderbankError) -> CinderbankError:
    message = with_way_out(error.message, o.request.transport)
    return type(error)(message, reason=error.reason, request_id=error.request_id)


def _no_conversion(o: BackupObserved) -> FallBack | None:
    """A converted image that was never ready: raw next, while the transfer has never had one."""
    if intents.find(o.memory, intents.TRANSFER) is not None:
        return None
    what = f"Cinder made no {(o.memory.transport or Transport.RAW).disk_format} image of the volume"
    choice = fallback(o.request.transport, o.memory, "ConversionFailed", what)
    return None if choice is None else FallBack(choice)


def _image_under_way(o: BackupObserved, image: ImageFacts) -> BackupStep:
    age = age_seconds(o, intents.IMAGE)
    volume = first_usable(o.volumes, USELESS_VOLUME)
    if (volume is None or volume.status != "uploading") and age > intents.SETTLE_SECONDS:
        # Cinder sets the volume free only after the image is active, and volumes are read first.
        what = f"image {image.id} is {image.status} but its volume no longer uploads"
        return _remake_image(o, image, what)
    if age > o.request.timeouts.image.total_seconds():
        what = f"image {image.id} is still {image.status}"
        return fail(o, _timed_out("ImageTimeout", what, o.request.timeouts.image, volume))
    return Wait(poll_seconds(age), "Imaging", f"image {image.id} is {image.status}")


def _remake_image(o: BackupObserved, image: ImageFacts, what: str) -> BackupStep:
    if step := _no_conversion(o):
        return step
    error = _upload_failed(o, what)
    return remove_failed(o, intents.IMAGE, DeleteImage(image.id, because=error), error)


def _volume_to_upload(o: BackupObserved) -> BackupStep:
    volume = first_usable(o.volumes, USELESS_VOLUME)
    if volume is None:
        return _snapshot_to_copy(o)
    if volume.status == "available":
        return _upload(o, volume)
    if volume.status == "deleting":
        return Wait(
            poll_seconds(age_seconds(o, intents.VOLUME)), "Cloning", f"volume {volume.id} goes away"
        )
    if volume.status in USELESS_VOLUME:
        error = messages.failure(
            f"the temporary volume {volume.id} went into status {volume.status}",
            "VolumeFailed",
            volume.id,
            o.messages,
            [messages.SCHEDULE],
        )
        return remove_failed(o, intents.VOLUME, DeleteVolume(volume.id, because=error), error)
    if volume.status == "creating":
        begun, limit = intents.VOLUME, o.request.timeouts.clone
    else:
        begun, limit = intents.IMAGE, o.request.timeouts.image
    age = age_seconds(o, begun) if intents.find(o.memory, begun) else age_seconds(o, intents.VOLUME)
    if age > limit.total_seconds():
        what = f"volume {volume.id} is still {volume.status}"
        return fail(o, _timed_out("VolumeTimeout", what, limit, volume))
    return Wait(poll_seconds(age), "Cloning", f"volume {volume.id} is {volume.status}")


def _upload(o: BackupObserved, volume: VolumeFacts) -> BackupStep:
    memory = o.memory
    if problem := encryption.upload_problem(volume, memory.source):
        return fail(o, problem)
    if wait := settling(o, intents.IMAGE):
        return wait
    if intents.made_something(memory, intents.IMAGE) and (step := _no_conversion(o)):
        return step
    error = _upload_failed(o, f"Cinder took the image of volume {volume.id} away again")
    if first := before_fresh_try(o, intents.IMAGE, error):
        return first
    if memory.backup_id is None:
        return fail(o, SourceGone("the backup's id is lost", reason="StatusLost"))
    wanted = (memory.transport or Transport.RAW).disk_format
    return UploadToImage(memory.backup_id, volume.id, wanted)


def _snapshot_to_copy(o: BackupObserved) -> BackupStep:
    memory = o.memory
    if wait := settling(o, intents.VOLUME):
        return wait
    given = o.request.snapshot_id is not None
    snapshot = o.given if given else first_usable(o.snapshots, USELESS_SNAPSHOT)
    if snapshot is None:
        return given_snapshot.lost(o) if given else _source_to_snapshot(o)
    if snapshot.status != "available" or memory.backup_id is None:
        under_way = given_snapshot.not_ready if given else _snapshot_under_way
        return under_way(o, snapshot)
    error = ResourceFailed("the temporary volume vanished or failed", reason="VolumeFailed")
    if first := before_fresh_try(o, intents.VOLUME, error):
        return first
    return CreateVolume(memory.backup_id, snapshot)


def _snapshot_under_way(o: BackupObserved, snapshot: SnapshotFacts) -> BackupStep:
    age = age_seconds(o, intents.SNAPSHOT)
    if snapshot.status in ("error", "error_deleting"):
        if o.memory.snapshot_taken_at is not None:
            return _snapshot_lost(o)
        error = messages.failure(
            f"snapshot {snapshot.id} went into status {snapshot.status}",
            "SnapshotFailed",
            snapshot.id,
            o.messages,
            [messages.SNAPSHOT_CREATE],
        )
        delete = DeleteSnapshot(snapshot.id, because=error)
        return remove_failed(o, intents.SNAPSHOT, delete, error)
    limit = o.request.timeouts.snapshot
    if snapshot.status != "deleting" and age > limit.total_seconds():
        what = f"snapshot {snapshot.id} is still {snapshot.status}"
        return fail(o, _timed_out("SnapshotTimeout", what, limit, None))
    return Wait(poll_seconds(age), "Snapshotting", f"snapshot {snapshot.id} is {snapshot.status}")


def _source_to_snapshot(o: BackupObserved) -> BackupStep:
    memory = o.memory
    if memory.snapshot_taken_at is not None:
        return _snapshot_lost(o)
    if wait := settling(o, intents.SNAPSHOT):
        return wait
    error = ResourceFailed(
        "the snapshot vanished or failed before it was available", reason="SnapshotFailed"
    )
    if first := before_fresh_try(o, intents.SNAPSHOT, error):
        return first
    if o.source is None or o.source.status == "deleting" or memory.backup_id is None:
        return fail(o, not_found(o))
    if o.source.status in READY_VOLUME:
        return CreateSnapshot(memory.backup_id, o.source.id, o.source.size_gib)
    if "error" in o.source.status:
        # It needs a person, and a backup that waits in silence for one looks like a good backup.
        return fail(
            o,
            ResourceFailed(
                f"volume {o.source.id} is in status {o.source.status}; Cinder takes no snapshot of "
                "it and its data may be half written. Mend the volume, then make a new VolumeBackup",
                reason="VolumeInError",
            ),
        )
    return _busy(o, o.source)


def _busy(o: BackupObserved, volume: VolumeFacts) -> BackupStep:
    age = age_seconds(o, intents.BUSY)
    limit = o.request.timeouts.snapshot
    message = f"volume {volume.id} is {volume.status}; a snapshot needs it available or in-use"
    if age > limit.total_seconds():
        # Not for ever: a backup that was asked for at two must not be of the state at seven.
        late = f"{message}. It was busy for longer than spec.timeouts.snapshot ({limit})"
        return fail(o, ResourceFailed(late, reason="VolumeBusy"))
    return Wait(poll_seconds(age), "VolumeBusy", message)


def _snapshot_lost(o: BackupObserved) -> Conclude:
    return fail(
        o,
        SourceGone(
            f"the snapshot of {o.memory.snapshot_taken_at:%Y-%m-%dT%H:%M:%SZ} is gone, and it was "
            "still needed. A later one would be of another moment; make a new VolumeBackup",
            reason="SnapshotLost",
        ),
    )


def _upload_failed(o: BackupObserved, what: str) -> CinderbankError:
    volume = first_usable(o.volumes, USELESS_VOLUME)
    error = messages.failure(
        what,
        "UploadToImageFailed",
        "" if volume is None else volume.id,
        o.messages,
        [messages.UPLOAD_TO_IMAGE],
    )
    return _told(o, error)


def _timed_out(
    reason: str, what: str, limit: timedelta, volume: VolumeFacts | None
) -> ResourceFailed:
    message = f"{what} after {limit}"
    if volume is not None and volume.status == "uploading":
        message += (
            f"; volume {volume.id} is still uploading. If its cinder-volume has died, only an "
            f"administrator can free it: openstack volume set --state available {volume.id}"
        )
    return ResourceFailed(message, reason=reason)
