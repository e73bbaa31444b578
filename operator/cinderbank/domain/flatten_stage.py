"""A new volume that is a copy-on-write clone of the temporary image is made independent of it.

Where Glance keeps its images in the Ceph of the volumes, Cinder makes a volume of a raw image by cloning
it. With Ceph's clone format 2 Glance deletes the image all the same (it lies in Ceph's trash while it has
children); with format 1 it answers 409 as long as the clone lives, and no API flattens a volume. But
Cinder flattens the children of a snapshot that it deletes (cinder.volume.drivers.rbd,
delete_snapshot), so:

| what is there | step |
|---|---|
| the clone | ReleaseImage; a 409 is remembered: Memory.flattens |
| the clone, and flattens | SnapshotClone |
| and the snapshot, available | CopyClone |
| and the copy, available | DeleteSnapshot: Cinder flattens the copy, then the snapshot goes |
| the copy and the clone | DeleteVolume of the clone |
| the copy | it is handed over; then the image goes as ever |

Where this can not be done (quota, a Cinder that does not flatten) the clone is handed over: KeepClone.
docs/adr/0014-images-in-ceph.md has the measurements.
"""

from __future__ import annotations

from cinderbank.domain import cleanup, intents
from cinderbank.domain.backoff import poll_seconds
from cinderbank.domain.facts import SnapshotFacts, VolumeFacts
from cinderbank.domain.flatten_steps import CopyClone, KeepClone, ReleaseImage, SnapshotClone
from cinderbank.domain.names import RESTORE_TAG, restore_snapshot_name
from cinderbank.domain.record import Transport
from cinderbank.domain.restore_steps import RestoreObserved, RestoreStep
from cinderbank.domain.stages import (
    USELESS_SNAPSHOT,
    USELESS_VOLUME,
    age_seconds,
    first_usable,
    settling,
)
from cinderbank.domain.steps import DeleteSnapshot, DeleteVolume, Wait


def may_be_clone(o: RestoreObserved) -> bool:
    """Cinder clones raw images alone, and none into an encrypted volume; a drill deletes its volume."""
    source = o.memory.source
    encrypted = source is not None and source.encryption is not None
    return o.memory.transport is Transport.RAW and not encrypted and not o.request.drill


def in_order(o: RestoreObserved) -> list[VolumeFacts]:
    """The volumes, the one that is to be handed over first."""
    if not may_be_clone(o):
        return list(o.volumes)
    kept = o.memory.flattens is False
    return sorted(o.volumes, key=lambda volume: (volume.snapshot_id is None) is not kept)


def flatten_stage(o: RestoreObserved, volume: VolumeFacts) -> RestoreStep | None:
    """What comes before `volume`, which is made, is handed over; None when nothing does."""
    if not may_be_clone(o) or o.memory.flattens is False:
        return None
    if volume.snapshot_id is not None:
        return _flatten(o)
    if volume.status != "available":
        return None  # somebody has attached it: from now on it is his
    return _copy(o, volume) if o.memory.flattens else _release(o, volume)


def cleared(o: RestoreObserved) -> DeleteVolume | DeleteSnapshot | Wait | None:
    """Everything of this but the clone goes: what a restore that does not come to its end leaves."""
    if not o.snapshots:
        return None
    seed, copies = o.identity.uid, [v for v in o.volumes if v.snapshot_id is not None]
    flattening = [each for each in o.snapshots if each.status == "deleting"]
    return (
        cleanup.snapshot_step(flattening, o.memory, o.now, seed)
        or cleanup.volume_step(copies, o.memory, o.now, seed)
        or cleanup.snapshot_step(o.snapshots, o.memory, o.now, seed)
    )


def left_of_copy(o: RestoreObserved) -> DeleteVolume | DeleteSnapshot | Wait | None:
    """As cleared, once a volume was handed over: then only the copy that we know by its id."""
    made = intents.find(o.memory, intents.COPY)
    ours = [
        volume
        for volume in o.volumes
        if made is not None
        and volume.id == made.resource_id
        and volume.id != o.memory.created_volume_id
    ]
    seed = o.identity.uid
    return cleanup.volume_step(ours, o.memory, o.now, seed) or cleanup.snapshot_step(
        o.snapshots, o.memory, o.now, seed
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
    if not images or (asked is not None and asked.resource_id == images[0].id):
        return None  # Glance has answered: what is left of it is clean-up
    return ReleaseImage(images[0].id, volume.id)


def _copy(o: RestoreObserved, clone: VolumeFacts) -> RestoreStep:
    failed = [volume for volume in o.volumes if volume.snapshot_id is not None]
    if failed:
        return KeepClone(f"its copy {failed[0].id} is {failed[0].status}")
    snapshot = first_usable(o.snapshots, USELESS_SNAPSHOT)
    if snapshot is None:
        if waiting := settling(o, intents.SNAPSHOT):
            return waiting
        if intents.made_something(o.memory, intents.SNAPSHOT):
            return KeepClone("its snapshot vanished")
        tag = {RESTORE_TAG: o.identity.uid}
        return SnapshotClone(clone.id, restore_snapshot_name(o.identity.uid), tag)
    if snapshot.status != "available":
        return _snapshot_not_ready(o, snapshot)
    if waiting := settling(o, intents.COPY):
        return waiting
    if intents.made_something(o.memory, intents.COPY):
        return KeepClone("its copy vanished")
    return CopyClone(snapshot, clone.name, clone.description, dict(clone.metadata))


def _snapshot_not_ready(o: RestoreObserved, snapshot: SnapshotFacts) -> RestoreStep:
    age, limit = age_seconds(o, intents.SNAPSHOT), o.request.timeouts.snapshot
    if snapshot.status in USELESS_SNAPSHOT or age > limit.total_seconds():
        return KeepClone(f"its snapshot {snapshot.id} is {snapshot.status}")
    what = f"snapshot {snapshot.id} of the new volume is {snapshot.status}"
    return Wait(poll_seconds(age), "CreatingVolume", what)


def _flatten(o: RestoreObserved) -> RestoreStep | None:
    seed, clones = o.identity.uid, [v for v in o.volumes if v.snapshot_id is None]
    for snapshot in o.snapshots:
        tries = intents.tries(o.memory, DeleteSnapshot.intent)
        refused = tries >= cleanup.STUBBORN_TRIES and intents.is_done(
            o.memory, DeleteSnapshot.intent
        )
        if snapshot.status == "available" and refused and clones:
            return KeepClone(
                f"Cinder does not delete the snapshot {snapshot.id} that its copy is made of"
            )
        if snapshot.status == "deleting":
            age = age_seconds(o, DeleteSnapshot.intent)
            what = f"Cinder copies what the new volume shares with snapshot {snapshot.id}"
            return Wait(poll_seconds(age), "CreatingVolume", what)
    usable = [clone for clone in clones if clone.status not in USELESS_VOLUME]
    return cleanup.snapshot_step(o.snapshots, o.memory, o.now, seed) or cleanup.volume_step(
        usable or clones, o.memory, o.now, seed
    )
