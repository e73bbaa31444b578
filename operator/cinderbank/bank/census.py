"""What a collection lists, in the one order that is safe: G1, G3, G4, G5, G5b (docs/bank-format.md).

    G1   sessions that have chunks, index parts or a journal
    G3   tombs
    G4   intents, each one read
         seals
    G5   manifests, of sealed backups and of others
    G5b  tombs again: a new one means that a manifest may have gone between two pages of G5

Each listing ends before the next begins. A listing is no snapshot; only this is relied on: what was put
before a listing began is shown. Why the order is everything: docs/adr/0003.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from cinderbank.bank import layout, state
from cinderbank.bank.layout import SealKey
from cinderbank.bank.manifest import SessionRef
from cinderbank.bank.marks import BaseRef, Intent
from cinderbank.bank.store import MAX_CONTROL_BYTES, Listed, ObjectStore
from cinderbank.domain.errors import Conflict
from cinderbank.domain.facts import BackupId, VolumeId


@dataclass(slots=True)
class Census:
    """Memory: some hundred bytes for each backup, tomb and index part; none for a chunk."""

    sessions: set[SessionRef] = field(default_factory=set)
    """G1."""
    parts: dict[SealKey, list[tuple[int, int]]] = field(default_factory=dict)
    """G1: attempt and number of the index parts of each session."""
    tombs: dict[SessionRef, datetime | None] = field(default_factory=dict)
    """G3, and when the store says that it was put."""
    intents: dict[tuple[str, str], Intent] = field(default_factory=dict)
    """G4, by site and session (or reader)."""
    seals: dict[SealKey, None] = field(default_factory=dict)
    """Keys only, in the order of the listings: a run is the same for the same bank."""
    manifests: dict[SealKey, datetime | None] = field(default_factory=dict)
    """G5."""
    foreign: int = 0
    """Keys that are not ours: never read, never touched."""

    def is_open(self, session: SessionRef) -> bool:
        return (session.site, session.backup_id) in self.intents

    def pinned(self) -> set[SessionRef]:
        """Backups that writers or readers pin."""
        return {
            SessionRef(base.site, base.backup_id)
            for intent in self.intents.values()
            for base in intent.bases
        }

    def writers_bases(self) -> Iterator[BaseRef]:
        """Bases of those that may name a base's chunks in a manifest of theirs."""
        for intent in self.intents.values():
            if intent.volume_id is not None:
                yield from intent.bases


def session_of(key: SealKey) -> SessionRef:
    return SessionRef(key.site, key.backup_id)


class CensusTaker:
    """Lists a whole bank, or (`only`) what may have to do with one backup: all intents and tombs, and
    the manifests of its volume, since nobody borrows from another volume."""

    def __init__(self, store: ObjectStore, only: SealKey | None = None) -> None:
        self._store = store
        self._only = only
        self.census = Census()

    def list_sessions(self) -> None:
        """G1; nothing else may have been listed before."""
        if self._only is not None:
            self._list_only(self._only)
            return
        for site in state.sites(self._store):
            for prefix in (layout.chunks_prefix(site), layout.journals_prefix(site)):
                for row in self._store.list_keys(prefix, delimiter="/"):
                    session = layout.parse_session_prefix(row.key) if row.is_prefix else None
                    if session is None:
                        self.census.foreign += 1
                    else:
                        self.census.sessions.add(SessionRef(site, session))
            for row in self._store.list_keys(layout.backups_prefix(site)):
                self._note_backup_object(row)

    def _list_only(self, only: SealKey) -> None:
        self.census.sessions.add(session_of(only))
        prefix = layout.backup_prefix(only.site, only.volume_id, only.backup_id)
        for row in self._store.list_keys(prefix):
            self._note_backup_object(row)

    def _note_backup_object(self, row: Listed) -> None:
        found = layout.parse_backup_object(row.key)
        if found is None:
            self.census.foreign += 1
            return
        self.census.sessions.add(session_of(found.backup))
        parts = self.census.parts.setdefault(found.backup, [])
        if found.part is not None:
            parts.append(found.part)

    def list_the_rest(self) -> None:
        """G3 to G5b. Raises Conflict (CollectionOvertaken) when it must begin again at G1, and what a
        damaged or newer intent raises: it may pin anything."""
        self.census.tombs = dict(self._tombs())
        for site in state.sites(self._store):
            for row in self._store.list_keys(layout.intents_prefix(site)):
                self._read_intent(site, row.key)
        for site in state.sites(self._store):
            self.census.seals.update(dict.fromkeys(self._seals(site)))
        for site in state.sites(self._store):
            volume = None if self._only is None else self._only.volume_id
            for row in self._store.list_keys(layout.backups_prefix(site, volume)):
                found = layout.parse_backup_object(row.key)
                if found is not None and found.part is None:
                    self.census.manifests[found.backup] = row.last_modified
        if any(session not in self.census.tombs for session, _ in self._tombs()):
            raise overtaken("a backup was deleted while the manifests were listed")

    def _tombs(self) -> Iterator[tuple[SessionRef, datetime | None]]:
        for site in state.sites(self._store):
            for row in self._store.list_keys(layout.tombs_prefix(site)):
                session = layout.parse_tomb(row.key)
                if session is not None:
                    yield SessionRef(site, session), row.last_modified

    def _read_intent(self, site: str, key: str) -> None:
        session = layout.parse_intent(key)
        if session is None:
            self.census.foreign += 1
            return
        body = self._store.get(key, MAX_CONTROL_BYTES)
        if body is not None:
            self.census.intents[(site, session)] = Intent.parse(body, key)

    def _seals(self, site: str) -> Iterator[SealKey]:
        if self._only is not None:
            # The seals of one volume are no prefix; the manifests that are listed next say which matter.
            return
        for row in self._store.list_keys(layout.seals_prefix(site)):
            seal = layout.parse_seal(row.key)
            if seal is None:
                self.census.foreign += 1
            else:
                yield seal


def overtaken(why: str) -> Conflict:
    """Nothing is wrong: something changed under the collection, and the next run sees it."""
    return Conflict(f"the collection begins again: {why}", reason="CollectionOvertaken")


def seal_key(session: SessionRef, volume_id: VolumeId) -> SealKey:
    return SealKey(session.site, BackupId(session.backup_id), volume_id)
