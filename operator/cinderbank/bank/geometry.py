"""How a volume is cut: chunks of one fixed size, index parts of a fixed number of entries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cinderbank.bank.chunk import DEFAULT_CHUNK_BYTES, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES
from cinderbank.bank.layout import MAX_CHUNK_INDEX
from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import DataCorrupt

DEFAULT_PART_ENTRIES = 65_536
MAX_PART_ENTRIES = 65_536
ALLOCATION_BITS = 64


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes in bytes; checked when it is made (DataCorrupt), because it also comes out of manifests."""

    size_bytes: int
    chunk_bytes: int = DEFAULT_CHUNK_BYTES
    part_entries: int = DEFAULT_PART_ENTRIES

    def __post_init__(self) -> None:
        chunk = self.chunk_bytes
        if not MIN_CHUNK_BYTES <= chunk <= MAX_CHUNK_BYTES or chunk & (chunk - 1):
            raise DataCorrupt(f"chunk size {chunk} is not a power of two in 4 KiB..16 MiB")
        if not 1 <= self.part_entries <= MAX_PART_ENTRIES:
            raise DataCorrupt(f"{self.part_entries} entries per index part are not 1..65536")
        if self.size_bytes < 1 or self.chunk_count > MAX_CHUNK_INDEX:
            raise DataCorrupt(f"size {self.size_bytes} does not fit chunks of {chunk} bytes")

    @property
    def chunk_count(self) -> int:
        return -(-self.size_bytes // self.chunk_bytes)

    @property
    def part_count(self) -> int:
        return -(-self.chunk_count // self.part_entries)

    def chunk_length(self, index: int) -> int:
        """Bytes of this chunk: only the last one may be short."""
        return min(self.chunk_bytes, self.size_bytes - index * self.chunk_bytes)

    def part_length(self, part: int) -> int:
        """Entries in this index part: only the last one may hold fewer."""
        return min(self.part_entries, self.chunk_count - part * self.part_entries)

    def byte_range(self, index: int) -> str:
        """The bytes of the volume that this chunk holds, for messages: `first-last`."""
        first = index * self.chunk_bytes
        return f"{first}-{first + self.chunk_length(index) - 1}"


def allocation_map(padded_chunk: Buffer) -> int:
    """One bit for each 1/64 of a chunk, bit 0 first: set where any byte is not zero.

    `padded_chunk` has the full chunk size (a short last chunk is padded with zeros). 0 says that the
    whole chunk is zero. One pass at memory speed; numpy does it without the GIL.
    """
    words = np.frombuffer(padded_chunk, np.uint64).reshape(ALLOCATION_BITS, -1)
    used = np.bitwise_or.reduce(words, axis=1) != 0
    return int.from_bytes(np.packbits(used, bitorder="little").tobytes(), "little")
