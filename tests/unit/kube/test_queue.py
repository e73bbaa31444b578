"""The queue's promises, by random histories on a clock of our own, and once with real threads."""

from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from cinderbank.domain.errors import Unavailable
from cinderbank.kube.queue import LONGEST_RETRY_SECONDS, Schedule, Workers, WorkQueue

KEYS = st.sampled_from("abc")
DELAYS = st.sampled_from([0.0, 0.5, 1.0, 30.0])
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, DELAYS),
        st.tuples(st.just("wake"), KEYS, DELAYS),
        st.tuples(st.just("take"), KEYS, DELAYS),
        st.tuples(st.just("done"), KEYS, st.none() | DELAYS),
        st.tuples(st.just("failed"), KEYS, DELAYS),
        st.tuples(st.just("pass"), KEYS, DELAYS),
    ),
    max_size=60,
)


@given(ACTIONS)
def test_nothing_runs_twice_at_once_and_nothing_is_lost(
    actions: list[tuple[str, str, float | None]],
) -> None:
    schedule: Schedule[str] = Schedule()
    now = 0.0
    running: set[str] = set()
    wished: dict[str, float] = {}
    """key -> the latest moment at which it must be offered again."""
    for action, key, seconds in actions:
        delay = seconds or 0.0
        match action:
            case "add":
                schedule.add(key, now + delay)
                wished[key] = min(wished.get(key, float("inf")), now + delay)
            case "wake":
                schedule.wake(key, now, delay)
                wished[key] = min(wished.get(key, float("inf")), now + delay)
            case "take":
                taken = schedule.take(now)
                if taken is not None:
                    assert taken not in running
                    running.add(taken)
                    del wished[taken]
                else:
                    assert all(at > now for k, at in wished.items() if k not in running)
            case "done" if key in running:
                running.remove(key)
                schedule.done(key, None if seconds is None else now + seconds)
                if seconds is not None:
                    wished[key] = min(wished.get(key, float("inf")), now + seconds)
            case "failed" if key in running:
                running.remove(key)
                again = schedule.failed(key, now)
                wished[key] = min(wished.get(key, float("inf")), now + again)
            case "pass":
                now += delay
    # everything that was wished for comes once the time has passed and the runs have ended
    for key in running:
        schedule.done(key)
    now += LONGEST_RETRY_SECONDS + 31
    offered = set()
    while (taken := schedule.take(now)) is not None:
        offered.add(taken)
        schedule.done(taken)
    assert offered == set(wished)
    assert schedule.next_due_at() is None


def test_the_earliest_wish_wins() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 30)
    schedule.add("a", 10)
    schedule.add("a", 20)
    assert schedule.next_due_at() == 10
    assert schedule.take(9.9) is None
    assert schedule.take(10) == "a"
    schedule.done("a")
    assert schedule.take(100) is None


def test_a_wish_during_a_run_is_kept() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 0)
    assert schedule.take(0) == "a"
    schedule.add("a", 0)
    assert schedule.take(1) is None
    schedule.done("a", 60)
    assert schedule.take(1) == "a"


def test_wakes_are_bounded_by_their_interval() -> None:
    schedule: Schedule[str] = Schedule()
    runs = 0
    for now in range(100):
        schedule.wake("a", float(now), 10)
        if schedule.take(float(now)) is not None:
            runs += 1
            schedule.done("a", now + 1000.0)
    assert runs == 10


def test_back_off_grows_and_ends() -> None:
    schedule: Schedule[str] = Schedule()
    now, delays = 0.0, []
    schedule.add("a", now)
    for _ in range(12):
        assert schedule.take(now) == "a"
        delays.append(schedule.failed("a", now))
        now += delays[-1]
    assert delays[:4] == [1, 2, 4, 8]
    assert delays[-1] == LONGEST_RETRY_SECONDS
    assert schedule.take(now) == "a"
    schedule.done("a", now)
    assert schedule.take(now) == "a"
    assert schedule.failed("a", now) == 1


def test_a_forgotten_key_does_not_come() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 0)
    schedule.forget("a")
    schedule.forget("b")
    assert schedule.take(1) is None
    assert schedule.depth(1) == 0


def test_threads_serialise_each_key_and_do_all() -> None:
    queue: WorkQueue[int] = WorkQueue()
    running: set[int] = set()
    done: dict[int, int] = {}
    lock, all_done = threading.Lock(), threading.Event()

    def work(key: int) -> float | None:
        with lock:
            assert key not in running
            running.add(key)
        time.sleep(0.001)
        with lock:
            running.remove(key)
            done[key] = done.get(key, 0) + 1
            count = done[key]
            if len(done) == 20 and min(done.values()) >= 5:
                all_done.set()
        if count == 2:
            raise Unavailable("once more")
        return 0.0 if count < 5 else None

    workers = Workers(queue, work, threads=6)
    workers.start()
    for key in [*range(20)] * 3:
        queue.add(key)
    assert all_done.wait(120)
    assert workers.alive()
    queue.close()
    assert workers.join(120)
    assert queue.longest_run_seconds() == 0
