"""Which backups a bank holds: seals minus tombs, of all sites, streamed.

Seals and tombs are listed side by side in the order of their ids, which is time order: memory is one
page of each, whatever the size of the bank. Only the newest N cost memory (N entries), as S3 lists
from the oldest on.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cinderbank.bank import layout, state
from cinderbank.bank.marks import SEAL_OK, Seal
from cinderbank.bank.store import MAX_CONTROL_BYTES, Listed, ObjectStore
from cinderbank.domain.errors import CinderbankError, Retryable
from cinderbank.domain.facts import BackupId, VolumeId

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MILLISECOND = int((datetime.max.replace(tzinfo=UTC) - _EPOCH).total_seconds() * 1000) - 1


@dataclass(frozen=True, slots=True)
class Filter:
    """What to list; None is any. Times are those when the backup was begun, `until` not included."""

    site: str | None = None
    volume_id: VolumeId | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One backup. `problem` says why its seal can not be read; sizes are then None."""

    site: str
    backup_id: BackupId
    volume_id: VolumeId
    begun: datetime
    size_bytes: int | None = None
    stored_bytes: int | None = None
    problem: str | None = None


def begun_at(backup_id: str) -> datetime:
    """When this id was minted, to the millisecond: the first ten characters of a ULID."""
    milliseconds = 0
    for digit in backup_id[:10]:
        milliseconds = milliseconds * 32 + _CROCKFORD.index(digit)
    # A ULID reaches to the year 10889, Python to 9999.
    return _EPOCH + timedelta(milliseconds=min(milliseconds, _LAST_MILLISECOND))


def _id_prefix(moment: datetime) -> str:
    """The first ten characters of every ULID of this millisecond."""
    milliseconds = max(0, int((moment - _EPOCH) / timedelta(milliseconds=1)))
    return "".join(_CROCKFORD[(milliseconds >> shift) & 31] for shift in range(45, -1, -5))


def sealed_keys(store: ObjectStore, wanted: Filter = Filter()) -> Iterator[layout.SealKey]:
    """The keys of seals without a tomb, oldest first over all sites; costs LISTs only.

    VOID seals are among them: whether it is one stands in its body (`entry`).
    """
    sites = [wanted.site] if wanted.site is not None else list(state.sites(store))
    streams = [of_site(store, site, wanted) for site in sites]
    return heapq.merge(*streams, key=lambda key: key.backup_id)


class Lister(Protocol):
    """What of an object store a listing needs."""

    def list_keys(
        self, prefix: str, delimiter: str = "", start_after: str = ""
    ) -> Iterator[Listed]: ...


def of_site(
    store: Lister, site: str, wanted: Filter, on_foreign: Callable[[str], None] = lambda key: None
) -> Iterator[layout.SealKey]:
    """The same of one site. `on_foreign` is told each key that is no seal's."""
    prefix, start = layout.seals_prefix(site), ""
    first = "" if wanted.since is None else _id_prefix(wanted.since)
    end = None if wanted.until is None else _id_prefix(wanted.until)
    if first:
        # Just before the first id of that millisecond: "/" sorts before every digit.
        start = f"{prefix}{first}/"
    tombs = Tombs(store, site, first)
    for row in store.list_keys(prefix, start_after=start):
        key = layout.parse_seal(row.key)
        if key is None:
            on_foreign(row.key)
            continue
        if end is not None and key.backup_id >= end:
            return
        if wanted.volume_id is not None and key.volume_id != wanted.volume_id:
            continue
        if not tombs.has(key.backup_id):
            yield key


class Tombs:
    """The tombs of one site, asked for in ascending order."""

    def __init__(self, store: Lister, site: str, first: str = "") -> None:
        prefix = layout.tombs_prefix(site)
        rows = store.list_keys(prefix, start_after=f"{prefix}{first}/" if first else "")
        self._ids = (found for row in rows if (found := layout.parse_tomb(row.key)) is not None)
        self._at: str | None = ""

    def has(self, backup_id: str) -> bool:
        while self._at is not None and self._at < backup_id:
            self._at = next(self._ids, None)
        return self._at == backup_id


def entry(store: ObjectStore, key: layout.SealKey) -> CatalogEntry | None:
    """What the seal says; None when it is VOID or was deleted meanwhile. One GET.

    A seal that can not be read is an entry with a `problem`: it must not hide the others. Raises what
    the store raises when it is the store that fails.
    """
    begun = begun_at(key.backup_id)
    name = layout.seal(key.site, key.backup_id, key.volume_id)
    try:
        body = store.get(name, MAX_CONTROL_BYTES)
        if body is None:
            return None
        seal = Seal.parse(body, name)
    except CinderbankError as error:
        if isinstance(error, Retryable) or error.reason.startswith("BankAccess"):
            raise
        return CatalogEntry(*_ids(key), begun, problem=error.message)
    if seal.state != SEAL_OK:
        return None
    return CatalogEntry(*_ids(key), begun, seal.size_bytes, seal.stored_bytes)


def _ids(key: layout.SealKey) -> tuple[str, BackupId, VolumeId]:
    return key.site, key.backup_id, key.volume_id


def oldest_first(store: ObjectStore, wanted: Filter = Filter()) -> Iterator[CatalogEntry]:
    """All backups in the order of time; streams at constant memory, one GET for each."""
    for key in sealed_keys(store, wanted):
        found = entry(store, key)
        if found is not None:
            yield found


def newest_first(
    store: ObjectStore, limit: int, wanted: Filter = Filter()
) -> tuple[list[CatalogEntry], bool]:
    """The newest `limit` backups, newest first, and whether there may be older ones.

    Lists all keys (one LIST per 1000), keeps `limit` of them, and GETs only their seals.
    """
    keys = sealed_keys(store, wanted)
    newest = heapq.nlargest(limit + 1, keys, key=lambda key: key.backup_id)
    found = [each for key in newest[:limit] if (each := entry(store, key)) is not None]
    return found, len(newest) > limit
