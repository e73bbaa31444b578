"""Proofs: what drills and checks of this site, and of others, have found out about backups.

    sites/<who looked>/proofs/<who wrote>/<backup id>/<found>-<YYYYMMDDhhmmss>

Everything is in the key, so that a listing tells all: one request for 1000. A site writes and deletes
its own ones only. Of those that say `whole` the newest counts; that a drill found a difference stays as
long as the backup does, or until the site that found it takes it back. What a proof is of may be gone: it
then says nothing.

Who drills with a cloud of his own gets what bytes he likes. So a difference counts where it was found and,
when the site that wrote the backup has found it, at every site.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime, timedelta
from itertools import islice

from cinderbank.bank import one_site, proof_keys, scrub, state
from cinderbank.bank.manifest import to_json
from cinderbank.bank.removal import BATCH_KEYS, delete_or_raise
from cinderbank.bank.store import ObjectStore
from cinderbank.domain.errors import CinderbankError, DataCorrupt
from cinderbank.domain.facts import BackupId
from cinderbank.domain.proofs import Backup, Found, Proof, Standing, standings

log = logging.getLogger(__name__)

PROOF_NAME = "cinderbank-proof"
MAX_PROOFS = 200_000
"""Of all sites: a bank of 100,000 backups, each looked at from two sites; 200 LISTs."""
MAX_PROOFS_OF_ONE = 1000
CLOCK_SKEW = timedelta(hours=1)
"""A proof is of the clock of who looked; one of the future says nothing until then."""


def all_proofs(store: ObjectStore, here: str, now: datetime) -> Iterator[Proof]:
    """What counts at the site `here`, about every backup, but nothing of the future. Raises DataCorrupt
    when there are more than MAX_PROOFS: that is not our doing."""
    count = 0
    for by in state.sites(store):
        for row in store.list_keys(proof_keys.proofs_prefix(by)):
            count += 1
            if count > MAX_PROOFS:
                raise DataCorrupt(
                    f"{store.where()}: more than {MAX_PROOFS} proofs, the last one of site {by}; what is"
                    f" below {proof_keys.proofs_prefix(by)} is not of ours alone: remove what is foreign"
                )
            proof = _read(row.key, now)
            if proof is not None and _counts(proof, by, here):
                yield proof


def _counts(proof: Proof, by: str, here: str) -> bool:
    return proof.found is not Found.DIFFERENT or by in (here, proof.site)


def known(
    store: ObjectStore, here: str, among: Set[Backup], now: datetime
) -> Mapping[Backup, Standing]:
    """With what checks found damaged. Raises what stopped a check's report from being read."""
    proofs = all_proofs(store, here, now)
    found = (proof for proof in proofs if (proof.site, proof.backup_id) in among)
    return standings(found, _damaged(store) & among)


def bad(store: ObjectStore, here: str, now: datetime) -> frozenset[Backup]:
    """Those that are damaged, or came back as something else. Raises as `known`."""
    different = (proof for proof in all_proofs(store, here, now) if proof.found is Found.DIFFERENT)
    return _damaged(store) | {(proof.site, proof.backup_id) for proof in different}


def _damaged(store: ObjectStore) -> frozenset[Backup]:
    found = scrub.known_damage(store).backups
    return frozenset((ref.site, ref.backup_id) for ref in found)


def is_different(
    store: ObjectStore, here: str, site: str, backup_id: BackupId, now: datetime
) -> bool:
    """Whether a drill that counts at the site `here` got other bytes back. One LIST, or two."""
    for by in {here, site}:
        rows = state.bounded(store, _differences(by, site, backup_id), MAX_PROOFS_OF_ONE)
        if any(_read(row.key, now) is not None for row in rows):
            return True
    return False


def forget_difference(store: ObjectStore, by: str, site: str, backup_id: BackupId) -> int:
    """Take back what drills of the site `by` found; how many marks there were. Idempotent. Raises
    Forbidden when the store keeps one."""
    count = 0
    while rows := [
        row.key for row in islice(store.list_keys(_differences(by, site, backup_id)), BATCH_KEYS)
    ]:
        delete_or_raise(store, rows)
        count += len(rows)
    return count


