"""How long the qcow2 image is that a restore sends, from numbers that are known before it starts.

Cinder refuses an image that is longer than the volume, and the qcow2 of a full volume is.
"""

from __future__ import annotations

CLUSTER_BYTES = 64 * 1024
CLUSTER_CHOICES = (16 * 1024, 32 * 1024, CLUSTER_BYTES)
"""Of chunks of 1 MiB, of 2 MiB, and of the larger ones that a BackupBank may ask for."""
REFCOUNT_BYTES = 2
SECTOR_BYTES = 512
"""A qcow2 image is a whole number of sectors."""


def cluster_bytes(chunk_bytes: int) -> int:
    """What one bit of an allocation map stands for, within what is usual (512 bytes are the least)."""
    return max(SECTOR_BYTES, min(CLUSTER_BYTES, chunk_bytes // 64))


def tables_of(size_bytes: int, cluster_bytes: int = CLUSTER_BYTES) -> int:
    """L2 tables that a volume of this size has when all are there."""
    return -(-size_bytes // (cluster_bytes * (cluster_bytes // 8)))


def refcount_clusters(other_clusters: int, cluster_bytes: int = CLUSTER_BYTES) -> tuple[int, int]:
    """Clusters of the refcount table, and refcount blocks, beside so many other clusters: they count
    themselves too."""
    table = blocks = 0
    while True:
        total = other_clusters + table + blocks
        needed_blocks = -(-total * REFCOUNT_BYTES // cluster_bytes)
        needed_table = -(-needed_blocks * 8 // cluster_bytes)
        if (needed_table, needed_blocks) == (table, blocks):
            return table, blocks
        table, blocks = needed_table, needed_blocks


def length_bytes(
    size_bytes: int, data_clusters: int, tables: int, cluster_bytes: int = CLUSTER_BYTES
) -> int:
    """The exact length of an image of `data_clusters` clusters in so many L2 tables."""
    l1_clusters = -(-tables_of(size_bytes, cluster_bytes) * 8 // cluster_bytes)
    other = 1 + l1_clusters + tables + data_clusters
    return (other + sum(refcount_clusters(other, cluster_bytes))) * cluster_bytes


def max_length_bytes(size_bytes: int, data_bytes: int) -> int:
    """No image of a volume of `size_bytes` is longer, when the bits set in its allocation maps stand for
    `data_bytes` together (more does no harm), whatever chunks a BackupBank has asked for."""

    def longest(cluster: int) -> int:
        clusters = -(-min(data_bytes, size_bytes) // cluster)
        tables = min(tables_of(size_bytes, cluster), clusters)
        return length_bytes(size_bytes, clusters, tables, cluster)

    return max(longest(cluster) for cluster in CLUSTER_CHOICES)
