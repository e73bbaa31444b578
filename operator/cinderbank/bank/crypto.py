"""The cryptography of a bank: data keys, key-encryption keys, and what each is used for. No I/O.

Every key is used for one thing only: what is used is derived with HKDF-Expand (RFC 5869, SHA-256) from
the key and a label, never the key itself.

    key-encryption key ── "key id"        its public id, 8 bytes
                       └─ "wrap"          AES-256-GCM over data keys
    data key           ── "commitment"    proves that an unwrapped key is the one that was wrapped
                       ├─ "chunk hash"    key of BLAKE3, one for a whole bank
                       └─ "object"        AES-256-GCM of one object: bank id and key are in the label

AES-GCM does not commit to its key (one ciphertext can be made that opens under two), so the commitment
is compared before a data key is used. A key for each object means that the bound of 2^32 messages under
one key with random nonces can not be reached, however many sites share a data key.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Buffer = bytes | bytearray | memoryview

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
DATA_KEY_ID_BYTES = 16
KEK_ID_BYTES = 8

_LABEL = b"cinderbank/1 "


def derive(key: bytes, purpose: str, length: int = KEY_BYTES) -> bytes:
    """HKDF-Expand-SHA256 of at most 32 bytes; `key` MUST be random, so that Extract is not needed."""
    return hmac.digest(key, _LABEL + purpose.encode("ascii") + b"\x01", "sha256")[:length]


@dataclass(frozen=True, slots=True)
class DataKey:
    """A key that objects are encrypted under, for one epoch of a bank. Thread-safe.

    `id` begins with 6 bytes of milliseconds since 1970, so ids sort by age; the rest is random.
    """

    id: bytes
    bank_id: str
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, bank_id: str, made_milliseconds: int) -> DataKey:
        stamp = made_milliseconds.to_bytes(6, "big")
        return cls(
            stamp + os.urandom(DATA_KEY_ID_BYTES - len(stamp)), bank_id, os.urandom(KEY_BYTES)
        )

    @property
    def made_seconds(self) -> float:
        """Seconds since 1970, by the clock of whoever made it; not for safety."""
        return int.from_bytes(self.id[:6], "big") / 1000

    def commitment(self) -> bytes:
        return derive(self.secret, f"commitment {self.bank_id} {self.id.hex()}")

    def hash_key(self) -> bytes:
        """The key of BLAKE3 for chunks whose manifest names this data key as `hash_key`."""
        return derive(self.secret, f"chunk hash {self.bank_id}")

    def encrypt(self, plain: Buffer, header: bytes, nonce: bytes, object_key: str) -> bytes:
        """Ciphertext and tag. `nonce` MUST be random; `object_key` is the object's key in the bank."""
        return self._cipher(object_key).encrypt(nonce, plain, self._aad(header, object_key))

    def decrypt(self, sealed: Buffer, header: bytes, nonce: bytes, object_key: str) -> bytes | None:
        """The plain bytes; None when anything differs: key, header, bank, object's key, any bit."""
        try:
            return self._cipher(object_key).decrypt(nonce, sealed, self._aad(header, object_key))
        except InvalidTag:
            return None

    def _cipher(self, object_key: str) -> AESGCM:
        return AESGCM(derive(self.secret, f"object {self.bank_id} {object_key}"))

    def _aad(self, header: bytes, object_key: str) -> bytes:
        return header + f"{self.bank_id} {object_key}".encode("ascii")


@dataclass(frozen=True, slots=True)
class KeyEncryptionKey:
    """A key that a human or a Secret holds; it wraps data keys and nothing else."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """16 hex digits; public, and says nothing of the key."""
        return derive(self.secret, "key id", KEK_ID_BYTES).hex()

    def wrap(self, data_key: DataKey, object_key: str) -> tuple[bytes, bytes]:
        """(nonce, wrapped): 12 and 48 bytes. `object_key` is where it will be stored."""
        nonce = os.urandom(NONCE_BYTES)
        aad = f"{data_key.bank_id} {object_key}".encode("ascii")
        return nonce, AESGCM(derive(self.secret, "wrap")).encrypt(nonce, data_key.secret, aad)

    def unwrap(self, bank_id: str, object_key: str, nonce: bytes, wrapped: bytes) -> bytes | None:
        """The data key's 32 bytes, or None when it is not what this key wrapped there."""
        aad = f"{bank_id} {object_key}".encode("ascii")
        try:
            secret = AESGCM(derive(self.secret, "wrap")).decrypt(nonce, wrapped, aad)
        except InvalidTag:
            return None
        return secret if len(secret) == KEY_BYTES else None


def same(one: bytes, other: bytes) -> bool:
    """Equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)
