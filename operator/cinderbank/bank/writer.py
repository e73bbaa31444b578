"""Writing one backup's chunks, index and manifest (W3 and W4); thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cinderbank.bank import chunk, layout
from cinderbank.bank import manifest as manifests
from cinderbank.bank.chunk import Envelope, EnvelopeKeys
from cinderbank.bank.content import ContentSummary
from cinderbank.bank.escrow import EscrowedKey
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.index import ENTRY_BYTES, Entry, PartBuilder
from cinderbank.bank.manifest import MAX_SESSIONS, Manifest, PartRef, SessionRef, SourceHash
from cinderbank.bank.store import Body, Buffer, ObjectStore, body_bytes
from cinderbank.domain.errors import BrokenInvariant, DataCorrupt, SourceGone, Unsupported
from cinderbank.domain.facts import BackupId, VolumeId
from cinderbank.ports.bank import BackupDescription

Noted = Callable[[Entry], None]
"""Told the entry of every chunk that this attempt has stored."""


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """A chunk on its way to the bank; `body` may hold the plain bytes themselves."""

    index: int
    hash: bytes
    allocation: int
    body: Body

    @property
    def stored_bytes(self) -> int:
        return body_bytes(self.body)


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk that lies in the bank already, as an index says: perhaps the very same bytes.

    `session` is whose; its own position in `entry` means nothing here.
    """

    session: SessionRef
    entry: Entry


def encode_chunk(
    envelope: Envelope,
    index: int,
    plain: Buffer,
    allocation: int,
    key: str,
    digest: bytes | None = None,
) -> EncodedChunk:
    """`key` is where it will be stored (`BackupWriter.chunk_key`); encryption binds it to that.
    `digest` is `envelope.digest(plain)`, when the caller has it."""
    body = envelope.pieces(plain, key)
    return EncodedChunk(index, digest or envelope.digest(plain), allocation, body)


