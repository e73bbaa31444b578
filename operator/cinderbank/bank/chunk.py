"""The envelope of every binary object: a 40 byte header, then the payload.

    offset size field
         0    4 magic "OSBK"
         4    1 version, 1
         5    1 compression: 0 none, 1 one zstd frame that states its content size
         6    1 encryption: 0 none, 1 AES-256-GCM (its tag ends the payload)
         7    1 reserved, 0
         8   16 id of the data key; zeros without encryption
        24    4 plain length, little endian: bytes of the payload once decoded
        28   12 nonce, random; zeros without encryption
        40      payload: compressed, then encrypted

What is encrypted is bound to the header, the bank and the object's own key: an object that was moved to
another key, backup, site or bank does not open.

Decoding trusts nothing: the length that the caller expects bounds every allocation, and a zstd frame
that claims another content size is refused before it is decompressed.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Protocol

import zstandard
from blake3 import blake3

from cinderbank.bank.crypto import NONCE_BYTES, TAG_BYTES, DataKey
from cinderbank.bank.store import Buffer, joined
from cinderbank.domain.errors import DataCorrupt, InvalidSpec, Unsupported

MAGIC = b"OSBK"
VERSION = 1
COMPRESSION_NONE = 0
COMPRESSION_ZSTD = 1
ENCRYPTION_NONE = 0
ENCRYPTION_AES_256_GCM = 1

HEADER = struct.Struct("<4sBBBB16sI12s")
HEADER_BYTES = HEADER.size

MIN_CHUNK_BYTES = 4 * 1024
MAX_CHUNK_BYTES = 16 * 1024 * 1024
DEFAULT_CHUNK_BYTES = 4 * 1024 * 1024

ZSTD_LEVEL = 1
KEPT_PERCENT = 97
"""Compressed is kept only when it is at least 3 % smaller: a raw chunk costs no CPU at restore."""

SAMPLED_FROM_BYTES = 1 << 20
SAMPLES = 16
SAMPLE_BYTES = 4096

_NO_KEY = bytes(16)
_NO_NONCE = bytes(12)


def max_object_bytes(plain_bytes: int) -> int:
    """The largest envelope that may hold so many plain bytes; what is larger is not ours."""
    return HEADER_BYTES + plain_bytes + TAG_BYTES


def digest(plain: Buffer, hash_key: bytes | None = None) -> bytes:
    """BLAKE3-256 of the plain bytes; keyed when the backup is encrypted."""
    return blake3(plain).digest() if hash_key is None else blake3(plain, key=hash_key).digest()


def is_envelope(body: bytes) -> bool:
    """True for an object that says it is an envelope; nothing of it is checked."""
    return body.startswith(MAGIC)


class EnvelopeKeys(Protocol):
    """The keys of one encrypted backup; thread-safe."""

    @property
    def hash_key_id(self) -> str | None:
        """The data key that `hash_key` is derived from, as the manifest names it; chunks of two backups
        can be compared and shared only when it is the same."""
        ...

    @property
    def hash_key(self) -> bytes:
        """32 bytes: the key of the backup's chunk hashes."""
        ...

    @property
    def current(self) -> DataKey:
        """The data key that new objects are encrypted under."""
        ...

    def data_key(self, data_key_id: bytes) -> DataKey:
        """The data key of this id; InvalidSpec (BankKeyWrong) when none of our keys opens it."""
        ...


