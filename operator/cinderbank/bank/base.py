"""The earlier backup that an incremental one borrows its unchanged chunks from.

    choose        before W1: which backup the intent is to pin
    open_base     W2, after W1: it is sealed, whole and not deleted, or it lends nothing
    Base.lent     what it lends, chunk by chunk, while the new content streams by

Pinned first and looked at afterwards: whoever deletes puts the tomb first and looks for pins
afterwards, so one of the two sees the other. A chunk is never taken because an object is there, only
because the manifest of a pinned backup says which bytes it holds, and never one that is known to be
lost, is missing, or is of another size than the index says: then the new backup stores it anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from cinderbank.bank import index, layout, state
from cinderbank.bank.chunk import EnvelopeKeys
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.index import ENTRY_BYTES
from cinderbank.bank.manifest import Manifest, SessionRef
from cinderbank.bank.marks import BaseRef
from cinderbank.bank.scrub import AttemptRef, Damage
from cinderbank.bank.store import Buffer, ObjectStore
from cinderbank.bank.writer import StoredChunk, read_part_body
from cinderbank.domain.errors import CinderbankError, DataCorrupt, InvalidSpec, Unsupported
from cinderbank.domain.facts import BackupId, VolumeId

CANDIDATES = 16
"""So many backups of a volume are looked at, newest first, before a full one is made."""

UNREADABLE = (DataCorrupt, Unsupported, InvalidSpec)
"""What a base may be without harm: it lends nothing then. Outages are not among them."""

HEADS_AT_MOST = 8
LIST_PAGE_ROWS = 1000

_ENTRY = np.dtype(
    [
        ("hash", "V32"), ("allocation", "<u8"), ("index", "<u4"), ("stored_bytes", "<u4"),
        ("session", "<u2"), ("attempt", "<u2"), ("data_key", "<u2"), ("flags", "<u2"),
        ("offset", "<u4"), ("reserved", "<u4"),
    ]
)  # fmt: skip


def choose(store: ObjectStore, site: str, volume_id: VolumeId) -> tuple[BaseRef, ...]:
    """The newest backup of this volume at this site that is sealed and not deleted; none, or one.

    One LIST of the volume's own backups, then three small reads for each that is looked at.
    """
    prefix = layout.backups_prefix(site, volume_id)
    newest: deque[BackupId] = deque(maxlen=CANDIDATES)
    for name in sorted(
        row.key.removeprefix(prefix).removesuffix("/")
        for row in store.list_keys(prefix, delimiter="/")
        if row.is_prefix
    ):
        if layout.is_backup_id(name):
            newest.append(BackupId(name))
    for backup_id in reversed(newest):
        ref = BaseRef(site, backup_id, volume_id)
        if _is_backup(store, ref, volume_id):
            return (ref,)
    return ()


def _is_backup(store: ObjectStore, ref: BaseRef, volume_id: VolumeId) -> bool:
    try:
        sealed = state.read_seal_of(store, ref.site, ref.backup_id, volume_id)
        return (
            sealed is not None
            and sealed.is_ok
            and state.read_tomb(store, ref.site, ref.backup_id) is None
            and store.head(layout.manifest(ref.site, volume_id, ref.backup_id)) is not None
        )
    except UNREADABLE:
        return False


def open_base(
    store: ObjectStore,
    ref: BaseRef,
    volume_id: VolumeId,
    geometry: Geometry,
    damage: Damage,
    keys: EnvelopeKeys | None = None,
) -> Base | None:
    """W2 for a backup that our intent pins ALREADY; None when it can lend nothing.

    Raises only what says nothing about the base: an outage, a refused right.
    """
    if ref.volume_id not in (None, volume_id):
        return None
    try:
        if state.read_tomb(store, ref.site, ref.backup_id) is not None:
            return None
        sealed = state.read_seal_of(store, ref.site, ref.backup_id, volume_id)
        if sealed is None or not sealed.is_ok:
            return None
        read = state.read_manifest(store, ref.site, volume_id, ref.backup_id)
    except UNREADABLE:
        return None
    if read is None or read[1] != sealed.seal.manifest_digest:
        return None
    manifest = read[0]
    if manifest.geometry.chunk_bytes != geometry.chunk_bytes:
        return None
    return Base(store, manifest, geometry, damage, keys)


class Base:
    """A backup that may lend. Memory: one index part, whatever its size; NOT thread-safe."""

    def __init__(
        self,
        store: ObjectStore,
        manifest: Manifest,
        geometry: Geometry,
        damage: Damage,
        keys: EnvelopeKeys | None = None,
    ) -> None:
        self._store = store
        self._manifest = manifest
        self._geometry = geometry
        self._damage = damage
        self._keys = keys
        self.unreadable: CinderbankError | None = None
        """What ended the lending early: an index part that is lost or damaged."""

    @property
    def backup_id(self) -> BackupId:
        return self._manifest.description.backup_id

    def lent(self) -> Iterator[StoredChunk | None]:
        """For chunk 0, 1, ...: what may be borrowed in its place, if its bytes are the same; None
        for holes, for what is lost, and where the volume had another length."""
        shared = min(self._manifest.geometry.chunk_count, self._geometry.chunk_count)
        try:
            for number, _ in enumerate(self._manifest.parts):
                first = number * self._manifest.geometry.part_entries
                if first >= shared:
                    return
                yield from self._part(number, first)
        except UNREADABLE as error:
            self.unreadable = error

    def _part(self, number: int, first: int) -> Iterator[StoredChunk | None]:
        about, old = self._manifest.description, self._manifest.geometry
        ref = self._manifest.parts[number]
        key = layout.index_part(about.site, about.volume_id, about.backup_id, ref.attempt, number)
        body = read_part_body(self._store, key, old.part_length(number), ref, self._keys)
        sessions = self._manifest.sessions
        # The whole part is checked before anything in it is believed.
        for _ in index.read_part(body, old, number, len(sessions), key):
            pass
        there = self._there(body)
        for entry in index.read_part(body, old, number, len(sessions), key):
            same_length = (
                entry.index < self._geometry.chunk_count
                and old.chunk_length(entry.index) == self._geometry.chunk_length(entry.index)
            )
            if entry.is_hole or not same_length or not there[entry.index - first]:
                yield None
            else:
                yield StoredChunk(sessions[entry.session], entry)

    def _there(self, body: Buffer) -> bytearray:
        """One byte for each entry of a part: 1 when its object is there, has the size that the index
        says, and no check has found it lost."""
        entries = np.frombuffer(body, _ENTRY, len(body) // ENTRY_BYTES)
        there = bytearray(len(entries))
        stored = entries["flags"] == 0
        whose = entries["session"].astype(np.uint32) << 16 | entries["attempt"]
        for pair in np.unique(whose[stored]).tolist():
            positions = np.nonzero(stored & (whose == pair))[0]
            session, attempt = self._manifest.sessions[pair >> 16], pair & 0xFFFF
            wanted = {
                int(entries["index"][at]): (int(at), int(entries["stored_bytes"][at]))
                for at in positions
            }
            lost = AttemptRef(session.site, session.backup_id, attempt)
            for chunk_index, size_bytes in self._sizes(session, attempt, sorted(wanted)):
                found = wanted.get(chunk_index)
                if found and found[1] == size_bytes and not self._damage.has_chunk(
                    lost, chunk_index
                ):  # fmt: skip
                    there[found[0]] = 1
        return there

    def _sizes(
        self, session: SessionRef, attempt: int, wanted: list[int]
    ) -> Iterator[tuple[int, int]]:
        """Index and size of the objects of one attempt that are there, by HEAD when they are few
        among many, else by LIST, 1000 at a time."""
        site, backup_id = session.site, session.backup_id
        first, last = wanted[0], wanted[-1]
        if len(wanted) <= HEADS_AT_MOST + (last - first) // LIST_PAGE_ROWS:
            for chunk_index in wanted:
                size = self._store.head(layout.chunk(site, backup_id, attempt, chunk_index))
                if size is not None:
                    yield chunk_index, size
            return
        prefix = layout.session_chunks_prefix(site, backup_id)
        after = layout.chunk(site, backup_id, attempt, first - 1) if first else ""
        for row in self._store.list_keys(
            layout.attempt_chunks_prefix(site, backup_id, attempt), start_after=after
        ):
            place = layout.parse_session_object(prefix, row.key)
            if place is None:
                continue
            if place[1] > last:
                return
            yield place[1], row.size_bytes
