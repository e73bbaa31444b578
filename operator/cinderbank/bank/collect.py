"""Collection: frees what no backup needs, beside writers, readers, deleters and other collections.

    G1    list sessions that have chunks, index parts or a journal
    G2    break sessions without a sign of life: VOID seal, tomb, intent
    G3-5b list tombs, intents, manifests, tombs again
    G6b   VOID manifests that nobody will seal any more
    G6    read every live manifest: what it names is live
    G7    delete what was there at G1, is not live and is of no open session
    G8    of deleted backups whose chunks are swept: seal, manifest, index parts; the tomb stays

No lock and no clock is needed for safety: see docs/adr/0003, docs/bank-safety.md and tests/model. Any number
of collections may run at once, and each may sleep between any two requests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cinderbank.bank import layout, state
from cinderbank.bank.census import Census, CensusTaker, overtaken, seal_key, session_of
from cinderbank.bank.dead_sessions import Broken, DeadSessions
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.layout import SealKey
from cinderbank.bank.manifest import SessionRef
from cinderbank.bank.marking import Marker
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.store_clock import StoreClock
from cinderbank.bank.sweep import Plan, Planner, Sweeper
from cinderbank.domain.errors import (
    BrokenInvariant,
    CinderbankError,
    Conflict,
    DataCorrupt,
    InvalidSpec,
    Unsupported,
)

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""So often it begins again by itself when it was overtaken."""

Progress = Callable[[str], None]
"""Told what is done now, in a few words."""


