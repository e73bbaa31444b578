"""A backup's effects, one arm per step, and what is told of it; the decisions are domain.backup's."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from cinderbank.domain import claim, cleanup, conditions, intents, names, transport
from cinderbank.domain.backup import absorbed, next_step
from cinderbank.domain.backup_steps import (
    BackupObserved,
    BackupStep,
    ChooseTransport,
    CreateSnapshot,
    CreateVolume,
    DeleteFromBank,
    DiscardSession,
    MintBackupId,
    OpenSession,
    PinSource,
    Seal,
    StartTransfer,
    UploadToImage,
)
from cinderbank.domain.claim import ClaimedVolume
from cinderbank.domain.errors import Conflict, OverQuota, SourceGone, Unsupported
from cinderbank.domain.facts import (
    TransferProgress,
    TransferRunning,
    TransferSucceeded,
)
from cinderbank.domain.record import BackupRecord, Identity, Memory, Phase, Report, Temporary
from cinderbank.domain.steps import (
    AddFinalizer,
    CancelTransfer,
    Conclude,
    DeleteImage,
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
from cinderbank.engine.backup_look import observe
from cinderbank.engine.course import unexpected
from cinderbank.engine.fall_back import fall_back, refused_format
from cinderbank.engine.world import BackupWorld
from cinderbank.ports.transfers import BackupTransfer


class BackupCourse:
    """One tick of one backup; `world` None is for ticks that need none."""

    def __init__(self, record: BackupRecord, world: BackupWorld | None) -> None:
        self.record = record
        self.identity: Identity = record.identity
        self.memory: Memory = record.memory
        self._world = world

    def observe(self, now: datetime) -> BackupObserved:
        if self._world is None:
            return self.blank(now)
        return absorbed(observe(self.record, self._world, now))

    def blank(self, now: datetime) -> BackupObserved:
        """A look that saw nothing."""
        return BackupObserved(
            identity=self.identity,
            request=self.record.request,
            memory=self.memory,
            now=now,
            site=self.memory.site or "",
        )

    def remembered(self, observed: BackupObserved) -> Memory:
        return observed.memory

    def decide(self, observed: BackupObserved) -> BackupStep:
        return next_step(observed)

    def perform(
        self, step: BackupStep, observed: BackupObserved, memory: Memory, now: datetime
    ) -> Memory:
        if self._world is None:
            raise unexpected(step)
        try:
            return perform(step, self.record, self._world, memory, now)
        except OverQuota as error:
            raise _with_way_out(error, memory) from error
        except SourceGone as error:
            if isinstance(step, (OpenSession, Seal)):
                raise
            # What it should be made of went away since we looked: the next look says what that means.
            raise Conflict(error.message, request_id=error.request_id) from error

    def phase(self, memory: Memory) -> Phase:
        return conditions.backup_phase(memory, deleting=self.identity.deleting)

    def report(
        self, memory: Memory, observed: BackupObserved | None, waiting: Wait | None
    ) -> Report:
        phase = self.phase(memory)
        left = _temporaries(memory, observed)
        situation = conditions.Situation(
            memory=memory,
            deleting=self.identity.deleting,
            working_reason=waiting.reason if waiting else str(phase),
            working_message=waiting.message if waiting else "",
            temporaries=left,
        )
        return Report(
            phase=phase,
            conditions=conditions.backup_conditions(situation),
            progress=None if observed is None else _progress(memory, observed),
            temporaries=left,
        )


def perform(  # noqa: C901  one arm per step
    step: BackupStep, record: BackupRecord, world: BackupWorld, memory: Memory, now: datetime
) -> Memory:
    """Exactly one effect; returns memory with what it answered."""
    site = memory.site or world.site
    match step:
        case MintBackupId():
            minted = world.identities.mint_backup_id()
            return replace(memory, backup_id=minted, site=world.site, started_at=now)
        case PinSource(source=source, claim=of):
            return replace(memory, source=source, claim=of)
        case OpenSession(backup_id=backup_id, volume_id=volume_id, incremental=incremental):
            world.bank.open_session(site, backup_id, volume_id, incremental=incremental)
            return intents.done(memory, intents.SESSION)
        case ChooseTransport(choice=choice):
            world.records.event(choice.reason, choice.message)
            return transport.with_choice(memory, choice)
        case FallBack(choice=choice):
            return fall_back(world.transfers, world.records, memory, choice)
        case CreateSnapshot() | CreateVolume():
            return _create(step, record, world, memory)
        case UploadToImage():
            return _upload(step, record, world, memory)
        case StartTransfer():
            attempt = memory.transfer_attempt
            world.transfers.start(_transfer(step, record, memory.claim, site, attempt))
            return memory
        case CancelTransfer() | ForgetTransfer():
            world.transfers.cancel()
            return memory
        case Seal(backup_id=backup_id, volume_id=volume_id):
            digest = world.bank.seal(site, backup_id, volume_id)
            return intents.done(replace(memory, manifest_digest=digest), intents.SEAL)
        case DeleteImage(resource_id=image_id):
            world.glance.delete_image(image_id)
            return memory
        case DeleteSecret(resource_id=secret_id):
            world.key_manager.delete_secret(secret_id)
            return intents.done(memory, DeleteSecret.intent)
        case DeleteVolume(resource_id=volume_id):
            world.cinder.delete_volume(volume_id)
            return memory
        case DeleteSnapshot(resource_id=snapshot_id):
            world.cinder.delete_snapshot(snapshot_id)
            return memory
        case DiscardSession(backup_id=backup_id):
            finished = world.bank.discard(site, backup_id)
            return intents.done(memory, intents.DISCARD) if finished else memory
        case DeleteFromBank(backup_id=backup_id):
            finished = world.bank.delete(site, backup_id)
            return intents.done(memory, intents.FREE) if finished else memory
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


def _upload(
    step: UploadToImage, record: BackupRecord, world: BackupWorld, memory: Memory
) -> Memory:
    name = names.image_name(step.backup_id)
    try:
        image_id = world.cinder.upload_to_image(
            step.volume_id, image_name=name, disk_format=step.disk_format
        )
    except Unsupported as error:
        asked = record.request.transport
        return refused_format(error, asked, world.transfers, world.records, memory)
    return intents.answered(memory, step.intent, image_id)


def _create(
    step: CreateSnapshot | CreateVolume,
    record: BackupRecord,
    world: BackupWorld,
    memory: Memory,
) -> Memory:
    backup_id = step.backup_id
    tag = {names.BACKUP_TAG: backup_id}
    identity = record.identity
    description = f"temporary, of VolumeBackup {identity.namespace}/{identity.name}"
    made: str
    match step:
        case CreateSnapshot(volume_id=volume_id):
            name = names.snapshot_name(backup_id)
            made = world.cinder.create_snapshot(
                volume_id, name=name, description=description, metadata=tag
            ).id
        case CreateVolume(snapshot=snapshot):
            name = names.volume_name(backup_id)
            made = world.cinder.create_volume_from_snapshot(
                snapshot, name=name, description=description, metadata=tag
            ).id
    return intents.answered(memory, step.intent, made)


def _transfer(
    step: StartTransfer, record: BackupRecord, of: ClaimedVolume | None, site: str, attempt: int
) -> BackupTransfer:
    told = {} if of is None else claim.to_tags(of, record.identity.namespace)
    return BackupTransfer(
        site=site,
        backup_id=step.backup_id,
        attempt=attempt,
        image=step.image,
        size_bytes=step.size_bytes,
        source=step.source,
        backup_name=record.request.backup_name,
        description=record.request.description,
        snapshot_at=step.snapshot_at,
        tags={**record.request.tags, **told},
    )


def _with_way_out(error: OverQuota, memory: Memory) -> OverQuota:
    size = "the volume's size" if memory.source is None else f"{memory.source.size_gib} GiB"
    return OverQuota(
        f"{error.message}. One backup needs 1 more volume, 1 more snapshot and 2 times {size} of the "
        "project's Cinder quota while it runs; free some or have it raised, it goes on by itself",
        reason=error.reason,
        status_code=error.status_code,
        request_id=error.request_id,
        retry_after_seconds=error.retry_after_seconds,
    )


def _temporaries(memory: Memory, observed: BackupObserved | None) -> tuple[Temporary, ...]:
    if observed is None:
        return ()
    return cleanup.temporaries(observed.snapshots, observed.volumes, observed.images)


def _progress(memory: Memory, observed: BackupObserved) -> TransferProgress | None:
    match observed.transfer:
        case TransferRunning(progress=progress):
            return progress
        case TransferSucceeded(progress=progress):
            return progress
        case _:
            pass
    outcome, bank = memory.outcome, observed.bank
    if outcome is None or outcome.phase is not Phase.COMPLETED or memory.size_bytes is None:
        return None
    if bank is None or not bank.sealed:
        return None  # how much was stored is not known now
    return TransferProgress(
        bytes_total=memory.size_bytes,
        bytes_processed=memory.size_bytes,
        bytes_stored=bank.stored_bytes or 0,
        bytes_zero=bank.zero_bytes or 0,
        bytes_reused=bank.reused_bytes or 0,
    )
