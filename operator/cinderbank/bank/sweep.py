"""What is to go (G7) as a plan, and its deletion (G7, G8).

A plan is made whole before anything is deleted: it is what a dry run shows, and what the share is
counted of. It holds 8 bytes for each chunk that goes, at most PLANNED_CHUNKS of them; what is more goes
in the next run.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

import numpy as np

from cinderbank.bank import layout, state
from cinderbank.bank.census import Census, session_of
from cinderbank.bank.layout import SealKey
from cinderbank.bank.manifest import SessionRef
from cinderbank.bank.marking import WINDOW_PLACES, LiveBackup, LiveChunks, Marker, groups
from cinderbank.bank.marks import Tomb
from cinderbank.bank.store import ObjectStore
from cinderbank.domain.errors import Forbidden

PLANNED_CHUNKS = 4_000_000
BATCH_KEYS = 1000


class Why(StrEnum):
    """Why something goes."""

    DELETED = "Deleted"
    """Its backup has a tomb."""
    ABANDONED = "Abandoned"
    """Its session never became a backup, and nobody works at it."""
    SUPERSEDED = "Superseded"
    """A live backup's own, of an attempt that its manifest does not use."""


@dataclass(slots=True)
class Doomed:
    """What goes of one session."""

    session: SessionRef
    why: Why
    objects: int = 0
    bytes: int = 0
    chunks: array[int] = field(default_factory=lambda: array("Q"))
    """attempt << 32 | index."""
    others: list[str] = field(default_factory=list)
    """Keys of index parts and of the journal."""
    postponed: bool = False
    """More goes in the next run."""

    def keys(self) -> Iterator[str]:
        site, backup_id = self.session.site, self.session.backup_id
        for packed in self.chunks:
            yield layout.chunk(site, backup_id, packed >> 32, packed & 0xFFFF_FFFF)
        yield from self.others


@dataclass(slots=True)
class Plan:
    doomed: dict[SessionRef, Doomed] = field(default_factory=dict)
    chunks_seen: int = 0
    chunks_doomed: int = 0
    foreign: int = 0

    @property
    def share_percent(self) -> float:
        """Of all chunks that could be judged, how many go."""
        return 100.0 * self.chunks_doomed / self.chunks_seen if self.chunks_seen else 0.0


