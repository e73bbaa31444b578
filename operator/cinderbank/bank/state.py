"""Reading the objects that decide what a backup is; shared by commit, removal and search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cinderbank.bank import layout
from cinderbank.bank import manifest as manifests
from cinderbank.bank.chunk import is_envelope
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.manifest import Manifest
from cinderbank.bank.marks import SEAL_OK, Intent, Seal, Tomb
from cinderbank.bank.store import MAX_CONTROL_BYTES, Listed, ObjectStore
from cinderbank.bank.wrapped_keys import key_missing
from cinderbank.domain.errors import DataCorrupt, InvalidSpec, Unavailable
from cinderbank.domain.facts import BackupId, VolumeId

MAX_SITES = 4096
MAX_SEAL_KEYS = 1000
"""One is ours; others are foreign and passed over."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A seal and what its key says."""

    key: layout.SealKey
    seal: Seal

    @property
    def is_ok(self) -> bool:
        return self.seal.state == SEAL_OK


def read_intent(store: ObjectStore, site: str, backup_id: str) -> Intent | None:
    key = layout.intent(site, backup_id)
    body = store.get(key, MAX_CONTROL_BYTES)
    return None if body is None else Intent.parse(body, key)


def read_tomb(store: ObjectStore, site: str, backup_id: str) -> Tomb | None:
    key = layout.tomb(site, backup_id)
    body = store.get(key, MAX_CONTROL_BYTES)
    return None if body is None else Tomb.parse(body, key)


def read_seal(store: ObjectStore, site: str, backup_id: str) -> Sealed | None:
    """The seal of a backup whose volume is not known: one LIST, one GET."""
    found = [
        key
        for row in bounded(store, layout.seal_prefix(site, backup_id), MAX_SEAL_KEYS)
        if (key := layout.parse_seal(row.key)) is not None
    ]
    if not found:
        return None
    if len(found) > 1:
        raise DataCorrupt(f"backup {backup_id} of site {site} has {len(found)} seals")
    name = layout.seal(site, backup_id, found[0].volume_id)
    body = store.get(name, MAX_CONTROL_BYTES)
    # Deleted between LIST and GET: it is not sealed any more.
    return None if body is None else Sealed(found[0], Seal.parse(body, name))


def read_seal_of(
    store: ObjectStore, site: str, backup_id: BackupId, volume_id: VolumeId
) -> Sealed | None:
    """The seal of a backup whose volume is known: one GET."""
    name = layout.seal(site, backup_id, volume_id)
    body = store.get(name, MAX_CONTROL_BYTES)
    key = layout.SealKey(site, backup_id, volume_id)
    return None if body is None else Sealed(key, Seal.parse(body, name))


def is_sealed_ok(store: ObjectStore, key: layout.SealKey) -> bool:
    """Whether this backup has a seal that is not VOID; one GET."""
    found = read_seal_of(store, key.site, key.backup_id, key.volume_id)
    return found is not None and found.is_ok


def read_manifest(
    store: ObjectStore,
    site: str,
    volume_id: VolumeId,
    backup_id: BackupId,
    keys: Keyring | None = None,
    max_bytes: int = manifests.MAX_MANIFEST_BYTES,
) -> tuple[Manifest, str] | None:
    """The manifest and its digest; DataCorrupt when it is of another backup than its key says, or has
    more than `max_bytes`.

    `keys` open an encrypted one. Raises InvalidSpec (BankKeyMissing, BankKeyWrong).
    """
    key = layout.manifest(site, volume_id, backup_id)
    body = store.get(key, max_bytes)
    if body is None:
        return None
    manifest = parse_own_manifest(store, body, site, volume_id, backup_id, keys)
    return manifest, manifests.object_digest(body)


def bounded(store: ObjectStore, prefix: str, most: int, delimiter: str = "") -> Iterator[Listed]:
    """A listing of what is known to be few; Unavailable when it does not end (a hostile store never
    needs to), so that neither memory nor a thread is held by it."""
    for number, row in enumerate(store.list_keys(prefix, delimiter=delimiter)):
        if number >= most:
            raise Unavailable(
                f"the bank at {store.where()} lists more than {most} objects below {prefix}; remove what"
                " is not of the bank",
                reason="BankUnavailable",
            )
        yield row


def sealed_manifest(
    store: ObjectStore,
    sealed: Sealed,
    keys: Keyring | None,
    max_bytes: int = manifests.MAX_MANIFEST_BYTES,
) -> Manifest:
    """The manifest that a seal names. Raises DataCorrupt when it is missing or another one, InvalidSpec:
    BankKeyMissing, BankKeyWrong, BankPlainBackup when `keys` accept encrypted backups only."""
    site, volume_id, backup_id = sealed.key.site, sealed.key.volume_id, sealed.key.backup_id
    read = read_manifest(store, site, volume_id, backup_id, keys, max_bytes)
    if read is None:
        raise DataCorrupt(f"backup {backup_id} of site {site} is sealed and has no manifest")
    manifest, digest = read
    if digest != sealed.seal.manifest_digest:
        raise DataCorrupt(f"backup {backup_id} of site {site}: the manifest is not the sealed one")
    refuse_plain(manifest, keys)
    return manifest


def refuse_plain(manifest: Manifest, keys: Keyring | None) -> None:
    """Raise InvalidSpec (BankPlainBackup) for a plain one when `keys` accept encrypted backups only."""
    if keys is None or manifest.hash_key is not None or keys.accepts_plain:
        return
    about = manifest.description
    raise InvalidSpec(
        f"backup {about.backup_id} of site {about.site} is not encrypted, and this bank has a key. When it"
        " was made before the bank got its key, set spec.encryption.plainBackups: Readable of the"
        " BackupBank (plainBackups: true in a bank file); else somebody has put it there",
        reason="BankPlainBackup",
    )


def why_not_ours(key: str, keys: object | None, *, encrypted: bool) -> str:
    """Why the manifest at `key`, of a session of ours, can not be what we wrote; empty when it may be.

    With a key we write nothing plain, and who can write to the bucket without one writes nothing else.
    `accepts_plain` does not matter here: it is about what may be read.
    """
    if encrypted or keys is None:
        return ""
    return (
        f"{key} is not encrypted, and this bank has a key: it is not taken as this backup's. When the bank"
        " got its key while this backup ran, make a new one; else somebody who can write to the bucket has"
        " put it there"
    )


def parse_manifest(store: ObjectStore, body: bytes, key: str, keys: Keyring | None) -> Manifest:
    """The manifest that was read from `key`; see `read_manifest` for what is raised."""
    if keys is None and is_envelope(body):
        raise key_missing(store, key)
    return manifests.parse(body, key, None if keys is None else keys.reading())


def parse_own_manifest(
    store: ObjectStore,
    body: bytes,
    site: str,
    volume_id: VolumeId,
    backup_id: BackupId,
    keys: Keyring | None,
) -> Manifest:
    """As `parse_manifest`, of this backup; DataCorrupt when it says that it is another one's."""
    key = layout.manifest(site, volume_id, backup_id)
    manifest = parse_manifest(store, body, key, keys)
    about = manifest.description
    if (about.site, about.volume_id, about.backup_id) != (site, volume_id, backup_id):
        raise DataCorrupt(f"{key}: says it is backup {about.backup_id} of volume {about.volume_id}")
    return manifest


def sites(store: ObjectStore) -> Iterator[str]:
    """All sites that ever wrote; foreign names are passed over."""
    for row in bounded(store, layout.SITES, MAX_SITES, delimiter="/"):
        site = layout.parse_site_prefix(row.key) if row.is_prefix else None
        if site is not None:
            yield site
