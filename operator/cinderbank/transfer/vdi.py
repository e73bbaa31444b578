"""A VDI image as extents of the volume: Cinder makes it without compression, and its one table comes first.

The layout is QEMU's (block/vdi.c, which is what Cinder calls): a header of 512 bytes, a map of one number
for each MiB of the disk, then the MiBs that are not all zeros, in the order in which they were written.
docs/adr/0008-vdi-for-backups.md says why this format.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import DataCorrupt, Unsupported
from cinderbank.transfer.extent import Extent
from cinderbank.transfer.image_stream import BlockStream, RandomAccess

HEADER_BYTES = 512
BLOCK_BYTES = 1 << 20
SIGNATURE = 0xBEDA107F
VERSION = 0x0001_0001
UNALLOCATED, DISCARDED = 0xFFFF_FFFF, 0xFFFF_FFFE
"""Of the map: both read as zeros."""

HEADER = struct.Struct("<64sIIIII256sIIIIIIIQIIII16s16s16s16s")
_DYNAMIC, _STATIC = 1, 2
_NO_UUID = bytes(16)


def decode(
    blocks: Iterable[Buffer],
    image_bytes: int,
    size_bytes: int,
    reread: Callable[[], RandomAccess],
) -> Iterator[Extent]:
    """The extents of a volume of `size_bytes`, from an image of `image_bytes` whose bytes are `blocks`.

    As qcow2.decode.decode: ascending, never overlapping, zeros between; slices of the blocks; consumed to
    its end; `reread` at most once, when the MiBs do not lie in the order of the volume.

    Raises DataCorrupt (ImageSizeMismatch, ImageCorrupt), Unsupported (ImageUnsupported), and what `blocks`
    and `reread` raise. Memory: the map, 4 bytes for each MiB of the volume, some times over.
    """
    stream = BlockStream(blocks, image_bytes)
    header = _parse(stream.peek(min(HEADER_BYTES, image_bytes)), image_bytes, size_bytes)
    stream.skip_to(header.map_offset)
    numbers, offsets = _read_map(stream.peek(header.block_count * 4), header, image_bytes)
    if bool(np.all(offsets[1:] > offsets[:-1])):
        for number, offset in zip(numbers.tolist(), offsets.tolist(), strict=True):
            stream.skip_to(offset)
            yield from _within(_taken(stream, number), size_bytes)
        stream.drain()
        return
    stream.drain()
    image = reread()
    for number, offset in zip(numbers.tolist(), offsets.tolist(), strict=True):
        data = image.read_at(offset, BLOCK_BYTES)
        if len(data) != BLOCK_BYTES:
            raise _corrupt(f"{len(data)} bytes instead of {BLOCK_BYTES} were read at {offset}")
        yield from _within([Extent(number * BLOCK_BYTES, data)], size_bytes)


@dataclass(frozen=True, slots=True)
class _Header:
    map_offset: int
    data_offset: int
    block_count: int


def _parse(head: Buffer, image_bytes: int, size_bytes: int) -> _Header:
    """After this every number of it is bounded by the image's length and the volume's size."""
    if len(head) < HEADER.size:
        raise _corrupt("its header is cut off")
    fields = HEADER.unpack_from(head)
    _, signature, version, _, kind, _, _, map_offset, data_offset = fields[:9]
    _, _, _, sector_bytes, _, disk_bytes, block_bytes, extra_bytes, block_count, _ = fields[9:19]
    _, _, link, parent = fields[19:]
    if signature != SIGNATURE:
        raise _corrupt("it does not begin with a VDI header")
    if version != VERSION:
        raise _unsupported(f"version {version:#x}")
    if disk_bytes != size_bytes:
        raise DataCorrupt(
            f"the image unpacks to {disk_bytes} bytes, its volume has {size_bytes}. The volume probably "
            "holds a disk image (qcow2, vmdk, ...) as its content, and Cinder has unpacked it while it "
            "uploaded: the image is not the volume, and is not backed up",
            reason="ImageSizeMismatch",
        )
    if kind not in (_DYNAMIC, _STATIC):
        raise _unsupported(f"type {kind}")
    if link != _NO_UUID or parent != _NO_UUID:
        raise _unsupported("a parent image")
    if (block_bytes, extra_bytes, sector_bytes) != (BLOCK_BYTES, 0, 512):
        raise _unsupported(
            f"blocks of {block_bytes} and {extra_bytes} bytes, sectors of {sector_bytes}"
        )
    if block_count != -(-size_bytes // BLOCK_BYTES):
        raise _corrupt(f"it has {block_count} blocks for {size_bytes} bytes")
    if not HEADER_BYTES <= map_offset <= data_offset - block_count * 4 or data_offset > image_bytes:
        raise _corrupt(f"a map at {map_offset} and data from {data_offset} on can not be")
    return _Header(map_offset, data_offset, block_count)


Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]


def _read_map(table: Buffer, header: _Header, image_bytes: int) -> tuple[Numbers, Numbers]:
    """The blocks that have data, rising, and where in the image each lies; no two at one place."""
    entries = np.frombuffer(table, dtype="<u4").astype(np.int64)
    numbers = np.flatnonzero(entries < DISCARDED)
    places = entries[numbers]
    there = (image_bytes - header.data_offset) // BLOCK_BYTES
    if len(places) and (places.max() >= there or len(np.unique(places)) != len(places)):
        raise _corrupt("its map names a block twice, or one that is not there")
    return numbers, header.data_offset + places * BLOCK_BYTES


def _taken(stream: BlockStream, number: int) -> Iterator[Extent]:
    offset = number * BLOCK_BYTES
    for piece in stream.take(BLOCK_BYTES):
        yield Extent(offset, piece)
        offset += len(piece)


def _within(extents: Iterable[Extent], size_bytes: int) -> Iterator[Extent]:
    """The last block of a disk is whole in the image, also where the disk is not."""
    for offset, data in extents:
        kept = memoryview(data)[: max(0, size_bytes - offset)]
        if kept:
            yield Extent(offset, kept)


def _corrupt(message: str) -> DataCorrupt:
    return DataCorrupt(f"vdi: {message}; the image is damaged", reason="ImageCorrupt")


def _unsupported(feature: str) -> Unsupported:
    return Unsupported(
        f"vdi: the image has {feature}, which is not read; use `transport: Raw`",
        reason="ImageUnsupported",
    )
