"""Adding and removing the key-encryption keys (KEKs) of a bank: work in the number of data keys, however
much is stored. Chunks are never written again.

    add      every data key is wrapped by one more KEK
    remove   mark of retirement, a new data key, then the wrapped keys of that KEK go
    rotate   add, then remove

A removed KEK opens nothing that is in the bank. Who copied the bank's `keys/` before and has the removed
KEK can still open what was encrypted until then, and nothing that comes after: hence the new data key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cinderbank.bank import key_layout
from cinderbank.bank.crypto import KEY_BYTES, KeyEncryptionKey
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.manifest import to_json
from cinderbank.bank.removal import delete_or_raise
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.wrapped_keys import (
    MAX_KEY_FILE_BYTES,
    RETIRED_NAME,
    KeyListing,
    encoded_kek,
    key_missing,
    list_keys,
    named,
    parse_kek,
)
from cinderbank.domain.errors import CinderbankError, Conflict, DataCorrupt, InvalidSpec


@dataclass(frozen=True, slots=True)
class DataKeyRow:
    """One data key of a bank, for people: ids only."""

    data_key_id: str
    made_at: datetime
    kek_ids: tuple[str, ...]
    current: bool
    opened: bool | None
    """Whether the keys that were given open it; None when none was given."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a bank is opened, for a status: ids only. `problems` do not stop it from working."""

    encrypted: bool
    kek_ids: tuple[str, ...]
    problems: tuple[str, ...] = ()


def opening(store: ObjectStore, keys: Keyring | None) -> Opening:
    """Prove that our keys open the bank's newest data key. Reads only.

    Raises InvalidSpec: BankKeyMissing when the bank is encrypted and `keys` is None, BankKeyWrong.
    """
    listing = list_keys(store)
    if keys is None:
        if listing.wrapped:
            raise key_missing(store, "this bank")
        return Opening(False, ())
    retired = {kek.id for kek in keys.keks} & listing.retired
    told = (f"key(s) {named(retired)} were removed from the bank; drop them here, too",)
    problems = told if retired else ()
    if not listing.wrapped:
        return Opening(True, tuple(sorted(kek.id for kek in keys.keks)), problems)
    keys.data_key(bytes.fromhex(max(listing.wrapped)))
    return Opening(True, tuple(sorted(listing.kek_ids)), problems)


def rows(store: ObjectStore, keys: Keyring | None = None) -> list[DataKeyRow]:
    """All data keys, the oldest first. Reads only; needs no key."""
    listing = list_keys(store)
    newest = max(listing.wrapped, default="")
    found = []
    for data_key_id, kek_ids in listing.wrapped.items():
        made_at = datetime.fromtimestamp(int(data_key_id[:12], 16) / 1000, UTC)
        opened = None if keys is None else _opens(keys, data_key_id)
        found.append(
            DataKeyRow(data_key_id, made_at, tuple(sorted(kek_ids)), data_key_id == newest, opened)
        )
    return found


def _opens(keys: Keyring, data_key_id: str) -> bool:
    try:
        keys.data_key(bytes.fromhex(data_key_id))
    except CinderbankError:
        return False
    return True


def add(keys: Keyring, kek: KeyEncryptionKey) -> int:
    """Wrap all data keys by `kek`, too; how many there are. In a bank without any it begins the first.

    Idempotent. `keys` and `kek` must open all of them: InvalidSpec (BankKeyWrong) if not;
    BankKeyRetired when this KEK was removed before.
    """
    listing = list_keys(keys.store)
    if kek.id in listing.retired:
        raise InvalidSpec(
            f"key {kek.id} was removed from the bank at {keys.store.where()}, and a removed key never "
            "comes back; make a new one with `cinderbank bank key generate FILE`",
            reason="BankKeyRetired",
        )
    wider = Keyring(keys.store, keys.bank_id, _with(keys.keks, kek))
    if not listing.wrapped:
        wider.new_data_key(listing)
        return 1
    # Open all first: a bank of which the new key opens a part would look as if it opened all.
    for data_key_id in listing.wrapped:
        wider.data_key(bytes.fromhex(data_key_id))
    return len(wider.ensure_wrapped(listing))


