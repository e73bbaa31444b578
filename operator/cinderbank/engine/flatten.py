"""The effects by which a clone of the temporary image is made independent of it; see domain.flatten_stage."""

from __future__ import annotations

from dataclasses import replace

from cinderbank.domain import intents
from cinderbank.domain.errors import (
    AuthRefused,
    CinderbankError,
    Conflict,
    OutcomeUnknown,
    Unavailable,
)
from cinderbank.domain.flatten_steps import (
    CopyClone,
    FlattenCopy,
    FlattenStep,
    KeepClone,
    ReleaseImage,
    SnapshotClone,
)
from cinderbank.domain.record import Memory
from cinderbank.engine.world import RestoreWorld

IMAGE_HELD, CLONE_KEPT = "ImageHeld", "CloneKept"
DESCRIPTION = "Made by cinderbank for a moment, to free a restored volume of its image"
NO_ANSWER = (Unavailable, AuthRefused, OutcomeUnknown)
"""These wait and come again, as anywhere. Whatever else is said is an answer: both volumes are good, so no
refusal here may keep a restore from its end."""


def perform_flatten_step(step: FlattenStep, world: RestoreWorld, memory: Memory) -> Memory:
    """Exactly one effect. Raises NO_ANSWER's errors only."""
    try:
        match step:
            case ReleaseImage():
                return _release(step, world, memory)
            case SnapshotClone() | CopyClone():
                return _create(step, world, memory)
            case FlattenCopy(snapshot_id=snapshot_id):
                world.cinder.delete_snapshot(snapshot_id)
                return intents.done(memory, intents.FLATTEN)
            case KeepClone(why=why):
                return _keep(why, world, memory)
    except NO_ANSWER:
        raise
    except CinderbankError as error:
        if isinstance(step, ReleaseImage):  # clean-up tries it again, and tells
            return intents.answered(memory, intents.RELEASE, step.image_id)
        if isinstance(step, FlattenCopy):
            return intents.done(memory, intents.FLATTEN)
        # Nothing was made, and what carries our tag later is not of this.
        memory = intents.drop(memory, step.intent)
        return _keep(f"{error.reason}: {error.message}", world, memory)


def forgotten(memory: Memory) -> Memory:
    """Memory of a restore whose volume is made anew."""
    for step in (intents.RELEASE, intents.SNAPSHOT, intents.COPY, intents.FLATTEN):
        memory = intents.drop(memory, step)
    return replace(memory, flattens=None)


def _release(step: ReleaseImage, world: RestoreWorld, memory: Memory) -> Memory:
    memory = intents.answered(memory, intents.RELEASE, step.image_id)
    try:
        world.glance.delete_image(step.image_id)
    except Conflict:
        message = (
            f"volume {step.volume_id} is a clone of the temporary image {step.image_id}, which Glance can not "
            "delete before it; a copy takes its place that needs the image no more"
        )
        world.records.event(IMAGE_HELD, message)
        return replace(memory, flattens=True)
    return memory


def _create(step: SnapshotClone | CopyClone, world: RestoreWorld, memory: Memory) -> Memory:
    if isinstance(step, SnapshotClone):
        snapshot = world.cinder.create_snapshot(
            step.volume_id, name=step.name, description=DESCRIPTION, metadata=step.metadata
        )
        return intents.answered(memory, intents.SNAPSHOT, snapshot.id)
    volume = world.cinder.create_volume_from_snapshot(
        step.snapshot, name=step.name, description=step.description, metadata=step.metadata
    )
    return intents.answered(memory, intents.COPY, volume.id)


def _keep(why: str, world: RestoreWorld, memory: Memory) -> Memory:
    message = f"the new volume stays a clone of the temporary image, and that stays as long as it does: {why}"
    world.records.event(CLONE_KEPT, message, warning=True)
    return replace(memory, flattens=False)
