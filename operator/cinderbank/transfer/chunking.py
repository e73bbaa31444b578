"""Extents of a volume, as its source tells them, cut into whole chunks and runs of holes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cinderbank.bank.geometry import Geometry
from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import DataCorrupt
from cinderbank.transfer.extent import Extent


@dataclass(frozen=True, slots=True)
class Chunk:
    """All bytes of a chunk; they may be zeros all the same."""

    index: int
    plain: Buffer


@dataclass(frozen=True, slots=True)
class Holes:
    """`count` chunks from `first` on of which no extent told a byte."""

    first: int
    count: int


def cut(extents: Iterable[Extent], geometry: Geometry) -> Iterator[Chunk | Holes]:
    """Every chunk of the volume exactly once, in order. Nothing is done for a hole, however long.

    A chunk that lies in one extent is a view of it; any other one is put together in memory that the
    kernel hands out as zeros, so what no extent covers is neither written nor resident. Raises
    DataCorrupt when extents overlap, go back, or reach behind the volume's end.
    """
    step, index, filled = geometry.chunk_bytes, 0, 0
    buffer: bytearray | None = None
    for extent in extents:
        offset, data = extent
        if offset < index * step + filled or offset + len(data) > geometry.size_bytes:
            raise DataCorrupt(
                f"{len(data)} bytes at {offset} do not follow {index * step + filled} in a volume of "
                f"{geometry.size_bytes} bytes"
            )
        rest = memoryview(data)
        while rest:
            number, start = divmod(offset, step)
            if buffer is not None and number > index:
                yield _put_together(buffer, index, geometry)
                buffer, index, filled = None, index + 1, 0
            if number > index:
                yield Holes(index, number - index)
                index = number
            length = geometry.chunk_length(index)
            piece = rest[: length - start]
            rest, offset = rest[len(piece) :], offset + len(piece)
            if len(piece) == length:
                yield Chunk(index, piece)
                index += 1
                continue
            if buffer is None:
                buffer = bytearray(step)
            # A slice of the bytearray itself would be assigned through a copy of `piece`.
            with memoryview(buffer) as view:
                view[start : start + len(piece)] = piece
            filled = start + len(piece)
            if filled == length:
                yield _put_together(buffer, index, geometry)
                buffer, index, filled = None, index + 1, 0
    if buffer is not None:
        yield _put_together(buffer, index, geometry)
        index += 1
    if index < geometry.chunk_count:
        yield Holes(index, geometry.chunk_count - index)


def _put_together(buffer: bytearray, index: int, geometry: Geometry) -> Chunk:
    return Chunk(index, memoryview(buffer)[: geometry.chunk_length(index)])


def raw_extents(blocks: Iterable[bytes], size_bytes: int) -> Iterator[Extent]:
    """A raw image's bytes, in order. DataCorrupt when there are fewer or more than `size_bytes`."""
    total = 0
    for block in blocks:
        if total + len(block) > size_bytes:
            raise DataCorrupt(f"the image has more bytes than the {size_bytes} that were announced")
        yield Extent(total, block)
        total += len(block)
    if total != size_bytes:
        raise DataCorrupt(f"the image ended after {total} of {size_bytes} bytes")
