"""The index: one 64 byte entry for each chunk, in parts, so that memory never follows the volume.

Entry, little endian:

    offset size field
         0   32 hash of the plain chunk (the manifest names the algorithm); zeros for a hole
        32    8 allocation map: bit i is clear only when 1/64 number i of the chunk is all zeros
        40    4 chunk index: the entry's own position
        44    4 stored bytes of the chunk object (a hint: another attempt may differ)
        48    2 session: position in the manifest's `sessions`
        50    2 attempt of that session
        52    2 data key: position in the manifest's `data_keys`, 0 without encryption
        54    2 flags: bit 0 = hole (all zeros, no object; everything but the chunk index is zero)
        56    4 offset of the chunk in a pack object: 0
        60    4 reserved, 0
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cinderbank.bank.geometry import Geometry
from cinderbank.domain.errors import DataCorrupt, Unsupported

ENTRY = struct.Struct("<32sQIIHHHHII")
ENTRY_BYTES = ENTRY.size
FLAG_HOLE = 1

_NO_HASH = bytes(32)
_HOLES = np.dtype(
    {
        "names": ["index", "flags"],
        "formats": ["<u4", "<u2"],
        "offsets": [40, 54],
        "itemsize": ENTRY_BYTES,
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One chunk. `allocation` is 0 exactly when it is a hole."""

    index: int
    hash: bytes
    allocation: int
    stored_bytes: int
    session: int
    attempt: int

    @property
    def is_hole(self) -> bool:
        return self.allocation == 0


def hole(index: int) -> Entry:
    return Entry(index, _NO_HASH, 0, 0, 0, 0)


def pack_entry(entry: Entry) -> bytes:
    """The 64 bytes of an entry."""
    flags = FLAG_HOLE if entry.is_hole else 0
    return ENTRY.pack(
        entry.hash, entry.allocation, entry.index, entry.stored_bytes,
        entry.session, entry.attempt, 0, flags, 0, 0,
    )  # fmt: skip


def unpack_entry(
    body: bytes | bytearray | memoryview, offset: int, geometry: Geometry, sessions: int, where: str
) -> Entry:
    """One entry that may be of any chunk; checked, and raising, as `read_part` does."""
    fields = ENTRY.unpack_from(body, offset)
    index = fields[2]
    if index >= geometry.chunk_count:
        raise DataCorrupt(f"{where}: entry {index} is behind the end of the volume")
    return _entry(fields, geometry, index, sessions, where)


class PartBuilder:
    """The parts that are not complete yet; entries may come in any order. NOT thread-safe.

    Memory: one part (4 MiB with default geometry) for each part that still misses an entry, so at
    most one more than there are chunks in flight.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._open: dict[int, bytearray] = {}
        self._missing: dict[int, int] = {}
        self.parts_done = 0

    def add(self, entry: Entry) -> tuple[int, bytes] | None:
        """Take one entry, each exactly once; answers number and bytes of a part it completed."""
        part, position = divmod(entry.index, self._geometry.part_entries)
        start = position * ENTRY_BYTES
        self._opened(part)[start : start + ENTRY_BYTES] = pack_entry(entry)
        return self._given(part, 1)

    def add_holes(self, first: int, count: int) -> tuple[int, bytes] | None:
        """As `add`, for so many holes of ONE part from chunk `first` on."""
        part, position = divmod(first, self._geometry.part_entries)
        holes = np.frombuffer(self._opened(part), _HOLES)[position : position + count]
        holes["index"] = np.arange(first, first + count, dtype=np.uint32)
        holes["flags"] = FLAG_HOLE
        return self._given(part, count)

    def _opened(self, part: int) -> bytearray:
        if part not in self._open:
            length = self._geometry.part_length(part)
            self._open[part] = bytearray(length * ENTRY_BYTES)
            self._missing[part] = length
        return self._open[part]

    def _given(self, part: int, count: int) -> tuple[int, bytes] | None:
        self._missing[part] -= count
        if self._missing[part]:
            return None
        del self._missing[part]
        self.parts_done += 1
        return part, bytes(self._open.pop(part))


def read_part(
    body: bytes | bytearray | memoryview,
    geometry: Geometry,
    part: int,
    sessions: int,
    where: str,
) -> Iterator[Entry]:
    """The entries of one part whose hash was compared already, each one checked.

    `sessions` is how many the manifest names. Raises DataCorrupt, or Unsupported for flags and
    fields from the future.
    """
    length = geometry.part_length(part)
    if len(body) != length * ENTRY_BYTES:
        raise DataCorrupt(f"{where}: {len(body)} bytes, expected {length} entries of {ENTRY_BYTES}")
    first = part * geometry.part_entries
    for position, fields in enumerate(ENTRY.iter_unpack(body)):
        yield _entry(fields, geometry, first + position, sessions, where)


def _entry(
    fields: tuple[bytes, int, int, int, int, int, int, int, int, int],
    geometry: Geometry,
    expected_index: int,
    sessions: int,
    where: str,
) -> Entry:
    hash_, allocation, index, stored, session, attempt, data_key, flags, pack, reserved = fields
    if index != expected_index:
        raise DataCorrupt(f"{where}: entry {expected_index} says it is {index}")
    if flags & ~FLAG_HOLE or data_key or pack or reserved:
        raise Unsupported(
            f"{where}: entry {index} uses a feature that is not known; use a newer cinderbank"
        )
    if flags & FLAG_HOLE:
        if hash_ != _NO_HASH or allocation or stored or session or attempt:
            raise DataCorrupt(f"{where}: entry {index} is a hole and holds something")
        return hole(index)
    if not allocation or not attempt or session >= sessions:
        raise DataCorrupt(f"{where}: entry {index} has no data, no attempt or no such session")
    used = -(-geometry.chunk_length(index) // (geometry.chunk_bytes // 64))
    if allocation >> used:
        raise DataCorrupt(f"{where}: entry {index} claims data behind the end of the volume")
    return Entry(index, hash_, allocation, stored, session, attempt)
