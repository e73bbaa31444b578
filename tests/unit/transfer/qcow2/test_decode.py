"""Every kind of cluster in every order, whole and mangled, in one pass and in random access."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinderbank.domain.errors import CinderbankError, DataCorrupt
from cinderbank.transfer.qcow2.decode import decode
from tests.fakes.qcow2_images import (
    COPIED,
    ZERO,
    ZERO_WITH_CLUSTER,
    Cluster,
    Image,
    Packed,
    Rereads,
    build,
    content,
    cut,
    decoded,
    in_order,
    joined,
    pack,
    tables_first,
)

BITS = 9
CLUSTER = 1 << BITS
SIZE = 300 * CLUSTER
"""Five L2 tables of 64 clusters, the last one not full."""


def data(number: int) -> bytes:
    return Random(number).randbytes(CLUSTER)


PLAIN: dict[int, Cluster] = {n: data(n) for n in (0, 1, 2, 5, 63, 64, 70, 128, 129, 255, 256, 299)}
MIXED: dict[int, Cluster] = {
    0: data(0), 1: Packed(b"a" * CLUSTER), 2: Packed(b"b" * CLUSTER), 3: ZERO, 4: data(4),
    5: ZERO_WITH_CLUSTER, 64: Packed(data(64)), 65: data(65), 299: Packed(data(299)),
}  # fmt: skip


@pytest.mark.parametrize("block_bytes", [1, 7, 512, 1000, 1 << 20])
@pytest.mark.parametrize("clusters", [PLAIN, MIXED, {}], ids=["plain", "mixed", "empty"])
def test_in_one_pass(clusters: dict[int, Cluster], block_bytes: int) -> None:
    image = build(SIZE, clusters)
    assert decoded(image, block_bytes) == (content(image, clusters), 0)


@pytest.mark.parametrize("zstd", [False, True])
@pytest.mark.parametrize("bits", [9, 12, 16, 21])
def test_every_kind_of_cluster_at_every_size(bits: int, zstd: bool) -> None:
    cluster = 1 << bits
    clusters: dict[int, Cluster] = {
        0: b"a" * cluster, 1: Packed(b"b" * cluster), 2: Packed(Random(1).randbytes(cluster)),
        3: ZERO, 5: ZERO_WITH_CLUSTER, 6: b"c" * cluster,
    }  # fmt: skip
    image = build(6 * cluster + 100, clusters, bits=bits, zstd=zstd)
    assert decoded(image) == (content(image, clusters), 0)


def test_version_2() -> None:
    clusters: dict[int, Cluster] = {0: data(0), 1: Packed(b"a" * CLUSTER)}
    image = build(SIZE, clusters, version=2)
    assert decoded(image)[0] == content(image, clusters)


def test_runs_are_slices_of_the_blocks() -> None:
    """Nothing is copied, and neighbours are not cut into clusters."""
    image = build(SIZE, {n: data(n) for n in range(64)})
    body = bytes(image.body)
    extents = list(decode([body], len(body), SIZE, Rereads(body)))
    assert [(e.offset, len(e.data)) for e in extents] == [(0, 64 * CLUSTER)]
    assert isinstance(extents[0].data, memoryview)
    assert extents[0].data.obj is body


# Orders.


def test_tables_that_come_before_their_turn_wait() -> None:
    image = build(SIZE, PLAIN, order=tables_first(PLAIN, CLUSTER))
    assert decoded(image, 600) == (content(image, PLAIN), 0)


def test_more_waiting_tables_than_may_wait_are_read_again() -> None:
    image = build(SIZE, PLAIN, order=tables_first(PLAIN, CLUSTER))
    assert decoded(image, 600, max_waiting_bytes=1000) == (content(image, PLAIN), 1)


def test_tables_in_another_order_than_the_volume() -> None:
    items = tables_first(PLAIN, CLUSTER)
    tables = [item for item in items if item[0] == "table"]
    order = [items[0], *reversed(tables), *items[1 + len(tables) :]]
    image = build(SIZE, PLAIN, order=order)
    assert decoded(image) == (content(image, PLAIN), 0)


@pytest.mark.parametrize(
    "last", [("l1", 0), ("table", 0), ("table", 4), ("data", 0), ("data", 299)]
)
def test_one_thing_at_the_end_of_the_image(last: tuple[str, int]) -> None:
    order = [item for item in in_order(PLAIN, CLUSTER) if item != last] + [last]
    image = build(SIZE, PLAIN, order=order)
    expected = 0 if last == ("data", 299) else 1
    assert decoded(image, 1000) == (content(image, PLAIN), expected)


def test_random_access_goes_on_where_the_stream_was() -> None:
    """What was yielded is not read again."""
    items = in_order(PLAIN, CLUSTER)
    moved = ("data", 70)
    image = build(SIZE, PLAIN, order=[i for i in items if i != moved] + [moved])
    body = bytes(image.body)
    read: list[tuple[int, int]] = []

    class Watched(Rereads):
        def read_at(self, offset: int, length: int) -> bytes:
            read.append((offset, length))
            return super().read_at(offset, length)

    # In order up to 70, which is at the end; 128 would need what has passed.
    extents = decode([body], len(body), SIZE, Watched(body))
    assert joined(extents, SIZE) == content(image, PLAIN)
    hosts = [image.hosts[n] for n in (0, 1, 2, 5, 63, 64, 70)]
    assert not {offset for offset, _ in read} & set(hosts)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.booleans(), st.integers(1, 3000))
def test_any_order_and_any_kinds(seed: int, zstd: bool, block_bytes: int) -> None:
    random = Random(seed)
    kinds = [data(1), data(2), Packed(data(3)), Packed(b"x" * CLUSTER), ZERO, ZERO_WITH_CLUSTER]
    numbers = random.sample(range(300), random.randrange(40))
    clusters: dict[int, Cluster] = {n: random.choice(kinds) for n in sorted(numbers)}  # type: ignore[misc]
    order = in_order(clusters, CLUSTER)
    if random.random() < 0.7:
        random.shuffle(order)
    image = build(SIZE, clusters, zstd=zstd, order=order)
    assert decoded(image, block_bytes)[0] == content(image, clusters)


# The stream as a whole.


@pytest.mark.parametrize("shuffled", [False, True])
def test_the_stream_is_read_to_its_end(shuffled: bool) -> None:
    """Its hash needs every byte, also those that nothing maps, and before it is read again."""
    order = in_order(PLAIN, CLUSTER)
    image = build(SIZE, PLAIN, order=order[:1] + order[:0:-1] if shuffled else order)
    body = bytes(image.body) + b"leaked" * 1000
    passed = bytearray()

    def watched():  # type: ignore[no-untyped-def]
        for block in cut(body, 700):
            passed.extend(block)
            yield block

    class Later(Rereads):
        def __call__(self) -> Rereads:
            assert passed == body
            return super().__call__()

    rereads = Later(body)
    found = joined(decode(watched(), len(body), SIZE, rereads), SIZE)
    assert (found, rereads.count) == (content(image, PLAIN), int(shuffled))
    assert passed == body


@pytest.mark.parametrize("change", [-1, -600, 1, 5000])
@pytest.mark.parametrize("shuffled", [False, True])
def test_another_length_than_announced(change: int, shuffled: bool) -> None:
    order = in_order(PLAIN, CLUSTER)
    image = build(SIZE, PLAIN, order=order[:1] + order[:0:-1] if shuffled else order)
    body = bytes(image.body)
    sent = body[:change] if change < 0 else body + bytes(change)
    with pytest.raises(DataCorrupt, match=r"ended after|more bytes than") as raised:
        list(decode(cut(sent, 500), len(body), SIZE, Rereads(body)))
    assert raised.value.reason == "ImageCorrupt"


def test_random_access_that_gives_less_than_asked() -> None:
    order = in_order(PLAIN, CLUSTER)
    image = build(SIZE, PLAIN, order=[*order[1:], order[0]])
    with pytest.raises(DataCorrupt, match="instead of"):
        list(decode(cut(image.body, 500), len(image.body), SIZE, Rereads(image.body[:3000])))


# Tables that lie.

MANGLED = {
    "reserved bits in L1": lambda i: i.put(i.l1, "Q", i.tables[0] | 1),
    "L2 table unaligned": lambda i: i.put(i.l1, "Q", i.tables[0] + 1024 - 512 + 256),
    "L2 table behind the end": lambda i: i.put(i.l1, "Q", 1 << 50),
    "L2 table is the header's neighbour": lambda i: i.put(i.l1, "Q", 512),
    "L2 table is the L1 table": lambda i: i.put(i.l1, "Q", i.l1),
    "one L2 table twice": lambda i: i.put(i.l1, "Q", i.tables[1]),
    "reserved bits in L2": lambda i: i.put(i.entry(0), "Q", i.hosts[0] | 2),
    "high reserved bits in L2": lambda i: i.put(i.entry(0), "Q", i.hosts[0] | 1 << 60),
    "cluster behind the end": lambda i: i.put(i.entry(299), "Q", len(i.body) + 512),
    "cluster far behind the end": lambda i: i.put(i.entry(299), "Q", 0x00FF_FFFF_FFFF_FE00),
    "cluster is the L1 table": lambda i: i.put(i.entry(299), "Q", i.l1),
    "cluster is an L2 table": lambda i: i.put(i.entry(299), "Q", i.tables[4]),
    "cluster is the refcount table": lambda i: i.put(i.entry(299), "Q", 512 | COPIED),
    "one cluster twice in a table": lambda i: i.put(i.entry(1), "Q", i.hosts[0]),
    "one cluster twice, far away": lambda i: i.put(i.entry(299), "Q", i.hosts[0]),
    "a zero cluster on another": lambda i: i.put(i.entry(299), "Q", i.hosts[0] | 1),
    "behind the end of the volume": lambda i: i.put(i.entry(300), "Q", i.hosts[0]),
    "a zero behind the end": lambda i: i.put(i.entry(319), "Q", 1),
    "compressed in the header": lambda i: i.put(i.entry(299), "Q", 1 << 62 | 100),
    "compressed behind the end": lambda i: i.put(i.entry(299), "Q", 1 << 62 | len(i.body)),
    "compressed far behind": lambda i: i.put(i.entry(299), "Q", (1 << 63) - 1),
    "compressed on a plain one": lambda i: i.put(i.entry(299), "Q", 1 << 62 | i.hosts[0] + 5),
    "plain on a compressed one": lambda i: i.put(i.entry(3), "Q", i.hosts[2] & -512),
    "compressed without sense": lambda i: i.body.__setitem__(i.hosts[2], 0xFF),
}


@pytest.mark.parametrize("shuffled", [False, True], ids=["one pass", "random access"])
@pytest.mark.parametrize("name", MANGLED)
def test_mangled_tables(name: str, shuffled: bool) -> None:
    clusters: dict[int, Cluster] = {**PLAIN, 2: Packed(b"a" * CLUSTER)}
    order = in_order(clusters, CLUSTER)
    image = build(SIZE, clusters, order=[*order[1:], order[0]] if shuffled else order)
    MANGLED[name](image)
    with pytest.raises(DataCorrupt) as raised:
        decoded(image)
    assert raised.value.reason == "ImageCorrupt"


def test_a_zero_flag_in_version_2() -> None:
    image = build(SIZE, {0: data(0)}, version=2)
    image.put(image.entry(0), "Q", image.hosts[0] | 1)
    with pytest.raises(DataCorrupt, match="reserved"):
        decoded(image)


def test_an_image_that_ends_within_a_cluster() -> None:
    image = build(SIZE, PLAIN)
    del image.body[image.hosts[299] + 100 :]
    with pytest.raises(DataCorrupt, match="ends within a cluster"):
        decoded(image)


def test_a_last_cluster_needs_no_more_than_the_volume_has() -> None:
    size = 10 * CLUSTER + 100
    image = build(size, {10: data(1)})
    del image.body[image.hosts[10] + 100 :]
    assert decoded(image)[0] == content(image, {10: data(1)})


def test_compressed_data_at_the_very_end_is_not_padded() -> None:
    """Its last sector is counted in full, and the file may end before."""
    clusters: dict[int, Cluster] = {0: Packed(b"a" * CLUSTER)}
    image = build(CLUSTER, clusters)
    del image.body[image.hosts[0] + len(pack(b"a" * CLUSTER)) :]
    assert decoded(image)[0] == b"a" * CLUSTER


@pytest.mark.parametrize("zstd", [False, True])
@pytest.mark.parametrize("length", [0, 65535, 65537, 1 << 24])
def test_compressed_to_another_length(length: int, zstd: bool) -> None:
    """Sixteen MiB of zeros are a short text; no more than a cluster is unpacked of it."""
    size = 10 << 16
    image = build(size, {0: Packed(bytes(length))}, bits=16, zstd=zstd)
    body = bytes(image.body)
    tracemalloc.start()
    try:
        with pytest.raises(DataCorrupt, match="unpack") as raised:
            list(decode([body], len(body), size, Rereads(b"")))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert raised.value.reason == "ImageCorrupt"


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32), st.booleans())
def test_mangled_at_random(seed: int, zstd: bool) -> None:
    """Taken or refused with an error of ours, and nothing else."""
    random = Random(seed)
    order = in_order(MIXED, CLUSTER)
    if random.random() < 0.5:
        random.shuffle(order)
    image = build(SIZE, MIXED, zstd=zstd, order=order)
    for _ in range(random.randrange(1, 5)):
        where = random.choice((0, 0, image.l1, *image.tables.values(), *image.hosts.values()))
        at = where + random.randrange(120 if where == 0 else 24)
        image.body[at] ^= 1 << random.randrange(8)
    with suppress(CinderbankError):
        decoded(image, random.choice((600, 1 << 20)))


def test_memory_does_not_follow_the_volume() -> None:
    """A small image of 16 TiB: two bits for each cluster of the file, not of the volume."""
    clusters: dict[int, Cluster] = {0: b"a" * 65536, (1 << 28) - 1: b"b" * 65536}
    image = build(1 << 44, clusters, bits=16)
    body = bytes(image.body)
    tracemalloc.start()
    try:
        extents = list(decode(cut(body, 1 << 20), len(body), 1 << 44, Rereads(body)))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert [(e.offset, len(e.data)) for e in extents] == [(0, 65536), ((1 << 44) - 65536, 65536)]


def test_a_table_of_scattered_clusters_is_walked_whole() -> None:
    """Every second cluster, so that no two make a run."""
    clusters: dict[int, Cluster] = {n: bytes([n % 251 + 1]) * CLUSTER for n in range(0, 300, 2)}
    image: Image = build(SIZE, clusters)
    assert decoded(image, 900) == (content(image, clusters), 0)
