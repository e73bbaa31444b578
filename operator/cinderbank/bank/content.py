"""What an index says of a volume as a whole: the hash of its content, and how much of it is data.

The content's hash is SHA-256 over the 32 byte hashes of all chunks in order, 32 zero bytes for a hole. It
costs what the index costs, not what the volume does, and is the same however the bytes travelled. Two
backups can be compared by it when they have the same chunk size and the same key of hashes.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from cinderbank.bank.geometry import ALLOCATION_BITS, Geometry
from cinderbank.bank.index import ENTRY_BYTES
from cinderbank.bank.store import Buffer

_COLUMNS = np.dtype(
    {
        "names": ["hash", "allocation"],
        "formats": ["V32", "<u8"],
        "offsets": [0, 32],
        "itemsize": ENTRY_BYTES,
    }
)


def allocation_column(part: Buffer) -> npt.NDArray[np.uint64]:
    """The allocation maps of a part's plain bytes, in order."""
    return np.frombuffer(part, _COLUMNS)["allocation"].astype(np.uint64)


class ContentSummary:
    """One pass over an index, part after part; NOT thread-safe."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._sha256 = hashlib.sha256()
        self._pieces = 0
        self._last_allocation = 0

    def add(self, part: Buffer) -> None:
        """The plain bytes of the next part, as the bank holds it (64 bytes for each entry)."""
        self._sha256.update(np.frombuffer(part, _COLUMNS)["hash"].tobytes())
        maps = allocation_column(part)
        self._pieces += int(np.bitwise_count(maps).sum())
        self._last_allocation = int(maps[-1])

    def content_hash(self) -> str:
        """64 hex digits."""
        return self._sha256.hexdigest()

    def data_bytes(self) -> int:
        """Bytes of the volume in 1/64 chunks that are not all zeros."""
        geometry = self._geometry
        piece = geometry.chunk_bytes // ALLOCATION_BITS
        # Only the last piece of the volume may be short.
        short = -geometry.chunk_length(geometry.chunk_count - 1) % piece
        last = (geometry.chunk_length(geometry.chunk_count - 1) - 1) // piece
        return self._pieces * piece - (short if self._last_allocation >> last & 1 else 0)
