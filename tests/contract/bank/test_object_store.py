"""What the bank relies on, of every store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from cinderbank.bank.store import Listed, ObjectStore
from cinderbank.domain.errors import DataCorrupt


def test_what_was_put_is_there_at_once_and_whole(store: ObjectStore) -> None:
    for body in (b"", b"x", bytes(range(256)) * 5000, bytearray(b"ab"), memoryview(b"cd")):
        assert store.put("a/b", body) is True
        assert store.get("a/b", 1 << 21) == bytes(body)
        assert store.head("a/b") == len(body)


def test_absent_things(store: ObjectStore) -> None:
    assert store.get("none", 10) is None
    assert store.head("none") is None
    assert store.delete_many(["none"]) == []
    assert store.delete_many([]) == []
    assert list(store.list_keys("none/")) == []


def test_the_bound_of_a_read(store: ObjectStore) -> None:
    store.put("k", b"12345")
    assert store.get("k", 5) == b"12345"
    with pytest.raises(DataCorrupt, match="k has"):
        store.get("k", 4)


def test_create_only(store: ObjectStore) -> None:
    assert store.put("k", b"first", if_absent=True) is True
    assert store.put("k", b"second", if_absent=True) is False
    assert store.get("k", 10) == b"first"
    store.delete_many(["k"])
    assert store.put("k", b"third", if_absent=True) is True


def test_one_winner_among_many_creators(store: ObjectStore) -> None:
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda i: store.put("race", bytes([i]), if_absent=True), range(16)))
    assert won.count(True) == 1
    assert store.get("race", 10) == bytes([won.index(True)])


def test_listing_flat_by_delimiter_and_from_a_place(store: ObjectStore) -> None:
    for key in ("p/b/2", "p/a", "p/b/1", "p/c/x/y", "q"):
        store.put(key, key.encode())
    flat = [Listed("p/a", 3), Listed("p/b/1", 5), Listed("p/b/2", 5), Listed("p/c/x/y", 7)]
    assert list(store.list_keys("p/")) == flat
    assert list(store.list_keys("p/", start_after="p/b/1")) == flat[2:]
    assert [row.key for row in store.list_keys("p/b")] == ["p/b/1", "p/b/2"]
    grouped = sorted(store.list_keys("p/", delimiter="/"), key=lambda row: row.key)
    assert [(row.key, row.is_prefix) for row in grouped] == [
        ("p/a", False),
        ("p/b/", True),
        ("p/c/", True),
    ]


def test_more_than_one_page_and_more_than_one_batch(store: ObjectStore) -> None:
    keys = [f"many/{number:04x}" for number in range(2100)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda key: store.put(key, b"x"), keys))
    assert [row.key for row in store.list_keys("many/")] == keys
    for first in range(0, len(keys), 1000):
        assert store.delete_many(keys[first : first + 1000]) == []
    assert list(store.list_keys("many/")) == []
