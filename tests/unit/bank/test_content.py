"""The content's hash and how much of it is data: from the index alone, and as docs/bank-format.md says."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.bank import layout
from cinderbank.bank.check_plan import Level, Outcome, Plan
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.index import PartBuilder, hole
from cinderbank.bank.manifest import object_digest
from cinderbank.bank.reader import BackupReader
from cinderbank.domain.errors import DataCorrupt
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    SITE,
    VOLUME,
    back_up,
    content_hash_of,
    data_bytes_of,
    sample,
)
from tests.fakes.object_store import MemoryStore
from tests.unit.bank.test_check import check_with


@given(st.text(alphabet="ztrs", max_size=10), st.integers(0, CHUNK - 1), st.integers(1, 9))
def test_of_any_content(pieces: str, tail: int, part_entries: int) -> None:
    content = sample(pieces, tail) or b"\0"
    store = MemoryStore()
    back_up(store, content, part_entries=part_entries)
    reader = BackupReader.open(store, SITE, BACKUP)
    about = reader.manifest.description
    assert about.content_hash == content_hash_of(content)
    assert about.data_bytes == data_bytes_of(content)
    maps = reader.allocation_maps()
    assert [entry.allocation for entry in reader.entries()] == maps.tolist()


def forged(store: MemoryStore, old: bytes, new: bytes) -> None:
    """The manifest says something else, and the seal names it."""
    key, seal = layout.manifest(SITE, VOLUME, BACKUP), layout.seal(SITE, BACKUP, VOLUME)
    before = store.objects[key]
    assert before.count(old) == 1
    store.objects[key] = before.replace(old, new)
    digests = object_digest(before).encode(), object_digest(store.objects[key]).encode()
    store.objects[seal] = store.objects[seal].replace(*digests)


CONTENT = sample("trzs", 100)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (content_hash_of(CONTENT).encode(), content_hash_of(CONTENT)[::-1].encode()),
        (b'"data_bytes":%d' % data_bytes_of(CONTENT), b'"data_bytes":1'),
    ],
)
def test_an_index_that_is_not_what_the_manifest_says(old: bytes, new: bytes) -> None:
    store = MemoryStore()
    bank = back_up(store, CONTENT)
    forged(store, old, new)
    with pytest.raises(DataCorrupt, match="its index has content hash") as caught:
        list(BackupReader.open(store, SITE, BACKUP).entries())
    assert caught.value.reason == "ContentHashMismatch"
    verdict = check_with(bank, Plan(Level.MANIFEST))[BACKUP]
    assert verdict.outcome is Outcome.DAMAGED
    assert "content hash" in verdict.problem


@given(st.integers(1, 40), st.integers(1, 7), st.randoms(use_true_random=False))
def test_a_run_of_holes_is_so_many_holes(
    chunks: int, part_entries: int, chance: random.Random
) -> None:
    geometry = Geometry(chunks * CHUNK, CHUNK, part_entries)
    one_by_one, runs = PartBuilder(geometry), PartBuilder(geometry)
    expected = [made for index in range(chunks) if (made := one_by_one.add(hole(index)))]
    told = []
    first = 0
    while first < chunks:
        most = min(part_entries - first % part_entries, chunks - first)
        count = chance.randint(1, most)
        if made := runs.add_holes(first, count):
            told.append(made)
        first += count
    assert told == expected
