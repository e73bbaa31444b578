"""How many chunks are on their way to the bank at once: as many as make it faster.

A store that is far away needs many, one on the same machine few, and one that says SlowDown fewer than
before. `UploadLimit` decides, `UploadSlots` makes threads wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FEWEST = 2
MOST = 16
INITIAL = 4
EPOCH_SECONDS = 0.5
WORTH = 1.03
"""One more is kept when it moves 3 % more, one less when not 3 % less: from 15 to 16 can bring 6.7 %."""

SETTLED_EPOCHS = 20
"""So long nothing is tried after a step that was taken back."""


class UploadLimit:
    """As few as are as fast as any number; half of them when the store asks for less. Pure, NOT thread-safe.

    It doubles until that does not help or the store asks for less, then goes by one: upwards while that
    helps, downwards while that costs nothing, and waits between the two. Time is cut into epochs of half a
    second in which at least as many uploads ended as may run; only an epoch in which somebody had to wait
    for a slot says anything.
    """

    def __init__(self, fewest: int, most: int, now: float) -> None:
        self._fewest, self._most = min(fewest, most), most
        self.limit = max(self._fewest, min(INITIAL, most))
        self._doubling = self._upwards = True
        self._before: tuple[int, float] | None = None
        """Limit and bytes per second before the last step, while it is on trial."""
        self._settled = 0
        self._refused_at: float | None = None
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._began_at = now
        self._bytes = self._ended = 0
        self._crowded = False

    def waited(self) -> None:
        """Somebody had to wait for a slot."""
        self._crowded = True

    def ended(self, now: float, sent_bytes: int) -> None:
        """An upload was stored."""
        self._bytes += sent_bytes
        self._ended += 1
        passed = now - self._began_at
        if passed < EPOCH_SECONDS or self._ended < self.limit:
            return
        if self._crowded:
            self._judge(self._bytes / passed)
        self._begin(now)

    def _judge(self, rate: float) -> None:
        if self._before is not None:
            limit, rate_before = self._before
            self._before = None
            if rate < rate_before * (WORTH if self._upwards else 1 / WORTH):
                self.limit = limit
                self._turn(upwards=not self._upwards)
                return
        if self._settled:
            self._settled -= 1
            return
        wanted = self.limit - 1
        if self._upwards:
            wanted = self.limit * 2 if self._doubling else self.limit + 1
        wanted = max(self._fewest, min(self._most, wanted))
        if wanted == self.limit:
            self._turn(upwards=not self._upwards)
        else:
            self._before, self.limit = (self.limit, rate), wanted

    def _turn(self, upwards: bool) -> None:
        self._doubling, self._upwards, self._settled = False, upwards, SETTLED_EPOCHS

    def refused(self, now: float) -> None:
        """The store said SlowDown (503) or 429: half, but once for all that were on their way."""
        if self._refused_at is not None and now - self._refused_at < EPOCH_SECONDS:
            return
        self._refused_at, self._before = now, None
        self.limit = max(self._fewest, self.limit // 2)
        self._turn(upwards=True)
        self._begin(now)


class UploadSlots:
    """Thread-safe; shared by all workers and by the store that hears SlowDown."""

    def __init__(
        self,
        most: int = MOST,
        fewest: int = FEWEST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._limit = UploadLimit(fewest, most, clock())
        self._changed = threading.Condition()
        self._running = 0

    @property
    def limit(self) -> int:
        with self._changed:
            return self._limit.limit

    @contextmanager
    def slot(self, sent_bytes: int) -> Iterator[None]:
        """Around an upload of so many bytes; waits for its turn. One that raises counts for nothing."""
        with self._changed:
            if self._running >= self._limit.limit:
                self._limit.waited()
            while self._running >= self._limit.limit:
                self._changed.wait()
            self._running += 1
        try:
            yield
            with self._changed:
                self._limit.ended(self._clock(), sent_bytes)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def slow_down(self) -> None:
        """The store asks for less."""
        with self._changed:
            self._limit.refused(self._clock())
