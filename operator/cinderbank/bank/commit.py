"""How a backup becomes one: intent, (chunks, index, manifest,) seal.

    W1 PUT the intent            before any chunk
    W3 PUT chunks                the transfer
    W4 PUT index parts, manifest the transfer
    W5 GET the intent            gone: somebody broke this session, never seal it
    W6 PUT the seal              create-only; then read back seal, manifest and "no tomb"
    W7 DELETE the intent

Whoever breaks a session puts its tomb before he deletes its intent, so an intent that is not there
may be created, but never again after that.
"""

from __future__ import annotations

from collections.abc import Callable

from cinderbank.bank import layout, state
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.manifest import MAX_MANIFEST_BYTES, object_digest
from cinderbank.bank.marks import SEAL_OK, BaseRef, Intent, Seal
from cinderbank.bank.removal import delete_or_raise
from cinderbank.bank.store import MAX_CONTROL_BYTES, ObjectStore
from cinderbank.domain.errors import DataCorrupt, SourceGone
from cinderbank.domain.facts import BackupId, VolumeId


def open_session(
    store: ObjectStore,
    site: str,
    backup_id: BackupId,
    volume_id: VolumeId,
    choose_bases: Callable[[], tuple[BaseRef, ...]] = tuple,
) -> None:
    """W1. Idempotent; SourceGone (SessionBroken) once the session was sealed, discarded or broken.

    `choose_bases` is asked only when there is no intent yet: what a session has pinned never changes.
    """
    if state.read_tomb(store, site, backup_id) or state.read_seal(store, site, backup_id):
        raise _broken(backup_id, "it was closed before")
    known = state.read_intent(store, site, backup_id)
    if known is None:
        intent = Intent(volume_id, choose_bases())
        key = layout.intent(site, backup_id)
        if store.put(key, intent.dump(), if_absent=True):
            return
        known = state.read_intent(store, site, backup_id)
    if known is None or known.volume_id != volume_id:
        raise _broken(backup_id, f"its intent is not of volume {volume_id}")


def seal(
    store: ObjectStore,
    site: str,
    backup_id: BackupId,
    volume_id: VolumeId,
    keys: Keyring | None = None,
) -> str:
    """W5 to W7; the manifest's digest. Idempotent. Raises SourceGone (SessionBroken), DataCorrupt
    (ManifestNotEncrypted when `keys` had encrypted it), InvalidSpec (BankKeyMissing, BankKeyWrong) when
    `keys` do not open the manifest."""
    read = state.read_manifest(store, site, volume_id, backup_id, keys)
    if read is None:
        raise _broken(backup_id, "its manifest is gone")
    manifest, digest = read
    encrypted = manifest.hash_key is not None
    name = layout.manifest(site, volume_id, backup_id)
    if problem := state.why_not_ours(name, keys, encrypted=encrypted):
        raise DataCorrupt(problem, reason="ManifestNotEncrypted")
    about = manifest.description
    wanted = Seal(
        SEAL_OK,
        digest,
        about.size_bytes,
        about.stored_bytes,
        manifest.zero_bytes,
        about.reused_bytes,
        about.base_id,
        encrypted=encrypted,
    )
    key = layout.seal(site, backup_id, volume_id)
    if _read_seal(store, key) is None:
        if state.read_intent(store, site, backup_id) is None:
            raise _broken(backup_id, "its intent is gone")
        # False may be our own first try, whose answer was lost: the read below decides.
        store.put(key, wanted.dump(), if_absent=True)
    _prove(store, site, backup_id, volume_id, wanted)
    delete_or_raise(store, [layout.intent(site, backup_id), layout.beat(site, backup_id)])
    return digest


def _prove(
    store: ObjectStore, site: str, backup_id: BackupId, volume_id: VolumeId, wanted: Seal
) -> None:
    key = layout.seal(site, backup_id, volume_id)
    found = _read_seal(store, key)
    if found is None:
        raise _broken(backup_id, "its seal is gone")
    if found.state != SEAL_OK:
        raise _broken(backup_id, "a collection has voided it")
    if not found.is_of(wanted):
        raise DataCorrupt(
            f"{key}: seals manifest {found.manifest_digest}, not {wanted.manifest_digest}"
        )
    name = layout.manifest(site, volume_id, backup_id)
    body = store.get(name, MAX_MANIFEST_BYTES)
    if body is None:
        raise _broken(backup_id, "its manifest is gone")
    if object_digest(body) != wanted.manifest_digest:
        # Only where the store ignores If-None-Match: another attempt's came since it was read.
        raise DataCorrupt(f"{name}: was overwritten while it was sealed; take a new backup")
    if state.read_tomb(store, site, backup_id) is not None:
        raise _broken(backup_id, "it was deleted meanwhile")


def _read_seal(store: ObjectStore, key: str) -> Seal | None:
    body = store.get(key, MAX_CONTROL_BYTES)
    return None if body is None else Seal.parse(body, key)


def _broken(backup_id: BackupId, why: str) -> SourceGone:
    return SourceGone(
        f"session {backup_id} of the bank is broken: {why}; take a new backup",
        reason="SessionBroken",
    )
