"""A new volume that is a copy-on-write clone of the temporary image is made independent of it.

Where Glance keeps its images in the Ceph of the volumes, Cinder makes a volume of a raw image by cloning
it. With Ceph's clone format 2 Glance deletes the image all the same (it goes into Ceph's trash); with
format 1 it answers 409 as long as the clone lives, and no API flattens a volume. But Cinder flattens
the children of a snapshot that it deletes (cinder.volume.drivers.rbd, delete_snapshot), so:

| what is there | step |
|---|---|
| the clone | ReleaseImage; a 409 is remembered: Memory.flattens |
| the clone, and flattens | SnapshotClone |
| and the snapshot, available | CopyClone |
| and the copy, available | FlattenCopy, until the snapshot is gone |
| the copy and the clone | the copy is handed over; then the clone goes, and the image as ever |

Both volumes hold what was restored, so whatever goes wrong here (quota, a Cinder that does not flatten, a
snapshot that does not go, somebody who attaches the clone) ends with the clone handed over: KeepClone.

Volumes and snapshots carry a tag that users and their scripts copy. The snapshot is ours by its name and by
the volume it is of, the copy by its snapshot, and after the volume was handed over both by their ids.
docs/adr/0014-images-in-ceph.md has the measurements.
"""

from __future__ import annotations

from cinderbank.domain import cleanup, intents
from cinderbank.domain.backoff import poll_seconds
from cinderbank.domain.facts import SnapshotFacts, VolumeFacts
from cinderbank.domain.flatten_steps import (
    CopyClone,
    FlattenCopy,
    FlattenStep,
    KeepClone,
    ReleaseImage,
    SnapshotClone,
)
from cinderbank.domain.names import RESTORE_TAG, restore_snapshot_name
from cinderbank.domain.record import Transport
from cinderbank.domain.restore_encryption import is_encrypted
from cinderbank.domain.restore_steps import RestoreObserved
from cinderbank.domain.stages import (
    USELESS_SNAPSHOT,
    USELESS_VOLUME,
    age_seconds,
    first_usable,
    settling,
)
from cinderbank.domain.steps import DeleteSnapshot, DeleteVolume, Wait

RELEASE_TRIES = 5
"""Of a Glance that can not delete the image for other reasons, before that is left to clean-up."""


def copies(o: RestoreObserved) -> list[VolumeFacts]:
    """The volumes that were made of our snapshot, oldest first."""
    made = intents.find(o.memory, intents.SNAPSHOT)
    ids = {snapshot.id for snapshot in o.snapshots} | ({made.resource_id} if made else set())
    return [volume for volume in o.volumes if volume.snapshot_id and volume.snapshot_id in ids]


def in_order(o: RestoreObserved) -> list[VolumeFacts]:
    """The volumes, the one that is to be handed over first: the copy once it stands alone."""
    ours = copies(o)
    others = [volume for volume in o.volumes if volume not in ours]
    alone = not o.snapshots and o.memory.flattens is not False
    return [*ours, *others] if alone else [*others, *ours]


def flatten_stage(o: RestoreObserved, volume: VolumeFacts) -> FlattenStep | Wait | None:
    """What comes before `volume`, which is made, is handed over; None when nothing does."""
    memory = o.memory
    # Cinder clones raw images alone, and none into an encrypted volume.
    if memory.transport is not Transport.RAW or is_encrypted(o) or memory.flattens is False:
        return None
    if volume in copies(o) or o.claims.persistent_volume is not None:
        return None
    if volume.status != "available":  # somebody has attached it: from now on it is his
        return KeepClone(f"it is {volume.status}") if memory.flattens else None
    if not memory.flattens:
        return _release(o, volume)
    limit = o.request.timeouts.image
    if age_seconds(o, intents.RELEASE) > limit.total_seconds():
        return KeepClone(f"its copy took longer than {limit}")
    snapshot = first_usable(
        [each for each in o.snapshots if each.volume_id == volume.id], USELESS_SNAPSHOT
    )
    if snapshot is None:
        return _snapshot(o, volume)
    if snapshot.status in USELESS_SNAPSHOT - {"deleting"}:
        return KeepClone(f"its snapshot {snapshot.id} is {snapshot.status}")
    ours = copies(o)
    return _flatten(o, snapshot, volume, ours[0]) if ours else _copy(o, snapshot, volume)


