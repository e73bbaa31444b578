"""How a sealed backup goes: a tomb, which ends it for everybody; then what only it has, if that is little.

Other backups may have borrowed its chunks, so what goes is found by a collection of this one session
(bank.collect has the whole protocol). It looks at the manifests of the backup's volume only: nobody
borrows from another volume. What would be much work, what somebody pins and what can not be judged
is left to the bank's maintenance: with its tomb it is no backup any more.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from cinderbank.bank import layout, state
from cinderbank.bank.census import CensusTaker, session_of
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.layout import SealKey
from cinderbank.bank.marking import LiveBackup, Marker
from cinderbank.bank.marks import Tomb
from cinderbank.bank.removal import delete_or_raise
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.store_clock import touch
from cinderbank.bank.sweep import BATCH_KEYS, Planner, Sweeper
from cinderbank.domain.errors import Conflict, DataCorrupt, InvalidSpec, Unsupported
from cinderbank.domain.facts import BackupId

log = logging.getLogger(__name__)

BATCHES_PER_CALL = 32
MOST_MANIFESTS = 512
MOST_INDEX_PARTS = 64
"""256 MiB of index; the operator's own process reads it."""
LONGEST_RUN = timedelta(hours=24)


def delete(store: ObjectStore, site: str, backup_id: BackupId, keys: Keyring | None = None) -> bool:
    """Tomb a sealed backup and free what is easily freed; see `ports.bank.Bank.delete`."""
    tomb = state.read_tomb(store, site, backup_id)
    if tomb is None:
        sealed = state.read_seal(store, site, backup_id)
        if sealed is None or not sealed.is_ok:
            return True
        tomb = Tomb(sealed.key.volume_id)
        store.put(layout.tomb(site, backup_id), tomb.dump())
    key = SealKey(site, backup_id, tomb.volume_id)
    # A sealed session's intent says nothing any more, and would keep its chunks.
    delete_or_raise(store, [layout.intent(site, backup_id), layout.beat(site, backup_id)])
    try:
        return _free(store, key, keys)
    except (Conflict, DataCorrupt, Unsupported, InvalidSpec) as error:
        log.info("backup %s is deleted, its space is left to maintenance: %s", backup_id, error)
        return True


def _free(store: ObjectStore, key: SealKey, keys: Keyring | None) -> bool:
    """G1 and G3 to G8 for one session. True when nothing is left that this call may free."""
    session = session_of(key)
    tomb = layout.tomb(key.site, key.backup_id), Tomb(key.volume_id).dump()
    began = touch(store, *tomb)
    taker = CensusTaker(store, key)
    taker.list_sessions()
    taker.list_the_rest()
    census = taker.census
    if session in census.pinned() or census.is_open(session):
        return True
    if len(census.manifests) > MOST_MANIFESTS:
        return True
    marker = Marker(store, census, keys)
    borrowers = [backup for backup in marker.live_backups(key) if session in backup.sessions]
    if _index_parts(borrowers) > MOST_INDEX_PARTS:
        return True
    planner = Planner(store, census, marker, BATCHES_PER_CALL * BATCH_KEYS, counts_all=False)
    doomed = planner.run(borrowers).doomed.get(session)
    # The same bound as for a whole collection: a tomb of somebody else may be forgotten meanwhile.
    if touch(store, *tomb) - began > LONGEST_RUN:
        return True
    sweeper = Sweeper(store)
    if doomed is not None and not sweeper.delete(doomed.keys()):
        return _told(sweeper)
    if doomed is not None and doomed.postponed:
        return False
    if doomed is not None or census.parts or key in census.manifests:
        sweeper.bury(key)
    return _told(sweeper)


def _index_parts(backups: list[LiveBackup]) -> int:
    return sum(len(backup.parts) for backup in backups)


def _told(sweeper: Sweeper) -> bool:
    """Always True: what the store keeps (an object lock) is tried again by maintenance, not by ticks."""
    if sweeper.refused:
        log.warning(
            "the store refused to delete %d objects (%s), such as %s; maintenance tries again",
            sum(sweeper.refused.values()),
            ", ".join(sorted(sweeper.refused)),
            sweeper.example,
        )
    return True
