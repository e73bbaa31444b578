"""Bank -> another bank: a backup as it is, under the other bank's own keys. The seal comes last.

    pin at the source ─► session at the target ─► chunks ─► index, manifest ─► seal ─► unpin
                         (base: an earlier backup of the volume there)

A copy is written as any backup is (docs/bank-format.md, W1 to W7), so nothing of a half one is a backup,
no collection takes what is under way, and a killed attempt is gone on with. It keeps the pieces that the
original is cut into, so its content hash is the same where both banks are without keys.

Memory as of a backup (`pipeline`): what an image's hash takes there is here for chunks as they were stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC

from cinderbank.bank import state
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.chunk import Envelope
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.index import Entry
from cinderbank.bank.journal import MAX_ENTRIES, Journal, Resumption, SourceIdentity, sweep_journal
from cinderbank.bank.keyring import BackupKeys
from cinderbank.bank.manifest import Manifest, SessionRef
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.store import Buffer
from cinderbank.bank.writer import BackupWriter, existing_manifest
from cinderbank.domain.errors import DataCorrupt, InvalidSpec, SourceGone
from cinderbank.ports.transfers import CopyTransfer
from cinderbank.transfer.chunking import Holes
from cinderbank.transfer.copy_session import beating, fresh_attempt, pinned, refuse_wrong_pair
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.known_chunks import KnownChunks, pinned_base
from cinderbank.transfer.pipeline import Limits, Pipeline, Unread, limits_for
from cinderbank.transfer.upload_limit import UploadSlots


def run_copy(
    transfer: CopyTransfer,
    source: StoredBank,
    target: StoredBank,
    meter: ProgressMeter,
    *,
    limits: Limits | None = None,
    uploads: UploadSlots | None = None,
    journal_entries: int = MAX_ENTRIES,
) -> Manifest:
    """Make the copy and commit it; its manifest. Idempotent: one that is there already is compared.

    Every chunk that is stored was compared with its hash, and nothing is sealed that is not whole. Raises
    InvalidSpec (CopyToItself, CopySiteMismatch, CopyWouldBePlain), Forbidden (BankReadOnly), SourceGone
    (BackupNotFound; SessionBroken when the target has had a session of this id that is over), DataCorrupt
    when the original is damaged, and what both banks raise.
    """
    refuse_wrong_pair(transfer.site, source, target)
    with pinned(source, transfer) as reader_uid:
        reader = BackupReader.open(source.store, transfer.site, transfer.backup_id, source.keys)
        size = reader.geometry.size_bytes
        if size != transfer.size_bytes:
            raise DataCorrupt(
                f"backup {transfer.backup_id} has {size} bytes, {transfer.size_bytes} were asked for"
            )
        keys = target.writing_keys()
        if reader.manifest.hash_key is not None and keys is None and not transfer.allow_plain:
            raise InvalidSpec(
                f"backup {transfer.backup_id} is encrypted, and the bank at {target.store.where()} is"
                " not: give that bank a key, or allow it (plainCopy: Allowed; --allow-plain)",
                reason="CopyWouldBePlain",
            )
        if reader.manifest.escrow is not None and keys is None:
            raise InvalidSpec(
                f"backup {transfer.backup_id} holds the key of an encrypted volume, and the bank at "
                f"{target.store.where()} is not encrypted: give that bank a key; nothing else allows it",
                reason="CopyWouldBePlain",
            )
        copy = _Copy(transfer, source, target, reader, keys, meter, journal_entries)
        with beating(source, target, transfer, reader_uid):
            return copy.run(limits or limits_for(reader.geometry.chunk_bytes), uploads)


class _Copy:
    """One attempt."""

    def __init__(
        self,
        transfer: CopyTransfer,
        source: StoredBank,
        target: StoredBank,
        reader: BackupReader,
        keys: BackupKeys | None,
        meter: ProgressMeter,
        journal_entries: int,
    ) -> None:
        self._transfer = transfer
        self._source_bank_id = source.open().bank_id
        self._target = target
        self._store = target.store
        self._reader = reader
        self._keys = keys
        self._meter = meter
        self._journal_entries = journal_entries
        self._original = reader.manifest
        self._volume_id = reader.manifest.description.volume_id
        self._session = SessionRef(transfer.site, transfer.copy_id)
        self._comparable = keys is None and reader.manifest.hash_key is None
        """Whether hashes of both banks are made alike: keys are each bank's own."""
        self._local = threading.local()

    def run(self, limits: Limits, uploads: UploadSlots | None) -> Manifest:
        done = self._sealed()
        if done is not None:
            return self._told(done)
        try:
            return self._commit(limits, uploads or UploadSlots())
        except SourceGone as error:
            # Somebody else, who made the same copy, may have been faster.
            done = self._sealed() if error.reason == "SessionBroken" else None
            if done is None:
                raise
            return self._told(done)

    def _sealed(self) -> Manifest | None:
        """The copy, when it is there and committed."""
        site, copy_id = self._session.site, self._session.backup_id
        found = state.read_seal_of(self._store, site, copy_id, self._volume_id)
        if found is None or not found.is_ok or state.read_tomb(self._store, site, copy_id):
            return None
        return state.sealed_manifest(self._store, found, self._target.keys)

    def _told(self, done: Manifest) -> Manifest:
        self._compare(done)
        about = done.description
        self._meter.restart()
        self._meter.add(about.size_bytes, about.stored_bytes, done.zero_bytes, about.reused_bytes)
        return done

    def _commit(self, limits: Limits, uploads: UploadSlots) -> Manifest:
        site, copy_id = self._session.site, self._session.backup_id
        self._target.open_session(site, copy_id, self._volume_id)
        # At once: a session that nobody worked at for a day may be taken for dead any moment.
        self._target.beat(copy_id, site)
        done = existing_manifest(self._store, self._session, self._volume_id, self._keys)
        if done is None:
            done = self._copied(limits, uploads)
            self._compare(done)
        else:
            self._told(done)
        # Only now: an attempt that finds the manifest needs no journal any more.
        sweep_journal(self._store, self._session)
        self._target.seal(site, copy_id, self._volume_id)
        return done

    def _copied(self, limits: Limits, uploads: UploadSlots) -> Manifest:
        geometry = Geometry(self._original.geometry.size_bytes, self._original.geometry.chunk_bytes)
        identity, number = (
            self._identity(),
            fresh_attempt(self._store, self._session, self._volume_id),
        )
        journal = Journal(
            self._store, self._session, number, identity, self._keys,
            most_entries=self._journal_entries,
        )  # fmt: skip
        writer = BackupWriter(
            self._store, self._session, self._volume_id, number, geometry, self._keys, journal.note
        )
        intent = state.read_intent(self._store, self._session.site, self._session.backup_id)
        bases = () if intent is None else intent.bases
        known = KnownChunks(
            Resumption(self._store, self._session, number, identity, geometry, self._keys),
            pinned_base(self._store, bases, self._volume_id, geometry, self._keys),
        )
        pipeline = Pipeline(writer, self._meter.add, limits, uploads, known.at)
        pipeline.run_pieces(self._pieces())
        known.warn()
        description = replace(
            self._original.description,
            backup_id=self._session.backup_id,
            stored_bytes=pipeline.stored_bytes,
            reused_bytes=pipeline.reused_bytes,
            base_id=known.base_id,
        )
        bank_id = self._target.open().bank_id
        original = self._original
        return writer.finish(
            description, bank_id, pipeline.zero_bytes, original.source_hash, original.escrow
        )

    def _pieces(self) -> Iterator[Unread | Holes]:
        holes = 0
        for entry in self._reader.entries():
            if entry.is_hole:
                holes += 1
                continue
            if holes:
                yield Holes(entry.index - holes, holes)
                holes = 0
            length = self._reader.geometry.chunk_length(entry.index)
            known_hash = entry.hash if self._comparable else None
            yield Unread(entry.index, length, entry.allocation, known_hash, self._read_of(entry))
        if holes:
            yield Holes(self._reader.geometry.chunk_count - holes, holes)

    def _read_of(self, entry: Entry) -> Callable[[], Buffer]:
        return lambda: self._reader.read_chunk(entry, self._envelope())

    def _envelope(self) -> Envelope:
        """One for each thread that reads."""
        found: Envelope | None = getattr(self._local, "envelope", None)
        if found is None:
            found = self._local.envelope = self._reader.envelope()
        return found

    def _identity(self) -> SourceIdentity:
        about = self._original.description
        return SourceIdentity(
            volume_id=about.volume_id,
            snapshot_at=about.snapshot_at.astimezone(UTC).isoformat(),
            size_bytes=about.size_bytes,
            chunk_bytes=self._original.geometry.chunk_bytes,
            image_id=f"{self._source_bank_id} {about.backup_id}",
            hash_algo="content",
            hash_value=about.content_hash,
            hash_key=None if self._keys is None else self._keys.hash_key_id,
        )

    def _compare(self, done: Manifest) -> None:
        """Raise unless what the other bank has is this backup."""
        ours, theirs = self._original.description, done.description
        if self._keys is not None and done.hash_key is None and not self._transfer.allow_plain:
            # Nothing but keys tells our copy from what anybody who can write the bucket has put there.
            raise DataCorrupt(
                f"backup {theirs.backup_id} in the bank at {self._store.where()} is not encrypted, and that"
                " bank has a key: it is no copy that was made with it, and is left as it is; if you know"
                " that it is from before the key, allow it (plainCopy: Allowed; --allow-plain)",
                reason="CopyDiffers",
            )
        same = (ours.size_bytes, ours.snapshot_at, self._original.geometry.chunk_bytes) == (
            theirs.size_bytes, theirs.snapshot_at, done.geometry.chunk_bytes,
        )  # fmt: skip
        if same and self._original.hash_key is None and done.hash_key is None:
            same = ours.content_hash == theirs.content_hash
        if not same:
            raise DataCorrupt(
                f"backup {theirs.backup_id} in the bank at {self._store.where()} is not a copy of backup"
                f" {ours.backup_id}: size, moment or content differ; it is left as it is",
                reason="CopyDiffers",
            )