class Planner:
    """Lists what the sessions of G1 hold, and compares it with what is live.

    `counts_all`: go on counting behind `most_chunks`, so that the share is of everything.
    """

    def __init__(
        self,
        store: ObjectStore,
        census: Census,
        marker: Marker,
        most_chunks: int = PLANNED_CHUNKS,
        *,
        counts_all: bool = True,
    ) -> None:
        self._store = store
        self._census = census
        self._marker = marker
        self._most_chunks = most_chunks
        self._counts_all = counts_all
        self._with_manifest = {session_of(key) for key in census.manifests}
        self.plan = Plan()

    def run(self, live: Sequence[LiveBackup]) -> Plan:
        """Streams: one group of backups, one window of places, one page of a listing at a time."""
        # A session that was open at G4 is passed over whole: its manifest may come at any moment.
        waiting = {s for s in self._census.sessions if not self._census.is_open(s)}
        self._plan_others(waiting, live)
        for group in groups(live):
            mine = sorted(waiting.intersection(group.sessions), key=_order)
            waiting.difference_update(mine)
            if not mine:
                continue
            for start in range(0, group.places, WINDOW_PLACES):
                marked = self._marker.mark(
                    group.backups, range(start, min(start + WINDOW_PLACES, group.places))
                )
                for session in mine:
                    self._plan_chunks(session, marked, last=marked.window.stop == group.places)
        for session in sorted(waiting, key=_order):
            self._plan_chunks(session, LiveChunks(range(0)), last=True)
        return self.plan

    def _plan_chunks(self, session: SessionRef, live: LiveChunks, *, last: bool) -> None:
        """Judge the chunks of one window; `last`: and all that lie behind it."""
        prefix = layout.session_chunks_prefix(session.site, session.backup_id)
        for row in self._store.list_keys(prefix, delimiter="/"):
            attempt = layout.parse_attempt_prefix(row.key) if row.is_prefix else None
            if attempt is None:
                self.plan.foreign += last
                continue
            stop = layout.MAX_CHUNK_INDEX + 1 if last else live.window.stop
            rows = self._places(session, attempt, live.window.start, stop)
            while page := list(islice(rows, BATCH_KEYS)):
                self._judge(session, attempt, live, page)
                if self.is_full and not self._counts_all:
                    self._doomed(session).postponed = True
                    return

    @property
    def is_full(self) -> bool:
        return self.plan.chunks_doomed >= self._most_chunks

    def _places(
        self, session: SessionRef, attempt: int, first: int, stop: int
    ) -> Iterator[tuple[int, int]]:
        """Place and size of each chunk of an attempt in this range of places."""
        prefix = layout.session_chunks_prefix(session.site, session.backup_id)
        after = ""
        if first:
            after = layout.chunk(session.site, session.backup_id, attempt, first - 1)
        for row in self._store.list_keys(f"{prefix}{attempt:04x}/", start_after=after):
            found = layout.parse_session_object(prefix, row.key)
            if found is None:
                self.plan.foreign += 1
            elif found[1] >= stop:
                return
            else:
                yield found[1], row.size_bytes

    def _judge(
        self, session: SessionRef, attempt: int, live: LiveChunks, page: list[tuple[int, int]]
    ) -> None:
        places = np.array([place for place, _ in page], np.uint32)
        self.plan.chunks_seen += len(page)
        dead = ~live.holds(session, attempt, places)
        if not dead.any():
            return
        doomed = self._doomed(session)
        for (place, size), goes in zip(page, dead.tolist(), strict=True):
            if not goes:
                continue
            doomed.objects += 1
            doomed.bytes += size
            if self.is_full:
                doomed.postponed = True
            else:
                doomed.chunks.append(attempt << 32 | place)
            self.plan.chunks_doomed += 1

    def _plan_others(self, sessions: set[SessionRef], live: Sequence[LiveBackup]) -> None:
        """Index parts that no live manifest names, and journals of sessions that are not open."""
        named = {(b.key, part.attempt, n) for b in live for n, part in enumerate(b.parts)}
        for key, parts in self._census.parts.items():
            session = session_of(key)
            # Those of a backup with a tomb go with its manifest, at the very end.
            if session not in sessions or session in self._census.tombs:
                continue
            for attempt, number in parts:
                if (key, attempt, number) not in named:
                    self._other(
                        session,
                        layout.index_part(key.site, key.volume_id, key.backup_id, attempt, number),
                    )
        for session in sorted(sessions, key=_order):
            prefix = layout.journal_prefix(session.site, session.backup_id)
            for row in self._store.list_keys(prefix):
                if layout.is_session_object(prefix, row.key):
                    self._other(session, row.key, row.size_bytes)

    def _other(self, session: SessionRef, key: str, size_bytes: int = 0) -> None:
        doomed = self._doomed(session)
        doomed.others.append(key)
        doomed.objects += 1
        doomed.bytes += size_bytes

    def _doomed(self, session: SessionRef) -> Doomed:
        if session not in self.plan.doomed:
            self.plan.doomed[session] = Doomed(session, self._why(session))
        return self.plan.doomed[session]

    def _why(self, session: SessionRef) -> Why:
        if session in self._census.tombs:
            return Why.DELETED
        return Why.SUPERSEDED if session in self._with_manifest else Why.ABANDONED


def _order(session: SessionRef) -> tuple[str, str]:
    return session.site, session.backup_id


@dataclass(slots=True)
class Sweeper:
    """Deletes; what the store refuses is counted, and everything else goes all the same."""

    store: ObjectStore
    most_batches: int | None = None
    """So many requests of 1000 keys; None for as many as it takes."""
    deleted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By the store's own code: an object lock, a policy."""
    example: str = ""
    """One key that was refused."""

    def delete(self, keys: Iterable[str]) -> bool:
        """True when all are gone; False when one was refused, or the bound was reached."""
        rows, clean = iter(keys), True
        while batch := list(islice(rows, BATCH_KEYS)):
            if self.most_batches is not None:
                if self.most_batches == 0:
                    return False
                self.most_batches -= 1
            failures = self.store.delete_many(batch)
            self.deleted += len(batch) - len(failures)
            for failure in failures:
                self.refused[failure.code] += 1
                self.example = failure.key
                clean = False
        return clean

    def bury(self, key: SealKey) -> bool:
        """G8: seal, then manifest and index parts of a backup whose own chunks are swept.

        The tomb is put again first, so that it is kept for its time after the last of the data. False
        when the store refuses that (another site's part, with keys of ours only) or one of the deletes.
        """
        tomb = layout.tomb(key.site, key.backup_id)
        try:
            self.store.put(tomb, Tomb(key.volume_id).dump())
        except Forbidden as error:
            self.refused[error.reason] += 1
            self.example = tomb
            return False
        # VOID stays for ever: without it a writer that sleeps could still put its own seal.
        seal = [layout.seal(key.site, key.backup_id, key.volume_id)]
        if state.is_sealed_ok(self.store, key) and not self.delete(seal):
            return False
        prefix = layout.backup_prefix(key.site, key.volume_id, key.backup_id)
        rows = (row.key for row in self.store.list_keys(prefix))
        return self.delete(name for name in rows if layout.is_session_object(prefix, name))