def _differences(by: str, site: str, backup_id: BackupId) -> str:
    return f"{proof_keys.proof_prefix(by, site, backup_id)}{Found.DIFFERENT}-"


def note(
    store: ObjectStore, by: str, site: str, backup_id: BackupId, found: Found, now: datetime
) -> None:
    """Put ours, then take away what it replaces, as far as the store lets us: whoever can write to the
    bucket can put as many keys beside it as he likes. Idempotent."""
    proof = Proof(site, backup_id, found, now)
    _put(store, by, proof, ())
    if found is Found.DIFFERENT:
        return
    prefix = proof_keys.proof_prefix(by, site, backup_id)
    try:
        _tidy(
            store, by, proof, [row.key for row in state.bounded(store, prefix, MAX_PROOFS_OF_ONE)]
        )
    except CinderbankError as error:
        log.warning("old proofs of backup %s stay: %s", backup_id, error.message)


def note_drill(
    store: ObjectStore, by: str, site: str, backup_id: BackupId, is_whole: bool, now: datetime
) -> bool:
    """As `note`; False when the backup is gone. A difference is noted without a look: nothing that
    lies in the bank may stop it, and of a backup that is gone it says nothing."""
    if is_whole and one_site.committed(store, site, backup_id) is None:
        return False
    note(store, by, site, backup_id, Found.DRILL if is_whole else Found.DIFFERENT, now)
    return True


def forget(store: ObjectStore, by: str, site: str, backup_id: BackupId) -> None:
    """The backup is deleted."""
    prefix = proof_keys.proof_prefix(by, site, backup_id)
    rows = state.bounded(store, prefix, MAX_PROOFS_OF_ONE)
    _delete(store, [row.key for row in rows if proof_keys.parse_proof(row.key)])


class OwnProofs:
    """Those of our site, listed once: for who notes many. Some 200 bytes for each; NOT thread-safe."""

    def __init__(self, store: ObjectStore, by: str) -> None:
        self._store = store
        self._by = by
        self._known: dict[Backup, list[str]] = {}
        for number, row in enumerate(store.list_keys(proof_keys.proofs_prefix(by))):
            if number >= MAX_PROOFS:
                raise DataCorrupt(f"{store.where()}: more than {MAX_PROOFS} proofs of site {by}")
            if (read := proof_keys.parse_proof(row.key)) is not None:
                self._known.setdefault((read.site, read.backup_id), []).append(row.key)

    def note(self, site: str, backup_id: BackupId, found: Found, now: datetime) -> None:
        listed = self._known.get((site, backup_id), [])
        _put(self._store, self._by, Proof(site, backup_id, found, now), listed)

    def keep_only(self, backups: Iterable[Backup]) -> None:
        """Forget what is about backups that are gone."""
        kept = frozenset(backups)
        gone = [key for backup, keys in self._known.items() if backup not in kept for key in keys]
        for first in range(0, len(gone), BATCH_KEYS):
            _delete(self._store, gone[first : first + BATCH_KEYS])


def _put(store: ObjectStore, by: str, proof: Proof, listed: Iterable[str]) -> None:
    store.put(proof_keys.proof(by, proof), to_json({}, PROOF_NAME))
    if proof.found is not Found.DIFFERENT:
        _tidy(store, by, proof, listed)


def _tidy(store: ObjectStore, by: str, proof: Proof, listed: Iterable[str]) -> None:
    """Take away what this proof replaces: older ones of its kind."""
    ours = proof_keys.proof(by, proof)
    replaced = [
        key
        for key in listed
        if key != ours
        and (read := proof_keys.parse_proof(key)) is not None
        and read.found is proof.found
    ]
    _delete(store, replaced)


def _delete(store: ObjectStore, keys: Sequence[str]) -> None:
    """What a store keeps (an object lock) does no harm: of several proofs the newest counts."""
    if keys and (failures := store.delete_many(keys)):
        log.warning("%d old proofs stay: the store refused to delete them", len(failures))


def _read(key: str, now: datetime) -> Proof | None:
    read = proof_keys.parse_proof(key)
    return None if read is None or read.at > now + CLOCK_SKEW else read
