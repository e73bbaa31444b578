"""The catalogue of a BackupBank: when its RecoveryPoints are due, one slice of work, what is told of it.

A sync lists the bank (one LIST per 1000 seals) and the RecoveryPoints that are there, and reads only
what has none yet. It works in slices, so that a bank with thousands of backups never holds a worker for
long; a restart between two of them costs nothing, as what is there is the only memory.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice
from typing import Any

from cinderbank.api.v1alpha1.backup_bank import BackupBankSpec
from cinderbank.api.v1alpha1.bank_catalog import CatalogStatus
from cinderbank.api.v1alpha1.bank_status import BackupBankStatus
from cinderbank.api.v1alpha1.duration import parse_duration
from cinderbank.api.v1alpha1.model import clipped
from cinderbank.api.v1alpha1.recovery_point import shown_tags
from cinderbank.domain.catalog import Plan, PointKey, Present, plan
from cinderbank.domain.errors import CinderbankError, Unavailable
from cinderbank.kube.known import Key
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.catalog import CatalogBank, Choice, Described, RecoveryPoints, Unreadable
from cinderbank.ports.clock import Clock

log = logging.getLogger(__name__)

RETRY = timedelta(minutes=1)
"""After a sync that failed, unless the interval is shorter."""
SLICE = 200
"""Backups that are looked at in one run: some ten seconds."""
SLICE_SECONDS = 20.0
"""After the bank was listed, which is bounded by itself (bank.stored_catalog)."""
UNREADABLE_AT_ONCE = 50
"""Of those that could not be read, so many are tried again in a sync, and more when one can be."""
NEXT_SLICE_SECONDS = 1.0
BUSY_SECONDS = 0.7
"""Shorter than the pause between two slices, so that another bank gets its turn in between."""
MAX_PASSED = 20_000
"""Backups remembered as none of ours to mirror; beyond these they are read again in each sync."""


@dataclass(frozen=True, slots=True)
class CatalogWorld:
    bank: CatalogBank
    points: RecoveryPoints


class Catalogue:
    """Acts only on a bank that is Ready. At most one slice at once in the whole operator: what it may
    take of the memory is one manifest and one page of objects."""

    def __init__(
        self,
        open_: Callable[[Key], CatalogWorld],
        write_status: Callable[[Raw, dict[str, Any]], None],
        say: Callable[[Raw, str, str, bool], None],
        clock: Clock,
        on_error: Callable[[str], None],
    ) -> None:
        self._open = open_
        self._write_status = write_status
        self._say = say
        self._clock = clock
        self._on_error = on_error
        self._turn = threading.Lock()
        self._passed: dict[str, _Passed] = {}

    def due_seconds(
        self, spec: BackupBankSpec, status: BackupBankStatus, generation: int
    ) -> float | None:
        """How long until the next slice; None when there is none to come."""
        if spec.catalog.suspend:
            return None
        before = status.catalog
        if before is None or before.last_try_time is None:
            return 0.0
        if before.observed_generation != generation:
            return 0.0
        interval = parse_duration(spec.catalog.interval, "spec.catalog.interval")
        if before.reason is not None:
            interval = min(interval, RETRY)
        elif before.pending:
            return 0.0
        return max(0.0, (before.last_try_time + interval - self._clock.now()).total_seconds())

    def run(
        self, key: Key, raw: Raw, spec: BackupBankSpec, status: BackupBankStatus
    ) -> float | None:
        """One slice, told in the status; seconds until the next. Raises what writing that raises."""
        if not self._turn.acquire(blocking=False):
            return BUSY_SECONDS
        try:
            told = self._try(key, raw, spec, status.catalog or CatalogStatus())
        finally:
            self._turn.release()
        after = status.model_copy(update={"catalog": told})
        self._write_status(raw, after.dump())
        self._tell(raw, status.catalog, told)
        due = self.due_seconds(spec, after, raw["metadata"].get("generation", 0))
        return None if due is None else max(due, NEXT_SLICE_SECONDS)

    def forget(self, key: Key) -> None:
        """The BackupBank is gone."""
        self._passed.pop(key.uid, None)

    def _try(
        self, key: Key, raw: Raw, spec: BackupBankSpec, before: CatalogStatus
    ) -> CatalogStatus:
        now, generation = self._clock.now(), raw["metadata"].get("generation", 0)
        tried: dict[str, Any] = {
            "observed_generation": generation,
            "last_try_time": now.replace(microsecond=0),
        }
        try:
            passed = self._passed_of(key, generation)
            choice = spec.catalog.to_choice(now)
            tags = shown_tags(spec.catalog.tags)
            one = _Slice(self._open(key), key.name, choice, tags, passed, self._clock)
            found = one.run()
        except CinderbankError as error:
            failure: CinderbankError = error
        except Exception as unexpected:
            # a bank that breaks our code must not stop the looks at it
            log.exception("the sync of RecoveryPoints failed")
            failure = Unavailable(
                f"the sync failed ({type(unexpected).__name__}); the operator's log tells more",
                reason="CatalogFailed",
            )
        else:
            for reason in one.newly_unreadable:
                self._on_error(reason)
            if not found.pending:
                tried["last_sync_time"] = tried["last_try_time"]
            else:
                tried["last_sync_time"] = before.last_sync_time
            return found.model_copy(update=tried)
        tried |= {"reason": failure.reason[:64], "message": clipped(failure.message, 1024)}
        return before.model_copy(update=tried)

    def _passed_of(self, key: Key, generation: int) -> _Passed:
        """Another generation may choose others."""
        known = self._passed.get(key.uid)
        if known is None or known.generation != generation:
            known = self._passed[key.uid] = _Passed(generation)
        return known

    def _tell(self, raw: Raw, before: CatalogStatus | None, told: CatalogStatus) -> None:
        if told.reason is None:
            return
        self._on_error(told.reason)
        if before is None or before.reason != told.reason:
            log.warning("the sync of RecoveryPoints failed: %s", told.message)
            self._say(raw, told.reason, told.message or "", True)


@dataclass(slots=True)
class _Passed:
    """Backups that are not mirrored whatever their age: other tags, or a VOID seal. They never change
    in the bank; without this they would be read again in each sync."""

    generation: int
    keys: set[PointKey] = field(default_factory=set)

    def add(self, key: PointKey) -> None:
        if len(self.keys) < MAX_PASSED:
            self.keys.add(key)


class _Slice:
    """One look at the bank and at the objects, and as much of the plan as a slice may do."""

    def __init__(
        self,
        world: CatalogWorld,
        bank_name: str,
        choice: Choice,
        tags: Mapping[str, str],
        passed: _Passed,
        clock: Clock,
    ) -> None:
        self._bank, self._points = world.bank, world.points
        self._bank_name = bank_name
        self._choice = choice
        self._tags = tags
        self._passed = passed
        self._clock = clock
        self._damaged: frozenset[PointKey] = frozenset()
        self._verified: Mapping[PointKey, datetime] = {}
        self._ends_at = clock.now()
        self._created = self._taken = self._mended = 0
        self.newly_unreadable: list[str] = []
        """Reasons."""

    def run(self) -> CatalogStatus:
        newest = self._bank.newest(self._choice, self._passed.keys, self._clock.now())
        self._passed.keys &= newest.passed
        self._damaged = self._bank.damaged(frozenset(newest.keys))
        self._verified = self._bank.verified(frozenset(newest.keys))
        present = self._points.present(self._tags)
        made = plan(self._bank_name, newest.keys, present, self._damaged, self._verified)
        passed_before = len(self._passed.keys)
        pending = self._carry_out(made)
        if not pending:
            self._try_unreadable(made)
        passed = len(self._passed.keys) - passed_before
        older = newest.backups - len(newest.keys)
        # Whoever was passed over makes room for an older one.
        room = min(passed, older)
        left_out = older - room
        if len(self._passed.keys) >= MAX_PASSED and not self._created:
            # The same ones would be read for ever.
            left_out, pending, room = older + pending, 0, 0
        still_unreadable = len(made.unreadable) - self._mended
        again = still_unreadable if self._mended else 0
        mirrored = made.kept + len(made.look_again) + len(made.unreadable) + self._created
        return CatalogStatus(
            backups=newest.backups - passed,
            recovery_points=mirrored,
            left_out=left_out,
            pending=pending + room + again,
            unreadable=still_unreadable + len(self.newly_unreadable),
            foreign_keys=newest.foreign_keys,
            names_taken=made.taken + self._taken,
        )

    def _carry_out(self, made: Plan) -> int:
        """How much of it is left; at least one thing is done."""
        jobs: Iterator[Callable[[], object]] = chain(
            (partial(self._points.delete, each) for each in made.delete),
            (partial(self._create, name, key) for name, key in made.create),
            (partial(self._look_again, point, key) for point, key in made.look_again),
        )
        self._ends_at, done = self._clock.now() + timedelta(seconds=SLICE_SECONDS), 0
        for job in islice(jobs, SLICE):
            job()
            done += 1
            if self._is_over():
                break
        return len(made.delete) + len(made.create) + len(made.look_again) - done

    def _create(self, name: str, key: PointKey) -> None:
        found = self._bank.look(key)
        if found is None or not self._chosen(found):
            self._passed.add(key)
        elif not self._points.create(name, key, found, *self._known_of(key)):
            self._taken += 1
            self._passed.add(key)  # or the same names would be tried first for ever
        else:
            self._created += 1
            if isinstance(found, Unreadable):
                self.newly_unreadable.append(found.reason)

    def _look_again(self, point: Present, key: PointKey) -> bool:
        """Whether it can be read, or is gone."""
        found = self._bank.look(key)
        if found is None or not self._chosen(found):
            self._points.delete(point)
        else:
            self._points.tell(point, found, *self._known_of(key))
        return not isinstance(found, Unreadable)

    def _known_of(self, key: PointKey) -> tuple[bool, datetime | None]:
        """Whether it is damaged, and when it was last found whole."""
        damaged = key in self._damaged
        return damaged, None if damaged else self._verified.get(key)

    def _try_unreadable(self, made: Plan) -> None:
        for point, key in made.unreadable[:UNREADABLE_AT_ONCE]:
            if self._is_over():
                break
            self._mended += self._look_again(point, key)

    def _is_over(self) -> bool:
        return self._clock.now() >= self._ends_at

    def _chosen(self, found: Described | Unreadable) -> bool:
        """By its tags as its RecoveryPoint shows them; one that can not be read is shown always."""
        if isinstance(found, Unreadable) or not self._tags:
            return True
        shown = shown_tags(found.about.tags)
        return all(shown.get(name) == value for name, value in self._tags.items())
