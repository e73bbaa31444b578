"""One run of one object: read it anew, hand it to its kind's work, say what came of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from cinderbank.domain.errors import Conflict, Permanent, SourceGone
from cinderbank.domain.record import Memory
from cinderbank.engine.tick import TickResult
from cinderbank.kube.known import VOLUME_BACKUP, Key

log = logging.getLogger(__name__)

CONFLICT_SECONDS = 0.5
"""Somebody wrote the object meanwhile: read it again, without the back-off of an error."""

SILENT_STEPS = frozenset({"", "Wait", "Idle"})

Raw = dict[str, Any]
Work = Callable[[Key, Raw], float | None]
"""(key, object) -> seconds until it wants to run again, or None."""


class Objects(Protocol):
    """Our objects, as the API server has them now."""

    def find(self, kind: str, namespace: str, name: str) -> Raw | None: ...


class Meter(Protocol):
    """What is counted; see adapters.prometheus.Metrics."""

    def moved(self, direction: str, byte_count: int) -> None: ...
    def ended(self, kind: str, result: str, seconds: float) -> None: ...
    def error(self, reason: str) -> None: ...
    def ticked(self, kind: str, result: str, seconds: float) -> None: ...


class Reconciler:
    """What the worker threads call."""

    def __init__(
        self,
        objects: Objects,
        works: Mapping[str, Work],
        *,
        on_gone: Callable[[Key], None],
        about: Callable[[Key], AbstractContextManager[None]],
    ) -> None:
        self._objects = objects
        self._works = works
        self._on_gone = on_gone
        self._about = about

    def run(self, key: Key) -> float | None:
        """Seconds until the next run, or None when only a change brings one.

        Raises what the API server's answers raise; the queue then tries again.
        """
        with self._about(key):
            raw = self._objects.find(key.kind, key.namespace, key.name)
            if raw is None or raw["metadata"]["uid"] != key.uid:
                self._on_gone(key)
                return None
            try:
                return self._works[key.kind](key, raw)
            except Conflict as error:
                return error.retry_after_seconds or CONFLICT_SECONDS
            except SourceGone as error:
                log.debug("the object went away: %s", error.message)
                return CONFLICT_SECONDS


class TickMeter:
    """Turns the results of ticks into log lines and counts; thread-safe."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._processed: dict[str, int] = {}
        self._lock = threading.Lock()

    def tell(self, key: Key, before: Memory, result: TickResult, started_at: float) -> None:
        seconds = time.monotonic() - started_at
        error = result.error
        verdict = (
            "ok" if error is None else "failed" if isinstance(error, Permanent) else "retryable"
        )
        self._meter.ticked(key.kind, verdict, seconds)
        if error is not None and not isinstance(error, Conflict):
            self._meter.error(error.reason)
        self._count_bytes(key, result)
        after = result.memory
        if before.completed_at is None and after.completed_at is not None:
            self._forget(key.uid)
            if after.outcome is not None:
                started = after.started_at or after.completed_at
                length = (after.completed_at - started).total_seconds()
                self._meter.ended(key.kind, after.outcome.phase.value, length)
        self._log(before, result, seconds)

    def forget(self, key: Key) -> None:
        self._forget(key.uid)

    def _count_bytes(self, key: Key, result: TickResult) -> None:
        progress = result.report.progress
        if progress is None:
            return
        with self._lock:
            known = self._processed.get(key.uid, 0)
            self._processed[key.uid] = progress.bytes_processed
        # a new attempt begins at 0 again: its bytes are moved once more
        grown = progress.bytes_processed - (known if progress.bytes_processed >= known else 0)
        if grown:
            self._meter.moved("backup" if key.kind == VOLUME_BACKUP else "restore", grown)

    def _forget(self, uid: str) -> None:
        with self._lock:
            self._processed.pop(uid, None)

    def _log(self, before: Memory, result: TickResult, seconds: float) -> None:
        fields = {
            "backupID": result.memory.backup_id or "",
            "step": result.step,
            "phase": result.report.phase.value,
            "seconds": f"{seconds:.3f}",
        }
        extra = {"fields": {name: value for name, value in fields.items() if value}}
        if isinstance(result.error, Conflict):  # somebody wrote meanwhile: the next tick looks anew
            log.debug("%s: %s", result.step, result.error.message, extra=extra)
        elif result.error is not None:
            extra["fields"]["reason"] = result.error.reason
            # the same trouble again, of a thousand objects each minute, would bury what is new
            told = (
                before.last_error is not None and before.last_error.message == result.error.message
            )
            level = logging.DEBUG if told else logging.WARNING
            log.log(level, "%s: %s", result.step or "blocked", result.error.message, extra=extra)
        elif result.step in SILENT_STEPS:
            log.debug("%s", result.step or "nothing to do", extra=extra)
        else:
            log.info("%s", result.step, extra=extra)
