"""How fast bytes go to and from a bank: one allowance for all threads of a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from cinderbank.bank.store import Buffer

PIECE_BYTES = 64 << 10
"""A body is let through in pieces of this size, so that no server waits long for the next one."""

BURST_SECONDS = 0.25
"""What was not used is given later, but no more than this much of it."""


class Bandwidth:
    """A token bucket; thread-safe. Every byte is paid for before it moves, in the order of asking."""

    def __init__(
        self,
        bytes_per_second: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if bytes_per_second < 1:
            raise ValueError(f"a bandwidth of {bytes_per_second} bytes per second moves nothing")
        self._rate = float(bytes_per_second)
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._paid_until = clock()

    def take(self, count: int) -> None:
        """Wait until `count` bytes may move."""
        pause = self._reserve(count)
        if pause > 0:
            self._sleep(pause)

    def _reserve(self, count: int) -> float:
        with self._lock:
            now = self._clock()
            begin = max(self._paid_until, now - BURST_SECONDS)
            self._paid_until = begin + count / self._rate
            return self._paid_until - now

    def pieces(self, body: Iterable[Buffer]) -> Iterator[memoryview]:
        """The same bytes, each piece when it may go."""
        for buffer in body:
            view = memoryview(buffer)
            for first in range(0, len(view), PIECE_BYTES):
                piece = view[first : first + PIECE_BYTES]
                self.take(len(piece))
                yield piece
