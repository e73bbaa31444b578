"""Glance image -> bank: chunks, index parts, manifest. The seal is the engine's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC

from cinderbank.bank import layout, state
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.journal import (
    MAX_ENTRIES,
    Journal,
    Resumption,
    SourceIdentity,
    sweep_journal,
)
from cinderbank.bank.keyring import BackupKeys
from cinderbank.bank.manifest import Manifest, SessionRef
from cinderbank.bank.marks import Intent
from cinderbank.bank.writer import BackupWriter, existing_manifest
from cinderbank.domain.errors import DataCorrupt, SourceGone
from cinderbank.domain.facts import ImageFacts
from cinderbank.ports.bank import BackupDescription
from cinderbank.ports.key_manager import KeyManager
from cinderbank.ports.transfers import BackupTransfer
from cinderbank.transfer.content_format import ContentLook
from cinderbank.transfer.escrow import read_key, require_luks
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.glance_stream import Glance
from cinderbank.transfer.image_source import ImageSource
from cinderbank.transfer.known_chunks import KnownChunks, pinned_base
from cinderbank.transfer.pipeline import Limits, Pipeline, limits_for
from cinderbank.transfer.upload_limit import UploadSlots


def run_backup(
    transfer: BackupTransfer,
    bank: StoredBank,
    glance: Glance,
    meter: ProgressMeter,
    geometry: Geometry | None = None,
    *,
    limits: Limits | None = None,
    uploads: UploadSlots | None = None,
    journal_entries: int = MAX_ENTRIES,
    key_manager: KeyManager | None = None,
) -> str:
    """Move the image into the bank; the content's hash. The intent MUST be there already.

    The whole image, raw or qcow2, is read and hashed in each attempt; only what neither the pinned base
    nor an earlier attempt has stored is sent. Idempotent: a session whose manifest is there is done.
    Nothing is stored before status, format and size of the image are right; no manifest is stored when
    length or hash differ. `key_manager` gives the key of an encrypted volume. `uploads`: whoever hears the
    store ask for less tells it. Raises DataCorrupt (ImageSizeMismatch, ManifestNotEncrypted among others),
    SourceGone (SessionBroken), Forbidden (another site's part),
    Unsupported (an image of a kind that is not read), and what bank and Glance raise.
    """
    bank_id = bank.open().bank_id
    bank.require_own(transfer.site)
    intent = state.read_intent(bank.store, transfer.site, transfer.backup_id)
    if intent is None:
        raise SourceGone(
            f"session {transfer.backup_id} has no intent in the bank; take a new backup",
            reason="SessionBroken",
        )
    keys = bank.writing_keys()
    session = SessionRef(transfer.site, transfer.backup_id)
    done = existing_manifest(bank.store, session, transfer.source.id, keys)
    if done is None:
        geometry = geometry or Geometry(transfer.size_bytes)
        attempt = _Attempt(transfer, bank, keys, intent, geometry, journal_entries, key_manager)
        limits = limits or limits_for(geometry.chunk_bytes)
        done = attempt.run(glance, meter, limits, uploads or UploadSlots(), bank_id)
    else:
        if transfer.source.encryption is not None and done.escrow is None:
            raise DataCorrupt(
                f"an earlier attempt at {transfer.backup_id} stored no key of the encrypted volume"
            )
        _already_done(transfer, done, meter, keys)
    # Only now: an attempt that finds the manifest needs no journal any more.
    sweep_journal(bank.store, session)
    return done.description.content_hash


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One pass over the whole image."""

    transfer: BackupTransfer
    bank: StoredBank
    keys: BackupKeys | None
    intent: Intent
    geometry: Geometry
    journal_entries: int
    key_manager: KeyManager | None

    def run(
        self,
        glance: Glance,
        meter: ProgressMeter,
        limits: Limits,
        uploads: UploadSlots,
        bank_id: str,
    ) -> Manifest:
        transfer, store = self.transfer, self.bank.store
        image = glance.show(transfer.image.id)
        encryption = transfer.source.encryption
        escrow = read_key(encryption, image, self.keys, self.key_manager)
        opened = ImageSource(glance, image, transfer.size_bytes)
        session = SessionRef(transfer.site, transfer.backup_id)
        source, number = self._identity(image), transfer.attempt
        journal = Journal(
            store, session, number, source, self.keys, most_entries=self.journal_entries
        )
        writer = BackupWriter(
            store, session, transfer.source.id, number, self.geometry, self.keys, journal.note
        )
        known = KnownChunks(
            Resumption(store, session, number, source, self.geometry, self.keys),
            pinned_base(store, self.intent.bases, transfer.source.id, self.geometry, self.keys),
        )
        look = ContentLook()
        pipeline = Pipeline(writer, meter.add, limits, uploads, known.at)
        with opened.extents(self.geometry.chunk_bytes) as extents:
            pipeline.run(look.over(extents))
        known.warn()
        source_hash = opened.compare()
        if escrow is not None:
            require_luks(look.format(), image)
        description = replace(
            _description(transfer),
            stored_bytes=pipeline.stored_bytes,
            reused_bytes=pipeline.reused_bytes,
            base_id=known.base_id,
            transport=opened.transport,
            content_format=look.format(),
        )
        return writer.finish(description, bank_id, pipeline.zero_bytes, source_hash, escrow)

    def _identity(self, image: ImageFacts) -> SourceIdentity:
        return SourceIdentity(
            volume_id=self.transfer.source.id,
            snapshot_at=self.transfer.snapshot_at.astimezone(UTC).isoformat(),
            size_bytes=self.transfer.size_bytes,
            chunk_bytes=self.geometry.chunk_bytes,
            image_id=image.id,
            hash_algo=image.hash_algo,
            hash_value=image.hash_value,
            hash_key=None if self.keys is None else self.keys.hash_key_id,
        )


def _already_done(
    transfer: BackupTransfer, done: Manifest, meter: ProgressMeter, keys: BackupKeys | None
) -> None:
    key = layout.manifest(transfer.site, transfer.source.id, transfer.backup_id)
    if problem := state.why_not_ours(key, keys, encrypted=done.hash_key is not None):
        raise DataCorrupt(problem, reason="ManifestNotEncrypted")
    if done.geometry.size_bytes != transfer.size_bytes:
        raise DataCorrupt(
            f"an earlier attempt at {transfer.backup_id} stored {done.geometry.size_bytes} bytes, "
            f"the volume has {transfer.size_bytes}"
        )
    about = done.description
    meter.add(done.geometry.size_bytes, about.stored_bytes, done.zero_bytes, about.reused_bytes)


def _description(transfer: BackupTransfer) -> BackupDescription:
    """What is known before a byte has moved."""
    volume = transfer.source
    return BackupDescription(
        backup_id=transfer.backup_id,
        volume_id=volume.id,
        site=transfer.site,
        size_bytes=transfer.size_bytes,
        backup_name=transfer.backup_name,
        description=transfer.description,
        snapshot_at=transfer.snapshot_at,
        content_hash="",  # the index's, once it is there
        volume_name=volume.name,
        volume_description=volume.description,
        volume_type=volume.volume_type,
        availability_zone=volume.availability_zone,
        bootable=volume.bootable,
        volume_metadata=dict(volume.metadata),
        image_metadata=dict(volume.image_metadata),
        tags=dict(transfer.tags),
        stored_bytes=0,
        encryption=volume.encryption,
    )
