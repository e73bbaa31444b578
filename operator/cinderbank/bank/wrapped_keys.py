"""What lies under `keys/`: data keys, each wrapped by one or more key-encryption keys (KEKs).

    keys/<data key>/<kek>    the data key as this KEK wraps it, and its commitment
    keys/retired/<kek>       this KEK was removed: it never wraps anything again

A key that was deleted is never written again (a late request could delete it a second time), so a KEK
that was removed does not come back: its mark of retirement is put before its wrapped keys go.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from cinderbank.bank import features, key_layout, layout
from cinderbank.bank.crypto import (
    KEY_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    DataKey,
    KeyEncryptionKey,
    same,
)
from cinderbank.bank.json_object import Fields
from cinderbank.bank.manifest import to_json
from cinderbank.bank.store import MAX_CONTROL_BYTES, ObjectStore
from cinderbank.domain.errors import DataCorrupt, InvalidSpec

KEY_NAME = "cinderbank-key"
RETIRED_NAME = "cinderbank-key-retired"
ALGORITHM = "AES-256-GCM"
MAX_KEY_FILE_BYTES = 4096
MAX_KEY_OBJECTS = 100_000


def parse_kek(content: bytes, where: str) -> KeyEncryptionKey:
    """A key out of a file or a Secret: 32 raw bytes, or base64 of them. `where` names it in messages.

    Raises InvalidSpec (BankKeyInvalid), also for 32 characters of text: a password is no key.
    """
    if len(content) == KEY_BYTES:
        secret = content
    else:
        try:
            secret = base64.b64decode(content.strip(), validate=True)
        except (binascii.Error, ValueError):
            secret = b""
    if len(secret) != KEY_BYTES:
        raise _invalid(where, "is neither 32 bytes nor base64 of 32 bytes")
    if len(set(secret)) < 8 or (secret.isascii() and secret.decode("ascii").isprintable()):
        raise _invalid(where, "was not drawn at random: a password or a pattern is no key")
    return KeyEncryptionKey(secret)


def encoded_kek(kek: KeyEncryptionKey) -> bytes:
    """What `parse_kek` reads: base64 and a line feed."""
    return base64.b64encode(kek.secret) + b"\n"


def _invalid(where: str, why: str) -> InvalidSpec:
    return InvalidSpec(
        f"{where} {why}; make one with `cinderbank bank key generate FILE`", reason="BankKeyInvalid"
    )


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """The body of `keys/<data key>/<kek>`."""

    bank_id: str
    data_key_id: str
    kek_id: str
    nonce: bytes
    wrapped: bytes
    commitment: bytes

    @classmethod
    def make(cls, data_key: DataKey, kek: KeyEncryptionKey) -> WrappedKey:
        data_key_id = data_key.id.hex()
        nonce, wrapped = kek.wrap(data_key, key_layout.wrapped_key(data_key_id, kek.id))
        return cls(data_key.bank_id, data_key_id, kek.id, nonce, wrapped, data_key.commitment())

    def dump(self) -> bytes:
        return to_json(
            {
                "bank_id": self.bank_id,
                "data_key": self.data_key_id,
                "key_encryption_key": self.kek_id,
                "algorithm": ALGORITHM,
                "nonce": self.nonce.hex(),
                "wrapped": self.wrapped.hex(),
                "commitment": self.commitment.hex(),
            },
            KEY_NAME,
        )

    @classmethod
    def parse(cls, body: bytes, where: str) -> WrappedKey:
        document = Fields.parse(body, where)
        features.check_stamp(document, KEY_NAME)
        if document.text("algorithm") != ALGORITHM:
            raise document.bad("algorithm", f"not {ALGORITHM}")
        return cls(
            document.checked("bank_id", layout.is_reader, "UUID"),
            document.checked("data_key", key_layout.is_data_key_id, "data key id"),
            document.checked("key_encryption_key", key_layout.is_kek_id, "kek id"),
            bytes.fromhex(document.hex("nonce", 2 * NONCE_BYTES)),
            bytes.fromhex(document.hex("wrapped", 2 * (KEY_BYTES + TAG_BYTES))),
            bytes.fromhex(document.hex("commitment", 64)),
        )


@dataclass(frozen=True, slots=True)
class KeyListing:
    """What is under `keys/`: which KEK wraps which data key. Ids only."""

    wrapped: dict[str, frozenset[str]]
    """KEK ids by data key id, the oldest data key first."""
    retired: frozenset[str]

    @property
    def kek_ids(self) -> frozenset[str]:
        return frozenset().union(*self.wrapped.values())


def list_keys(store: ObjectStore) -> KeyListing:
    """One LIST; foreign keys are passed over. DataCorrupt when there are absurdly many."""
    wrapped: dict[str, set[str]] = {}
    retired: set[str] = set()
    for number, row in enumerate(store.list_keys(key_layout.KEYS)):
        if number >= MAX_KEY_OBJECTS:
            raise DataCorrupt(f"{store.where()}: more than {MAX_KEY_OBJECTS} objects in keys/")
        if (pair := key_layout.parse_wrapped_key(row.key)) is not None:
            wrapped.setdefault(pair[0], set()).add(pair[1])
        elif (kek_id := key_layout.parse_retired_key(row.key)) is not None:
            retired.add(kek_id)
    return KeyListing({i: frozenset(wrapped[i]) for i in sorted(wrapped)}, frozenset(retired))


def unwrap(
    store: ObjectStore, bank_id: str, data_key_id: str, kek: KeyEncryptionKey
) -> DataKey | None:
    """The data key, commitment compared; None when this KEK does not wrap it. Raises DataCorrupt."""
    key = key_layout.wrapped_key(data_key_id, kek.id)
    body = store.get(key, MAX_CONTROL_BYTES)
    if body is None:
        return None
    found = WrappedKey.parse(body, key)
    if (found.bank_id, found.data_key_id, found.kek_id) != (bank_id, data_key_id, kek.id):
        raise DataCorrupt(f"{key}: is of another bank, data key or key-encryption key")
    secret = kek.unwrap(bank_id, key, found.nonce, found.wrapped)
    if secret is None:
        raise DataCorrupt(f"{key}: does not unwrap: it was changed, or was stored elsewhere")
    data_key = DataKey(bytes.fromhex(data_key_id), bank_id, secret)
    if not same(data_key.commitment(), found.commitment):
        raise DataCorrupt(f"{key}: the unwrapped key is not the one of its commitment")
    return data_key


def put_wrapped(store: ObjectStore, data_key: DataKey, kek: KeyEncryptionKey) -> None:
    """Store the data key wrapped by this KEK and read it back; idempotent. Raises DataCorrupt."""
    data_key_id = data_key.id.hex()
    if unwrap(store, data_key.bank_id, data_key_id, kek) is None:
        key = key_layout.wrapped_key(data_key_id, kek.id)
        store.put(key, WrappedKey.make(data_key, kek).dump(), if_absent=True)
    found = unwrap(store, data_key.bank_id, data_key_id, kek)
    if found is None or not same(found.secret, data_key.secret):
        raise DataCorrupt(f"data key {data_key_id} was stored for kek {kek.id} and is not there")


def named(kek_ids: Iterable[str]) -> str:
    """Ids for a message, a bounded number of them."""
    ids = sorted(kek_ids)
    return ", ".join(ids[:8]) + (", ..." if len(ids) > 8 else "") or "none"


def key_missing(store: ObjectStore, what: str) -> InvalidSpec:
    """For `what` that is encrypted when no key is configured: names the KEKs that open the bank."""
    return InvalidSpec(
        f"{what} is encrypted, and no key is configured; the bank at {store.where()} is opened by "
        f"key(s) {named(list_keys(store).kek_ids)}: name a Secret with one of them in the BackupBank's "
        "spec.encryption.keySecretRef, or its file in keyFiles of the bank file",
        reason="BankKeyMissing",
    )
