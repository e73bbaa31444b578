"""What a tick looks at and does for a restore drill alone."""

from __future__ import annotations

from dataclasses import replace

from cinderbank.domain import drill_stage, intents, names, transport
from cinderbank.domain.cleanup import still_there
from cinderbank.domain.drill_steps import (
    ChooseReadBack,
    Compared,
    DrillStep,
    NoteVerdict,
    ReadBackAnew,
    StartComparison,
    UploadScratch,
)
from cinderbank.domain.errors import (
    BrokenInvariant,
    CinderbankError,
    DataCorrupt,
    Forbidden,
    Retryable,
    Unsupported,
)
from cinderbank.domain.facts import VolumeFacts
from cinderbank.domain.record import Drill, Memory, TransportChoice
from cinderbank.domain.restore_steps import RestoreObserved
from cinderbank.engine.world import RestoreWorld
from cinderbank.ports.transfers import CompareTransfer

NOT_NOTED = "VerdictNotNoted"
MOST_TRIES = 100
"""To note a verdict: some hours, in which a role can be granted or a bank mended."""


def with_drill_look(seen: RestoreObserved, world: RestoreWorld) -> RestoreObserved:
    """Only what has our name beside our tags is a scratch volume: whoever copies a volume with its
    metadata must not lose the copy. Volumes were read before; raises what Glance raises."""
    uid = seen.identity.uid
    volumes = [
        volume
        for volume in seen.volumes
        if volume.name == names.drill_volume_name(uid) and names.DRILL_TAG in volume.metadata
    ]
    images = world.glance.images_named(names.drill_image_name(uid))
    return replace(seen, volumes=volumes, drill_images=images)


def silent_uploads(seen: RestoreObserved) -> list[tuple[VolumeFacts, str]]:
    """Volumes whose upload has left no good image: Cinder may say why."""
    if not intents.made_something(seen.memory, intents.DRILL_IMAGE):
        return []
    if any(image.status == "active" for image in still_there(seen.drill_images)):
        return []
    return [
        (volume, intents.DRILL_IMAGE) for volume in seen.volumes if volume.status != "uploading"
    ]


def perform_drill_step(step: DrillStep, world: RestoreWorld, memory: Memory) -> Memory:
    """Exactly one effect; returns memory with what it answered."""
    match step:
        case ChooseReadBack(choice=choice):
            return replace(memory, drill=Drill(choice.transport, choice.reason))
        case ReadBackAnew(choice=choice):
            return _anew(world, memory, choice)
        case UploadScratch():
            return _upload(step, world, memory)
        case StartComparison():
            return _compare(step, world, memory)
        case Compared(different=different):
            if memory.drill is None:
                raise BrokenInvariant("a comparison has ended that was never chosen")
            drill = replace(memory.drill, compared=True, different=different)
            return replace(memory, drill=drill)
        case NoteVerdict():
            return intents.done(_note(step, world, memory), intents.VERDICT)


def _note(step: NoteVerdict, world: RestoreWorld, memory: Memory) -> Memory:
    try:
        noted = world.bank.note_drill(step.site, step.backup_id, is_whole=step.is_whole)
    except CinderbankError as error:
        if _may_yet_be_noted(error, step, memory):
            raise
        world.records.event(NOT_NOTED, error.message, warning=True)
        if step.is_whole or memory.outcome is None:
            return memory
        # The status goes on saying what was found; who reads it must know that other sites do not.
        message = f"{memory.outcome.message}. The bank does not know of it: {error.message}"
        return replace(memory, outcome=replace(memory.outcome, message=message))
    if not noted:
        told = "the bank is ReadOnly here, or the backup is gone: nothing is noted in it"
        world.records.event(NOT_NOTED, told)
    return memory


def _may_yet_be_noted(error: CinderbankError, step: NoteVerdict, memory: Memory) -> bool:
    """Told as Stalled as long as that. Nothing holds a drill, its pin and its policy's turn for ever."""
    begun = intents.find(memory, intents.VERDICT)
    is_early = begun is None or begun.tries < MOST_TRIES
    if not step.is_whole:
        return is_early or isinstance(error, Retryable)  # an outage ends, and also holds the unpin
    # Who may only read a bank can drill what is in it all the same.
    return is_early and not isinstance(error, (Forbidden, DataCorrupt))


def _anew(world: RestoreWorld, memory: Memory, choice: TransportChoice) -> Memory:
    world.transfers.cancel()
    world.records.event(choice.reason, choice.message, warning=True)
    return drill_stage.fallen_back(memory, choice)


def _upload(step: UploadScratch, world: RestoreWorld, memory: Memory) -> Memory:
    try:
        image_id = world.cinder.upload_to_image(
            step.volume_id, image_name=step.name, disk_format=step.disk_format
        )
    except Unsupported as error:
        if error.reason != transport.IMAGE_FORMAT_REFUSED:
            raise
        choice = drill_stage.fallback_for(memory, error.reason, error.message)
        if choice is None:
            raise
        return _anew(world, memory, choice)
    return intents.answered(memory, intents.DRILL_IMAGE, image_id)


def _compare(step: StartComparison, world: RestoreWorld, memory: Memory) -> Memory:
    memory = intents.answered(memory, intents.COMPARE, step.image_id)
    world.transfers.start(
        CompareTransfer(
            site=step.site,
            backup_id=step.backup_id,
            image_id=step.image_id,
            size_bytes=step.size_bytes,
            volume_bytes=step.volume_bytes,
        )
    )
    return memory
