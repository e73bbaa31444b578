"""Which chunks are live (G6): the union of what all live manifests name.

Live is a manifest without a tomb, sealed or not, and one that an intent pins, with a tomb or without.
When one of them can not be read, nothing is known about what it names, and nothing is deleted.

A chunk's number is its place in the volume, in every backup that uses it. So backups that share sessions
are marked together, one *window* of places after the other, and memory holds one window of one such
group: a bit for each place and each attempt that is used there (128 KiB for 4 TiB of volume).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cinderbank.bank import layout, state
from cinderbank.bank.census import Census, overtaken, seal_key, session_of
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.index import ENTRY_BYTES, FLAG_HOLE
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.layout import SealKey
from cinderbank.bank.manifest import PartRef, SessionRef
from cinderbank.bank.store import Buffer, ObjectStore
from cinderbank.bank.writer import read_part_body
from cinderbank.domain.errors import DataCorrupt, Unsupported

WINDOW_PLACES = 1 << 20

Numbers = npt.NDArray[np.uint32]

_ENTRY = np.dtype(
    {
        "names": ["index", "session", "attempt", "flags", "pack", "reserved"],
        "formats": ["<u4", "<u2", "<u2", "<u2", "<u4", "<u4"],
        "offsets": [40, 48, 50, 54, 56, 60],
        "itemsize": ENTRY_BYTES,
    }
)
"""What marking needs of an index entry; bank.index has the whole of it."""


@dataclass(frozen=True, slots=True)
class LiveBackup:
    """What is kept of a live manifest."""

    key: SealKey
    geometry: Geometry
    parts: tuple[PartRef, ...]
    sessions: tuple[SessionRef, ...]
    hash_key: str | None


class Marker:
    """Reads manifests and index parts. Raises DataCorrupt, Unsupported or InvalidSpec for what it can
    not read, and Conflict (CollectionOvertaken) for what went away meanwhile."""

    def __init__(self, store: ObjectStore, census: Census, keys: Keyring | None) -> None:
        self._store = store
        self._census = census
        self._keys = keys

    def live_backups(self, only: SealKey | None = None) -> list[LiveBackup]:
        """Every live manifest, in the order of their keys."""
        census, pinned = self._census, self._census.pinned()
        live = {
            key
            for key in census.manifests
            if session_of(key) not in census.tombs or session_of(key) in pinned
        }
        listed = {session_of(key) for key in census.manifests}
        for base in census.writers_bases():
            if only is not None and base.volume_id not in (None, only.volume_id):
                continue
            if SessionRef(base.site, base.backup_id) in listed:
                continue
            if base.volume_id is None:
                raise overtaken(f"a writer pins backup {base.backup_id}, which is not listed")
            live.add(seal_key(SessionRef(base.site, base.backup_id), base.volume_id))
        for key in census.seals:
            if key in live or session_of(key) in census.tombs:
                continue
            if state.is_sealed_ok(self._store, key):
                raise DataCorrupt(
                    f"backup {key.backup_id} of site {key.site} is sealed and has no manifest; what it"
                    " needs is not known. Delete that backup, then collect again"
                )
        return [self._read(key) for key in sorted(live, key=lambda k: (k.site, k.backup_id))]

    def _read(self, key: SealKey) -> LiveBackup:
        read = state.read_manifest(self._store, key.site, key.volume_id, key.backup_id, self._keys)
        if read is None:
            raise overtaken(f"the manifest of backup {key.backup_id} went away")
        manifest, digest = read
        sealed = state.read_seal_of(self._store, key.site, key.backup_id, key.volume_id)
        if sealed is not None and sealed.is_ok and sealed.seal.manifest_digest != digest:
            raise DataCorrupt(
                f"{layout.manifest(key.site, key.volume_id, key.backup_id)}: is not the sealed one"
            )
        return LiveBackup(
            key, manifest.geometry, manifest.parts, manifest.sessions, manifest.hash_key
        )

    def mark(self, backups: Iterable[LiveBackup], window: range) -> LiveChunks:
        """What these backups name at the places of one window."""
        live = LiveChunks(window)
        for backup in backups:
            entries = backup.geometry.part_entries
            for number in range(window.start // entries, -(-window.stop // entries)):
                if number < len(backup.parts):
                    self._mark_part(live, backup, number)
        return live

    def _mark_part(self, live: LiveChunks, backup: LiveBackup, number: int) -> None:
        site, volume_id, backup_id = backup.key.site, backup.key.volume_id, backup.key.backup_id
        part = backup.parts[number]
        key = layout.index_part(site, volume_id, backup_id, part.attempt, number)
        keys = None
        if self._keys is not None and backup.hash_key is not None:
            keys = self._keys.reading(backup.hash_key)
        length = backup.geometry.part_length(number)
        try:
            body = read_part_body(self._store, key, length, part, keys)
        except DataCorrupt as error:
            if state.read_tomb(self._store, site, backup_id) is not None:
                raise overtaken(f"backup {backup_id} was deleted while it was read") from error
            raise
        places, attempts = _entries(body, number * backup.geometry.part_entries, backup, key)
        for owner in np.unique(attempts):
            session = backup.sessions[int(owner) >> 16]
            live.add(session, int(owner) & 0xFFFF, places[attempts == owner])


def _entries(body: Buffer, first: int, backup: LiveBackup, key: str) -> tuple[Numbers, Numbers]:
    """Places of the chunks that are no holes, and `session << 16 | attempt` of each; checked."""
    rows = np.frombuffer(body, _ENTRY)
    if not np.array_equal(rows["index"], np.arange(first, first + len(rows), dtype=np.uint32)):
        raise DataCorrupt(f"{key}: an entry is not at its place")
    if np.any(rows["flags"] > FLAG_HOLE) or np.any(rows["pack"]) or np.any(rows["reserved"]):
        raise Unsupported(
            f"{key}: an entry uses a feature that is not known; use a newer cinderbank"
        )
    rows = rows[rows["flags"] != FLAG_HOLE]
    if np.any(rows["session"] >= len(backup.sessions)) or not np.all(rows["attempt"]):
        raise DataCorrupt(f"{key}: an entry names no attempt, or no such session")
    owners = rows["session"].astype(np.uint32) << np.uint32(16) | rows["attempt"]
    return rows["index"].astype(np.uint32), owners


class LiveChunks:
    """The live places of one window, a bit each, by session and attempt."""

    def __init__(self, window: range) -> None:
        self.window = window
        self._bits: dict[tuple[SessionRef, int], npt.NDArray[np.uint8]] = {}

    def add(self, session: SessionRef, attempt: int, places: Numbers) -> None:
        """Places outside of the window are passed over."""
        inside = self._inside(places)
        if not len(inside):
            return
        bits = self._bits.get((session, attempt))
        if bits is None:
            bits = self._bits[(session, attempt)] = np.zeros(len(self.window) // 8 + 1, np.uint8)
        np.bitwise_or.at(bits, inside >> 3, np.uint8(1) << (inside & 7).astype(np.uint8))

    def holds(self, session: SessionRef, attempt: int, places: Numbers) -> npt.NDArray[np.bool_]:
        """For each place whether it is live; outside of the window none is."""
        answer = np.zeros(len(places), np.bool_)
        bits = self._bits.get((session, attempt))
        if bits is not None:
            known = (places >= self.window.start) & (places < self.window.stop)
            inside = self._inside(places)
            answer[known] = bits[inside >> 3] >> (inside & 7).astype(np.uint8) & 1
        return answer

    def _inside(self, places: Numbers) -> Numbers:
        kept = places[(places >= self.window.start) & (places < self.window.stop)]
        return kept - np.uint32(self.window.start)


@dataclass(frozen=True, slots=True)
class Group:
    """Live backups that share sessions, directly or by others, and all the sessions that they use."""

    backups: tuple[LiveBackup, ...]
    sessions: tuple[SessionRef, ...]

    @property
    def places(self) -> int:
        return max(backup.geometry.chunk_count for backup in self.backups)


def groups(backups: Iterable[LiveBackup]) -> Iterator[Group]:
    """Split by what can be marked apart."""
    leader: dict[SessionRef, SessionRef] = {}

    def find(session: SessionRef) -> SessionRef:
        while leader[session] != session:
            leader[session] = leader[leader[session]]
            session = leader[session]
        return session

    rows = list(backups)
    for backup in rows:
        for session in backup.sessions:
            leader.setdefault(session, session)
            leader[find(session)] = find(backup.sessions[0])
    members: dict[SessionRef, list[LiveBackup]] = {}
    for backup in rows:
        members.setdefault(find(backup.sessions[0]), []).append(backup)
    used: dict[SessionRef, list[SessionRef]] = {}
    for session in leader:
        used.setdefault(find(session), []).append(session)
    for first, found in members.items():
        yield Group(tuple(found), tuple(used[first]))
