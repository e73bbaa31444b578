"""What a person sees while the rig comes up: calm lines, each with the seconds since the start."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Prints what is done, and after a silence what is still being waited for and since when."""

    QUIET_SECONDS = 10

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._last_line = self._began
        self._under_way: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        with self._lock:
            self._last_line = time.monotonic()
            print(f"[{self.seconds:5.0f} s] {text}", flush=True)

    @contextmanager
    def waiting_for(self, what: str) -> Iterator[None]:
        """While in here, `what` is named when nothing else has been said for a while."""
        with self._lock:
            self._under_way[what] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._under_way.pop(what, None)

    def still_waiting_for(self) -> str:
        """What is under way, with seconds; empty when nothing is."""
        now = time.monotonic()
        with self._lock:
            return ", ".join(f"{what} ({now - t:.0f} s)" for what, t in self._under_way.items())

    def break_silence(self) -> None:
        """Called every second or so by the one who waits for all."""
        if time.monotonic() - self._last_line >= self.QUIET_SECONDS:
            waiting = self.still_waiting_for()
            if waiting:
                self.say(f"still waiting for {waiting}")