class Envelope:
    """Encoder and decoder with their zstd contexts; NOT thread-safe: one per worker.

    With `keys` it encrypts, and refuses what is not encrypted; without, it is the other way round.
    """

    def __init__(self, keys: EnvelopeKeys | None = None) -> None:
        self._keys = keys
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True)
        # 2^24 is MAX_CHUNK_BYTES: no frame of ours can want a larger window.
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK_BYTES)

    def digest(self, plain: Buffer) -> bytes:
        """The hash that index and manifest hold of these bytes: keyed in an encrypted backup."""
        return digest(plain, None if self._keys is None else self._keys.hash_key)

    def encode(self, plain: Buffer, key: str) -> bytes:
        """Header and payload of so many plain bytes (at most MAX_CHUNK_BYTES), to be stored at `key`
        and nowhere else; holds no reference to `plain` when it returns."""
        return joined(self.pieces(plain, key))

    def pieces(self, plain: Buffer, key: str) -> tuple[Buffer, ...]:
        """As `encode`, without a copy: one of the pieces may be `plain` itself, which MUST NOT change
        then until they are stored."""
        length = len(plain)
        compression, payload = self._compressed(plain)
        if self._keys is None:
            return _header(compression, length), payload
        return self._encrypted(self._keys.current, compression, length, payload, key)

    def _compressed(self, plain: Buffer) -> tuple[int, Buffer]:
        if not self._is_worth_compressing(plain):
            return COMPRESSION_NONE, plain
        payload = self._compressor.compress(plain)
        if len(payload) * 100 > len(plain) * KEPT_PERCENT:
            return COMPRESSION_NONE, plain
        return COMPRESSION_ZSTD, payload

    def _is_worth_compressing(self, plain: Buffer) -> bool:
        """Whether samples from all over it shrink; noise and what is compressed already do not, and is
        told at a hundredth of the cost."""
        length = len(plain)
        if length < SAMPLED_FROM_BYTES:
            return True
        view, step = memoryview(plain), length // SAMPLES
        sample = b"".join(view[at : at + SAMPLE_BYTES] for at in range(0, length, step))
        return len(self._compressor.compress(sample)) * 100 <= len(sample) * KEPT_PERCENT

    @staticmethod
    def _encrypted(
        data_key: DataKey, compression: int, length: int, payload: Buffer, key: str
    ) -> tuple[Buffer, ...]:
        # Never derived from the content: another zstd makes other bytes of the same plain text, and
        # two messages under one nonce open both.
        nonce = os.urandom(NONCE_BYTES)
        header = _header(compression, length, ENCRYPTION_AES_256_GCM, data_key.id, nonce)
        return header, data_key.encrypt(payload, header, nonce, key)

    def decode(self, body: bytes, plain_bytes: int, key: str) -> Buffer:
        """The plain bytes of the envelope at `key`, which MUST hold exactly `plain_bytes` of them.

        The caller still has to compare the hash. Raises DataCorrupt, Unsupported for a version or
        algorithm from the future, InvalidSpec (BankKeyMissing, BankKeyWrong) without the right key.
        """
        header = Header.parse(body, key)
        if header.plain_bytes != plain_bytes:
            raise DataCorrupt(
                f"{key}: header says {header.plain_bytes} plain bytes, expected {plain_bytes}"
            )
        return self._decode(header, body, key)

    def decode_upto(self, body: bytes, most_bytes: int, key: str) -> Buffer:
        """As `decode`, for an object whose plain length only its header tells."""
        header = Header.parse(body, key)
        if header.plain_bytes > most_bytes:
            raise DataCorrupt(
                f"{key}: header says {header.plain_bytes} plain bytes, more than {most_bytes}"
            )
        return self._decode(header, body, key)

    def _decode(self, header: Header, body: bytes, key: str) -> Buffer:
        payload: Buffer = memoryview(body)[HEADER_BYTES:]
        if header.encryption != ENCRYPTION_NONE:
            payload = self._decrypted(header, body[:HEADER_BYTES], payload, key)
        elif self._keys is not None:
            raise DataCorrupt(f"{key}: is not encrypted, and its backup is")
        if header.compression == COMPRESSION_ZSTD:
            return self._decompress(payload, header.plain_bytes, key)
        if len(payload) != header.plain_bytes:
            raise DataCorrupt(
                f"{key}: payload has {len(payload)} bytes, the header says {header.plain_bytes}"
            )
        return payload

    def _decrypted(self, header: Header, raw: bytes, payload: Buffer, key: str) -> bytes:
        if self._keys is None:
            raise InvalidSpec(
                f"{key} is encrypted (data key {header.data_key_id.hex()}), and no key is configured",
                reason="BankKeyMissing",
            )
        data_key = self._keys.data_key(header.data_key_id)
        plain = data_key.decrypt(payload, raw, header.nonce, key)
        if plain is None:
            raise DataCorrupt(f"{key}: does not decrypt: it was changed, or was stored elsewhere")
        return plain

    def _decompress(self, payload: Buffer, plain_bytes: int, key: str) -> bytes:
        try:
            claimed = zstandard.get_frame_parameters(payload).content_size
            # The decompressor allocates what the frame claims: compare first, never trust.
            if claimed != plain_bytes:
                raise DataCorrupt(f"{key}: zstd frame does not claim {plain_bytes} bytes")
            plain = self._decompressor.decompress(payload, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise DataCorrupt(f"{key}: zstd frame is damaged: {error}") from error
        if len(plain) != plain_bytes:
            raise DataCorrupt(f"{key}: zstd frame holds {len(plain)} bytes, not {plain_bytes}")
        return plain


def _header(
    compression: int,
    plain_bytes: int,
    encryption: int = ENCRYPTION_NONE,
    data_key_id: bytes = _NO_KEY,
    nonce: bytes = _NO_NONCE,
) -> bytes:
    return HEADER.pack(MAGIC, VERSION, compression, encryption, 0, data_key_id, plain_bytes, nonce)


@dataclass(frozen=True, slots=True)
class Header:
    """The first 40 bytes of an envelope, each field checked but the plain length."""

    compression: int
    encryption: int
    data_key_id: bytes
    plain_bytes: int
    nonce: bytes

    @classmethod
    def parse(cls, body: bytes, key: str) -> Header:
        """Raises DataCorrupt, or Unsupported for what comes from the future."""
        if len(body) < HEADER_BYTES:
            raise DataCorrupt(f"{key}: {len(body)} bytes are too few for a header")
        magic, version, compression, encryption, reserved, data_key, length, nonce = (
            HEADER.unpack_from(body)
        )
        if magic != MAGIC:
            raise DataCorrupt(f"{key}: magic is not OSBK")
        if version != VERSION:
            raise Unsupported(
                f"{key}: envelope version {version} is not known; use a newer cinderbank"
            )
        if encryption not in (ENCRYPTION_NONE, ENCRYPTION_AES_256_GCM) or compression not in (
            COMPRESSION_NONE,
            COMPRESSION_ZSTD,
        ):
            raise Unsupported(
                f"{key}: compression {compression} or encryption {encryption} is not known; "
                "use a newer cinderbank"
            )
        unset = data_key == _NO_KEY and nonce == _NO_NONCE
        if reserved or (encryption == ENCRYPTION_NONE and not unset):
            raise DataCorrupt(f"{key}: key id, nonce or reserved byte is set without encryption")
        return cls(compression, encryption, data_key, length, nonce)
