"""Writing one backup's chunks, index and manifest (W3 and W4); thread-safe."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from cinderbank.bank import chunk, layout
from cinderbank.bank import manifest as manifests
from cinderbank.bank.chunk import Envelope
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.index import Entry, PartBuilder, hole
from cinderbank.bank.manifest import Manifest, PartRef, SessionRef, SourceHash
from cinderbank.bank.store import Buffer, ObjectStore
from cinderbank.domain.errors import BrokenInvariant, DataCorrupt, SourceGone
from cinderbank.domain.facts import BackupId, VolumeId
from cinderbank.ports.bank import BackupDescription


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """A chunk on its way to the bank; its plain bytes are not needed any more."""

    index: int
    hash: bytes
    allocation: int
    body: bytes


def encode_chunk(
    envelope: Envelope, index: int, plain: Buffer, allocation: int, key: str
) -> EncodedChunk:
    """`key` is where it will be stored (`BackupWriter.chunk_key`); encryption binds it to that."""
    body = envelope.encode(plain, key)
    return EncodedChunk(index, envelope.digest(plain), allocation, body)


class BackupWriter:
    """One attempt at one backup. Holds the index parts that are not complete, and no chunk."""

    def __init__(
        self,
        store: ObjectStore,
        session: SessionRef,
        volume_id: VolumeId,
        attempt: int,
        geometry: Geometry,
    ) -> None:
        self._store = store
        self._session = session
        self._volume_id = volume_id
        self._attempt = attempt
        self.geometry = geometry
        self._lock = threading.Lock()
        self._builder = PartBuilder(geometry)
        self._parts: dict[int, PartRef] = {}

    def chunk_key(self, index: int) -> str:
        return layout.chunk(self._session.site, self._session.backup_id, self._attempt, index)

    def put_chunk(self, encoded: EncodedChunk) -> int:
        """Store a chunk and note its entry; bytes stored. Each index exactly once."""
        self._store.put(self.chunk_key(encoded.index), encoded.body)
        stored = len(encoded.body)
        self._add(Entry(encoded.index, encoded.hash, encoded.allocation, stored, 0, self._attempt))
        return stored

    def put_hole(self, index: int) -> None:
        """Note a chunk that is all zeros; costs no request."""
        self._add(hole(index))

    def _add(self, entry: Entry) -> None:
        with self._lock:
            complete = self._builder.add(entry)
        if complete is None:
            return
        number, plain = complete
        # The envelope is made here and not kept: a part comes once in 256 GiB.
        key = self._part_key(number)
        self._store.put(key, Envelope().encode(plain, key))
        with self._lock:
            self._parts[number] = PartRef(self._attempt, chunk.digest(plain).hex())

    def _part_key(self, number: int) -> str:
        site, backup_id = self._session.site, self._session.backup_id
        return layout.index_part(site, self._volume_id, backup_id, self._attempt, number)

    def finish(
        self,
        description: BackupDescription,
        bank_id: str,
        zero_bytes: int,
        source_hash: SourceHash,
    ) -> Manifest:
        """Read the index back, then put the manifest. Create-only: when an earlier attempt's manifest
        is there it stays, if it says the same content; DataCorrupt if not."""
        if len(self._parts) != self.geometry.part_count:
            raise BrokenInvariant(
                f"{len(self._parts)} of {self.geometry.part_count} index parts are complete"
            )
        parts = tuple(ref for _, ref in sorted(self._parts.items()))
        for number, ref in enumerate(parts):
            read_part_body(
                self._store, self._part_key(number), self.geometry.part_length(number), ref
            )
        manifest = Manifest(
            description, self.geometry, parts, (self._session,), bank_id, zero_bytes, source_hash
        )
        body = manifests.dump(manifest)
        key = layout.manifest(self._session.site, self._volume_id, self._session.backup_id)
        stored = self._store.put(key, body, if_absent=True)
        found = self._store.get(key, manifests.MAX_MANIFEST_BYTES)
        if found is None:
            raise SourceGone(f"{key} was written and is not there", reason="SessionBroken")
        if found == body:
            return manifest
        earlier = manifests.parse(found, key)
        if stored or earlier.description.content_sha512 != description.content_sha512:
            raise DataCorrupt(f"{key} is there and says another content than this attempt read")
        return earlier


def read_part_body(store: ObjectStore, key: str, entries: int, ref: PartRef) -> Buffer:
    """The plain bytes of an index part, hash compared."""
    plain_bytes = entries * 64
    body = store.get(key, chunk.max_object_bytes(plain_bytes))
    if body is None:
        raise DataCorrupt(f"{key}: index part is missing")
    plain = Envelope().decode(body, plain_bytes, key)
    if chunk.digest(plain).hex() != ref.hash:
        raise DataCorrupt(f"{key}: hash of the index part is not the manifest's")
    return plain


def existing_manifest(
    store: ObjectStore, session: SessionRef, volume_id: VolumeId
) -> Manifest | None:
    """The manifest that an earlier attempt of this session has completed, if any."""
    key = layout.manifest(session.site, volume_id, BackupId(session.backup_id))
    body = store.get(key, manifests.MAX_MANIFEST_BYTES)
    return None if body is None else manifests.parse(body, key)
