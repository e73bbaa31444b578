"""The header of a qcow2 image: what it is, and whether it is one that is read here."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import DataCorrupt, Unsupported

MAGIC = b"QFI\xfb"
HEADER_BYTES = 64 * 1024
"""The first so many bytes of an image, or all of it, are enough for `parse_header`."""

MIN_CLUSTER_BITS, MAX_CLUSTER_BITS = 9, 21
MAX_L1_BYTES = 2 << 20
"""Enough for 128 TiB in clusters of 64 KiB; QEMU's own bound is 32 MiB."""
MAX_CLUSTERS = 1 << 28
"""Of an image: what tells which of them are taken is 64 MiB then. 16 TiB in clusters of 64 KiB."""
MAX_REFCOUNT_TABLE_BYTES = 8 << 20
"""QEMU's own bound."""
SLACK_BYTES = 64 << 20

V2 = struct.Struct(">4sIQIIQIIQQIIQ")
V3 = struct.Struct(">QQQII")
_EXTENSION = struct.Struct(">II")

_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = 1, 2, 4, 8, 16
_ENCRYPTION_EXTENSION, _DATA_FILE_EXTENSION = 0x0537_BE77, 0x4441_5441


def corrupt(message: str) -> DataCorrupt:
    """The image is not what the format says."""
    return DataCorrupt(f"qcow2: {message}; the image is damaged", reason="ImageCorrupt")


def unsupported(feature: str) -> Unsupported:
    """The image may be good, and it is not read here."""
    return Unsupported(
        f"qcow2: the image has {feature}, which is not read; use `transport: Raw`",
        reason="ImageUnsupported",
    )


@dataclass(frozen=True, slots=True)
class Header:
    """What decoding needs; offsets and sizes are the image's words and not yet compared with its length."""

    version: int
    cluster_bytes: int
    virtual_size_bytes: int
    l1_offset: int
    l1_entries: int
    refcount_table_offset: int
    refcount_table_clusters: int
    zstd: bool

    @property
    def table_entries(self) -> int:
        """Entries in one L2 table, which fills a cluster."""
        return self.cluster_bytes // 8

    @property
    def table_span_bytes(self) -> int:
        """Bytes of the volume that one L2 table maps."""
        return self.cluster_bytes * self.table_entries


def parse_header(head: Buffer) -> Header:
    """Read the first HEADER_BYTES of an image, or all of it when it is shorter.

    Raises DataCorrupt (ImageCorrupt), or Unsupported (ImageUnsupported) for what needs another file, a
    key, a choice of snapshot, or is from the future.
    """
    if len(head) < V2.size or bytes(head[:4]) != MAGIC:
        raise corrupt("it does not begin with a qcow2 header")
    fields = V2.unpack_from(head)
    _, version, backing_offset, _, cluster_bits, size, crypt, l1_entries, l1_offset = fields[:9]
    refcount_offset, refcount_clusters, snapshots, _ = fields[9:]
    if version not in (2, 3):
        raise unsupported(f"version {version}")
    if not MIN_CLUSTER_BITS <= cluster_bits <= MAX_CLUSTER_BITS:
        raise corrupt(f"clusters of 2^{cluster_bits} bytes are not 512 B..2 MiB")
    header_bytes, zstd = (V2.size, False) if version == 2 else _version3(head, cluster_bits)
    if backing_offset:
        raise unsupported("a backing file")
    if crypt:
        raise unsupported("encryption")
    if snapshots:
        raise unsupported("internal snapshots")
    _check_extensions(head, header_bytes, 1 << cluster_bits)
    return Header(
        version=version,
        cluster_bytes=1 << cluster_bits,
        virtual_size_bytes=size,
        l1_offset=l1_offset,
        l1_entries=l1_entries,
        refcount_table_offset=refcount_offset,
        refcount_table_clusters=refcount_clusters,
        zstd=zstd,
    )