def _with(
    keks: tuple[KeyEncryptionKey, ...], kek: KeyEncryptionKey
) -> tuple[KeyEncryptionKey, ...]:
    return keks if kek.id in {known.id for known in keks} else (*keks, kek)


def remove(keys: Keyring, kek_id: str) -> int:
    """Take away what this KEK wraps; how many wrapped keys went. Idempotent.

    `keys` must hold another KEK that opens each of those data keys, proven by opening: InvalidSpec
    (BankKeyInUse) if not, and none is lost. New backups are then encrypted under a new data key.
    Raises Conflict while somebody else wraps by it; call again.
    """
    others = Keyring(keys.store, keys.bank_id, [kek for kek in keys.keks if kek.id != kek_id])
    for data_key_id, kek_ids in _known(keys.store, kek_id).wrapped.items():
        if kek_id in kek_ids:
            _prove_openable(others, kek_id, data_key_id)
    mark = to_json({"key_encryption_key": kek_id}, RETIRED_NAME)
    keys.store.put(key_layout.retired_key(kek_id), mark)
    # After the mark: whoever wraps by this KEK from now on sees it, and takes it back.
    listing = list_keys(keys.store)
    held = [name for name, kek_ids in listing.wrapped.items() if kek_id in kek_ids]
    if held:
        others.new_data_key(listing)
    for data_key_id in held:
        _prove_openable(others, kek_id, data_key_id)
        delete_or_raise(keys.store, [key_layout.wrapped_key(data_key_id, kek_id)])
    if kek_id in list_keys(keys.store).kek_ids:
        raise Conflict(
            f"key {kek_id} wraps a data key again: somebody uses it; remove it once more"
        )
    return len(held)


def _prove_openable(others: Keyring, kek_id: str, data_key_id: str) -> None:
    try:
        # Not what is remembered: what lies in the bank must open.
        if others.opens_stored(data_key_id):
            return
    except DataCorrupt as error:
        raise InvalidSpec(_in_use(others, kek_id, data_key_id), reason="BankKeyInUse") from error
    raise InvalidSpec(_in_use(others, kek_id, data_key_id), reason="BankKeyInUse")


def _in_use(others: Keyring, kek_id: str, data_key_id: str) -> str:
    return (
        f"key {kek_id} was not removed from the bank at {others.store.where()}: no other key that was "
        f"given ({named(kek.id for kek in others.keks)}) opens data key {data_key_id}, and what is "
        "encrypted under it would be lost; give the file of another key, or add one first"
    )


def rotate(keys: Keyring, old_kek_id: str, new: KeyEncryptionKey) -> int:
    """`add` the new one, then `remove` the old one; how many data keys both opened. Idempotent.

    `keys` must open all data keys, by the old KEK or any other.
    """
    _known(keys.store, old_kek_id)
    count = add(keys, new)
    remove(Keyring(keys.store, keys.bank_id, _with(keys.keks, new)), old_kek_id)
    return count


def _known(store: ObjectStore, kek_id: str) -> KeyListing:
    listing = list_keys(store)
    if kek_id not in listing.kek_ids | listing.retired:
        raise InvalidSpec(
            f"no key {kek_id} is in the bank at {store.where()}; there are {named(listing.kek_ids)}",
            reason="BankKeyUnknown",
        )
    return listing


def generate(path: Path) -> KeyEncryptionKey:
    """Draw a key and write it to a new file that only its owner can read (0600), as base64.

    Raises InvalidSpec (BankKeyFile) when the file is there already, or can not be written.
    """
    kek = KeyEncryptionKey(os.urandom(KEY_BYTES))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encoded_kek(kek))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _file_error(path, "written", error) from error
    return kek


def read_key_file(path: Path) -> KeyEncryptionKey:
    """Raises InvalidSpec: BankKeyFile when it can not be read, BankKeyInvalid when it is no key."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise _file_error(path, "read", error) from error
    return parse_kek(content, f"key file {path}")


def _file_error(path: Path, verb: str, error: OSError) -> InvalidSpec:
    return InvalidSpec(
        f"key file {path} can not be {verb}: {error.strerror or type(error).__name__}",
        reason="BankKeyFile",
    )
