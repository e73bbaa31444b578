"""The index: entries in any order in, the same entries in order out; anything else is refused."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.bank import chunk
from cinderbank.bank.geometry import Geometry, allocation_map
from cinderbank.bank.index import ENTRY, Entry, PartBuilder, hole, read_part
from cinderbank.domain.errors import CinderbankError, DataCorrupt


def _entry(index: int) -> Entry:
    if index % 3 == 0:
        return hole(index)
    return Entry(index, chunk.digest(bytes([index % 256])), 1 << index % 64 | 1, 100 + index, 0, 1)


@given(st.integers(1, 40), st.integers(1, 7), st.randoms(use_true_random=False))
def test_round_trip_in_any_order(count: int, part_entries: int, rng: random.Random) -> None:
    geometry = Geometry(count * 4096, 4096, part_entries)
    entries = [_entry(index) for index in range(count)]
    builder, parts = PartBuilder(geometry), {}
    for entry in rng.sample(entries, count):
        done = builder.add(entry)
        if done is not None:
            parts[done[0]] = done[1]
    assert sorted(parts) == list(range(geometry.part_count))
    read = [
        entry
        for number in sorted(parts)
        for entry in read_part(parts[number], geometry, number, 1, "k")
    ]
    assert read == entries


def _one_part() -> tuple[Geometry, bytes]:
    geometry = Geometry(4 * 4096 - 100, 4096, 8)
    builder = PartBuilder(geometry)
    for index in range(4):
        done = builder.add(_entry(index) if index < 3 else Entry(3, bytes(32), 1, 9, 0, 1))
    assert done is not None
    return geometry, done[1]


def test_every_flipped_bit_changes_the_part_hash_and_raises_only_our_errors() -> None:
    geometry, body = _one_part()
    wanted = chunk.digest(body)
    for bit in range(len(body) * 8):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        assert chunk.digest(damaged) != wanted
        with contextlib.suppress(CinderbankError):
            list(read_part(damaged, geometry, 0, 1, "k"))


def test_truncated_or_longer_parts_are_refused() -> None:
    geometry, body = _one_part()
    for length in (*range(0, len(body), 7), len(body) + 64):
        with pytest.raises(DataCorrupt):
            list(read_part(body.ljust(length, b"\0")[:length], geometry, 0, 1, "k"))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ((bytes(32), 1, 7, 0, 0, 1, 0, 0, 0, 0), "says it is 7"),
        ((bytes(32), 1, 0, 0, 3, 1, 0, 0, 0, 0), "no such session"),
        ((bytes(32), 1, 0, 0, 0, 0, 0, 0, 0, 0), "no attempt"),
        ((bytes(32), 0, 0, 0, 0, 1, 0, 0, 0, 0), "no data"),
        ((bytes(32), 1, 0, 0, 0, 0, 0, 1, 0, 0), "hole and holds"),
        ((bytes(32), 1, 0, 0, 0, 1, 0, 4, 0, 0), "not known"),
        ((bytes(32), 1, 0, 0, 0, 1, 0, 0, 9, 0), "not known"),
        ((bytes(32), 1 << 63, 0, 0, 0, 1, 0, 0, 0, 0), "behind the end"),
    ],
)
def test_entries_that_can_not_be(fields: tuple[int, ...], text: str) -> None:
    with pytest.raises(CinderbankError, match=text):
        list(read_part(ENTRY.pack(*fields), Geometry(4000, 4096), 0, 1, "k"))


@given(st.sets(st.integers(0, 4095), max_size=20))
def test_allocation_map_says_where_data_is(used: set[int]) -> None:
    plain = bytearray(4096)
    for offset in used:
        plain[offset] = 255
    assert allocation_map(plain) == sum(1 << bit for bit in {offset // 64 for offset in used})


@pytest.mark.parametrize(
    ("size", "chunk_bytes", "part_entries"),
    [(0, 4096, 1), (1, 4095, 1), (1, 2048, 1), (1, 32 << 20, 1), (1, 4096, 0), (1, 4096, 65537),
     (1 << 62, 4096, 1)],
)  # fmt: skip
def test_geometries_that_can_not_be(size: int, chunk_bytes: int, part_entries: int) -> None:
    with pytest.raises(DataCorrupt):
        Geometry(size, chunk_bytes, part_entries)
