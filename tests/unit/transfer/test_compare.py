"""Image <-> backup: every byte that differs is told, and none that does not."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinderbank.bank import layout
from cinderbank.domain.errors import CinderbankError
from cinderbank.domain.facts import LostRanges
from cinderbank.ports.transfers import CompareTransfer
from cinderbank.transfer.compare import Comparison, run_compare
from cinderbank.transfer.events import ProgressMeter
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    IMAGE,
    SITE,
    back_up,
    bank_on,
    content_hash_of,
    sample,
)
from tests.fakes.glance_images import FakeGlance
from tests.fakes.object_store import MemoryStore

CONTENT = sample("tzrszzrt", tail=1000)
TRANSFER = CompareTransfer(SITE, BACKUP, IMAGE, len(CONTENT), len(CONTENT))


def compare(
    image: bytes, transfer: CompareTransfer = TRANSFER, content: bytes = CONTENT
) -> Comparison:
    store, glance = MemoryStore(), FakeGlance()
    back_up(store, content)
    glance.add(IMAGE, image)
    return compared(store, glance, transfer)


def compared(
    store: MemoryStore, glance: FakeGlance, transfer: CompareTransfer = TRANSFER
) -> Comparison:
    meter = ProgressMeter(transfer.size_bytes, lambda progress: None)
    before = dict(store.objects)
    found = run_compare(transfer, bank_on(store, "site-b", read_only=True), glance.api(), meter)
    assert store.objects == before, "a comparison changes nothing"
    assert meter.now().bytes_processed == transfer.size_bytes
    return found


def test_the_same_bytes() -> None:
    assert compare(CONTENT) == Comparison(content_hash_of(CONTENT), None)


@pytest.mark.parametrize("at", [0, CHUNK - 1, CHUNK + 7, 4 * CHUNK + 100, len(CONTENT) - 1])
def test_one_byte_is_told_by_its_sector(at: int) -> None:
    """In data, in a hole, and at the very end, where the last sector is short."""
    image = bytearray(CONTENT)
    image[at] ^= 1
    first = at // 512 * 512
    last = min(first + 511, len(CONTENT) - 1)
    assert compare(bytes(image)).different == LostRanges(1, last - first + 1, ((first, last),))


def test_data_that_came_back_as_zeros() -> None:
    image = bytes(CHUNK) + CONTENT[CHUNK:]
    found = compare(image).different
    assert found is not None and found.lost_bytes == CHUNK and found.ranges == ((0, CHUNK - 1),)


def test_ranges_that_touch_are_one() -> None:
    """Across chunks, too."""
    image = bytearray(CONTENT)
    for at in (CHUNK - 512, CHUNK, CHUNK + 1024):
        image[at] ^= 0xFF
    found = compare(bytes(image)).different
    assert found is not None
    assert found.ranges == ((CHUNK - 512, CHUNK + 511), (CHUNK + 1024, CHUNK + 1535))


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, len(CONTENT) - 1), max_size=6))
def test_exactly_the_sectors_that_differ(places: set[int]) -> None:
    image = bytearray(CONTENT)
    for at in places:
        image[at] ^= 1
    found = compare(bytes(image)).different
    told = {at for first, last in (found.ranges if found else ()) for at in range(first, last + 1)}
    sectors = {at // 512 for at in places}
    assert {at // 512 for at in told} == sectors
    assert (found is None) == (not places)


def test_many_ranges_are_counted_and_bounded() -> None:
    content = bytes(random.Random(1).randbytes(1 << 20))
    image = bytearray(content)
    for sector in range(0, 2048, 2):
        image[sector * 512] ^= 1
    size = len(content)
    found = compare(
        bytes(image), CompareTransfer(SITE, BACKUP, IMAGE, size, size), content
    ).different
    assert found is not None
    assert (found.count, found.lost_bytes, len(found.ranges)) == (1024, 1024 * 512, 100)


def test_what_lies_behind_the_backup_is_not_compared() -> None:
    """A volume has whole GiB; a backup that somebody made by hand need not."""
    image = CONTENT + b"left from somebody else"
    transfer = replace(TRANSFER, volume_bytes=len(image))
    assert compare(image, transfer).different is None


def test_a_chunk_that_the_bank_has_lost_meanwhile_differs_whole() -> None:
    store, glance = MemoryStore(), FakeGlance()
    back_up(store, CONTENT)
    image = bytearray(CONTENT)
    image[10] ^= 1
    glance.add(IMAGE, bytes(image))
    del store.objects[layout.chunk(SITE, BACKUP, 1, 0)]
    found = compared(store, glance).different
    assert found is not None and found.ranges == ((0, CHUNK - 1),)


def test_the_banks_chunks_are_read_only_where_they_differ() -> None:
    store, glance = MemoryStore(), FakeGlance()
    back_up(store, CONTENT)
    glance.add(IMAGE, CONTENT)
    for key in [key for key in store.objects if "/chunks/" in key]:
        del store.objects[key]
    assert compared(store, glance).different is None


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        ("size", "ImageSizeMismatch"),
        ("short", "DataCorrupt"),
        ("hash", "DataCorrupt"),
        ("index", "DataCorrupt"),
        ("deleted", "BackupNotFound"),
        ("asked", "DataCorrupt"),
        ("key", "EncryptedVolume"),
    ],
)
def test_what_is_no_answer_is_an_error(spoil: str, expected: str) -> None:
    store, glance, transfer = MemoryStore(), FakeGlance(), TRANSFER
    back_up(store, CONTENT)
    glance.add(IMAGE, CONTENT)
    if spoil == "size":
        glance.add(IMAGE, CONTENT + bytes(512))
    if spoil == "short":
        glance.truncate_reads_to = 5000
    if spoil == "hash":
        glance.images[IMAGE].hash_value = "00" * 64
    if spoil == "index":
        part = next(key for key in store.objects if "/index/" in key)
        store.objects[part] = store.objects[part][:-70] + bytes(70)
    if spoil == "deleted":
        bank_on(store).delete(SITE, BACKUP)
    if spoil == "asked":
        transfer = replace(TRANSFER, size_bytes=5)
    if spoil == "key":
        glance.add(IMAGE, b"\x07" * len(CONTENT))
        glance.images[IMAGE].encryption_key_id = "aaaaaaaa-1111-4222-8333-444444444444"
    with pytest.raises(CinderbankError) as raised:
        compared(store, glance, transfer)
    assert raised.value.reason == expected
