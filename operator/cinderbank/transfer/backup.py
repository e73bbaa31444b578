"""Glance image -> bank: chunks, index parts, manifest. The seal is the engine's."""

from __future__ import annotations

from cinderbank.bank import state
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.manifest import Manifest, SessionRef, SourceHash
from cinderbank.bank.writer import BackupWriter, existing_manifest
from cinderbank.domain.errors import DataCorrupt, SourceGone, Unsupported
from cinderbank.domain.facts import ImageFacts
from cinderbank.ports.bank import BackupDescription
from cinderbank.ports.transfers import BackupTransfer
from cinderbank.transfer.content_hash import ContentHash
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.glance_stream import Glance, require_active
from cinderbank.transfer.pipeline import Pipeline, default_workers


def run_backup(
    transfer: BackupTransfer,
    bank: StoredBank,
    glance: Glance,
    meter: ProgressMeter,
    workers: int | None = None,
    geometry: Geometry | None = None,
) -> str:
    """Move the image into the bank; the content's SHA-512. The intent MUST be there already.

    Idempotent: a session whose manifest is there is done. Nothing is stored before status, format and
    size of the image are right; no manifest is stored when length or hash differ. Raises DataCorrupt
    (ImageSizeMismatch among others), SourceGone (SessionBroken), Forbidden (another site's part), and what bank and Glance raise.
    """
    bank_id = bank.open().bank_id
    bank.require_own(transfer.site)
    session = SessionRef(transfer.site, transfer.backup_id)
    if state.read_intent(bank.store, transfer.site, transfer.backup_id) is None:
        raise SourceGone(
            f"session {transfer.backup_id} has no intent in the bank; take a new backup",
            reason="SessionBroken",
        )
    done = existing_manifest(bank.store, session, transfer.source.id)
    if done is not None:
        if done.geometry.size_bytes != transfer.size_bytes:
            raise DataCorrupt(
                f"an earlier attempt at {transfer.backup_id} stored {done.geometry.size_bytes} bytes, "
                f"the volume has {transfer.size_bytes}"
            )
        meter.add(done.geometry.size_bytes, done.description.stored_bytes, done.zero_bytes)
        return done.description.content_sha512
    image = glance.show(transfer.image.id)
    check_image(image, transfer.size_bytes)
    geometry = geometry or Geometry(transfer.size_bytes)
    writer = BackupWriter(bank.store, session, transfer.source.id, transfer.attempt, geometry)
    hashes = ContentHash(image)
    pipeline = Pipeline(writer, hashes, meter.add, workers or default_workers())
    with glance.download(image.id, transfer.size_bytes) as blocks:
        pipeline.run(blocks)
    source_hash = hashes.compare()
    return _finish(transfer, bank_id, writer, pipeline, hashes.sha512(), source_hash)


def _finish(
    transfer: BackupTransfer,
    bank_id: str,
    writer: BackupWriter,
    pipeline: Pipeline,
    content_sha512: str,
    source_hash: SourceHash,
) -> str:
    description = _description(transfer, content_sha512, pipeline.stored_bytes)
    manifest: Manifest = writer.finish(description, bank_id, pipeline.zero_bytes, source_hash)
    return manifest.description.content_sha512


def check_image(image: ImageFacts, size_bytes: int) -> None:
    """Raise unless it is an active raw image of exactly so many bytes."""
    require_active(image)
    if image.disk_format != "raw":
        raise Unsupported(f"image {image.id} is {image.disk_format or 'of no format'}, not raw")
    if image.size_bytes != size_bytes:
        raise DataCorrupt(
            f"image {image.id} has {image.size_bytes} bytes, its volume {size_bytes}. The volume "
            "probably holds a disk image (qcow2, vmdk, ...) as its content, and Cinder has unpacked "
            "it while it uploaded: the image is not the volume, and is not backed up",
            reason="ImageSizeMismatch",
        )


def _description(
    transfer: BackupTransfer, content_sha512: str, stored_bytes: int
) -> BackupDescription:
    volume = transfer.source
    return BackupDescription(
        backup_id=transfer.backup_id,
        volume_id=volume.id,
        site=transfer.site,
        size_bytes=transfer.size_bytes,
        backup_name=transfer.backup_name,
        description=transfer.description,
        snapshot_at=transfer.snapshot_at,
        content_sha512=content_sha512,
        volume_name=volume.name,
        volume_description=volume.description,
        volume_type=volume.volume_type,
        availability_zone=volume.availability_zone,
        bootable=volume.bootable,
        volume_metadata=dict(volume.metadata),
        image_metadata=dict(volume.image_metadata),
        tags=dict(transfer.tags),
        stored_bytes=stored_bytes,
    )