class BackupWriter:
    """One attempt at one backup. Holds the index parts that are not complete, and no chunk.

    Each index is given exactly once, to one of put_chunk, put_holes and reuse. `noted` is called once
    a chunk is durable, in no order, from the thread that gave it.
    """

    def __init__(
        self,
        store: ObjectStore,
        session: SessionRef,
        volume_id: VolumeId,
        attempt: int,
        geometry: Geometry,
        keys: EnvelopeKeys | None = None,
        noted: Noted = lambda entry: None,
    ) -> None:
        self._store = store
        self._session = session
        self._volume_id = volume_id
        self._attempt = attempt
        self.geometry = geometry
        self.keys = keys
        self._noted = noted
        self._lock = threading.Lock()
        self._builder = PartBuilder(geometry)
        self._parts: dict[int, PartRef] = {}
        # In the order of their first use: a position in it is what entries say.
        self._sessions: dict[SessionRef, int] = {session: 0}
        self._earlier_parts = _earlier_parts(store, session, volume_id, attempt)

    @property
    def session(self) -> SessionRef:
        return self._session

    def chunk_key(self, index: int) -> str:
        return layout.chunk(self._session.site, self._session.backup_id, self._attempt, index)

    def put_chunk(self, encoded: EncodedChunk) -> int:
        """Store a chunk and note its entry; bytes stored."""
        self._store.put(self.chunk_key(encoded.index), encoded.body)
        stored = encoded.stored_bytes
        entry = Entry(encoded.index, encoded.hash, encoded.allocation, stored, 0, self._attempt)
        self._noted(entry)
        self._add(entry)
        return stored

    def put_holes(self, first: int, count: int = 1) -> None:
        """Note so many chunks that are all zeros, from `first` on; costs no request for them."""
        end = first + count
        while first < end:
            most = self.geometry.part_entries - first % self.geometry.part_entries
            with self._lock:
                complete = self._builder.add_holes(first, min(most, end - first))
            self._completed(complete)
            first += most

    def reuse(self, known: StoredChunk, allocation: int) -> bool:
        """Name a chunk that is there instead of storing it; the caller has compared its hash.

        False, and nothing is noted, when the manifest has no room for one more session. The store is
        not asked: whoever found `known` has made sure that it stays.
        """
        entry = known.entry
        with self._lock:
            position = self._sessions.get(known.session)
            if position is None:
                if len(self._sessions) >= MAX_SESSIONS:
                    return False
                position = self._sessions[known.session] = len(self._sessions)
        self._add(
            Entry(entry.index, entry.hash, allocation, entry.stored_bytes, position, entry.attempt)
        )
        return True

    def _add(self, entry: Entry) -> None:
        with self._lock:
            complete = self._builder.add(entry)
        self._completed(complete)

    def _completed(self, complete: tuple[int, bytes] | None) -> None:
        if complete is None:
            return
        number, plain = complete
        ref = self._stored_before(number, plain) or self._store_part(number, plain)
        with self._lock:
            self._parts[number] = ref

    def _store_part(self, number: int, plain: bytes) -> PartRef:
        key = self._part_key(self._attempt, number)
        # The envelope is made here and not kept: a part comes once in 256 GiB.
        self._store.put(key, Envelope(self.keys).encode(plain, key))
        return PartRef(self._attempt, Envelope(self.keys).digest(plain).hex())

    def _stored_before(self, number: int, plain: bytes) -> PartRef | None:
        """The same part as an earlier attempt has stored it, if it has."""
        wanted = Envelope(self.keys).digest(plain).hex()
        for attempt in self._earlier_parts.get(number, ()):
            ref = PartRef(attempt, wanted)
            try:
                read_part_body(
                    self._store,
                    self._part_key(attempt, number),
                    len(plain) // ENTRY_BYTES,
                    ref,
                    self.keys,
                )
            except (DataCorrupt, Unsupported):
                continue  # of other entries, or damaged: store it anew
            return ref
        return None

    def _part_key(self, attempt: int, number: int) -> str:
        site, backup_id = self._session.site, self._session.backup_id
        return layout.index_part(site, self._volume_id, backup_id, attempt, number)

    def finish(
        self,
        description: BackupDescription,
        bank_id: str,
        zero_bytes: int,
        source_hash: SourceHash,
        escrow: EscrowedKey | None = None,
    ) -> Manifest:
        """Read the index back, then put the manifest: `description` with the content hash and the data
        bytes of what was read. Create-only: when an earlier attempt's manifest is there it stays, if it
        says the same content; DataCorrupt if not, SourceGone (SessionBroken) when the session is over:
        another attempt has sealed it, or it was taken for dead, and what this one stored is free to go."""
        if len(self._parts) != self.geometry.part_count:
            raise BrokenInvariant(
                f"{len(self._parts)} of {self.geometry.part_count} index parts are complete"
            )
        parts = tuple(ref for _, ref in sorted(self._parts.items()))
        summary = self._read_back(parts)
        description = replace(
            description, content_hash=summary.content_hash(), data_bytes=summary.data_bytes()
        )
        manifest = Manifest(
            description,
            self.geometry,
            parts,
            tuple(self._sessions),
            bank_id,
            zero_bytes,
            source_hash,
            None if self.keys is None else self.keys.hash_key_id,
            escrow,
        )
        key = layout.manifest(self._session.site, self._volume_id, self._session.backup_id)
        body = manifests.to_object(manifest, key, self.keys)
        # Where If-None-Match is ignored, a late attempt would put its manifest over the sealed one.
        self._require_open()
        stored = self._store.put(key, body, if_absent=True)
        found = self._store.get(key, manifests.MAX_MANIFEST_BYTES)
        if found is None:
            raise SourceGone(f"{key} was written and is not there", reason="SessionBroken")
        if found == body:
            return manifest
        earlier = manifests.parse(found, key, self.keys)
        ours = manifest.hash_key, description.content_hash
        if stored or (earlier.hash_key, earlier.description.content_hash) != ours:
            raise DataCorrupt(f"{key} is there and says another content than this attempt read")
        return earlier

    def _read_back(self, parts: Sequence[PartRef]) -> ContentSummary:
        summary = ContentSummary(self.geometry)
        try:
            for number, ref in enumerate(parts):
                key, entries = (
                    self._part_key(ref.attempt, number),
                    self.geometry.part_length(number),
                )
                summary.add(read_part_body(self._store, key, entries, ref, self.keys))
        except DataCorrupt:
            self._require_open()
            raise
        return summary

    def _require_open(self) -> None:
        key = layout.intent(self._session.site, self._session.backup_id)
        if self._store.head(key) is None:
            raise SourceGone(
                f"session {self._session.backup_id} is over: {key} is gone", reason="SessionBroken"
            )


def _earlier_parts(
    store: ObjectStore, session: SessionRef, volume_id: VolumeId, attempt: int
) -> dict[int, list[int]]:
    """Which attempts before this one have stored which index parts."""
    found: dict[int, list[int]] = {}
    if attempt > 1:
        prefix = layout.index_prefix(session.site, volume_id, session.backup_id)
        for row in store.list_keys(prefix):
            place = layout.parse_session_object(prefix, row.key)
            if place is not None and place[0] != attempt:
                found.setdefault(place[1], []).append(place[0])
    return found


def read_part_body(
    store: ObjectStore, key: str, entries: int, ref: PartRef, keys: EnvelopeKeys | None = None
) -> Buffer:
    """The plain bytes of an index part, hash compared."""
    plain_bytes = entries * ENTRY_BYTES
    body = store.get(key, chunk.max_object_bytes(plain_bytes))
    if body is None:
        raise DataCorrupt(f"{key}: index part is missing")
    envelope = Envelope(keys)
    plain = envelope.decode(body, plain_bytes, key)
    if envelope.digest(plain).hex() != ref.hash:
        raise DataCorrupt(f"{key}: hash of the index part is not the manifest's")
    return plain


def existing_manifest(
    store: ObjectStore,
    session: SessionRef,
    volume_id: VolumeId,
    keys: EnvelopeKeys | None = None,
) -> Manifest | None:
    """The manifest that an earlier attempt of this session has completed, if any."""
    key = layout.manifest(session.site, volume_id, BackupId(session.backup_id))
    body = store.get(key, manifests.MAX_MANIFEST_BYTES)
    return None if body is None else manifests.parse(body, key, keys)
