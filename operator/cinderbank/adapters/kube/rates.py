"""How often may we write: a token bucket, and the rule for progress; pure but for the given clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


class TokenBucket:
    """`burst` at once, then `per_second`; thread-safe."""

    def __init__(self, *, per_second: float, burst: int, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """One token if there is one."""
        with self._lock:
            self._fill()
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True

    def reserve(self) -> float:
        """One token, now or owed: returns how many seconds to wait before it is used."""
        with self._lock:
            self._fill()
            self._tokens -= 1.0
            return max(0.0, -self._tokens / self._per_second)

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now


@dataclass(frozen=True, slots=True)
class ProgressRule:
    """Progress alone is worth a write when it grew enough or was silent for long."""

    interval_seconds: float = 10.0
    step_percent: float = 1.0
    silence_seconds: float = 30.0

    def is_due(self, seconds_since_write: float, percent_grown: float) -> bool:
        if seconds_since_write < self.interval_seconds:
            return False
        return percent_grown >= self.step_percent or seconds_since_write >= self.silence_seconds
