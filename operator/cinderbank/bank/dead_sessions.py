"""Ending sessions that nobody works at any more (G2 and G6b).

A VOID seal goes first, create-only: of writer and collection exactly one gets the seal, so a collection
that slept can not end what was sealed meanwhile. Then the tomb, which says so to everybody; then the
intent. On a store that does not honour If-None-Match no writer's session is ended: its space stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cinderbank.bank import layout, state
from cinderbank.bank.census import Census, session_of
from cinderbank.bank.layout import SealKey
from cinderbank.bank.manifest import SessionRef
from cinderbank.bank.marks import SEAL_VOID, Intent, Seal, Tomb
from cinderbank.bank.removal import delete_or_raise
from cinderbank.bank.store import MAX_CONTROL_BYTES, Listed, ObjectStore
from cinderbank.domain.errors import Forbidden
from cinderbank.domain.facts import BackupId

log = logging.getLogger(__name__)

VOID = Seal(SEAL_VOID, "sha256:" + "0" * 64, 0, 0)
"""Names no manifest; always the same bytes, whoever writes it."""


@dataclass(slots=True)
class Broken:
    sessions: set[SessionRef] = field(default_factory=set)
    """Writers' sessions that are over now (or would be, in a dry run)."""
    readers: int = 0
    """Read pins of restores that ended without taking them away."""
    kept: int = 0
    """Dead sessions that could not be ended: the store ignores If-None-Match, or refuses us the right."""
    stale_beats: list[str] = field(default_factory=list)


class DeadSessions:
    """`now` and all ages are the store's."""

    def __init__(
        self,
        store: ObjectStore,
        now: datetime,
        dead_after: timedelta,
        *,
        conditional_put: bool,
        dry_run: bool = False,
    ) -> None:
        self._store = store
        self._now = now
        self._before = now - dead_after
        self._conditional_put = conditional_put
        self._dry_run = dry_run

    def is_old(self, moment: datetime | None) -> bool:
        """False for what the store gives no time for."""
        return moment is not None and moment < self._before

    def is_older(self, moment: datetime, age: timedelta) -> bool:
        return self._now - moment > age

    def break_all(self) -> Broken:
        """G2: every intent whose last sign of life is old."""
        broken = Broken()
        for site in state.sites(self._store):
            beats = {
                session: row
                for row in self._store.list_keys(layout.beats_prefix(site))
                if (session := layout.parse_intent(row.key)) is not None
            }
            for row in self._store.list_keys(layout.intents_prefix(site)):
                session = layout.parse_intent(row.key)
                if session is None:
                    continue
                beat = beats.pop(session, None)
                if self.is_old(row.last_modified) and (beat is None or self._is_silent(beat)):
                    self._break_or_keep(site, session, row.key, broken)
            broken.stale_beats += [row.key for row in beats.values() if self._is_silent(row)]
        return broken

    def _is_silent(self, beat: Listed) -> bool:
        return self.is_old(beat.last_modified)

    def _break_or_keep(self, site: str, session: str, key: str, broken: Broken) -> None:
        """What the store refuses us is another site's to end, or a person's to grant: the rest goes on."""
        try:
            self._break(site, session, key, broken)
        except Forbidden as error:
            log.info("session %s of site %s stays: %s", session, site, error.message)
            broken.kept += 1

    def _break(self, site: str, session: str, key: str, broken: Broken) -> None:
        body = self._store.get(key, MAX_CONTROL_BYTES)
        if body is None:
            return
        intent = Intent.parse(body, key)
        if intent.volume_id is None or not layout.is_backup_id(session):
            broken.readers += 1
        elif not self._conditional_put:
            broken.kept += 1
            return
        else:
            dead = SealKey(site, BackupId(session), intent.volume_id)
            if self._void(dead):
                broken.sessions.add(session_of(dead))
            elif not state.is_sealed_ok(self._store, dead):
                # Neither over nor sealed: without its intent somebody could open it again.
                return
        if not self._dry_run:
            delete_or_raise(self._store, [key, layout.beat(site, session)])

    def void_unsealed(self, census: Census) -> Iterator[SessionRef]:
        """G6b: manifests without intent, tomb or seal, put long ago: nobody will seal them any more."""
        if not self._conditional_put:
            return
        for key, put_at in census.manifests.items():
            session = session_of(key)
            if session in census.tombs or census.is_open(session) or not self.is_old(put_at):
                continue
            if key in census.seals and state.is_sealed_ok(self._store, key):
                continue
            if state.read_intent(self._store, key.site, key.backup_id) is not None:
                continue
            try:
                voided = self._void(key)
            except Forbidden:  # as in `break_all`; it is tried again with each collection
                continue
            if voided:
                yield session

    def _void(self, key: SealKey) -> bool:
        """True when this session is over; False when it was sealed first."""
        if self._dry_run:
            return not state.is_sealed_ok(self._store, key)
        name = layout.seal(key.site, key.backup_id, key.volume_id)
        self._store.put(name, VOID.dump(), if_absent=True)
        # Whatever the answer was: another collection's VOID, or our own first try, is as good.
        found = state.read_seal_of(self._store, key.site, key.backup_id, key.volume_id)
        if found is None or found.is_ok:
            return False
        self._store.put(layout.tomb(key.site, key.backup_id), Tomb(key.volume_id).dump())
        return True
