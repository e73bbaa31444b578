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

from cinderbank.bank import index, layout, state
from cinderbank.bank.chunk_listing import ChunkListing
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.index import Entry
from cinderbank.bank.keyring import BackupKeys, Keyring
from cinderbank.bank.manifest import Manifest
from cinderbank.bank.marks import BaseRef
from cinderbank.bank.scrub import AttemptRef, Damage
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.writer import StoredChunk, read_part_body
from cinderbank.domain.errors import CinderbankError, DataCorrupt, InvalidSpec, Unsupported
from cinderbank.domain.facts import BackupId, VolumeId
from cinderbank.ports.bank import BackupDescription

CANDIDATES = 16
"""So many backups of a volume are looked at, newest first, before a full one is made."""

UNREADABLE = (DataCorrupt, Unsupported, InvalidSpec)
"""What a base may be without harm: it lends nothing then. Outages are not among them."""


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


def previous(
    store: ObjectStore, site: str, volume_id: VolumeId, keys: Keyring | None
) -> BackupDescription | None:
    """What the backup says of itself that `choose` would pin now; None when it can not be read."""
    for ref in choose(store, site, volume_id):
        try:
            sealed = state.read_seal_of(store, site, ref.backup_id, volume_id)
            if sealed is not None and sealed.is_ok:
                return state.sealed_manifest(store, sealed, keys).description
        except UNREADABLE:
            return None
    return None


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
    keys: BackupKeys | None = None,
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
        manifest = state.sealed_manifest(store, sealed, None if keys is None else keys.ring)
    except UNREADABLE:
        return None
    if manifest.geometry.chunk_bytes != geometry.chunk_bytes:
        return None
    # Hashes under another key (or none) can not be compared: plain text would be borrowed, too.
    if manifest.hash_key != (None if keys is None else keys.hash_key_id):
        return None
    return Base(store, manifest, geometry, damage, keys)


class Base:
    """A backup that may lend. Memory: one index part and 32 pages of listings; NOT thread-safe."""

    def __init__(
        self,
        store: ObjectStore,
        manifest: Manifest,
        geometry: Geometry,
        damage: Damage,
        keys: BackupKeys | None = None,
    ) -> None:
        self._store = store
        self._manifest = manifest
        self._geometry = geometry
        self._damage = damage
        self._keys = keys
        self._listing = ChunkListing(store)
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
                if number * self._manifest.geometry.part_entries >= shared:
                    return
                yield from self._part(number)
        except UNREADABLE as error:
            self.unreadable = error

    def _part(self, number: int) -> Iterator[StoredChunk | None]:
        about, old = self._manifest.description, self._manifest.geometry
        ref = self._manifest.parts[number]
        key = layout.index_part(about.site, about.volume_id, about.backup_id, ref.attempt, number)
        body = read_part_body(self._store, key, old.part_length(number), ref, self._keys)
        for entry in index.read_part(body, old, number, len(self._manifest.sessions), key):
            yield None if entry.is_hole else self._lent(entry)

    def _lent(self, entry: Entry) -> StoredChunk | None:
        if entry.index >= self._geometry.chunk_count:
            return None
        length = self._geometry.chunk_length(entry.index)
        if length != self._manifest.geometry.chunk_length(entry.index):
            return None
        session = self._manifest.sessions[entry.session]
        whose = AttemptRef(session.site, session.backup_id, entry.attempt)
        if self._damage.has_chunk(whose, entry.index):
            return None
        if self._listing.size_of(whose, entry.index) != entry.stored_bytes:
            return None
        return StoredChunk(session, entry)
