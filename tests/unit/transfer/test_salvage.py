"""Salvage: what is left of a damaged backup, and exactly what is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cinderbank.bank import layout
from cinderbank.domain.errors import DataCorrupt, SourceGone, Unavailable
from cinderbank.domain.facts import MAX_LOST_RANGES, LostRanges
from cinderbank.ports.transfers import RestoreTransfer
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.restore import Restored, run_restore
from cinderbank.transfer.salvage import Salvaged
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    IMAGE,
    SITE,
    VOLUME,
    back_up,
    bank_on,
    content_hash_of,
    sample,
)
from tests.fakes.glance_images import FakeGlance, Image
from tests.fakes.object_store import MemoryStore

CONTENT = sample("trtrzrtrt", tail=1000)
DIGEST = content_hash_of(CONTENT)


def chunk(index: int) -> str:
    return layout.chunk(SITE, BACKUP, 1, index)


def zeroed(*indexes: int) -> bytes:
    content = bytearray(CONTENT)
    for index in indexes:
        length = min(CHUNK, len(content) - index * CHUNK)
        content[index * CHUNK : index * CHUNK + length] = bytes(length)
    return bytes(content)


def restore(store: MemoryStore, glance: FakeGlance, salvage: bool = True) -> Restored:
    transfer = RestoreTransfer(SITE, BACKUP, 1, IMAGE, len(CONTENT), salvage)
    meter = ProgressMeter(len(CONTENT), lambda progress: None)
    bank = bank_on(store, "site-b", read_only=True)
    done = run_restore(transfer, bank, glance.api(), meter, sleep=lambda seconds: None)
    assert meter.now().bytes_processed == len(CONTENT)
    return done


def damaged(damage: Callable[[MemoryStore], None]) -> tuple[MemoryStore, FakeGlance]:
    store, glance = MemoryStore(), FakeGlance()
    back_up(store, CONTENT)
    damage(store)
    glance.images[IMAGE] = Image()
    return store, glance


def lose(*indexes: int) -> Callable[[MemoryStore], None]:
    def damage(store: MemoryStore) -> None:
        for index in indexes:
            if index % 2:
                del store.objects[chunk(index)]
            else:
                store.flip(chunk(index), 45 * 8)

    return damage


@pytest.mark.parametrize("algo", ["sha512", "sha256", ""])
def test_lost_chunks_are_zeros_and_are_listed(algo: str) -> None:
    store, glance = damaged(lose(0, 1, 5, 9))
    glance.put_hash_algo = algo
    done = restore(store, glance)
    assert glance.images[IMAGE].data == zeroed(0, 1, 5, 9)
    ranges = ((0, 2 * CHUNK - 1), (5 * CHUNK, 6 * CHUNK - 1), (9 * CHUNK, 9 * CHUNK + 999))
    assert done == Restored(DIGEST, LostRanges(3, 3 * CHUNK + 1000, ranges))


def test_a_hole_between_lost_chunks_is_not_lost() -> None:
    store, glance = damaged(lose(3, 5))
    done = restore(store, glance)
    assert done.lost is not None
    assert done.lost.ranges == ((3 * CHUNK, 4 * CHUNK - 1), (5 * CHUNK, 6 * CHUNK - 1))


def test_a_lost_index_part_loses_its_chunks_only() -> None:
    store, glance = damaged(
        lambda store: store.flip(layout.index_part(SITE, VOLUME, BACKUP, 1, 1), 50 * 8)
    )
    done = restore(store, glance)
    assert glance.images[IMAGE].data == zeroed(3, 4, 5)
    assert done.lost == LostRanges(1, 3 * CHUNK, ((3 * CHUNK, 6 * CHUNK - 1),))


def test_a_whole_backup_salvages_to_a_plain_restore() -> None:
    store, glance = damaged(lose())
    assert restore(store, glance) == Restored(DIGEST)
    assert glance.images[IMAGE].data == CONTENT


def test_the_default_fails_and_leaves_no_image() -> None:
    store, glance = damaged(lose(1))
    with pytest.raises(DataCorrupt, match="chunk 1"):
        restore(store, glance, salvage=False)
    assert glance.images[IMAGE].status == "queued"


def test_an_outage_is_never_taken_for_loss() -> None:
    store, glance = damaged(lose(1))

    def away(count: int, verb: str, key: str) -> None:
        if key == chunk(6):
            raise Unavailable("away")

    store.before_request = away
    with pytest.raises(Unavailable):
        restore(store, glance)
    assert glance.images[IMAGE].status == "queued"


def test_a_deleted_backup_is_not_salvaged() -> None:
    store, glance = damaged(lose(1))
    del store.objects[layout.seal(SITE, BACKUP, VOLUME)]
    with pytest.raises(SourceGone):
        restore(store, glance)


def test_a_second_attempt_finds_the_same_losses_in_an_image_that_is_active() -> None:
    store, glance = damaged(lose(1, 7))
    first = restore(store, glance)
    puts = glance.puts
    assert restore(store, glance) == first
    assert glance.puts == puts


def test_an_active_image_that_is_not_what_is_left_is_refused() -> None:
    store, glance = damaged(lose(1))
    glance.add(IMAGE, zeroed(2))
    with pytest.raises(DataCorrupt, match="never becomes a volume"):
        restore(store, glance)


def test_a_body_that_is_sent_again_tells_its_losses_once() -> None:
    store, glance = damaged(lose(1))
    glance.unauthorized_next_puts = 2
    done = restore(store, glance)
    assert done.lost == LostRanges(1, CHUNK, ((CHUNK, 2 * CHUNK - 1),))


def test_ranges_are_bounded_and_counted() -> None:
    salvaged = Salvaged()
    for number in range(2 * (MAX_LOST_RANGES + 50)):
        salvaged.add(10, lost=number % 2 == 0)
    salvaged.add(10, lost=True)
    salvaged.add(10, lost=True)
    lost = salvaged.lost()
    assert lost is not None
    assert (lost.count, lost.lost_bytes) == (MAX_LOST_RANGES + 51, 10 * (MAX_LOST_RANGES + 52))
    assert len(lost.ranges) == MAX_LOST_RANGES
    assert lost.ranges[-1] == (20 * (MAX_LOST_RANGES - 1), 20 * (MAX_LOST_RANGES - 1) + 9)
