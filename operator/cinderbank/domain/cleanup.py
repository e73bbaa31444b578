"""Taking temporary cloud resources away, whatever made them: order, patience, repeats.

| resource | may be deleted in | otherwise |
|---|---|---|
| image | every status but `deleted`, `pending_delete` (gone, for us) | |
| volume | DELETABLE_VOLUME | wait: Cinder answers 400 |
| snapshot | DELETABLE_SNAPSHOT, once no volume of ours is left | wait |

The order image, volume, snapshot is Ceph's: a snapshot with a child is busy, its delete gets a 202
and it comes back as `available` with only a user message. So a delete counts when a listing no longer
shows the resource, and is repeated, slower and slower, for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from cinderbank.domain import intents
from cinderbank.domain.backoff import again_seconds, poll_seconds
from cinderbank.domain.facts import (
    ImageFacts,
    SnapshotFacts,
    TransferAbsent,
    TransferFacts,
    VolumeFacts,
)
from cinderbank.domain.record import Memory, Temporary
from cinderbank.domain.steps import (
    CancelTransfer,
    DeleteClaim,
    DeleteImage,
    DeletePersistentVolume,
    DeleteSecret,
    DeleteSnapshot,
    DeleteVolume,
    Wait,
)

DELETABLE_VOLUME = frozenset(
    {
        "available",
        "error",
        "error_deleting",
        "error_restoring",
        "error_extending",
        "error_managing",
    }
)
"""From Cinder's volume API `delete`; error_deleting is refused there today, and asked all the same."""

DELETABLE_SNAPSHOT = frozenset({"available", "error", "error_deleting"})

GONE_IMAGE = frozenset({"deleted", "pending_delete"})

D = TypeVar(
    "D",
    DeleteImage,
    DeleteVolume,
    DeleteSnapshot,
    DeleteSecret,
    DeleteClaim,
    DeletePersistentVolume,
)

STUBBORN_TRIES = 3
"""So many deletes of one resource without effect are worth telling."""


def still_there(images: Iterable[ImageFacts]) -> list[ImageFacts]:
    """Without those that Glance has given up already."""
    return [image for image in images if image.status not in GONE_IMAGE]


def transfer_step(transfer: TransferFacts) -> CancelTransfer | None:
    return None if isinstance(transfer, TransferAbsent) else CancelTransfer()


def image_step(
    images: Iterable[ImageFacts], memory: Memory, now: datetime, seed: str
) -> DeleteImage | Wait | None:
    """Delete the first image that is not gone yet; None when none is left."""
    for image in still_there(images):
        return paced(DeleteImage(image.id), memory, now, seed)
    return None


def volume_step(
    volumes: Sequence[VolumeFacts], memory: Memory, now: datetime, seed: str
) -> DeleteVolume | Wait | None:
    """Delete the first volume that can be; wait for the others; None when none is left."""
    for volume in volumes:
        if volume.status in DELETABLE_VOLUME:
            return paced(DeleteVolume(volume.id), memory, now, seed)
    for volume in volumes:
        return _patience(memory, DeleteVolume.intent, now, _undeletable_volume(volume))
    return None


def snapshot_step(
    snapshots: Sequence[SnapshotFacts], memory: Memory, now: datetime, seed: str
) -> DeleteSnapshot | Wait | None:
    """As volume_step, for snapshots."""
    for snapshot in snapshots:
        if snapshot.status in DELETABLE_SNAPSHOT:
            return paced(DeleteSnapshot(snapshot.id), memory, now, seed)
    for snapshot in snapshots:
        message = f"waiting for snapshot {snapshot.id}, which is {snapshot.status}, to go away"
        return _patience(memory, DeleteSnapshot.intent, now, message)
    return None


def settle_step(memory: Memory, steps: Iterable[str], now: datetime) -> Wait | None:
    """Wait out the window in which a create without an answer may still turn up."""
    seconds = max((intents.unsettled_seconds(memory, step, now) for step in steps), default=0.0)
    if seconds <= 0:
        return None
    return Wait(
        seconds, "Settling", "waiting in case a request without an answer still takes effect"
    )


def is_stubborn(memory: Memory) -> bool:
    """Whether clean-up has failed so often that the user should hear of it."""
    deletes = (
        DeleteImage.intent,
        DeleteVolume.intent,
        DeleteSnapshot.intent,
        DeleteSecret.intent,
        DeleteClaim.intent,
        DeletePersistentVolume.intent,
    )
    repeats = max((intents.tries(memory, step) for step in deletes), default=0)
    return memory.failures >= STUBBORN_TRIES or repeats >= STUBBORN_TRIES


def temporaries(
    snapshots: Iterable[SnapshotFacts],
    volumes: Iterable[VolumeFacts],
    images: Iterable[ImageFacts],
) -> tuple[Temporary, ...]:
    return (
        *(Temporary("snapshot", s.id, s.name) for s in snapshots),
        *(Temporary("volume", v.id, v.name) for v in volumes),
        *(Temporary("image", i.id, i.name) for i in still_there(images)),
    )


def paced(step: D, memory: Memory, now: datetime, seed: str) -> D | Wait:
    """The delete, or a wait when the same one was asked for a moment ago."""
    last = intents.find(memory, step.intent)
    if last is None or last.resource_id != step.resource_id:
        return step
    rest = again_seconds(last.tries, seed) - intents.age_seconds(last, now)
    if rest <= 0:
        return step
    message = f"{step.kind} {step.resource_id} was deleted {last.tries} time(s) and is still there"
    return Wait(rest, "CleaningUp", message)


def _patience(memory: Memory, step: str, now: datetime, message: str) -> Wait:
    last = intents.find(memory, step)
    age = 0.0 if last is None else intents.age_seconds(last, now)
    return Wait(poll_seconds(age), "CleaningUp", message)


def _undeletable_volume(volume: VolumeFacts) -> str:
    if volume.status == "uploading":
        # cinder-volume that died during the upload leaves this behind, for ever: cinder 29 has no
        # worker row for it, and a project member may neither delete nor reset it.
        return (
            f"volume {volume.id} is still uploading and Cinder refuses to delete it; if this lasts, "
            "its cinder-volume has died and only an administrator can free it: "
            f"openstack volume set --state available {volume.id}"
        )
    return f"volume {volume.id} is {volume.status}; Cinder deletes it only when it is available"
