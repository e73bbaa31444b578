"""Extents become chunks and holes: each chunk once, in order, whatever the extents are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.bank.geometry import Geometry
from cinderbank.domain.errors import DataCorrupt
from cinderbank.transfer.chunking import Chunk, Holes, cut, raw_extents
from cinderbank.transfer.extent import Extent

STEP = 4096
TIB = 1 << 40


def put_together(pieces: list[Chunk | Holes], geometry: Geometry) -> bytes:
    """The volume; fails unless every chunk is told once and in order."""
    content, following = bytearray(), 0
    for piece in pieces:
        if isinstance(piece, Holes):
            assert (piece.first, piece.count >= 1) == (following, True)
            following += piece.count
        else:
            assert (piece.index, len(piece.plain)) == (
                following,
                geometry.chunk_length(piece.index),
            )
            content += bytes(following * STEP - len(content)) + bytes(piece.plain)
            following += 1
    assert following == geometry.chunk_count
    return bytes(content.ljust(geometry.size_bytes, b"\0"))


@st.composite
def sparse(draw: st.DrawFn) -> tuple[int, list[Extent]]:
    """A volume's size, and extents of it."""
    extents, at = [], 0
    for number, (gap, length) in enumerate(
        draw(st.lists(st.tuples(st.integers(0, 3 * STEP), st.integers(0, 2 * STEP)), max_size=8))
    ):
        extents.append(Extent(at + gap, bytes([number + 1]) * length))
        at += gap + length
    return at + draw(st.integers(0 if at else 1, 3 * STEP)), extents


@given(sparse())
def test_any_extents(volume: tuple[int, list[Extent]]) -> None:
    size, extents = volume
    expected = bytearray(size)
    for extent in extents:
        expected[extent.offset : extent.offset + len(extent.data)] = extent.data
    geometry = Geometry(size, STEP)
    assert put_together(list(cut(extents, geometry)), geometry) == bytes(expected)


def test_what_lies_in_one_extent_is_not_copied() -> None:
    data = bytes(range(256)) * 48
    pieces = list(cut([Extent(STEP, data)], Geometry(5 * STEP, STEP)))
    assert pieces[0] == Holes(0, 1)
    assert pieces[-1] == Holes(4, 1)
    views = [piece.plain for piece in pieces[1:-1] if isinstance(piece, Chunk)]
    assert len(views) == 3
    assert all(isinstance(view, memoryview) and view.obj is data for view in views)


def test_a_chunk_that_is_partly_covered_has_zeros_elsewhere_also_after_another_one() -> None:
    extents = [Extent(100, b"\xff" * 4000), Extent(5000, b"a"), Extent(8000, b"b")]
    geometry = Geometry(3 * STEP, STEP)
    content = put_together(list(cut(extents, geometry)), geometry)
    assert content.count(b"\0") == 3 * STEP - 4002
    assert (content[5000], content[8000]) == (ord("a"), ord("b"))


def test_a_hole_costs_one_step_however_long_it_is() -> None:
    geometry = Geometry(TIB)
    assert list(cut([], geometry)) == [Holes(0, 262_144)]
    pieces = list(cut([Extent(TIB - 1, b"x")], geometry))
    assert [type(piece) for piece in pieces] == [Holes, Chunk]


@pytest.mark.parametrize(
    "extents",
    [
        [Extent(0, b"ab"), Extent(1, b"c")],
        [Extent(STEP, b"a"), Extent(0, b"b")],
        [Extent(0, bytes(STEP)), Extent(STEP - 1, b"b")],
        [Extent(2 * STEP, b"a")],
        [Extent(STEP, bytes(STEP + 1))],
        [Extent(-1, b"a")],
    ],
)
def test_extents_that_overlap_go_back_or_lie_outside_are_refused(extents: list[Extent]) -> None:
    with pytest.raises(DataCorrupt):
        list(cut(extents, Geometry(2 * STEP, STEP)))


def test_a_raw_image_has_exactly_its_size() -> None:
    extents = list(raw_extents([b"abc", b"", b"de"], 5))
    assert [(each.offset, bytes(each.data)) for each in extents if each.data] == [
        (0, b"abc"),
        (3, b"de"),
    ]
    with pytest.raises(DataCorrupt, match="ended after 5 of 6"):
        list(raw_extents([b"abc", b"de"], 6))
    with pytest.raises(DataCorrupt, match="more bytes than the 4"):
        list(raw_extents([b"abc", b"de"], 4))
