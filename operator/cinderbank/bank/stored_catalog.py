"""`ports.catalog.CatalogBank`: the newest backups of a bank, read for people to choose from.

The bank's contents are other people's. So everything is bounded here: rows that are listed, bytes of a
manifest, reports of damage; and an id that claims to be of the future never crowds out the others.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Set
from datetime import datetime
from itertools import islice

from cinderbank.bank import proofs, scrub, state
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.catalog import (
    FUTURE,
    MAX_CATALOG_MANIFEST_BYTES,
    Filter,
    of_site,
    rank,
)
from cinderbank.bank.store import Listed, ObjectStore
from cinderbank.domain.catalog import PointKey
from cinderbank.domain.errors import CinderbankError, Retryable, Unsupported
from cinderbank.domain.facts import BackupId, VolumeId
from cinderbank.domain.proofs import Backup, Standing, standings
from cinderbank.ports.catalog import Choice, Described, Newest, Unreadable

MAX_ROWS = 200_000
"""Seals and tombs that one sync lists: some 200 requests, and as many seconds at worst."""
LIST_SECONDS = 30.0
"""For listing the bank and reading its reports: 200 LISTs of 150 ms."""


class StoredCatalog:
    """The catalogue's view of one bank, for one slice; writes nothing. What lists the bank must end
    within LIST_SECONDS after it began, else Unavailable (BankTooSlow) is raised."""

    def __init__(self, bank: StoredBank, max_rows: int = MAX_ROWS) -> None:
        self._bank = bank
        self._max_rows = max_rows
        self._timed: ObjectStore | None = None
        self._known: Mapping[Backup, Standing] | None = None

    def newest(self, choice: Choice, passed: Set[PointKey], now: datetime) -> Newest:
        self._bank.open()
        listing = _Listing(self._in_time(), self._max_rows)
        still_there: set[PointKey] = set()
        count = 0

        def candidates() -> Iterator[PointKey]:
            nonlocal count
            for key in listing.keys(choice):
                if key in passed:
                    still_there.add(key)
                else:
                    count += 1
                    yield key

        stream, limit = candidates(), now + FUTURE
        found = heapq.nlargest(choice.limit, stream, key=lambda key: rank(key, limit))
        for _ in stream:  # with a limit of 0 nothing was taken out of it
            pass
        return Newest(tuple(found), count, frozenset(still_there), listing.foreign_keys)

    def _in_time(self) -> ObjectStore:
        if self._timed is None:
            self._timed = self._bank.within(LIST_SECONDS)
        return self._timed

    def look(self, key: PointKey) -> Described | Unreadable | None:
        store = self._bank.store
        self._bank.open()
        try:
            sealed = state.read_seal_of(store, key.site, key.backup_id, key.volume_id)
            if sealed is None or not sealed.is_ok:
                return None
            manifest = state.sealed_manifest(
                store, sealed, self._bank.keys, MAX_CATALOG_MANIFEST_BYTES
            )
        except CinderbankError as error:
            # An outage, or a store that refuses us, says nothing about the backup.
            if isinstance(error, Retryable) or error.reason.startswith("BankAccess"):
                raise
            return Unreadable(error.reason, error.message)
        return Described(manifest.description, manifest.hash_key is not None)

    def damaged(self, among: Set[PointKey]) -> frozenset[PointKey]:
        found: set[PointKey] = set()
        for _, report in islice(scrub.read_reports(self._in_time()), scrub.MAX_CHOICE_REPORTS):
            if isinstance(report, CinderbankError):
                continue  # a BankCheck tells it
            for session, volume_id in report.damage.backups.items():
                found.add(PointKey(session.site, session.backup_id, volume_id))
            found &= among
        known = self._standings()
        return frozenset(found) | {key for key in among if known.get(_of(key), NOTHING).is_bad}

    def verified(self, among: Set[PointKey]) -> Mapping[PointKey, datetime]:
        known = self._standings()
        found = ((key, known.get(_of(key), NOTHING)) for key in among)
        return {key: each.verified_at for key, each in found if each.verified_at is not None}

    def _standings(self) -> Mapping[Backup, Standing]:
        """By proofs alone, listed once for a slice."""
        if self._known is None:
            # More than there can be stops the sync: without them a bad backup would look good.
            found = proofs.all_proofs(self._in_time(), self._bank.site, self._bank.now())
            self._known = standings(found, ())
        return self._known


NOTHING = Standing()


def _of(key: PointKey) -> Backup:
    return key.site, key.backup_id


class _Listing:
    """Seals without a tomb, site by site: memory is one page of each of two listings."""

    def __init__(self, store: ObjectStore, max_rows: int) -> None:
        self._store = store
        self._max_rows = max_rows
        self._rows = 0
        self.foreign_keys = 0

    def keys(self, choice: Choice) -> Iterator[PointKey]:
        for site in sorted(choice.sites) or state.sites(self._store):
            for key in of_site(self, site, Filter(site, since=choice.since), self._on_foreign):
                if not choice.volume_ids or key.volume_id in choice.volume_ids:
                    yield PointKey(key.site, BackupId(key.backup_id), VolumeId(key.volume_id))

    def list_keys(
        self, prefix: str, delimiter: str = "", start_after: str = ""
    ) -> Iterator[Listed]:
        for row in self._store.list_keys(prefix, delimiter, start_after):
            self._rows += 1
            if self._rows > self._max_rows:
                raise Unsupported(
                    f"the bank at {self._store.where()} has more than {self._max_rows} seals and tombs to"
                    " list; set spec.catalog.selector.maxAge or sites of the BackupBank",
                    reason="CatalogTooLarge",
                )
            yield row

    def _on_foreign(self, key: str) -> None:
        self.foreign_keys += 1
