"""One look at everything that a backup's next step depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from cinderbank.domain import claim, intents, names
from cinderbank.domain.backup_steps import BackupObserved
from cinderbank.domain.errors import CinderbankError
from cinderbank.domain.facts import (
    BackupId,
    BankFacts,
    PreviousBackup,
    SnapshotFacts,
    TransferRunning,
    VolumeFacts,
)
from cinderbank.domain.record import BackupRecord, EncryptedVolumes, Transport
from cinderbank.domain.stages import USELESS_SNAPSHOT, USELESS_VOLUME, first_usable
from cinderbank.engine.messages import messages_about
from cinderbank.engine.world import BackupWorld


def observe(record: BackupRecord, world: BackupWorld, now: datetime) -> BackupObserved:
    """Look at what the present state needs; volumes before images, see BackupObserved.

    Raises what the ports raise; but while it is being cleaned up a bank that can not be read keeps
    nobody from cleaning the cloud.
    """
    identity, request, memory = record.identity, record.request, record.memory
    seen = BackupObserved(
        identity=identity, request=request, memory=memory, now=now, site=memory.site or world.site
    )
    if (memory.outcome is not None and memory.outcome.final) or (
        identity.deleting and not identity.has_finalizer
    ):
        return seen
    cleaning = memory.outcome is not None or request.cancel or identity.deleting
    if memory.backup_id is None:
        return seen if cleaning else _with_source(seen, world)
    backup_id = memory.backup_id
    seen = replace(
        seen,
        transfer=world.transfers.observe(),
        snapshots=world.cinder.snapshots_tagged(names.BACKUP_TAG, backup_id),
        volumes=world.cinder.volumes_tagged(names.BACKUP_TAG, backup_id),
    )
    seen = replace(seen, images=world.glance.images_named(names.image_name(backup_id)))
    seen = _with_bank(seen, world, backup_id, tolerant=cleaning)
    if cleaning:
        return seen
    if request.transport is Transport.AUTO and memory.transport is None:
        seen = _with_previous(seen, world)
    no_snapshot = first_usable(seen.snapshots, USELESS_SNAPSHOT) is None
    if memory.source is None or (memory.snapshot_taken_at is None and no_snapshot):
        seen = _with_source(seen, world)
    if seen.given is None and not seen.volumes:
        seen = _with_given(seen, world)
    return replace(seen, messages=messages_about(_suspects(seen), memory, world.cinder))


def _with_given(seen: BackupObserved, world: BackupWorld) -> BackupObserved:
    if seen.request.snapshot_id is None:
        return seen
    return replace(seen, given=world.cinder.find_snapshot(seen.request.snapshot_id))


def _with_source(seen: BackupObserved, world: BackupWorld) -> BackupObserved:
    seen = _found_source(seen, world)
    source = seen.source
    if source is None or not source.encrypted or seen.memory.source is not None:
        return seen
    if seen.request.encrypted_volumes is not EncryptedVolumes.ESCROW_KEY:
        return seen
    seen = replace(seen, keeps_secrets=world.bank.keeps_secrets())
    encryption = world.cinder.volume_encryption(source.id)
    if encryption is not None and seen.keeps_secrets:
        # Before anything is made: whether the key can be read at all.
        world.key_manager.read_secret(encryption.key_id)
    return replace(seen, source=replace(source, encryption=encryption))


def _found_source(seen: BackupObserved, world: BackupWorld) -> BackupObserved:
    pinned = seen.memory.source.id if seen.memory.source is not None else seen.request.volume_id
    if pinned is None and seen.request.snapshot_id is not None:
        seen = _with_given(seen, world)
        pinned = None if seen.given is None else seen.given.volume_id
        return seen if pinned is None else replace(seen, source=world.cinder.find_volume(pinned))
    if pinned is not None:
        return replace(seen, source=world.cinder.find_volume(pinned))
    if seen.request.claim_name is not None:
        return _with_claim(seen, world, seen.request.claim_name)
    volumes = world.cinder.volumes_named(seen.request.volume_name or "")
    return replace(
        seen,
        source=volumes[0] if len(volumes) == 1 else None,
        source_ids=tuple(volume.id for volume in volumes),
    )


def _with_claim(seen: BackupObserved, world: BackupWorld, name: str) -> BackupObserved:
    """The claim, its persistent volume, and the Cinder volume if these two agree on one."""
    found = world.claims.find_claim(name)
    volume = None
    if found is not None and found.volume_name:
        volume = world.claims.find_persistent_volume(found.volume_name)
    seen = replace(seen, claim=found, claim_volume=volume)
    if volume is None or claim.source_problem(name, found, volume) is not None:
        return seen
    return replace(seen, source=world.cinder.find_volume(claim.volume_id_of(volume)))


def _with_previous(seen: BackupObserved, world: BackupWorld) -> BackupObserved:
    """What the volume's last backup tells, once our session is there and the volume is known."""
    if seen.memory.source is None or seen.bank is None or not seen.bank.intent:
        return seen
    found = world.bank.previous(seen.site, seen.memory.source.id)
    if found is None:
        return seen
    previous = PreviousBackup(found.size_bytes, found.data_bytes, found.content_format)
    return replace(seen, previous=previous)


def _with_bank(
    seen: BackupObserved, world: BackupWorld, backup_id: BackupId, *, tolerant: bool
) -> BackupObserved:
    if isinstance(seen.transfer, TransferRunning) and not tolerant:
        # The bank has nothing to say while our own transfer writes into it: saves four requests a look.
        world.bank.beat(backup_id, seen.site)
        return replace(seen, bank=BankFacts(intent=True))
    try:
        facts = world.bank.observe(seen.site, backup_id)
        if facts.intent and not facts.sealed and not tolerant:
            world.bank.beat(backup_id, seen.site)
        return replace(seen, bank=facts)
    except CinderbankError as error:
        if not tolerant:
            raise
        return replace(seen, bank=None, bank_error=error)


def _suspects(seen: BackupObserved) -> Sequence[tuple[SnapshotFacts | VolumeFacts, str]]:
    """Whatever looks failed, and the step that made it."""
    snapshots = [(s, intents.SNAPSHOT) for s in seen.snapshots if "error" in s.status]
    volumes = [(v, intents.VOLUME) for v in seen.volumes if "error" in v.status]
    uploads: list[tuple[VolumeFacts, str]] = []
    if intents.made_something(seen.memory, intents.IMAGE) and not any(
        image.status == "active" for image in seen.images
    ):
        uploads = [
            (v, intents.IMAGE)
            for v in seen.volumes
            if v.status not in USELESS_VOLUME and v.status != "uploading"
        ]
    return [*snapshots, *volumes, *uploads]
