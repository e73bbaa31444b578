"""What a bank holds of one session: the look that the engine decides by. See `ports.bank.Bank.observe`."""

from __future__ import annotations

from dataclasses import replace

from cinderbank.bank import layout, state
from cinderbank.bank import manifest as manifests
from cinderbank.bank.chunk import is_envelope
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.state import Sealed
from cinderbank.bank.store import ObjectStore
from cinderbank.domain.errors import CinderbankError, DataCorrupt, InvalidSpec, Unsupported
from cinderbank.domain.facts import BackupId, BankFacts, VolumeId


def look(store: ObjectStore, site: str, backup_id: BackupId, keys: Keyring | None) -> BankFacts:
    """Raises what the store raises, and DataCorrupt for a mark that can not be read."""
    intent = state.read_intent(store, site, backup_id)
    sealed = state.read_seal(store, site, backup_id)
    tombed = state.read_tomb(store, site, backup_id) is not None
    if sealed is not None and sealed.is_ok:
        return _sealed(store, sealed, keys, intent=intent is not None, tombed=tombed)
    if intent is None or intent.volume_id is None:
        return BankFacts(intent=intent is not None, tombed=tombed)
    return _unsealed(store, site, backup_id, intent.volume_id, keys, tombed=tombed)


def _sealed(
    store: ObjectStore, sealed: Sealed, keys: Keyring | None, *, intent: bool, tombed: bool
) -> BankFacts:
    """Seals are not encrypted: who can put a manifest can put its seal as well."""
    key = layout.manifest(sealed.key.site, sealed.key.volume_id, sealed.key.backup_id)
    body = _manifest(store, key)
    is_sealed_one = (
        body is not None and manifests.object_digest(body) == sealed.seal.manifest_digest
    )
    facts = BankFacts(intent=intent, manifest=is_sealed_one, sealed=True, tombed=tombed)
    if body is not None and (why := _why_not_ours(body, key, keys)):
        return replace(facts, not_ours=why)
    try:
        if keys is not None:
            _require_whole(store, sealed, body, is_sealed_one, keys)
    except DataCorrupt as error:
        return replace(facts, not_ours=error.message, not_ours_reason=error.reason)
    except (InvalidSpec, Unsupported) as error:
        # Of a key that is not here, or of a newer cinderbank: that proves nothing.
        facts = replace(facts, unreadable=error)
    return replace(
        facts,
        manifest_digest=sealed.seal.manifest_digest,
        size_bytes=sealed.seal.size_bytes,
        stored_bytes=sealed.seal.stored_bytes,
        zero_bytes=sealed.seal.zero_bytes,
        reused_bytes=sealed.seal.reused_bytes,
        base_id=sealed.seal.base_id,
    )


def _require_whole(
    store: ObjectStore, sealed: Sealed, body: bytes | None, is_sealed_one: bool, keys: Keyring
) -> None:
    """Raise DataCorrupt when what was sealed is no backup that our keys made, InvalidSpec (BankKeyMissing,
    BankKeyWrong) or Unsupported when nobody can say here."""
    about = sealed.key
    if body is None or not is_sealed_one:
        there = "no manifest" if body is None else "another manifest"
        raise DataCorrupt(
            f"backup {about.backup_id} of site {about.site} is sealed, and {there} lies there"
        )
    state.parse_own_manifest(store, body, about.site, about.volume_id, about.backup_id, keys)


def _unsealed(
    store: ObjectStore,
    site: str,
    backup_id: BackupId,
    volume_id: VolumeId,
    keys: Keyring | None,
    *,
    tombed: bool,
) -> BankFacts:
    key = layout.manifest(site, volume_id, backup_id)
    body = _manifest(store, key)
    if body is None:
        return BankFacts(intent=True, tombed=tombed)
    if why := _why_not_ours(body, key, keys):
        return BankFacts(intent=True, manifest=True, tombed=tombed, not_ours=why)
    digest = manifests.object_digest(body)
    try:
        about = state.parse_manifest(store, body, key, keys).description
    except CinderbankError:
        # `seal` refuses it and says why; looking must not, or it could never be discarded.
        return BankFacts(intent=True, manifest=True, tombed=tombed, manifest_digest=digest)
    return BankFacts(
        intent=True,
        manifest=True,
        tombed=tombed,
        manifest_digest=digest,
        size_bytes=about.size_bytes,
        stored_bytes=about.stored_bytes,
        reused_bytes=about.reused_bytes,
        base_id=about.base_id,
        content_format=about.content_format,
    )


def _manifest(store: ObjectStore, key: str) -> bytes | None:
    """Empty, which is no manifest of anybody, when it is larger than one may be."""
    try:
        return store.get(key, manifests.MAX_MANIFEST_BYTES)
    except DataCorrupt:
        # As above: a session that somebody spoils must still end.
        return b""


def _why_not_ours(manifest: bytes, key: str, keys: Keyring | None) -> str:
    return state.why_not_ours(key, keys, encrypted=is_envelope(manifest))
