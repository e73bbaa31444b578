"""A backup as a qcow2 image: all tables first, then the data in the order of the volume.

Version 3, clusters of 1/64 chunk but at most 64 KiB, so that none holds more than its map says;
reference counts of 16 bits, nothing optional. The same allocation maps and chunks give the same bytes,
and how many is known before the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cinderbank.bank.geometry import ALLOCATION_BITS, Geometry
from cinderbank.domain import qcow2_size
from cinderbank.domain.errors import BrokenInvariant, Unsupported
from cinderbank.transfer.qcow2.header import MAGIC, V2, V3

_COPIED = 1 << 63
"""The reference count is 1: true of every cluster here."""
_REFCOUNT_ORDER = 4
_PIECE_CHUNKS = 1 << 12
_END_OF_EXTENSIONS = bytes(8)

Maps = npt.NDArray[np.uint64]


class Layout:
    """Where everything lies in the image of one backup. Memory: the maps (8 bytes a chunk), 16 bytes for
    each L2 table, and one table while it is sent.

    To send it: `metadata()`, then of each chunk in order the bytes of its `runs`, then `padding_bytes`
    zeros: `length_bytes` altogether.
    """

    def __init__(self, size_bytes: int, chunk_bytes: int, maps: Maps) -> None:
        """`maps` holds the allocation map of each chunk (bank.index.Entry.allocation), 0 for a hole.

        Raises DataCorrupt for a geometry that cannot be, Unsupported (SizeNotInSectors) for a size that
        qcow2 cannot say, BrokenInvariant when there is not one map for each chunk.
        """
        geometry = Geometry(size_bytes, chunk_bytes)
        if size_bytes % qcow2_size.SECTOR_BYTES:
            raise Unsupported(
                f"a volume of {size_bytes} bytes is not a whole number of sectors of 512 bytes, as a "
                "qcow2 image must be; use `transport: Raw`",
                reason="SizeNotInSectors",
            )
        if maps.shape != (geometry.chunk_count,) or maps.dtype != np.uint64:
            raise BrokenInvariant(
                f"{maps.shape} maps of {maps.dtype} for {geometry.chunk_count} chunks"
            )
        self._geometry = geometry
        self._maps = maps
        self.cluster_bytes = qcow2_size.cluster_bytes(chunk_bytes)
        self._chunk_clusters = chunk_bytes // self.cluster_bytes
        self._cluster_count = -(-size_bytes // self.cluster_bytes)
        self._entries = self.cluster_bytes // 8
        self._l1_entries = qcow2_size.tables_of(size_bytes, self.cluster_bytes)
        self._held = self._count()
        """Data clusters of each L2 table."""
        self._place()

    def _count(self) -> npt.NDArray[np.int64]:
        held = np.zeros(self._l1_entries, np.int64)
        for first in range(0, len(self._maps), _PIECE_CHUNKS):
            clusters = self._allocated(first, first + _PIECE_CHUNKS)
            offset = first * self._chunk_clusters
            tables = (offset + np.flatnonzero(clusters)) // self._entries
            low = offset // self._entries
            counts = np.bincount(tables - low)
            held[low : low + len(counts)] += counts
        return held

    def _place(self) -> None:
        cluster = self.cluster_bytes
        data, tables = int(self._held.sum()), int(np.count_nonzero(self._held))
        self._l1_clusters = -(-self._l1_entries * 8 // cluster)
        other = 1 + self._l1_clusters + tables + data
        self._refcount_table, self._refcount_blocks = qcow2_size.refcount_clusters(other, cluster)
        self._l1_offset = (1 + self._refcount_table + self._refcount_blocks) * cluster
        self._l2_offset = self._l1_offset + self._l1_clusters * cluster
        self._data_offset = self._l2_offset + tables * cluster
        self.length_bytes = self._data_offset + data * cluster
        """Of the whole image."""
        self.data_bytes = data * cluster
        """Of its clusters, the zeros at the end of the last one among them."""
        last = bool(self._allocated(len(self._maps) - 1, len(self._maps))[-1])
        self.padding_bytes = -self._geometry.size_bytes % cluster if last else 0
        """Zeros behind the last run: the last cluster is whole, the volume may not be."""

    def _allocated(self, first: int, last: int) -> npt.NDArray[np.bool_]:
        """For each cluster of these chunks whether it is in the image; none is behind the volume."""
        maps = self._maps[first:last].astype("<u8")
        bits = np.unpackbits(maps.view(np.uint8), bitorder="little").reshape(len(maps), -1)
        count = self._chunk_clusters
        clusters: npt.NDArray[np.uint8]
        if count <= ALLOCATION_BITS:
            clusters = bits.reshape(len(maps) * count, -1).max(axis=1)
        else:
            clusters = np.repeat(bits.reshape(-1), count // ALLOCATION_BITS)
        there: npt.NDArray[np.bool_] = clusters[: self._cluster_count - first * count] != 0
        return there

    def runs(self, index: int) -> Sequence[tuple[int, int]]:
        """First byte and the one after the last, within the chunk, of what is sent of it, ascending.
        A short last chunk's end at its length."""
        clusters = self._allocated(index, index + 1)
        edges = np.flatnonzero(np.diff(np.pad(clusters, 1).astype(np.int8))) * self.cluster_bytes
        length = self._geometry.chunk_length(index)
        bounds = np.minimum(edges, length).tolist()
        return list(zip(bounds[::2], bounds[1::2], strict=True))

    def metadata(self) -> Iterator[bytes]:
        """Everything before the data, in pieces of whole clusters; the same at every call."""
        yield self._header()
        yield from self._refcounts()
        yield self._l1()
        yield from self._l2()

    def _header(self) -> bytes:
        cluster = self.cluster_bytes
        version2 = V2.pack(
            MAGIC, 3, 0, 0, cluster.bit_length() - 1, self._geometry.size_bytes, 0,
            self._l1_entries, self._l1_offset, cluster, self._refcount_table, 0, 0,
        )  # fmt: skip
        version3 = V3.pack(0, 0, 0, _REFCOUNT_ORDER, V2.size + V3.size)
        return (version2 + version3 + _END_OF_EXTENSIONS).ljust(cluster, b"\0")

    def _refcounts(self) -> Iterator[bytes]:
        cluster = self.cluster_bytes
        first = (1 + self._refcount_table) * cluster
        offsets = first + np.arange(self._refcount_blocks, dtype=np.int64) * cluster
        yield offsets.astype(">u8").tobytes().ljust(self._refcount_table * cluster, b"\0")
        counts = self.length_bytes // cluster
        in_block = cluster // qcow2_size.REFCOUNT_BYTES
        full = b"\0\1" * in_block
        for _ in range(counts // in_block):
            yield full
        if rest := counts % in_block:
            yield full[: rest * qcow2_size.REFCOUNT_BYTES].ljust(cluster, b"\0")

    def _l1(self) -> bytes:
        there = self._held != 0
        order = np.cumsum(there) - 1
        offsets = self._l2_offset + order * self.cluster_bytes
        entries = np.where(there, offsets.astype(np.uint64) | np.uint64(_COPIED), np.uint64(0))
        body = entries.astype(">u8").tobytes()
        return body.ljust(self._l1_clusters * self.cluster_bytes, b"\0")

    def _l2(self) -> Iterator[bytes]:
        host = self._data_offset
        chunks = self._entries // self._chunk_clusters
        for number in np.flatnonzero(self._held).tolist():
            there = self._allocated(number * chunks, (number + 1) * chunks)
            offsets = host + (np.cumsum(there) - 1) * self.cluster_bytes
            host += int(self._held[number]) * self.cluster_bytes
            entries = np.where(there, offsets.astype(np.uint64) | np.uint64(_COPIED), np.uint64(0))
            yield entries.astype(">u8").tobytes().ljust(self.cluster_bytes, b"\0")
