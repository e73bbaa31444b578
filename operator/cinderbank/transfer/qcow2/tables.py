"""L1 and L2 tables: checked as a whole by numpy, and made into runs of neighbouring clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cinderbank.bank.store import Buffer
from cinderbank.transfer.qcow2.header import Header, corrupt

Numbers = npt.NDArray[np.int64]

GUEST, HOST, LENGTH, COMPRESSED = range(4)
"""Columns of a run: byte offset in the volume, byte offset in the image, bytes there, and whether they
are one compressed cluster. A run never leaves the volume or the image."""

NO_RUNS: Numbers = np.empty((0, 4), np.int64)

_OFFSET = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_ZERO = 1
_L1_RESERVED = 0x7F00_0000_0000_01FF
_L2_RESERVED = 0x3F00_0000_0000_01FE
_SECTOR = 512


class Claims:
    """Which clusters of the image something is in: nothing may lie where something else is.

    Two bits for each cluster of the image, so 4 MiB for 1 TiB in clusters of 64 KiB (half of it until
    the first compressed cluster).
    """

    def __init__(self, cluster_bytes: int, image_bytes: int) -> None:
        self._cluster_bytes = cluster_bytes
        self._map_bytes = image_bytes // cluster_bytes // 8 + 1
        self._whole = np.zeros(self._map_bytes, np.uint8)
        self._shared: npt.NDArray[np.uint8] | None = None

    def whole(self, offsets: Numbers, what: str) -> None:
        """One cluster at each of these aligned offsets; DataCorrupt when one is taken already."""
        place, bit = self._places(offsets)
        taken = self._whole[place] & bit
        if self._shared is not None:
            taken |= self._shared[place] & bit
        ordered = np.sort(offsets)
        if taken.any() or (ordered[1:] == ordered[:-1]).any():
            raise corrupt(f"{what} lies where something else lies")
        np.bitwise_or.at(self._whole, place, bit)

    def span(self, offset: int, length: int, what: str) -> None:
        """Whole clusters, as many as `length` bytes begin."""
        last = offset + length
        self.whole(np.arange(offset, last, self._cluster_bytes, dtype=np.int64), what)

    def shared(self, offsets: Numbers) -> None:
        """Clusters that hold compressed data, of any number of compressed clusters."""
        if self._shared is None:
            self._shared = np.zeros(self._map_bytes, np.uint8)
        place, bit = self._places(offsets)
        if (self._whole[place] & bit).any():
            raise corrupt("compressed data lies where something else lies")
        np.bitwise_or.at(self._shared, place, bit)

    def _places(self, offsets: Numbers) -> tuple[Numbers, npt.NDArray[np.uint8]]:
        number = offsets // self._cluster_bytes
        return number >> 3, np.left_shift(1, number & 7).astype(np.uint8)


def read_l1(body: Buffer, header: Header, image_bytes: int) -> Numbers:
    """Offset of each L2 table, 0 where there is none. Raises DataCorrupt (ImageCorrupt)."""
    entries = _entries(body)
    if (entries & np.uint64(_L1_RESERVED)).any():
        raise corrupt("reserved bits in its L1 table")
    offsets = (entries & np.uint64(_OFFSET)).astype(np.int64)
    if (offsets % header.cluster_bytes).any():
        raise corrupt("an L2 table is not aligned")
    if (offsets + header.cluster_bytes > image_bytes).any():
        raise corrupt("an L2 table lies behind the end of the image")
    return offsets


def read_l2(
    body: Buffer, number: int, header: Header, image_bytes: int, claims: Claims | None
) -> Numbers:
    """The runs of L2 table `number`, in ascending order of the volume. Without `claims` it was checked
    before for overlaps. Raises DataCorrupt (ImageCorrupt)."""
    entries = _entries(body)
    if not entries.any():
        return NO_RUNS
    first = number * header.table_span_bytes
    count = -(-(header.virtual_size_bytes - first) // header.cluster_bytes)
    if entries[count:].any():
        raise corrupt("it maps clusters behind the end of the volume")
    compressed = (entries & np.uint64(_COMPRESSED)) != 0
    plain = np.where(compressed, np.uint64(0), entries)
    reserved = _L2_RESERVED | (_ZERO if header.version == 2 else 0)
    if (plain & np.uint64(reserved)).any():
        raise corrupt(f"reserved bits in L2 table {number}")
    hosts = (plain & np.uint64(_OFFSET)).astype(np.int64)
    if (hosts % header.cluster_bytes).any():
        raise corrupt(f"a cluster of L2 table {number} is not aligned")
    if (hosts >= image_bytes).any():
        raise corrupt(f"a cluster of L2 table {number} lies behind the end of the image")
    if claims is not None:
        claims.whole(hosts[hosts != 0], f"a cluster of L2 table {number}")
    holds = (hosts != 0) & ((plain & np.uint64(_ZERO)) == 0)
    lengths = np.full(len(entries), header.cluster_bytes, np.int64)
    if compressed.any():
        _read_compressed(entries, compressed, hosts, lengths, header, image_bytes, claims)
        holds |= compressed
    runs = _coalesced(np.flatnonzero(holds), hosts, lengths, compressed, header, first)
    return _within(runs, header, image_bytes)


def _entries(body: Buffer) -> npt.NDArray[np.uint64]:
    return np.frombuffer(body, ">u8").astype(np.uint64)


def _read_compressed(
    entries: npt.NDArray[np.uint64],
    compressed: npt.NDArray[np.bool_],
    hosts: Numbers,
    lengths: Numbers,
    header: Header,
    image_bytes: int,
    claims: Claims | None,
) -> None:
    """Fill in where compressed clusters lie, to the byte. What pads the last sector may end behind the
    end of the image."""
    cluster = header.cluster_bytes
    bits = 62 - (cluster.bit_length() - 1 - 8)
    packed = entries[compressed]
    starts = (packed & np.uint64((1 << bits) - 1)).astype(np.int64)
    if (starts >= image_bytes).any() or (starts < cluster).any():
        raise corrupt("compressed data lies where none can be")
    sectors = ((packed & np.uint64((1 << 62) - 1)) >> np.uint64(bits)).astype(np.int64) + 1
    ends = np.minimum(starts // _SECTOR * _SECTOR + sectors * _SECTOR, image_bytes)
    if claims is not None:
        # A span is at most 2 clusters long, so it touches at most 3.
        for step in range(3):
            touched = starts // cluster * cluster + step * cluster
            claims.shared(np.unique(touched[touched < ends]))
    hosts[compressed], lengths[compressed] = starts, ends - starts


def _coalesced(
    held: npt.NDArray[np.intp],
    hosts: Numbers,
    lengths: Numbers,
    compressed: npt.NDArray[np.bool_],
    header: Header,
    first: int,
) -> Numbers:
    """One row for each run of clusters that follow each other both in the volume and in the image."""
    if not len(held):
        return NO_RUNS
    cluster = header.cluster_bytes
    host, packed = hosts[held], compressed[held]
    begins = np.ones(len(held), bool)
    joined = (np.diff(held) == 1) & (np.diff(host) == cluster) & ~packed[1:] & ~packed[:-1]
    begins[1:] = ~joined
    starts = np.flatnonzero(begins)
    runs = np.empty((len(starts), 4), np.int64)
    runs[:, GUEST] = first + held[starts] * cluster
    runs[:, HOST] = host[starts]
    runs[:, LENGTH] = np.add.reduceat(lengths[held], starts)
    runs[:, COMPRESSED] = packed[starts]
    return runs


def _within(runs: Numbers, header: Header, image_bytes: int) -> Numbers:
    """Cut what the last cluster holds behind the end of the volume; the rest must be in the image."""
    if len(runs) and not runs[-1, COMPRESSED]:
        rest = header.virtual_size_bytes - runs[-1, GUEST]
        runs[-1, LENGTH] = min(runs[-1, LENGTH], rest)
    if (runs[:, HOST] + runs[:, LENGTH] > image_bytes).any():
        raise corrupt("the image ends within a cluster")
    return runs


def plain_rows(runs: Numbers) -> list[Any]:
    """The rows as plain integers: numpy's own would make every comparison slow."""
    rows: list[Any] = runs.tolist()
    return rows
