"""What a transfer says: JSON lines on one file descriptor, each written by one write(2).

{"event":"progress","bytes_total":...,...}            at most two a second
{"event":"result","content_hash":"...","progress":{...}}    the last line of a good end;
    with "lost":{"count":...,"lost_bytes":...,"ranges":[[first,last],...]} when a salvage lost something;
    of a comparison with "compared":true, and "different" as "lost" when there is a difference
{"event":"error","reason":"...","message":"...","retryable":true}    the last line of a bad one
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cinderbank.domain.errors import CinderbankError, Retryable
from cinderbank.domain.facts import LostRanges, TransferProgress

PROGRESS_INTERVAL_SECONDS = 0.5
RATE_WINDOW_SECONDS = 15.0
MAX_MESSAGE_CHARACTERS = 2000


class EventWriter:
    """Thread-safe, and safe in a signal handler: it takes no lock and buffers nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def _write(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, separators=(",", ":")).encode("ascii") + b"\n"
        os.write(self._descriptor, line)

    def progress(self, progress: TransferProgress) -> None:
        self._write({"event": "progress", **asdict(progress)})

    def result(
        self, content_hash: str, progress: TransferProgress, lost: LostRanges | None = None
    ) -> None:
        event = {"event": "result", "content_hash": content_hash, "progress": asdict(progress)}
        self._write(event if lost is None else {**event, "lost": asdict(lost)})

    def compared(
        self, content_hash: str, progress: TransferProgress, different: LostRanges | None
    ) -> None:
        event = {"event": "result", "content_hash": content_hash, "progress": asdict(progress)}
        told = {} if different is None else {"different": asdict(different)}
        self._write({**event, "compared": True, **told})

    def error(self, error: CinderbankError) -> None:
        self._write(
            {
                "event": "error",
                "reason": error.reason,
                "message": error.message[:MAX_MESSAGE_CHARACTERS],
                "retryable": isinstance(error, Retryable),
            }
        )


class ProgressMeter:
    """Counts bytes from many threads and tells `emit` now and then; thread-safe."""

    def __init__(
        self,
        bytes_total: int,
        emit: Callable[[TransferProgress], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = bytes_total
        self._emit = emit
        self._clock = clock
        self._lock = threading.Lock()
        self._processed = self._stored = self._zero = self._reused = 0
        self._samples = deque([(clock(), 0)], maxlen=64)
        self._told_at = clock() - PROGRESS_INTERVAL_SECONDS

    def add(self, processed: int, stored: int = 0, zero: int = 0, reused: int = 0) -> None:
        with self._lock:
            self._processed += processed
            self._stored += stored
            self._zero += zero
            self._reused += reused
            now = self._clock()
            if now - self._told_at < PROGRESS_INTERVAL_SECONDS:
                return
            self._told_at = now
            self._samples.append((now, self._processed))
            while now - self._samples[0][0] > RATE_WINDOW_SECONDS and len(self._samples) > 2:
                self._samples.popleft()
            progress = self._snapshot(now)
        self._emit(progress)

    def restart(self) -> None:
        """Begin at zero again: the same bytes are sent once more."""
        with self._lock:
            self._processed = self._stored = self._zero = self._reused = 0
            self._samples.clear()
            self._samples.append((self._clock(), 0))

    def _snapshot(self, now: float) -> TransferProgress:
        then, before = self._samples[0]
        rate = (self._processed - before) / (now - then) if now > then else 0.0
        eta = (self._total - self._processed) / rate if rate > 0 else None
        return TransferProgress(
            self._total, self._processed, self._stored, self._zero, self._reused, rate, eta
        )

    def now(self) -> TransferProgress:
        with self._lock:
            return self._snapshot(self._clock())
