"""Reading one sealed backup, every byte checked; thread-safe."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from cinderbank.bank import chunk, index, layout, state
from cinderbank.bank.chunk import Envelope
from cinderbank.bank.content import ContentSummary, allocation_column
from cinderbank.bank.geometry import allocation_map
from cinderbank.bank.index import Entry
from cinderbank.bank.keyring import BackupKeys, Keyring
from cinderbank.bank.manifest import Manifest
from cinderbank.bank.store import Buffer, ObjectStore
from cinderbank.bank.writer import read_part_body
from cinderbank.domain.errors import CinderbankError, DataCorrupt, InvalidSpec, SourceGone
from cinderbank.domain.facts import BackupId
from cinderbank.ports.key_manager import Secret


class BackupReader:
    """A sealed backup. Holds the manifest; entries stream one index part at a time."""

    def __init__(
        self, store: ObjectStore, site: str, manifest: Manifest, keys: Keyring | None = None
    ) -> None:
        self._store = store
        self._keys: BackupKeys | None = None
        if keys is not None and manifest.hash_key is not None:
            self._keys = keys.reading(manifest.hash_key)
        self._site = site
        self.manifest = manifest
        self.geometry = manifest.geometry

    @classmethod
    def open(
        cls, store: ObjectStore, site: str, backup_id: BackupId, keys: Keyring | None = None
    ) -> BackupReader:
        """Raises SourceGone (BackupNotFound) when it is not sealed or deleted, DataCorrupt, InvalidSpec
        (BankKeyMissing, BankKeyWrong, BankPlainBackup)."""
        sealed = state.read_seal(store, site, backup_id)
        if sealed is None or not sealed.is_ok or state.read_tomb(store, site, backup_id):
            raise SourceGone(
                f"the bank at {store.where()} holds no backup {backup_id} of site {site}",
                reason="BackupNotFound",
            )
        return cls(store, site, state.sealed_manifest(store, sealed, keys), keys)

    def escrowed_key(self) -> Secret:
        """Of the encrypted volume that this is of. Raises SourceGone (EncryptionKeyNotFound)."""
        about, escrow = self.manifest.description, self.manifest.escrow
        if escrow is None:
            raise SourceGone(
                f"backup {about.backup_id} of site {about.site} holds no key",
                reason="EncryptionKeyNotFound",
            )
        return escrow.secret

    def envelope(self) -> Envelope:
        """A decoder for this backup's chunks; one per worker."""
        return Envelope(self._keys)

    def entries(self) -> Iterator[Entry]:
        """All entries in order; memory is one index part whatever the volume's size.

        DataCorrupt (ContentHashMismatch), before those of the last part, when they are not the content
        that the manifest names: whoever sends them on never sends a whole volume that is another.
        """
        summary = ContentSummary(self.geometry)
        for number in range(len(self.manifest.parts)):
            body, key = self._body(number)
            summary.add(body)
            if number + 1 == len(self.manifest.parts):
                self._compare(summary)
            yield from index.read_part(
                body, self.geometry, number, len(self.manifest.sessions), key
            )

    def _compare(self, summary: ContentSummary) -> None:
        about = self.manifest.description
        found = summary.content_hash(), summary.data_bytes()
        if found != (about.content_hash, about.data_bytes):
            raise DataCorrupt(
                f"backup {about.backup_id}: its index has content hash {found[0][:16]}... and {found[1]} "
                f"bytes of data, the manifest says {about.content_hash[:16]}... and {about.data_bytes}",
                reason="ContentHashMismatch",
            )

    def entries_left(self) -> Iterator[Entry | None]:
        """As `entries`, but None for each chunk whose index part is lost. Raises outages, and what is
        of a newer format."""
        for number in range(len(self.manifest.parts)):
            told = 0
            try:
                for entry in self._part(number):
                    yield entry
                    told += 1
            except DataCorrupt:
                for _ in range(told, self.geometry.part_length(number)):
                    yield None

    def allocation_maps(self, salvage: bool = False) -> npt.NDArray[np.uint64]:
        """The allocation map of each chunk, 0 for a hole; 8 bytes a chunk. Not checked but by the hash of
        their part: `entries` is what checks them. With `salvage` 0 for all of a part that is lost."""
        maps = np.zeros(self.geometry.chunk_count, np.uint64)
        for number in range(len(self.manifest.parts)):
            first = number * self.geometry.part_entries
            try:
                body, _ = self._body(number)
            except DataCorrupt:
                if not salvage:
                    raise
                continue
            found = allocation_column(body)
            maps[first : first + len(found)] = found
        return maps

    def _part(self, number: int) -> Iterator[Entry]:
        body, key = self._body(number)
        yield from index.read_part(body, self.geometry, number, len(self.manifest.sessions), key)

    def _body(self, number: int) -> tuple[Buffer, str]:
        """The plain bytes of a part, and its key."""
        about, ref = self.manifest.description, self.manifest.parts[number]
        key = layout.index_part(self._site, about.volume_id, about.backup_id, ref.attempt, number)
        entries = self.geometry.part_length(number)
        return read_part_body(self._store, key, entries, ref, self._keys), key

    def read_chunk(self, entry: Entry, envelope: Envelope) -> Buffer:
        """The plain bytes of a chunk that is no hole. DataCorrupt names backup, chunk and byte range."""
        session = self.manifest.sessions[entry.session]
        key = layout.chunk(session.site, session.backup_id, entry.attempt, entry.index)
        length = self.geometry.chunk_length(entry.index)
        body = self._store.get(key, chunk.max_object_bytes(length))
        if body is None:
            raise self._corrupt(entry, f"{key} is missing")
        try:
            plain = envelope.decode(body, length, key)
        except InvalidSpec:
            raise  # a key of ours is missing: the chunk may be well
        except CinderbankError as error:
            raise self._corrupt(entry, error.message) from error
        if envelope.digest(plain) != entry.hash:
            raise self._corrupt(entry, f"{key} does not have the hash that the index says")
        missing = self.geometry.chunk_bytes - len(plain)
        padded = b"".join((plain, bytes(missing))) if missing else plain
        # What a qcow2 image leaves out is told by the map alone, and the chunk's hash does not cover it.
        if allocation_map(padded) & ~entry.allocation:
            raise self._corrupt(entry, f"{key} holds data where the index says zeros")
        return plain

    def _corrupt(self, entry: Entry, why: str) -> DataCorrupt:
        return DataCorrupt(
            f"backup {self.manifest.description.backup_id}: chunk {entry.index} "
            f"(bytes {self.geometry.byte_range(entry.index)}) can not be restored: {why}"
        )
