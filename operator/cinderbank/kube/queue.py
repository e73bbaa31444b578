"""Which object is worked on next: a queue of keys that knows time, and the threads that empty it.

`Schedule` is the rule and takes its time from outside; `WorkQueue` gives it a lock; `Workers` are
the threads. Promises: a key is never worked on twice at once; a key that was added while it was
worked on is worked on again; of several wishes the earliest wins; nothing that was added is lost
but by `forget`.
"""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cinderbank.domain.errors import CinderbankError

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 300.0


@dataclass(slots=True)
class _Entry:
    due_at: float | None = None
    """None: nobody asked for a run."""
    running: bool = False
    started_at: float = float("-inf")
    failures: int = 0


class Schedule(Generic[K]):
    """The rule, without threads or a clock; all times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._entries: dict[K, _Entry] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = 0

    def add(self, key: K, due_at: float) -> None:
        """Ask for a run at `due_at`; an earlier wish stays."""
        entry = self._entries.setdefault(key, _Entry())
        if entry.due_at is None or due_at < entry.due_at:
            entry.due_at = due_at
            if not entry.running:
                self._push(key, due_at)

    def wake(self, key: K, now: float, interval_seconds: float) -> None:
        """Ask for a run soon, but not within `interval_seconds` of the start of the last one."""
        entry = self._entries.setdefault(key, _Entry())
        self.add(key, max(now, entry.started_at + interval_seconds))

    def take(self, now: float) -> K | None:
        """The key that is due longest, marked as running; None when none is due."""
        while self._heap and self._heap[0][0] <= now:
            due_at, _, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is None or entry.running or entry.due_at != due_at:
                continue  # forgotten, or an earlier wish has replaced this one
            entry.running, entry.due_at, entry.started_at = True, None, now
            return key
        return None

    def done(self, key: K, due_at: float | None = None) -> None:
        """The run ended well; `due_at` asks for the next one."""
        entry = self._ended(key)
        entry.failures = 0
        self._settle(key, entry, due_at)

    def failed(self, key: K, now: float, jitter: float = 1.0) -> float:
        """The run ended by an exception: tried again after a growing time, which is returned."""
        entry = self._ended(key)
        entry.failures += 1
        delay = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(entry.failures - 1, 20))
        self._settle(key, entry, now + delay * jitter)
        return delay * jitter

    def forget(self, key: K) -> None:
        """Drop every wish for a key; a run in flight goes on, and may ask again when it ends."""
        entry = self._entries.get(key)
        if entry is None:
            return
        if entry.running:
            entry.due_at = None
        else:
            del self._entries[key]

    def next_due_at(self) -> float | None:
        """When `take` next has something; None when nothing waits."""
        while self._heap:
            due_at, _, key = self._heap[0]
            entry = self._entries.get(key)
            if entry is not None and not entry.running and entry.due_at == due_at:
                return due_at
            heapq.heappop(self._heap)
        return None

    def depth(self, now: float) -> int:
        """How many keys are due and wait for a thread."""
        return sum(
            1
            for entry in self._entries.values()
            if not entry.running and entry.due_at is not None and entry.due_at <= now
        )

    def oldest_run_started_at(self) -> float | None:
        return min((e.started_at for e in self._entries.values() if e.running), default=None)

    def _ended(self, key: K) -> _Entry:
        entry = self._entries[key]
        entry.running = False
        return entry

    def _settle(self, key: K, entry: _Entry, due_at: float | None) -> None:
        wished = [at for at in (entry.due_at, due_at) if at is not None]
        entry.due_at = min(wished, default=None)
        if entry.due_at is not None:
            self._push(key, entry.due_at)
        elif entry.failures == 0:
            del self._entries[key]  # nothing left to know: an idle object costs nothing

    def _push(self, key: K, due_at: float) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (due_at, self._sequence, key))


class WorkQueue(Generic[K]):
    """`Schedule` for many threads, on the monotonic clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._schedule: Schedule[K] = Schedule()
        self._changed = threading.Condition()
        self._closed = False

    def add(self, key: K, after_seconds: float = 0.0) -> None:
        with self._changed:
            self._schedule.add(key, self._clock() + after_seconds)
            self._changed.notify()

    def wake(self, key: K, interval_seconds: float = 1.0) -> None:
        """Run soon, at most once per interval: for wishes that come in floods (progress lines)."""
        with self._changed:
            self._schedule.wake(key, self._clock(), interval_seconds)
            self._changed.notify()

    def forget(self, key: K) -> None:
        with self._changed:
            self._schedule.forget(key)

    def take(self) -> K | None:
        """Wait for a key that is due; None when the queue is closed."""
        with self._changed:
            while not self._closed:
                key = self._schedule.take(self._clock())
                if key is not None:
                    return key
                due_at = self._schedule.next_due_at()
                self._changed.wait(None if due_at is None else max(0.0, due_at - self._clock()))
            return None

    def done(self, key: K, after_seconds: float | None = None) -> None:
        with self._changed:
            due_at = None if after_seconds is None else self._clock() + after_seconds
            self._schedule.done(key, due_at)
            self._changed.notify()

    def failed(self, key: K) -> float:
        jitter = random.uniform(0.8, 1.2)
        with self._changed:
            delay = self._schedule.failed(key, self._clock(), jitter)
            self._changed.notify()
            return delay

    def close(self) -> None:
        """Let every `take` return None; runs in flight end by themselves."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def depth(self) -> int:
        with self._changed:
            return self._schedule.depth(self._clock())

    def longest_run_seconds(self) -> float:
        """How long the oldest run in flight has been going; 0 when none is."""
        with self._changed:
            started_at = self._schedule.oldest_run_started_at()
            return 0.0 if started_at is None else self._clock() - started_at


class Workers(Generic[K]):
    """The threads: each takes a key, calls `work` and gives the key back, whatever happens.

    `work` returns the seconds until it wants to be called again, or None.
    """

    def __init__(
        self, queue: WorkQueue[K], work: Callable[[K], float | None], threads: int
    ) -> None:
        self._queue = queue
        self._work = work
        # daemon: a thread inside an SDK call must not keep a process that was told to end
        self._threads = [
            threading.Thread(target=self._loop, name=f"tick-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self, seconds: float) -> bool:
        """Wait until all threads have ended (after `queue.close()`); False when time ran out."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def _loop(self) -> None:
        while (key := self._queue.take()) is not None:
            try:
                after_seconds = self._work(key)
            except CinderbankError as error:
                delay = self._queue.failed(key)
                log.warning("%s: %s; next try in %.0f s", key, error.message, delay)
            except Exception:
                delay = self._queue.failed(key)
                log.exception("unexpected error on %s, next try in %.0f s", key, delay)
            else:
                self._queue.done(key, after_seconds)
