"""qcow2 images put together cluster by cluster: in any order, of any kind, so also wrong ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zstandard

from cinderbank.bank.geometry import allocation_map
from cinderbank.transfer.extent import Extent
from cinderbank.transfer.qcow2.decode import decode
from cinderbank.transfer.qcow2.encode import Layout

COPIED = 1 << 63
COMPRESSED = 1 << 62
ZERO = "zero"
ZERO_WITH_CLUSTER = "zero, with a cluster of its own"


@dataclass(frozen=True)
class Packed:
    """One cluster of data that is stored compressed."""

    data: bytes


Cluster = bytes | Packed | str
Item = tuple[str, int]
"""("l1", 0), ("table", number) or ("data", guest cluster)."""


@dataclass
class Image:
    """`body` is the file; the offsets say where to mangle it."""

    size_bytes: int
    body: bytearray
    cluster_bytes: int
    l1: int = 0
    tables: dict[int, int] = field(default_factory=dict)
    hosts: dict[int, int] = field(default_factory=dict)

    def put(self, offset: int, form: str, value: Any) -> Image:
        struct.pack_into(">" + form, self.body, offset, value)
        return self

    def entry(self, cluster: int) -> int:
        """Where the L2 entry of a guest cluster is."""
        number, position = divmod(cluster, self.cluster_bytes // 8)
        return self.tables[number] + 8 * position


def in_order(clusters: Iterable[int], cluster_bytes: int) -> list[Item]:
    """As qemu-img writes: each L2 table before its first cluster."""
    items: list[Item] = [("l1", 0)]
    for cluster in sorted(clusters):
        table = ("table", cluster // (cluster_bytes // 8))
        items += [] if table in items else [table]
        items.append(("data", cluster))
    return items


def tables_first(clusters: Iterable[int], cluster_bytes: int) -> list[Item]:
    """As preallocated images, and ours."""
    return sorted(in_order(clusters, cluster_bytes), key=lambda item: item[0] == "data")


def build(
    size_bytes: int,
    clusters: Mapping[int, Cluster],
    *,
    bits: int = 9,
    version: int = 3,
    zstd: bool = False,
    order: Sequence[Item] | None = None,
) -> Image:
    """`order` names every item once; without it, as qemu-img writes."""
    cluster = 1 << bits
    image = Image(size_bytes, bytearray(), cluster)
    entries: dict[int, int] = {}
    l1_entries = -(-size_bytes // (cluster * cluster // 8))
    packed_at, end = 0, 2 * cluster

    for kind, number in order or in_order(clusters, cluster):
        if kind == "l1":
            image.l1, end = end, end + -(-l1_entries * 8 // cluster) * cluster
        elif kind == "table":
            image.tables[number], end = end, end + cluster
        elif isinstance(clusters[number], Packed):
            stored = pack(clusters[number].data, zstd)
            if not packed_at % cluster or packed_at % cluster + len(stored) > cluster:
                # Into the same cluster only while it fits, as QEMU does.
                packed_at, end = end, end + -(-len(stored) // cluster) * cluster
            entries[number] = _packed_entry(packed_at, len(stored), bits)
            image.hosts[number] = packed_at
            _write(image.body, packed_at, stored)
            packed_at += len(stored)
        elif clusters[number] == ZERO:
            entries[number] = 1
        else:
            data = clusters[number]
            image.hosts[number], end = end, end + cluster
            entries[number] = image.hosts[number] | COPIED | (data == ZERO_WITH_CLUSTER)
            _write(image.body, image.hosts[number], data if isinstance(data, bytes) else b"junk")
    _write(image.body, max(end, 4 * cluster), b"")
    _header(image, version, zstd, l1_entries)
    for number, offset in image.tables.items():
        image.put(image.l1 + 8 * number, "Q", offset | COPIED)
    for number, entry in entries.items():
        image.put(image.entry(number), "Q", entry)
    return image


def _header(image: Image, version: int, zstd: bool, l1_entries: int) -> None:
    cluster = image.cluster_bytes
    head = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", version, 0, 0, cluster.bit_length() - 1, image.size_bytes, 0,
        l1_entries, image.l1, cluster, 1, 0, 0,
    )  # fmt: skip
    if version == 3:
        head += struct.pack(">QQQIIQ", 8 if zstd else 0, 0, 0, 4, 112, (1 << 56) if zstd else 0)
    _write(image.body, 0, head)


def _write(body: bytearray, offset: int, data: bytes) -> None:
    body.extend(bytes(max(0, offset + len(data) - len(body))))
    body[offset : offset + len(data)] = data


def pack(data: bytes, zstd: bool = False) -> bytes:
    """As one compressed cluster is stored."""
    if zstd:
        return zstandard.ZstdCompressor().compress(data)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
    return deflate.compress(data) + deflate.flush()


def _packed_entry(offset: int, length: int, bits: int) -> int:
    sectors = (offset + length - 1) // 512 - offset // 512
    return COMPRESSED | sectors << (62 - (bits - 8)) | offset


def content(image: Image, clusters: Mapping[int, Cluster]) -> bytes:
    """The volume's bytes."""
    plain = bytearray(image.size_bytes)
    for number, held in clusters.items():
        data = held.data if isinstance(held, Packed) else held
        if isinstance(data, bytes):
            start = number * image.cluster_bytes
            plain[start : start + image.cluster_bytes] = data[: image.size_bytes - start]
    return bytes(plain)


class Rereads:
    """Counts how often random access was asked for; bytes out of a body."""

    def __init__(self, body: bytes | bytearray) -> None:
        self.body = bytes(body)
        self.count = 0

    def __call__(self) -> Rereads:
        self.count += 1
        return self

    def read_at(self, offset: int, length: int) -> bytes:
        return self.body[offset : offset + length]


def cut(body: bytes | bytearray, block_bytes: int) -> Iterator[bytes]:
    """The body in blocks of so many bytes."""
    for start in range(0, len(body), block_bytes):
        yield bytes(body[start : start + block_bytes])


def joined(extents: Iterable[Extent], size_bytes: int) -> bytes:
    """The volume; fails when extents go back, are empty, overlap or leave the volume."""
    volume, at = bytearray(size_bytes), 0
    for extent in extents:
        assert extent.offset >= at
        assert len(extent.data)
        volume[extent.offset : extent.offset + len(extent.data)] = extent.data
        at = extent.offset + len(extent.data)
        assert at <= size_bytes
    return bytes(volume)


def decoded(image: Image, block_bytes: int = 1 << 20, **options: Any) -> tuple[bytes, int]:
    """The volume's bytes, and how often the image was read again."""
    rereads = Rereads(image.body)
    blocks = cut(image.body, block_bytes)
    extents = decode(blocks, len(image.body), image.size_bytes, rereads, **options)
    return joined(extents, image.size_bytes), rereads.count


def encoded(content: bytes, chunk_bytes: int) -> bytes:
    """The image that a restore sends of a volume."""
    chunks = [content[at : at + chunk_bytes] for at in range(0, len(content), chunk_bytes)]
    maps = [allocation_map(chunk.ljust(chunk_bytes, b"\0")) for chunk in chunks]
    made = Layout(len(content), chunk_bytes, np.array(maps, np.uint64))
    data = [chunk[a:b] for index, chunk in enumerate(chunks) for a, b in made.runs(index)]
    return b"".join([*made.metadata(), *data, bytes(made.padding_bytes)])