def _version3(head: Buffer, cluster_bits: int) -> tuple[int, bool]:
    """Length of the header in bytes, and whether compressed clusters are zstd."""
    if len(head) < V2.size + V3.size:
        raise corrupt("its header is cut off")
    incompatible, _, _, refcount_order, header_bytes = V3.unpack_from(head, V2.size)
    if incompatible & _CORRUPT:
        raise corrupt("it is marked as corrupt")
    if incompatible & _DIRTY:
        raise unsupported("a dirty bit: its writer did not finish")
    if incompatible & _DATA_FILE:
        raise unsupported("an external data file")
    if incompatible & _EXTENDED_L2:
        raise unsupported("extended L2 entries")
    if incompatible & ~_COMPRESSION:
        raise unsupported(f"unknown incompatible features ({incompatible:#x})")
    if refcount_order > 6:
        raise corrupt(f"reference counts of 2^{refcount_order} bits are not 1..64")
    if header_bytes < V2.size + V3.size or header_bytes % 8 or header_bytes > 1 << cluster_bits:
        raise corrupt(f"a header of {header_bytes} bytes")
    has_type = header_bytes > V2.size + V3.size
    if has_type and len(head) <= V2.size + V3.size:
        raise corrupt("its header is cut off")
    compression = head[V2.size + V3.size] if has_type else 0
    if bool(compression) != bool(incompatible & _COMPRESSION):
        raise corrupt(f"compression type {compression} and its feature bit contradict each other")
    if compression not in (0, 1):
        raise unsupported(f"compression type {compression}")
    return header_bytes, compression == 1


def _check_extensions(head: Buffer, offset: int, cluster_bytes: int) -> None:
    """Refuse what changes where data is or how it is read; the format says to ignore the others."""
    end = min(len(head), cluster_bytes)
    while offset + _EXTENSION.size <= end:
        kind, length = _EXTENSION.unpack_from(head, offset)
        if kind == 0:
            return
        if kind == _ENCRYPTION_EXTENSION:
            raise unsupported("encryption (LUKS)")
        if kind == _DATA_FILE_EXTENSION:
            raise unsupported("an external data file")
        offset += _EXTENSION.size + -(-length // 8) * 8
    # Without room for the end mark there is none: QEMU's own images of 512 byte clusters.
    if offset > end:
        raise corrupt("a header extension leaves the first cluster")


def check_sizes(header: Header, image_bytes: int, size_bytes: int) -> None:
    """Compare what the header claims with what is known: the image's length and the volume's size.

    After this every number of the header is bounded by those two. Raises DataCorrupt
    (ImageSizeMismatch: the image is not this volume; ImageCorrupt) or Unsupported (ImageUnsupported).
    """
    if header.virtual_size_bytes != size_bytes:
        raise DataCorrupt(
            f"the image unpacks to {header.virtual_size_bytes} bytes, its volume has {size_bytes}. The "
            "volume probably holds a disk image (qcow2, vmdk, ...) as its content, and Cinder has "
            "unpacked it while it uploaded: the image is not the volume, and is not backed up",
            reason="ImageSizeMismatch",
        )
    cluster = header.cluster_bytes
    if image_bytes > 2 * size_bytes + SLACK_BYTES:
        raise corrupt(f"{image_bytes} bytes are more than {size_bytes} bytes of data can need")
    if image_bytes // cluster > MAX_CLUSTERS:
        raise unsupported(f"clusters of {cluster} bytes, too small for its {image_bytes} bytes")
    needed = -(-size_bytes // header.table_span_bytes)
    if header.l1_entries != needed:
        raise corrupt(
            f"its L1 table has {header.l1_entries} entries, {size_bytes} bytes need {needed}"
        )
    if needed * 8 > MAX_L1_BYTES:
        raise unsupported(f"clusters of {cluster} bytes, too small for {size_bytes} bytes")
    tables = (
        ("L1", header.l1_offset, needed * 8),
        ("refcount", header.refcount_table_offset, header.refcount_table_clusters * cluster),
    )
    for name, offset, length in tables:
        if not offset or offset % cluster or offset + length > image_bytes or not length:
            raise corrupt(f"its {name} table ({length} bytes at {offset}) is not where one can be")
    if header.refcount_table_clusters * cluster > MAX_REFCOUNT_TABLE_BYTES:
        raise corrupt(f"a refcount table of {header.refcount_table_clusters} clusters")