@dataclass(frozen=True, slots=True)
class CollectRules:
    """What a collection may do."""

    dry_run: bool = False
    """Write and delete nothing; say what would go, and why."""
    max_delete_percent: int = 50
    """Of all chunks that can be judged; refuse to delete a greater share."""
    forced: bool = False
    """Delete whatever the share."""
    dead_after: timedelta = timedelta(hours=24)
    """Without a sign of life for so long, a session is broken. By the store's clock."""
    tombs_kept: timedelta = timedelta(days=30)
    """After the last of the data is gone: longer than any request may be under way."""
    longest_run: timedelta = timedelta(hours=24)
    """A run that slept for longer gives up before it deletes: MUST be less than `tombs_kept`."""

    def __post_init__(self) -> None:
        if not self.longest_run < self.tombs_kept:
            raise BrokenInvariant("a collection that outlives a tomb could miss one")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was deleted. `reason` is CamelCase and stable."""

    reason: str
    message: str
    retryable: bool
    """It goes away by itself."""


@dataclass(frozen=True, slots=True)
class FreedSession:
    """What went (or would go) of one session."""

    site: str
    backup_id: str
    why: str
    """Deleted, Abandoned or Superseded."""
    objects: int
    bytes: int


@dataclass(slots=True)
class CollectReport:
    dry_run: bool
    refusal: Refusal | None = None
    sessions: list[FreedSession] = field(default_factory=list)
    """In the order of site and backup id."""
    freed_objects: int = 0
    """Requests to delete that the store accepted; in a dry run those that would be sent."""
    freed_bytes: int = 0
    """Of chunks and journals, as listed; the store may take its time."""
    broken_sessions: int = 0
    broken_readers: int = 0
    kept_dead_sessions: int = 0
    """Dead, and not ended because the store ignores If-None-Match, or refuses us the right."""
    delete_percent: float = 0.0
    chunks_seen: int = 0
    live_backups: int = 0
    removed_tombs: int = 0
    foreign_keys: int = 0
    """Not ours; left alone."""
    refused_deletes: dict[str, int] = field(default_factory=dict)
    """How many the store refused, by its own code: an object lock, a policy."""
    refused_example: str = ""
    complete: bool = True
    """False: there is more to free; collect again."""


def collect(
    store: ObjectStore,
    site: str,
    keys: Keyring | None = None,
    rules: CollectRules | None = None,
    progress: Progress = lambda text: None,
) -> CollectReport:
    """Free what no backup needs; `site` is ours. The bank MUST have been opened.

    Idempotent, and safe to end at any moment. Memory: some KiB for each backup, 8 bytes for each chunk
    that goes (32 MiB at most), and the marks of one group of backups (`bank.marking`). What it must not
    do is in the report's `refusal`; raises what the store raises (Unavailable, Forbidden, AuthRefused).
    """
    rules = rules or CollectRules()
    for attempt in range(ATTEMPTS):
        run = Collection(store, site, keys, rules, progress)
        try:
            run.run()
        except Conflict as error:
            log.info("collection %d was overtaken: %s", attempt + 1, error.message)
            run.report.refusal = Refusal(error.reason, error.message, retryable=True)
            continue
        except (DataCorrupt, Unsupported, InvalidSpec) as error:
            run.report.refusal = _unreadable(error)
        return run.report
    return run.report


def _unreadable(error: CinderbankError) -> Refusal:
    reason = error.reason if isinstance(error, InvalidSpec) else "BankNotReadable"
    if isinstance(error, Unsupported):
        reason = "BankFormatUnknown"
    return Refusal(
        reason,
        f"nothing was deleted, because what is needed is not known: {error.message}",
        retryable=False,
    )


class Collection:
    """One run; `report` is filled as it goes on."""

    def __init__(
        self,
        store: ObjectStore,
        site: str,
        keys: Keyring | None,
        rules: CollectRules,
        progress: Progress,
    ) -> None:
        self._store = store
        self._site = site
        self._keys = keys
        self._rules = rules
        self._progress = progress
        self.report = CollectReport(rules.dry_run)

    def run(self) -> None:
        """Raises Conflict when it was overtaken, and what can not be read."""
        if self._rules.dry_run:
            # A dry run writes nothing, not even to ask for the time; a clock that is wrong makes it
            # say too much or too little, and nothing else.
            self._run(lambda: datetime.now(UTC), conditional_put=True)
            return
        clock = StoreClock(self._store, self._site)
        try:
            clock.now()
            self._run(clock.now, conditional_put=clock.honours_conditions())
        finally:
            clock.close()

    def _run(self, now: Callable[[], datetime], *, conditional_put: bool) -> None:
        began = now()
        dead = DeadSessions(
            self._store,
            began,
            self._rules.dead_after,
            conditional_put=conditional_put,
            dry_run=self._rules.dry_run,
        )
        self._progress("listing sessions")
        taker = CensusTaker(self._store)
        taker.list_sessions()
        broken = dead.break_all()
        self._tell_broken(broken)
        self._progress("listing tombs, intents and manifests")
        taker.list_the_rest()
        census = taker.census
        if self._rules.dry_run:
            _as_if_broken(census, broken)
        else:
            self.report.broken_sessions += len(list(dead.void_unsealed(census)))
        self._progress("reading manifests")
        marker = Marker(self._store, census, self._keys)
        live = marker.live_backups()
        self.report.live_backups = len(live)
        self._progress(f"comparing what {len(live)} backups need with what is there")
        plan = Planner(self._store, census, marker).run(live)
        self._tell_plan(census, plan)
        if self._is_too_much(plan) or self._rules.dry_run:
            return
        if now() - began > self._rules.longest_run:
            raise overtaken("it took longer than a tomb may be trusted")
        self._delete(census, plan, dead, broken)

    def _tell_broken(self, broken: Broken) -> None:
        self.report.broken_sessions = len(broken.sessions)
        self.report.broken_readers = broken.readers
        self.report.kept_dead_sessions = broken.kept

    def _tell_plan(self, census: Census, plan: Plan) -> None:
        report = self.report
        report.delete_percent = round(plan.share_percent, 1)
        report.chunks_seen = plan.chunks_seen
        report.foreign_keys = census.foreign + plan.foreign
        for doomed in sorted(
            plan.doomed.values(), key=lambda d: (d.session.site, d.session.backup_id)
        ):
            report.complete = report.complete and not doomed.postponed
            report.freed_objects += doomed.objects
            report.freed_bytes += doomed.bytes
            report.sessions.append(
                FreedSession(
                    doomed.session.site,
                    doomed.session.backup_id,
                    doomed.why,
                    doomed.objects,
                    doomed.bytes,
                )
            )

    def _is_too_much(self, plan: Plan) -> bool:
        most = self._rules.max_delete_percent
        if self._rules.forced or plan.share_percent <= most:
            return False
        self.report.refusal = Refusal(
            "DeleteShareExceeded",
            f"{plan.chunks_doomed} of {plan.chunks_seen} chunks ({plan.share_percent:.1f} %) would be"
            f" deleted, more than {most} %. When that is right (most backups were deleted), raise"
            " spec.maintenance.maxDeletePercent, or run `cinderbank bank gc --force` once",
            retryable=False,
        )
        return True

    def _delete(self, census: Census, plan: Plan, dead: DeadSessions, broken: Broken) -> None:
        self._progress(f"deleting {self.report.freed_objects} objects")
        sweeper = Sweeper(self._store)
        freed_bytes = 0
        unclean = set()
        for doomed in plan.doomed.values():
            log.info(
                "collecting %d objects of session %s of site %s: %s",
                doomed.objects,
                doomed.session.backup_id,
                doomed.session.site,
                doomed.why,
            )
            if sweeper.delete(doomed.keys()) and not doomed.postponed:
                freed_bytes += doomed.bytes
            else:
                unclean.add(doomed.session)
        sweeper.delete(broken.stale_beats)
        sweeper.delete(self._stale_probes(dead))
        for key in to_bury(self._store, census, plan):
            if session_of(key) not in unclean:
                sweeper.bury(key)
        self._remove_tombs(census, plan, sweeper, began_at=dead)
        report = self.report
        report.freed_objects, report.freed_bytes = sweeper.deleted, freed_bytes
        report.refused_deletes = dict(sweeper.refused)
        report.refused_example = sweeper.example

    def _stale_probes(self, dead: DeadSessions) -> Iterator[str]:
        for site in state.sites(self._store):
            for row in self._store.list_keys(layout.probes_prefix(site)):
                token = row.key.removeprefix(layout.probes_prefix(site))
                if layout.is_reader(token) and dead.is_old(row.last_modified):
                    yield row.key

    def _remove_tombs(
        self, census: Census, plan: Plan, sweeper: Sweeper, began_at: DeadSessions
    ) -> None:
        """Tombs whose data has been gone for long; a VOID seal of the same session stays."""
        left = census.sessions | {session_of(key) for key in census.manifests} | census.pinned()
        left |= {session_of(key) for key in census.seals if state.is_sealed_ok(self._store, key)}
        for session, put_at in census.tombs.items():
            kept = session in left or session in plan.doomed or census.is_open(session)
            if kept or put_at is None or not began_at.is_older(put_at, self._rules.tombs_kept):
                continue
            if sweeper.delete([layout.tomb(session.site, session.backup_id)]):
                self.report.removed_tombs += 1


def to_bury(store: ObjectStore, census: Census, plan: Plan) -> Iterator[SealKey]:
    """G8: backups with a tomb of which something is left, and which nobody pins or has open."""
    pinned = census.pinned()
    known: dict[SessionRef, dict[SealKey, None]] = {}
    for key in (*census.parts, *census.manifests):
        known.setdefault(session_of(key), {})[key] = None
    for key in census.seals:
        if session_of(key) in census.tombs and state.is_sealed_ok(store, key):
            known.setdefault(session_of(key), {})[key] = None
    for session in census.tombs:
        if session in pinned or census.is_open(session):
            continue
        if session in known:
            yield from known[session]
        elif session in plan.doomed:
            tomb = state.read_tomb(store, session.site, session.backup_id)
            if tomb is not None:
                yield seal_key(session, tomb.volume_id)


def _as_if_broken(census: Census, broken: Broken) -> None:
    for session in broken.sessions:
        census.intents.pop((session.site, session.backup_id), None)
        census.tombs.setdefault(session, None)
