"""How many uploads run at once, on a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from cinderbank.transfer.upload_limit import (
    EPOCH_SECONDS,
    FEWEST,
    INITIAL,
    MOST,
    SETTLED_EPOCHS,
    UploadLimit,
    UploadSlots,
)

MIB = 1 << 20


def epochs(
    limit: UploadLimit, rate: Callable[[int], float], count: int, now: float = 0.0
) -> list[int]:
    """So many epochs of a store that stores `rate(limit)` bytes a second; the limit after each."""
    seen = []
    for _ in range(count):
        uploads = limit.limit
        sent = rate(uploads) * EPOCH_SECONDS
        now += EPOCH_SECONDS
        limit.waited()
        for _ in range(uploads):
            limit.ended(now, int(sent / uploads))
        seen.append(limit.limit)
    return seen


def test_a_store_that_is_far_away_gets_all_that_may_be() -> None:
    seen = epochs(UploadLimit(FEWEST, MOST, 0.0), lambda uploads: uploads * 10 * MIB, 10)
    assert seen[:2] == [2 * INITIAL, MOST]
    assert set(seen[2:]) == {MOST}


@pytest.mark.parametrize("enough", [2, 3, 4, 5, 7, 9, 12, 16])
def test_it_stays_near_what_is_enough(enough: int) -> None:
    limit = UploadLimit(FEWEST, MOST, 0.0)
    seen = epochs(limit, lambda uploads: min(uploads, enough) * 10 * MIB, 12 * SETTLED_EPOCHS)
    assert {abs(each - enough) for each in seen[2 * SETTLED_EPOCHS :]} <= {0, 1}
    assert seen[-SETTLED_EPOCHS:].count(enough) >= SETTLED_EPOCHS - 2


def test_more_that_does_not_help_is_taken_back_and_not_tried_again_at_once() -> None:
    limit = UploadLimit(FEWEST, MOST, 0.0)
    seen = epochs(limit, lambda uploads: 100 * MIB, SETTLED_EPOCHS + 4)
    assert seen[:2] == [2 * INITIAL, INITIAL]
    assert set(seen[2 : SETTLED_EPOCHS + 2]) == {INITIAL}
    assert seen[-2:] == [INITIAL - 1, INITIAL - 2], "then as few as are as fast"


def test_nothing_is_learned_while_nobody_waits() -> None:
    limit = UploadLimit(FEWEST, MOST, 0.0)
    for number in range(100):
        limit.ended(number * EPOCH_SECONDS, MIB)
    assert limit.limit == INITIAL


def test_a_refusal_halves_it_once_for_all_that_were_on_their_way() -> None:
    limit = UploadLimit(FEWEST, MOST, 0.0)
    epochs(limit, lambda uploads: uploads * 10 * MIB, 4)
    for _ in range(MOST):
        limit.refused(100.0)
    assert limit.limit == MOST // 2
    limit.refused(100.0 + EPOCH_SECONDS)
    assert limit.limit == MOST // 4
    for number in range(10):
        limit.refused(200.0 + number)
    assert limit.limit == FEWEST


def test_after_a_refusal_it_grows_by_one() -> None:
    limit = UploadLimit(FEWEST, MOST, 0.0)
    epochs(limit, lambda uploads: uploads * 10 * MIB, 4)
    limit.refused(100.0)
    seen = epochs(limit, lambda uploads: uploads * 10 * MIB, SETTLED_EPOCHS + 3, now=100.0)
    assert seen[-4:] == [8, 9, 10, 11]


@pytest.mark.parametrize("most", [1, 2, 3, 16])
def test_the_bounds_hold(most: int) -> None:
    limit = UploadLimit(FEWEST, most, 0.0)
    seen = epochs(limit, lambda uploads: uploads * 10 * MIB, 30)
    assert max(seen) == most
    for number in range(10):
        limit.refused(1000.0 + number)
    assert limit.limit == min(FEWEST, most)


def test_slots_never_let_in_more_and_let_in_all() -> None:
    slots = UploadSlots(most=3, clock=lambda: 0.0)
    inside, most_inside = 0, 0
    lock, meeting = threading.Lock(), threading.Barrier(3)

    def upload() -> None:
        nonlocal inside, most_inside
        with slots.slot(MIB):
            with lock:
                inside += 1
                most_inside = max(most_inside, inside)
            meeting.wait(timeout=30)  # three are in at once, or this breaks
            with lock:
                inside -= 1

    threads = [threading.Thread(target=upload) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most_inside == 3
    assert not meeting.broken


def test_an_upload_that_fails_gives_its_slot_back() -> None:
    slots = UploadSlots(most=1)
    for _ in range(3):
        with pytest.raises(OSError, match="away"), slots.slot(MIB):
            raise OSError("away")
    with slots.slot(MIB):
        pass
