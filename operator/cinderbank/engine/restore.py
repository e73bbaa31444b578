"""A restore's looks and effects, one arm per step; the decisions are domain.restore's."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from cinderbank.domain import cleanup, conditions, intents, transport
from cinderbank.domain.claim_steps import CreateClaim, CreatePersistentVolume, PinClaim
from cinderbank.domain.drill_steps import DrillStep
from cinderbank.domain.encryption import mark_of
from cinderbank.domain.errors import (
    Conflict,
    Forbidden,
    InvalidSpec,
    Retryable,
    SourceGone,
    Unsupported,
)
from cinderbank.domain.facts import TransferProgress, TransferRunning, TransferSucceeded
from cinderbank.domain.flatten_stage import left_volumes
from cinderbank.domain.flatten_steps import (
    CopyClone,
    FlattenCopy,
    KeepClone,
    ReleaseImage,
    SnapshotClone,
)
from cinderbank.domain.record import (
    Identity,
    Memory,
    Phase,
    Report,
    RestoreRecord,
    Temporary,
)
from cinderbank.domain.restore import absorbed, next_step
from cinderbank.domain.restore_steps import (
    CreateImage,
    CreateSecret,
    CreateVolume,
    DeleteImageMetadata,
    PinBackup,
    PinReader,
    ProveImage,
    Resolve,
    RestoreObserved,
    RestoreStep,
    SetBootable,
    SetImageMetadata,
    StartTransfer,
    UnpinReader,
)
from cinderbank.domain.selection import Resolved
from cinderbank.domain.steps import (
    AddFinalizer,
    CancelTransfer,
    Conclude,
    DeleteClaim,
    DeleteImage,
    DeletePersistentVolume,
    DeleteSecret,
    DeleteSnapshot,
    DeleteVolume,
    FallBack,
    Finish,
    ForgetTransfer,
    GiveBack,
    Idle,
    RemoveFinalizer,
    Wait,
)
from cinderbank.engine.course import unexpected
from cinderbank.engine.drill import perform_drill_step
from cinderbank.engine.fall_back import fall_back, refused_format
from cinderbank.engine.flatten import forgotten, perform_flatten_step
from cinderbank.engine.restore_claim import (
    made_for_claim,
    perform_claim_step,
)
from cinderbank.engine.restore_look import observe
from cinderbank.engine.world import RestoreWorld
from cinderbank.ports.transfers import RestoreTransfer

NEWEST_THAT_FITS = "NewestThatFits"


class RestoreCourse:
    """One tick of one restore; `world` None is for ticks that need none."""

    def __init__(self, record: RestoreRecord, world: RestoreWorld | None) -> None:
        known = record.memory.backup_id  # once resolved, it stays
        self.record = (
            record
            if known is None
            else replace(record, request=replace(record.request, backup_id=known))
        )
        self.identity: Identity = record.identity
        self.memory: Memory = record.memory
        self._world = world

    def observe(self, now: datetime) -> RestoreObserved:
        if self._world is None:
            return self.blank(now)
        return absorbed(observe(self.record, self._world, now))

    def blank(self, now: datetime) -> RestoreObserved:
        """A look that saw nothing."""
        return RestoreObserved(
            identity=self.identity, request=self.record.request, memory=self.memory, now=now
        )

    def remembered(self, observed: RestoreObserved) -> Memory:
        return observed.memory

    def decide(self, observed: RestoreObserved) -> RestoreStep:
        return next_step(observed)

    def perform(
        self, step: RestoreStep, observed: RestoreObserved, memory: Memory, now: datetime
    ) -> Memory:
        if self._world is None:
            raise unexpected(step)
        try:
            return perform(step, self.record, self._world, memory, now)
        except SourceGone as error:
            if isinstance(step, PinReader):
                raise
            # What it should be made of went away since we looked: the next look says what that means.
            raise Conflict(error.message, request_id=error.request_id) from error

    def phase(self, memory: Memory) -> Phase:
        return conditions.restore_phase(memory, deleting=self.identity.deleting)

    def report(
        self, memory: Memory, observed: RestoreObserved | None, waiting: Wait | None
    ) -> Report:
        phase = self.phase(memory)
        drill = self.record.request.drill
        handed_over = (
            memory.outcome is not None and memory.outcome.phase is Phase.COMPLETED and not drill
        )
        left = (
            ()
            if observed is None
            else (
                *cleanup.temporaries(
                    observed.snapshots,
                    left_volumes(observed) if handed_over else observed.volumes,
                    (*observed.images, *observed.drill_images),
                ),
                *(Temporary("secret", each.id, "") for each in observed.secrets),
                *(() if handed_over else made_for_claim(observed)),
            )
        )
        situation = conditions.Situation(
            memory=memory,
            deleting=self.identity.deleting,
            working_reason=waiting.reason if waiting else str(phase),
            working_message=waiting.message if waiting else "",
            temporaries=left,
        )
        return Report(
            phase=phase,
            conditions=conditions.restore_conditions(situation, drill=drill),
            progress=None if observed is None else _progress(memory, observed),
            temporaries=left,
        )


def perform(  # noqa: C901  one arm per step
    step: RestoreStep, record: RestoreRecord, world: RestoreWorld, memory: Memory, now: datetime
) -> Memory:
    """Exactly one effect; returns memory with what it answered."""
    reader = record.identity.uid
    if isinstance(step, DrillStep):
        return perform_drill_step(step, world, memory)
    match step:
        case Resolve(chosen=chosen):
            world.records.event(NEWEST_THAT_FITS, chosen.message)
            resolved = Resolved(
                chosen.backup_id,
                record.request.bank_name,
                chosen.site,
                chosen.snapshot_at,
                NEWEST_THAT_FITS,
                chosen.message,
            )
            return replace(memory, backup_id=chosen.backup_id, resolved=resolved)
        case PinBackup():
            return _pin_backup(step, record, world, memory, now)
        case PinReader(site=site, backup_id=backup_id):
            world.bank.pin(site, backup_id, reader)
            return intents.done(memory, intents.PIN)
        case UnpinReader(backup_id=backup_id):
            world.bank.unpin(backup_id, reader)
            return intents.done(memory, intents.UNPIN)
        case CreateSecret(site=site, backup_id=backup_id):
            key = world.bank.escrowed_key(site, backup_id)
            made = world.key_manager.create_secret(mark_of(reader), key)
            return intents.answered(memory, intents.SECRET, made.id)
        case CreateImage():
            return _create_image(step, record, world, memory)
        case FallBack(choice=choice):
            return fall_back(world.transfers, world.records, memory, choice)
        case StartTransfer():
            memory = intents.answered(memory, intents.TRANSFER, step.image_id)
            world.transfers.start(
                RestoreTransfer(
                    site=step.site,
                    backup_id=step.backup_id,
                    attempt=memory.transfer_attempt,
                    image_id=step.image_id,
                    size_bytes=step.size_bytes,
                    salvage=step.salvage,
                )
            )
            return memory
        case CancelTransfer() | ForgetTransfer():
            world.transfers.cancel()
            return memory
        case ProveImage(image_id=image_id, lost=lost):
            return replace(memory, image_proven=image_id, lost=lost)
        case CreateVolume():
            return _create_volume(step, world, memory)
        case ReleaseImage() | SnapshotClone() | CopyClone() | FlattenCopy() | KeepClone():
            return perform_flatten_step(step, world, memory)
        case SetBootable() | DeleteImageMetadata() | SetImageMetadata():
            _put_back(step, world)
            return memory
        case DeleteImage(resource_id=image_id):
            world.glance.delete_image(image_id)
            return memory
        case DeleteSecret(resource_id=secret_id):
            world.key_manager.delete_secret(secret_id)
            return memory
        case DeleteSnapshot(resource_id=snapshot_id):
            world.cinder.delete_snapshot(snapshot_id)
            return memory
        case DeleteVolume(resource_id=volume_id):
            world.cinder.delete_volume(volume_id)
            return memory
        case (
            PinClaim() | CreatePersistentVolume() | CreateClaim() | DeleteClaim()
            | DeletePersistentVolume()
        ):  # fmt: skip
            return perform_claim_step(step, world, memory)
        case (
            AddFinalizer()
            | RemoveFinalizer()
            | Conclude()
            | Finish()
            | Wait()
            | GiveBack()
            | Idle()
        ):
            raise unexpected(step)  # engine.course does these
        case _:
            assert_never(step)


def _pin_backup(
    step: PinBackup, record: RestoreRecord, world: RestoreWorld, memory: Memory, now: datetime
) -> Memory:
    found, request = step.found, record.request
    world.records.event(step.choice.reason, step.choice.message)
    for warned in step.placement.warnings:
        world.records.event(warned.reason, warned.message, warning=True)
    resolved = memory.resolved or Resolved(
        request.backup_id,
        request.bank_name,
        found.site,
        found.snapshot_at,
        "Named",
        "spec.source names this backup",
    )
    return replace(
        transport.with_choice(memory, step.choice),
        backup_id=request.backup_id,
        site=found.site,
        source=found.source,
        size_bytes=found.size_bytes,
        content_hash=found.content_hash,
        content_format=found.content_format,
        snapshot_taken_at=found.snapshot_at,
        started_at=now,
        resolved=resolved,
        placement=step.placement,
        plan=step.plan,
    )


def _create_image(
    step: CreateImage, record: RestoreRecord, world: RestoreWorld, memory: Memory
) -> Memory:
    try:
        image = world.glance.create_image(
            name=step.name,
            disk_format=step.disk_format,
            encryption_key_id=step.encryption_key_id,
        )
    except Unsupported as error:
        asked = record.request.transport
        return refused_format(error, asked, world.transfers, world.records, memory)
    return intents.answered(memory, intents.IMAGE, image.id)


def _create_volume(step: CreateVolume, world: RestoreWorld, memory: Memory) -> Memory:
    volume = world.cinder.create_volume_from_image(
        step.image_id,
        name=step.name,
        description=step.description,
        size_gib=step.size_gib,
        volume_type=step.volume_type,
        availability_zone=step.availability_zone,
        metadata=step.metadata,
    )
    return intents.answered(forgotten(memory), intents.VOLUME, volume.id)


def _put_back(
    step: SetBootable | DeleteImageMetadata | SetImageMetadata, world: RestoreWorld
) -> None:
    """Never the end of a restore whose bytes are right: a refusal counts as a try (domain.fidelity)."""
    try:
        match step:
            case SetBootable(volume_id=volume_id, bootable=bootable):
                world.cinder.set_bootable(volume_id, bootable)
            case DeleteImageMetadata(volume_id=volume_id, keys=keys):
                world.cinder.delete_image_metadata(volume_id, keys)
            case SetImageMetadata(volume_id=volume_id, metadata=metadata):
                world.cinder.set_image_metadata(volume_id, metadata)
    except (InvalidSpec, Unsupported, Forbidden) as error:
        raise Retryable(error.message, reason=error.reason, request_id=error.request_id) from error


def _progress(memory: Memory, observed: RestoreObserved) -> TransferProgress | None:
    if isinstance(observed.transfer, (TransferRunning, TransferSucceeded)):
        return observed.transfer.progress
    if memory.image_proven is None or memory.size_bytes is None:
        return None
    return TransferProgress(bytes_total=memory.size_bytes, bytes_processed=memory.size_bytes)
