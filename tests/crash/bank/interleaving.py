"""Random schedules of the real code: two sites, each with writers, a collection, a deleter and a reader."""

from __future__ import annotations

import random
from datetime import timedelta

from cinderbank.bank import layout
from cinderbank.bank.marks import BaseRef
from cinderbank.domain.errors import DataCorrupt, SourceGone, Unavailable
from cinderbank.domain.facts import BackupId
from tests.crash.bank.actors import (
    SITES,
    Invariant,
    collection,
    content_of,
    new_id,
    restore,
    sealed_backups,
    write,
)
from tests.crash.bank.scheduler import Actor, Scheduler, SteppedStore
from tests.fakes.backups import VOLUME, bank_on
from tests.fakes.object_store import MemoryStore

STEPS = 3000
MOST_ACTORS = 7


class Interleaving:
    """One schedule, the same for the same seed."""

    def __init__(self, seed: int, sites: tuple[str, ...] = SITES) -> None:
        self.sites = sites
        self.store = MemoryStore()
        self.scheduler = Scheduler(
            self.store, seed, page_rows=random.Random(seed).choice((2, 5, 9))
        )
        self.scheduler.late_percent = 2
        self.invariant = Invariant(self.store)
        self.chance = self.scheduler.chance
        self.collected = 0
        self._sessions: list[tuple[str, BackupId, bytes]] = []
        bank_on(self.store).open()

    def run(self, steps: int = STEPS) -> None:
        try:
            for _ in range(steps):
                self._step()
                self.invariant.check()
        finally:
            self.scheduler.close()

    def _step(self) -> None:
        chance, living = self.chance, self.scheduler.living()
        if len(living) < MOST_ACTORS and chance.random() < 0.02:
            self._start()
            return
        if chance.random() < 0.003:
            # A day and more goes by: whoever did not beat is taken for dead.
            self.store.now += timedelta(hours=chance.choice((1, 30)))
        if self.scheduler.late and chance.random() < 0.02:
            self.scheduler.late.pop(chance.randrange(len(self.scheduler.late)))()
        if not living:
            return
        if chance.random() < 0.01:
            chance.choice(living).pace = chance.choice((1.0, 0.3, 0.02))
        actor = chance.choices(living, [a.pace for a in living])[0]
        if chance.random() < 0.002:
            self.scheduler.kill(actor)
        else:
            self.scheduler.step(actor)
            self._ended(actor)

    def _ended(self, actor: Actor) -> None:
        if actor.done and actor.error is not None:
            assert isinstance(actor.error, SourceGone | Unavailable), repr(actor.error)

    def _start(self) -> None:
        chance, site = self.chance, self.chance.choice(self.sites)
        backups = sealed_backups(self.store)
        kind = chance.choice(("writer",) * 4 + ("again", "deleter", "gc", "gc", "gc", "reader"))
        pace = chance.choice((1.0, 1.0, 0.3, 0.05))
        if kind == "writer":
            refs = [BaseRef(key.site, key.backup_id, key.volume_id) for key in backups]
            bases = tuple(chance.sample(refs, min(len(refs), chance.randint(0, 2))))
            self._write(site, new_id(chance), content_of(chance), bases, 1, pace)
        elif kind == "again" and self._sessions:
            self._write(*chance.choice(self._sessions), (), 2, pace)
        elif kind == "gc":
            self.scheduler.start("gc", lambda store: self._collect(store, site), pace)
        elif kind in ("deleter", "reader") and backups:
            key = chance.choice(backups)
            work = self._delete if kind == "deleter" else self._restore
            self.scheduler.start(kind, lambda store: work(store, site, key), pace)

    def _write(
        self,
        site: str,
        backup_id: BackupId,
        content: bytes,
        bases: tuple[BaseRef, ...],
        attempt: int,
        pace: float,
    ) -> None:
        self._sessions.append((site, backup_id, content))

        def work(store: SteppedStore) -> None:
            try:
                write(store, site, backup_id, content, bases, attempt)
            except DataCorrupt:
                # What it wrote went under its hands: only a session that is over may say so.
                assert layout.tomb(site, backup_id) in self.store.objects
                return
            self.invariant.completed.add(layout.SealKey(site, backup_id, VOLUME))

        self.scheduler.start("writer", work, pace)

    def _delete(self, store: SteppedStore, site: str, key: layout.SealKey) -> None:
        self.invariant.deleted.add(key)
        bank = bank_on(store, site)
        while not bank.delete(key.site, key.backup_id):
            pass

    def _restore(self, store: SteppedStore, site: str, key: layout.SealKey) -> None:
        restore(store, self.store, site, key)

    def _collect(self, store: SteppedStore, site: str) -> None:
        report = collection(store, site)
        assert report.refusal is None or report.refusal.retryable, report.refusal
        self.collected += report.freed_objects
