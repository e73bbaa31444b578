"""How much a bank holds, of all sites and of one, at a cost that a look every few minutes may have.

LISTs of seals and tombs: one request for each 1000, at most MOST_SEALS seals. What a backup has stored
stands in its seal, whose content never changes: each seal is read once, at most SEALS_AT_ONCE of them in one
look and the newest first, and its size remembered (`SealSizes`); so the bytes of a bank with many backups
are known some looks after the first. The moment of a snapshot stands in the manifest: two more reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from cinderbank.bank import catalog, layout, state
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.layout import SealKey
from cinderbank.bank.store import Listed, ObjectStore
from cinderbank.domain.errors import CinderbankError, Retryable
from cinderbank.domain.facts import BackupCount

MOST_SEALS = 100_000
"""100 LISTs. A bank that has more is told to have so many, and no newest: S3 lists from the oldest on."""
SEALS_AT_ONCE = 1000


@dataclass(slots=True)
class SealSizes:
    """What is known of the seals of one bank: stored bytes, or None when it is no backup (VOID, not ours).

    Some 200 bytes for each; what is not listed any more is forgotten. One thread at a time.
    """

    known: dict[SealKey, int | None] = field(default_factory=dict)
    snapshots: dict[SealKey, datetime | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BankCounts:
    all_sites: BackupCount
    our_site: BackupCount
    foreign: int
    """Keys among the seals that are not ours; ignored."""


def count(
    store: ObjectStore, site: str, sizes: SealSizes, keys: Keyring | None = None
) -> BankCounts:
    """`site` is ours; `sizes` is what earlier looks learned, and learns more. Raises what the store raises."""
    listed, foreign, looked_at = _listed(store)
    _learn(store, sizes, listed)
    whole = looked_at < MOST_SEALS
    backups = [key for key in listed if sizes.known.get(key, 0) is not None]
    ours = [key for key in backups if key.site == site]
    newest = {_newest(backups), _newest(ours)} - {None} if whole else set()
    sizes.snapshots = {
        key: sizes.snapshots.get(key) or _snapshot_at(store, key, keys)
        for key in newest
        if key is not None
    }
    return BankCounts(_counted(backups, sizes, whole), _counted(ours, sizes, whole), foreign)


def _newest(backups: list[SealKey]) -> SealKey | None:
    return max(backups, key=lambda key: key.backup_id, default=None)


def _counted(backups: list[SealKey], sizes: SealSizes, whole: bool) -> BackupCount:
    newest = _newest(backups) if whole else None
    all_known = whole and all(key in sizes.known for key in backups)
    return BackupCount(
        backups=len(backups),
        stored_bytes=sum(sizes.known[key] or 0 for key in backups) if all_known else None,
        newest=None if newest is None else newest.backup_id,
        newest_snapshot_at=None if newest is None else sizes.snapshots.get(newest),
    )


def _listed(store: ObjectStore) -> tuple[list[SealKey], int, int]:
    """The keys of seals without a tomb, how many other keys lie among the seals, and how many keys were
    looked at: no more than MOST_SEALS."""
    listed: list[SealKey] = []
    foreign = looked_at = 0
    for tombs, row in islice(_rows(store), MOST_SEALS):
        looked_at += 1
        key = layout.parse_seal(row.key)
        if key is None:
            foreign += 1
        elif not tombs.has(key.backup_id):
            listed.append(key)
    return listed, foreign, looked_at


def _rows(store: ObjectStore) -> Iterator[tuple[catalog.Tombs, Listed]]:
    for site in state.sites(store):
        tombs = catalog.Tombs(store, site)
        for row in store.list_keys(layout.seals_prefix(site)):
            yield tombs, row


def _learn(store: ObjectStore, sizes: SealSizes, listed: list[SealKey]) -> None:
    sizes.known = {key: sizes.known[key] for key in listed if key in sizes.known}
    unknown = sorted(
        (key for key in listed if key not in sizes.known),
        key=lambda key: key.backup_id,
        reverse=True,
    )
    for key in unknown[:SEALS_AT_ONCE]:
        entry = catalog.entry(store, key)
        # One that can not be read is a backup that stored nothing we know of; a check tells of it.
        sizes.known[key] = None if entry is None else entry.stored_bytes or 0


def _snapshot_at(store: ObjectStore, key: SealKey, keys: Keyring | None) -> datetime | None:
    try:
        sealed = state.read_seal_of(store, key.site, key.backup_id, key.volume_id)
        if sealed is None or not sealed.is_ok:
            return None
        return state.sealed_manifest(store, sealed, keys).description.snapshot_at
    except CinderbankError as error:
        if isinstance(error, Retryable):
            raise
        return None
