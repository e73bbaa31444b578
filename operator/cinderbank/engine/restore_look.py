"""What a restore looks at before a backup is pinned: the bank, and what the cloud offers."""

from __future__ import annotations

from dataclasses import replace

from cinderbank.domain import claim
from cinderbank.domain.facts import VolumeFacts, size_gib
from cinderbank.domain.placement import Offered
from cinderbank.domain.plan import Survey
from cinderbank.domain.restore_steps import FoundBackup, RestoreObserved
from cinderbank.engine.world import RestoreWorld
from cinderbank.ports.bank import BackupDescription


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
    seen = replace(seen, offered=Offered(cinder.volume_types(), cinder.availability_zones()))
    if not request.dry_run:
        return seen
    chunks = world.bank.look_for_chunks(description.site, description.backup_id)
    return replace(seen, survey=Survey(cinder.quota_left(), chunks))


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
        ),
        data_bytes=description.data_bytes,
        content_format=description.content_format,
        claim=claim.from_tags(description.tags),
    )
