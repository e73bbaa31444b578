"""Checking backups: what is there, what is whole, and which bytes of which backup are lost.

Backups are looked at volume by volume, as only backups of one volume share chunks: each shared chunk
is looked at once, and what is known of it forgotten with its volume. Memory: some 300 bytes for each backup
of the bank, one bit for each chunk of one volume's backups, one index part, and the chunks in flight.

Damage is what a store lost or changed; that it can not be reached is an error of the check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import groupby

from cinderbank.bank import catalog, layout, scrub, state
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.check_backup import BackupCheck, Run, SharedChunks
from cinderbank.bank.check_plan import Level, Outcome, Plan, Tally, Verdict
from cinderbank.bank.chunk_listing import ChunkListing
from cinderbank.bank.manifest import SessionRef
from cinderbank.bank.proofs import OwnProofs
from cinderbank.bank.scrub import Damage
from cinderbank.bank.scrub_ledger import Ledger
from cinderbank.domain.errors import DataCorrupt, InvalidSpec, SourceGone, Unsupported
from cinderbank.domain.proofs import Found

PROVES = {Level.SAMPLE: Found.SAMPLE, Level.FULL: Found.FULL}
"""Levels that read what is stored; that it is there proves little."""


class Checker:
    """One run. `on_verdict` is told every backup, `on_progress` now and then; both on the caller's
    thread. `new_run` mints a ULID for each report that is written."""

    def __init__(
        self,
        bank: StoredBank,
        plan: Plan,
        *,
        on_verdict: Callable[[Verdict], None],
        on_progress: Callable[[Tally], None] = lambda tally: None,
        new_run: Callable[[], str],
        now: Callable[[], datetime],
    ) -> None:
        self._bank = bank
        self._store = bank.store
        self._plan = plan
        self._on_verdict = on_verdict
        self._on_progress = on_progress
        self._new_run = new_run
        self._now = now
        self._ledger = Ledger()
        self._proofs: OwnProofs | None = None
        self.tally = Tally()

    def run(self) -> Tally:
        """Look at everything that the plan names; writes reports of damage unless the bank is ReadOnly.

        Idempotent. Raises SourceGone (BackupNotFound) when the plan names a backup that is not there,
        and what the store raises: a check that could not look says nothing.
        """
        self._bank.open()
        self._ledger = Ledger.read(self._store)
        self.tally.unreadable_reports = tuple(self._ledger.unreadable)
        if self._plan.level in PROVES and not self._bank.read_only:
            # Before the backups are listed: what is not among them then is gone for sure.
            self._proofs = OwnProofs(self._store, self._bank.site)
        keys = self._keys()
        self.tally.backups_total = len(keys)
        # Volumes together, and in each the oldest first: bases come before what borrows from them.
        keys.sort(key=lambda key: (key.volume_id, key.backup_id))
        with ThreadPoolExecutor(self._plan.workers, thread_name_prefix="check") as pool:
            run = Run(self._bank, self._plan, pool, self._progress, self._ledger, self.tally)
            for _, backups in groupby(keys, key=lambda key: key.volume_id):
                self._volume(run, list(backups))
        if not self._bank.read_only:
            self._settle()
        if self._proofs is not None and self._plan.covers_all:
            self._proofs.keep_only((key.site, key.backup_id) for key in keys)
        self.tally.percent = 100.0
        self._on_progress(self.tally)
        return self.tally

    def _keys(self) -> list[layout.SealKey]:
        wanted = self._plan.backup_id
        if wanted is None:
            return list(catalog.sealed_keys(self._store, self._plan.wanted))
        found = [
            sealed.key
            for site in state.sites(self._store)
            if self._plan.wanted.site in (None, site)
            and (sealed := state.read_seal(self._store, site, wanted)) is not None
            and sealed.is_ok
            and state.read_tomb(self._store, site, wanted) is None
        ]
        if not found:
            raise SourceGone(
                f"the bank at {self._store.where()} holds no backup {wanted}",
                reason="BackupNotFound",
            )
        return found

    def _volume(self, run: Run, backups: Sequence[layout.SealKey]) -> None:
        shared, broken = SharedChunks(ChunkListing(self._store)), Damage()
        for key in backups:
            judged = self._judge(run, shared, key)
            if judged is None:
                continue
            verdict, damage, proves = judged
            if verdict.outcome is Outcome.DAMAGED:
                broken.backups[SessionRef(key.site, key.backup_id)] = key.volume_id
                broken.add_all(damage)
            elif verdict.outcome is Outcome.OK:
                self._ledger.is_whole(key)
                if self._proofs is not None and proves:
                    found = PROVES[self._plan.level]
                    self._proofs.note(key.site, key.backup_id, found, self._now())
            self._tell(verdict)
        fresh = self._ledger.found(broken)
        # At once, and not at the end: a check of a large bank takes days.
        if fresh and not self._bank.read_only:
            self._put_report(fresh)

    def _judge(
        self, run: Run, shared: SharedChunks, key: layout.SealKey
    ) -> tuple[Verdict, Damage, bool] | None:
        """With whether bytes of it were read. None when the backup was deleted meanwhile: then nothing
        of it has to be there."""
        damage, proves = Damage(), False
        try:
            looked = BackupCheck(run, shared, key)
            verdict, damage, proves = looked.look(), looked.damage, looked.proves
        except SourceGone:
            return None
        except DataCorrupt as error:
            verdict = _verdict(key, Outcome.DAMAGED, error.message)
        except (Unsupported, InvalidSpec) as error:
            verdict = _verdict(key, Outcome.UNCHECKED, error.message)
        if verdict.outcome is Outcome.DAMAGED and not self._is_still_there(key):
            return None
        return verdict, damage, proves

    def _is_still_there(self, key: layout.SealKey) -> bool:
        name = layout.seal(key.site, key.backup_id, key.volume_id)
        tomb = layout.tomb(key.site, key.backup_id)
        return self._store.head(tomb) is None and self._store.head(name) is not None

    def _tell(self, verdict: Verdict) -> None:
        match verdict.outcome:
            case Outcome.OK:
                self.tally.ok += 1
            case Outcome.DAMAGED:
                self.tally.damaged += 1
            case Outcome.UNCHECKED:
                self.tally.unchecked += 1
        self._on_verdict(verdict)
        self._progress(0.0)

    def _progress(self, part_of_backup: float) -> None:
        tally = self.tally
        done = tally.ok + tally.damaged + tally.unchecked + part_of_backup
        tally.percent = 100.0 * done / tally.backups_total if tally.backups_total else 100.0
        self._on_progress(tally)

    def _settle(self) -> None:
        looked_at_all = self._plan.covers_all and not self.tally.unchecked
        kept = self._ledger.settle(
            self._store,
            covers_all=looked_at_all and self._plan.level is not Level.MANIFEST,
            put=self._put_report,
        )
        self.tally.reports_kept = tuple(kept)

    def _put_report(self, damage: Damage) -> None:
        for piece in scrub.split(damage):
            key = layout.scrub(self._bank.site, self._new_run())
            report = scrub.Report(self._now(), self._plan.level, piece)
            self._store.put(key, report.dump(), if_absent=True)


def _verdict(key: layout.SealKey, outcome: Outcome, problem: str) -> Verdict:
    return Verdict(key.site, key.backup_id, key.volume_id, outcome, problem)
