"""How a session goes that never became a backup: a tomb first, which ends it for everybody; then its
objects, a bounded bit at a time. Nobody has borrowed from it: only sealed backups lend.

The order is tomb, intent, chunks, seal, manifest and index parts. The tomb stays: it holds the volume
id, so that the rest is found again after a crash, and it stops a writer that sleeps (W6 looks for it).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from cinderbank.bank import layout, state
from cinderbank.bank.marks import Tomb
from cinderbank.bank.store import ObjectStore
from cinderbank.domain.errors import BrokenInvariant, Forbidden
from cinderbank.domain.facts import BackupId, VolumeId

BATCH_KEYS = 1000
BATCHES_PER_CALL = 8


def delete_or_raise(store: ObjectStore, keys: Sequence[str]) -> None:
    """Delete up to 1000 keys; Forbidden when the store refused one (an object lock, a policy)."""
    failures = store.delete_many(keys) if keys else []
    if failures:
        raise Forbidden(
            f"the bank at {store.where()} refused to delete {len(failures)} of {len(keys)} objects "
            f"({failures[0].code}: {failures[0].key}); look for an object lock or a bucket policy",
            reason="BankAccessDenied",
        )


def discard(store: ObjectStore, site: str, backup_id: BackupId) -> bool:
    """Remove a session that never became a backup; see `ports.bank.Bank.discard`."""
    sealed = state.read_seal(store, site, backup_id)
    tomb = state.read_tomb(store, site, backup_id)
    if sealed is not None and sealed.is_ok and tomb is None:
        raise BrokenInvariant(f"backup {backup_id} is sealed; it can be deleted, not discarded")
    if tomb is None:
        intent = state.read_intent(store, site, backup_id)
        volume_id = intent.volume_id if intent else None
        if volume_id is None:
            # Nothing is stored before the intent is, and nobody breaks it without a tomb.
            return True
        tomb = Tomb(volume_id)
        store.put(layout.tomb(site, backup_id), tomb.dump())
    return _free(store, site, backup_id, tomb.volume_id)


def _free(store: ObjectStore, site: str, backup_id: BackupId, volume_id: VolumeId) -> bool:
    delete_or_raise(store, [layout.intent(site, backup_id), layout.beat(site, backup_id)])
    for prefix in (
        layout.journal_prefix(site, backup_id),
        layout.session_chunks_prefix(site, backup_id),
    ):
        if not _sweep(store, prefix):
            return False
    sealed = state.read_seal(store, site, backup_id)
    # A VOID seal stays for ever: without it a sleeping writer could still create its own.
    if sealed is not None and sealed.is_ok:
        delete_or_raise(store, [layout.seal(site, backup_id, volume_id)])
    return _sweep(store, layout.backup_prefix(site, volume_id, backup_id))


def _sweep(store: ObjectStore, prefix: str) -> bool:
    """Delete our own objects under a prefix; False when the bound was reached first."""
    keys = _own_keys(store, prefix)
    for _ in range(BATCHES_PER_CALL):
        batch = list(islice(keys, BATCH_KEYS))
        delete_or_raise(store, batch)
        if len(batch) < BATCH_KEYS:
            return True
    return False


def _own_keys(store: ObjectStore, prefix: str) -> Iterator[str]:
    for row in store.list_keys(prefix):
        if layout.is_session_object(prefix, row.key):
            yield row.key
