"""One look at everything that a restore's next step depends on."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from cinderbank.domain import claim, intents, names
from cinderbank.domain.encryption import mark_of
from cinderbank.domain.errors import CinderbankError
from cinderbank.domain.facts import VolumeFacts, size_gib
from cinderbank.domain.placement import Offered
from cinderbank.domain.plan import Survey
from cinderbank.domain.record import OnDelete, RestoreRecord
from cinderbank.domain.restore_stages import BEING_MADE
from cinderbank.domain.restore_steps import FoundBackup, RestoreObserved
from cinderbank.engine.drill import silent_uploads, with_drill_look
from cinderbank.engine.messages import messages_about
from cinderbank.engine.restore_claim import (
    with_bind_look,
    with_claim,
    with_leftovers,
    with_plan_look,
)
from cinderbank.engine.world import RestoreWorld
from cinderbank.ports.bank import BackupDescription


def observe(record: RestoreRecord, world: RestoreWorld, now: datetime) -> RestoreObserved:
    """Look at what the present state needs. Raises what the ports raise."""
    identity, request, memory = record.identity, record.request, record.memory
    seen = RestoreObserved(identity=identity, request=request, memory=memory, now=now)
    if identity.deleting and not identity.has_finalizer:
        return seen
    uid = identity.uid
    if memory.outcome is not None and memory.outcome.final:
        if identity.deleting and request.on_delete is OnDelete.DELETE:
            seen = replace(seen, volumes=world.cinder.volumes_tagged(names.RESTORE_TAG, uid))
            return with_claim(seen, world)
        return seen
    cleaning = memory.outcome is not None or request.cancel or identity.deleting
    if memory.source is None:
        return seen if cleaning else with_plan_look(look_before_pinned(seen, world), world)
    seen = replace(
        seen,
        transfer=world.transfers.observe(),
        volumes=world.cinder.volumes_tagged(names.RESTORE_TAG, uid),
        images=world.glance.images_named(names.restore_image_name(uid)),
    )
    seen = with_snapshots(seen, world)
    if request.drill:
        seen = with_drill_look(seen, world)
    seen = with_secrets(seen, world, cleaning=cleaning)
    if cleaning:
        return with_leftovers(seen, world)
    seen = with_bind_look(seen, world)
    if intents.is_done(memory, intents.PIN):
        world.bank.beat(uid)
    failed = [(volume, intents.VOLUME) for volume in seen.volumes if "error" in volume.status]
    failed += silent_uploads(seen)
    return replace(seen, messages=messages_about(failed, memory, world.cinder))


def look_before_pinned(seen: RestoreObserved, world: RestoreWorld) -> RestoreObserved:
    """Raises what the ports raise. A selector is asked for once: then memory holds what it came to."""
    request, resolved = seen.request, seen.memory.resolved
    if request.selector is not None and resolved is None:
        return replace(seen, selected=world.bank.select(request.selector))
    site = request.site if resolved is None else resolved.site
    description = world.bank.find(request.backup_id, site, request.volume_id)
    if description is None:
        return seen
    seen = replace(seen, found=found_backup(description))
    if not (seen.identity.has_finalizer or request.dry_run):
        return seen  # the finalizer comes first
    cinder = world.cinder
    if description.encryption is not None:
        # Before anything is made: whether there is a key manager that we may use.
        world.key_manager.marked_secrets(mark_of(seen.identity.uid))
    seen = replace(seen, offered=Offered(cinder.volume_types(), cinder.availability_zones()))
    if not request.dry_run:
        return seen
    chunks = world.bank.look_for_chunks(description.site, description.backup_id)
    return replace(seen, survey=Survey(cinder.quota_left(), chunks))


def with_snapshots(seen: RestoreObserved, world: RestoreWorld) -> RestoreObserved:
    """Ours of the new volume: of our name too, for tags are copied."""
    known = seen.memory.flattens or intents.find(seen.memory, intents.SNAPSHOT)
    if not known and all(volume.snapshot_id is None for volume in seen.volumes):
        return seen
    uid, volumes = seen.identity.uid, {volume.id for volume in seen.volumes}
    snapshots = [
        snapshot
        for snapshot in world.cinder.snapshots_tagged(names.RESTORE_TAG, uid)
        if snapshot.name == names.restore_snapshot_name(uid) and snapshot.volume_id in volumes
    ]
    return replace(seen, snapshots=snapshots)


def with_secrets(seen: RestoreObserved, world: RestoreWorld, *, cleaning: bool) -> RestoreObserved:
    """Our secret, and what the volumes that are made say of theirs, for the backup of an encrypted one."""
    source = seen.memory.source
    if intents.find(seen.memory, intents.SECRET) is None and (
        cleaning or source is None or source.encryption is None
    ):
        return seen  # a key manager that is not there must not keep anybody from cleaning up
    try:
        return replace(
            seen,
            secrets=world.key_manager.marked_secrets(mark_of(seen.identity.uid)),
            encryptions={
                volume.id: world.cinder.volume_encryption(volume.id)
                for volume in seen.volumes
                if volume.status not in BEING_MADE
            },
        )
    except CinderbankError as error:
        if not cleaning:
            raise
        return replace(seen, secrets_error=error)


def found_backup(description: BackupDescription) -> FoundBackup:
    """What a restore needs of a manifest."""
    return FoundBackup(
        site=description.site,
        size_bytes=description.size_bytes,
        content_hash=description.content_hash,
        snapshot_at=description.snapshot_at,
        source=VolumeFacts(
            id=description.volume_id,
            name=description.volume_name,
            status="",
            size_gib=size_gib(description.size_bytes),
            description=description.volume_description,
            volume_type=description.volume_type,
            availability_zone=description.availability_zone,
            bootable=description.bootable,
            metadata=dict(description.volume_metadata),
            image_metadata=dict(description.image_metadata),
            encrypted=description.encryption is not None,
            encryption=description.encryption,
        ),
        data_bytes=description.data_bytes,
        content_format=description.content_format,
        claim=claim.from_tags(description.tags),
    )