def cleared(o: RestoreObserved) -> DeleteVolume | DeleteSnapshot | Wait | None:
    """Copy and snapshot go: the rest of a restore that does not come to its end can not before."""
    seed, now = o.identity.uid, o.now
    flattening = [snapshot for snapshot in o.snapshots if snapshot.status == "deleting"]
    return (
        cleanup.snapshot_step(flattening, o.memory, now, seed)
        or cleanup.volume_step(copies(o), o.memory, now, seed)
        or cleanup.snapshot_step(o.snapshots, o.memory, now, seed)
    )


def left_volumes(o: RestoreObserved) -> list[VolumeFacts]:
    """Of a volume that was handed over: its clone or its copy, each known by its id."""
    known = {
        made.resource_id
        for step in (intents.COPY, *([intents.VOLUME] if o.memory.flattens else []))
        if (made := intents.find(o.memory, step)) is not None
    }
    handed_over = o.memory.created_volume_id
    return [volume for volume in o.volumes if volume.id in known and volume.id != handed_over]


def left(o: RestoreObserved) -> DeleteVolume | DeleteSnapshot | Wait | None:
    """As cleared, once a volume was handed over. Cinder deletes no volume that has a snapshot."""
    seed, now, volumes = o.identity.uid, o.now, left_volumes(o)
    ours = [volume for volume in volumes if volume in copies(o)]
    return (
        cleanup.volume_step(ours, o.memory, now, seed)
        or cleanup.snapshot_step(o.snapshots, o.memory, now, seed)
        or cleanup.volume_step(volumes, o.memory, now, seed)
    )


def held_image(o: RestoreObserved) -> list[str]:
    """What the message of a restore has to say of an image that stays, in words."""
    images = cleanup.still_there(o.images)
    if o.memory.flattens is not False or not images:
        return []
    clone = (
        "the volume, which is a clone of it, is deleted, or flattened by an administrator of Ceph"
    )
    return [f"Glance keeps the temporary image {images[0].id} until {clone}"]


def _release(o: RestoreObserved, volume: VolumeFacts) -> ReleaseImage | None:
    images, asked = cleanup.still_there(o.images), intents.find(o.memory, intents.RELEASE)
    if not images:
        return None
    answered = asked is not None and asked.resource_id == images[0].id
    if answered or intents.tries(o.memory, intents.RELEASE) > RELEASE_TRIES:
        return None  # what is left of it is clean-up
    return ReleaseImage(images[0].id, volume.id)


def _snapshot(o: RestoreObserved, clone: VolumeFacts) -> SnapshotClone | KeepClone | Wait:
    if waiting := settling(o, intents.SNAPSHOT):
        return waiting
    if intents.made_something(o.memory, intents.SNAPSHOT):
        return KeepClone("its snapshot vanished")
    uid = o.identity.uid
    return SnapshotClone(clone.id, restore_snapshot_name(uid), {RESTORE_TAG: uid})


def _copy(
    o: RestoreObserved, snapshot: SnapshotFacts, clone: VolumeFacts
) -> CopyClone | KeepClone | Wait:
    if snapshot.status != "available":
        age = age_seconds(o, intents.SNAPSHOT)
        what = f"snapshot {snapshot.id} of the new volume is {snapshot.status}"
        return Wait(poll_seconds(age), "CreatingVolume", what)
    if waiting := settling(o, intents.COPY):
        return waiting
    if intents.made_something(o.memory, intents.COPY):
        return KeepClone("its copy vanished")
    return CopyClone(snapshot, clone.name, clone.description, dict(clone.metadata))


def _flatten(
    o: RestoreObserved, snapshot: SnapshotFacts, clone: VolumeFacts, copy: VolumeFacts
) -> FlattenCopy | KeepClone | Wait:
    if copy.status in USELESS_VOLUME:
        return KeepClone(f"its copy {copy.id} is {copy.status}")
    if copy.status != "available":
        age = age_seconds(o, intents.COPY)
        what = f"the copy {copy.id} of the new volume is {copy.status}"
        return Wait(poll_seconds(age), "CreatingVolume", what)
    for what_differs in ("volume_type", "availability_zone"):
        if getattr(copy, what_differs) != getattr(clone, what_differs):
            return KeepClone(f"its copy {copy.id} has another {what_differs}")
    if snapshot.status == "deleting":
        age = age_seconds(o, intents.FLATTEN)
        what = f"Cinder copies what volume {copy.id} shares with snapshot {snapshot.id}"
        return Wait(poll_seconds(age), "CreatingVolume", what)
    if intents.tries(o.memory, intents.FLATTEN) >= cleanup.STUBBORN_TRIES and intents.is_done(
        o.memory, intents.FLATTEN
    ):
        return KeepClone(f"Cinder does not delete the snapshot {snapshot.id} of its copy")
    return FlattenCopy(snapshot.id)
