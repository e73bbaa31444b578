"""The envelope: what goes in comes out, and nothing else ever does."""

from __future__ import annotations

import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.bank import chunk
from cinderbank.bank.chunk import HEADER_BYTES, Envelope
from cinderbank.domain.errors import CinderbankError, DataCorrupt, Unsupported

TEXT = b"all work and no play makes jack " * 32


@given(st.binary(min_size=1, max_size=5000), st.integers(1, 40))
def test_round_trip(piece: bytes, times: int) -> None:
    plain = piece * times
    envelope = Envelope()
    body = envelope.encode(plain, "k")
    assert bytes(envelope.decode(body, len(plain), "k")) == plain
    assert len(body) <= chunk.max_object_bytes(len(plain))


def test_compressed_only_when_it_is_worth_it() -> None:
    envelope = Envelope()
    assert envelope.encode(TEXT, "k")[5] == chunk.COMPRESSION_ZSTD
    noise = os.urandom(4096)
    body = envelope.encode(noise, "k")
    assert body[5] == chunk.COMPRESSION_NONE
    assert body[HEADER_BYTES:] == noise


def test_encodes_a_view_and_keeps_no_reference() -> None:
    buffer = bytearray(TEXT)
    with memoryview(buffer) as view:
        body = Envelope().encode(view, "k")
    buffer.clear()  # BufferError when anybody still looks at it
    assert bytes(Envelope().decode(body, len(TEXT), "k")) == TEXT


@pytest.mark.parametrize("plain", [TEXT, os.urandom(300)], ids=["zstd", "raw"])
def test_every_flipped_bit_is_detected_or_harmless(plain: bytes) -> None:
    envelope, body = Envelope(), Envelope().encode(plain, "k")
    wanted = chunk.digest(plain)
    for bit in range(len(body) * 8):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            decoded = envelope.decode(bytes(damaged), len(plain), "k")
        except CinderbankError:
            continue
        if bytes(decoded) != plain:
            assert chunk.digest(decoded) != wanted


@pytest.mark.parametrize("plain", [TEXT, os.urandom(300)], ids=["zstd", "raw"])
def test_every_truncation_and_any_addition_is_refused(plain: bytes) -> None:
    body = Envelope().encode(plain, "k")
    for end in range(len(body)):
        with pytest.raises(CinderbankError):
            Envelope().decode(body[:end], len(plain), "k")
    for more in (b"\0", b"x" * 100):
        with pytest.raises(DataCorrupt):
            Envelope().decode(body + more, len(plain), "k")


def _with_payload(payload: bytes, plain_bytes: int, compression: int = 1) -> bytes:
    return (
        chunk.HEADER.pack(b"OSBK", 1, compression, 0, 0, bytes(16), plain_bytes, bytes(12))
        + payload
    )


def test_a_bomb_is_refused_before_it_is_decompressed() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(64 << 20))
    with pytest.raises(DataCorrupt, match="does not claim"):
        Envelope().decode(_with_payload(bomb, 4096), 4096, "k")


def test_a_frame_without_its_size_is_refused() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(64 << 20))
    with pytest.raises(DataCorrupt, match="does not claim"):
        Envelope().decode(_with_payload(frame, 4096), 4096, "k")


def test_a_header_that_claims_a_gigabyte_is_refused() -> None:
    with pytest.raises(DataCorrupt, match="expected 4096"):
        Envelope().decode(_with_payload(b"", 1 << 30, 0), 4096, "k")


@pytest.mark.parametrize(("offset", "value"), [(4, 2), (5, 2), (6, 2)])
def test_what_comes_from_the_future_is_unsupported(offset: int, value: int) -> None:
    body = bytearray(Envelope().encode(TEXT, "k"))
    body[offset] = value
    with pytest.raises(Unsupported, match="newer cinderbank"):
        Envelope().decode(bytes(body), len(TEXT), "k")
