"""What the encoder makes: exactly as long as it says, and the volume when it is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinderbank.bank.geometry import Geometry, allocation_map
from cinderbank.domain.errors import BrokenInvariant, DataCorrupt, Unsupported
from cinderbank.domain.qcow2_size import max_length_bytes, refcount_clusters
from cinderbank.transfer.qcow2.decode import decode
from cinderbank.transfer.qcow2.encode import Layout
from tests.fakes.qcow2_images import Rereads, cut, joined

GIB = 1 << 30
FULL = (1 << 64) - 1


def volume_of(size_bytes: int, random: Random) -> bytes:
    """Data of many lengths with zeros between."""
    volume, at = bytearray(size_bytes), 0
    while at < size_bytes:
        at += random.choice((0, 1, 511, 4096, 70_000, 300_000))
        length = random.choice((1, 100, 4096, 65536, 200_000))
        volume[at : at + length] = random.randbytes(max(0, min(length, size_bytes - at)))
        at += length
    return bytes(volume)


def chunks_of(volume: bytes, chunk_bytes: int) -> list[bytes]:
    return list(cut(volume, chunk_bytes))


def layout_of(volume: bytes, chunk_bytes: int) -> Layout:
    maps = [allocation_map(c.ljust(chunk_bytes, b"\0")) for c in chunks_of(volume, chunk_bytes)]
    return Layout(len(volume), chunk_bytes, np.array(maps, np.uint64))


def encoded(volume: bytes, chunk_bytes: int) -> Iterator[bytes]:
    layout = layout_of(volume, chunk_bytes)
    yield from layout.metadata()
    for index, chunk in enumerate(chunks_of(volume, chunk_bytes)):
        for start, stop in layout.runs(index):
            yield chunk[start:stop]
    yield bytes(layout.padding_bytes)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 1 << 32),
    st.integers(1, 1500).map(lambda sectors: sectors * 512),
    st.sampled_from([1 << bits for bits in range(12, 25)]),
    st.integers(1, 100_000),
)
def test_round_trip(seed: int, size_bytes: int, chunk_bytes: int, block_bytes: int) -> None:
    volume = volume_of(size_bytes, Random(seed))
    body = b"".join(encoded(volume, chunk_bytes))
    layout = layout_of(volume, chunk_bytes)
    assert len(body) == layout.length_bytes
    rereads = Rereads(body)
    blocks = cut(body, block_bytes)
    assert joined(decode(blocks, len(body), size_bytes, rereads), size_bytes) == volume
    assert rereads.count == 0, "one pass is enough for what we write"
    data = sum(len(c) for c in chunks_of(volume, chunk_bytes) if any(c))
    assert len(body) <= max_length_bytes(size_bytes, data, layout.cluster_bytes)


def test_the_same_maps_give_the_same_bytes() -> None:
    volume = volume_of(1 << 20, Random(1))
    assert b"".join(encoded(volume, 1 << 16)) == b"".join(encoded(volume, 1 << 16))


def sparse(size_bytes: int, chunk_bytes: int, held: dict[int, int]) -> Layout:
    maps = np.zeros(Geometry(size_bytes, chunk_bytes).chunk_count, np.uint64)
    for index, value in held.items():
        maps[index] = value
    return Layout(size_bytes, chunk_bytes, maps)


@pytest.mark.parametrize(
    ("chunk_bytes", "value", "runs"),
    [
        (4 << 20, 0, []),
        (4 << 20, 1, [(0, 65536)]),
        (4 << 20, 0b1011, [(0, 131072), (196608, 262144)]),
        (4 << 20, 1 << 63, [(63 << 16, 64 << 16)]),
        (4 << 20, FULL, [(0, 4 << 20)]),
        (16 << 20, 0b10, [(256 << 10, 512 << 10)]),
        (1 << 20, 1 << 5, [(65536, 131072)]),
        (64 << 10, 1 << 63, [(0, 65536)]),
        (4096, 1 << 63, [(0, 4096)]),
    ],
)
def test_runs_of_a_chunk(chunk_bytes: int, value: int, runs: list[tuple[int, int]]) -> None:
    """A cluster is there when any bit that overlaps it is set."""
    layout = sparse(GIB, chunk_bytes, {7: value})
    assert layout.runs(7) == runs
    assert layout.runs(6) == layout.runs(8) == []
    assert layout.data_bytes == sum(stop - start for start, stop in runs)


def test_the_end_of_a_volume_within_a_cluster() -> None:
    size = (1 << 20) + 512
    layout = sparse(size, 1 << 20, {1: 1})
    assert layout.runs(1) == [(0, 512)]
    assert layout.padding_bytes == 65536 - 512
    assert sparse(size, 1 << 20, {0: 1}).padding_bytes == 0


def test_bits_behind_the_end_are_no_clusters() -> None:
    layout = sparse((1 << 20) + 65536, 1 << 20, {1: FULL})
    assert layout.runs(1) == [(0, 65536)]
    assert layout.data_bytes == 65536


@pytest.mark.parametrize("gib", [1, 2, 100, 1024])
def test_a_full_volume_is_longer_than_itself_and_as_long_as_told(gib: int) -> None:
    size = gib * GIB
    maps = np.full(size // (4 << 20), FULL, np.uint64)
    layout = Layout(size, 4 << 20, maps)
    assert layout.data_bytes == size
    assert size < layout.length_bytes == max_length_bytes(size, size)
    assert layout.length_bytes - size < size // 4000 + (1 << 19)


def test_metadata_of_a_full_tebibyte_comes_piece_by_piece() -> None:
    size = 1 << 40
    layout = Layout(size, 4 << 20, np.full(size // (4 << 20), FULL, np.uint64))
    lengths = [len(piece) for piece in layout.metadata()]
    assert sum(lengths) == layout.length_bytes - layout.data_bytes
    assert max(lengths) <= 1 << 20


def test_an_empty_volume_is_header_and_tables_only() -> None:
    layout = sparse(GIB, 4 << 20, {})
    assert layout.length_bytes == 4 * 65536 == max_length_bytes(GIB, 0)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 1 << 45), st.integers(0, 1 << 46))
def test_the_bound_grows_with_the_data(size_bytes: int, data_bytes: int) -> None:
    bound = max_length_bytes(size_bytes, data_bytes)
    assert bound >= min(size_bytes, data_bytes)
    assert bound <= max_length_bytes(size_bytes, data_bytes + 65536)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 1 << 40), st.sampled_from([4096, 8192, 32768, 65536]))
def test_refcounts_count_themselves(others: int, cluster: int) -> None:
    table, blocks = refcount_clusters(others, cluster)
    assert blocks * cluster // 2 >= others + table + blocks
    assert table * cluster // 8 >= blocks
    assert (blocks - 1) * cluster // 2 < others + table + blocks


def test_what_cannot_be_an_image() -> None:
    with pytest.raises(Unsupported, match="transport: Raw") as raised:
        sparse(GIB + 1, 4 << 20, {})
    assert raised.value.reason == "SizeNotInSectors"
    with pytest.raises(BrokenInvariant):
        Layout(GIB, 4 << 20, np.zeros(255, np.uint64))
    with pytest.raises(BrokenInvariant):
        Layout(GIB, 4 << 20, np.zeros(256, np.int64))  # type: ignore[arg-type]
    with pytest.raises(DataCorrupt):
        Layout(GIB, 5000, np.zeros(1, np.uint64))
