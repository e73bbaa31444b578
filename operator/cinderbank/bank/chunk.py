"""The envelope of every binary object: a 40 byte header, then the payload.

    offset size field
         0    4 magic "OSBK"
         4    1 version, 1
         5    1 compression: 0 none, 1 one zstd frame that states its content size
         6    1 encryption: 0 none
         7    1 reserved, 0
         8   16 id of the data key; zeros without encryption
        24    4 plain length, little endian: bytes of the payload once decoded
        28   12 nonce; zeros without encryption
        40      payload

Decoding trusts nothing: the length that the caller expects bounds every allocation, and a zstd frame
that claims another content size is refused before it is decompressed.
"""

from __future__ import annotations

import struct

import zstandard
from blake3 import blake3

from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import DataCorrupt, Unsupported

MAGIC = b"OSBK"
VERSION = 1
COMPRESSION_NONE = 0
COMPRESSION_ZSTD = 1
ENCRYPTION_NONE = 0

HEADER = struct.Struct("<4sBBBB16sI12s")
HEADER_BYTES = HEADER.size

MIN_CHUNK_BYTES = 4 * 1024
MAX_CHUNK_BYTES = 16 * 1024 * 1024
DEFAULT_CHUNK_BYTES = 4 * 1024 * 1024

ZSTD_LEVEL = 1
KEPT_PERCENT = 97
"""Compressed is kept only when it is at least 3 % smaller: a raw chunk costs no CPU at restore."""

_NO_KEY = bytes(16)
_NO_NONCE = bytes(12)


def max_object_bytes(plain_bytes: int) -> int:
    """The largest envelope that may hold so many plain bytes; what is larger is not ours."""
    return HEADER_BYTES + plain_bytes


def digest(plain: Buffer) -> bytes:
    """BLAKE3-256, unkeyed, of the plain bytes."""
    return blake3(plain).digest()


class Envelope:
    """Encoder and decoder with their zstd contexts; NOT thread-safe: one per worker."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True)
        # 2^24 is MAX_CHUNK_BYTES: no frame of ours can want a larger window.
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK_BYTES)

    def encode(self, plain: Buffer) -> bytes:
        """Header and payload of so many plain bytes (at most MAX_CHUNK_BYTES); holds no reference
        to `plain` when it returns."""
        length = len(plain)
        packed = self._compressor.compress(plain)
        if len(packed) * 100 <= length * KEPT_PERCENT:
            return _header(COMPRESSION_ZSTD, length) + packed
        del packed
        return b"".join((_header(COMPRESSION_NONE, length), plain))

    def decode(self, body: bytes, plain_bytes: int, where: str) -> Buffer:
        """The plain bytes of an envelope that MUST hold exactly `plain_bytes` of them.

        The caller still has to compare the hash. Raises DataCorrupt, or Unsupported for a version
        or algorithm from the future; `where` names the object in the message.
        """
        compression = _checked_header(body, plain_bytes, where)
        payload = memoryview(body)[HEADER_BYTES:]
        if compression == COMPRESSION_NONE:
            if len(payload) != plain_bytes:
                raise DataCorrupt(
                    f"{where}: payload has {len(payload)} bytes, the header says {plain_bytes}"
                )
            return payload
        return self._decompress(payload, plain_bytes, where)

    def _decompress(self, payload: memoryview, plain_bytes: int, where: str) -> bytes:
        try:
            claimed = zstandard.get_frame_parameters(payload).content_size
            # The decompressor allocates what the frame claims: compare first, never trust.
            if claimed != plain_bytes:
                raise DataCorrupt(f"{where}: zstd frame does not claim {plain_bytes} bytes")
            plain = self._decompressor.decompress(payload, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise DataCorrupt(f"{where}: zstd frame is damaged: {error}") from error
        if len(plain) != plain_bytes:
            raise DataCorrupt(f"{where}: zstd frame holds {len(plain)} bytes, not {plain_bytes}")
        return plain


def _header(compression: int, plain_bytes: int) -> bytes:
    return HEADER.pack(
        MAGIC, VERSION, compression, ENCRYPTION_NONE, 0, _NO_KEY, plain_bytes, _NO_NONCE
    )


def _checked_header(body: bytes, plain_bytes: int, where: str) -> int:
    """The compression of a header in which everything else is as it must be."""
    if len(body) < HEADER_BYTES:
        raise DataCorrupt(f"{where}: {len(body)} bytes are too few for a header")
    magic, version, compression, encryption, reserved, key, length, nonce = HEADER.unpack_from(body)
    if magic != MAGIC:
        raise DataCorrupt(f"{where}: magic is not OSBK")
    if version != VERSION:
        raise Unsupported(
            f"{where}: envelope version {version} is not known; use a newer cinderbank"
        )
    if encryption != ENCRYPTION_NONE or compression not in (COMPRESSION_NONE, COMPRESSION_ZSTD):
        raise Unsupported(
            f"{where}: compression {compression} or encryption {encryption} is not known; "
            "use a newer cinderbank"
        )
    if reserved or key != _NO_KEY or nonce != _NO_NONCE:
        raise DataCorrupt(f"{where}: key id, nonce or reserved byte is set without encryption")
    if length != plain_bytes:
        raise DataCorrupt(f"{where}: header says {length} plain bytes, expected {plain_bytes}")
    return int(compression)
