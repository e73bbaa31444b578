"""Kubernetes Events about our objects (events.k8s.io/v1): best effort, aggregated, rate bounded.

A thread of its own writes them: an Event must neither hold up nor fail a tick. Equal Events become
one with a growing `series`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.paths import events_path
from cinderbank.adapters.kube.rates import TokenBucket
from cinderbank.api.v1alpha1.resource import API_VERSION, GROUP
from cinderbank.domain.errors import CinderbankError

log = logging.getLogger(__name__)

SERIES_WINDOW_SECONDS = 600.0
"""An equal Event within this time belongs to the same series."""
SERIES_WRITE_SECONDS = 60.0
"""A growing series is written this often."""
REMEMBERED_SERIES = 2000
NOTE_LIMIT = 1000
"""The API server refuses notes of more than 1,024 bytes."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What an Event is about."""

    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    last_seen: float
    written_at: float


class KubeEvents:
    """`say` returns at once and never raises; what comes too fast is dropped."""

    def __init__(
        self,
        api: KubeApi,
        instance: str,
        *,
        clean: Callable[[str], str] = lambda text: text,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._instance = instance
        self._clean = clean
        self._clock = clock
        self._bucket = TokenBucket(per_second=5, burst=50, clock=clock)
        self._series: OrderedDict[tuple[str, str, str, str], _Series] = OrderedDict()
        self._waiting: queue.Queue[tuple[Subject, str, str, str] | None] = queue.Queue(1000)
        self._thread = threading.Thread(target=self._loop, name="events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Write what waits, but not for longer than `seconds`."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(seconds)

    def say(self, subject: Subject, reason: str, message: str, *, warning: bool = False) -> None:
        note = self._clean(message).encode()[:NOTE_LIMIT].decode(errors="ignore")
        try:
            self._waiting.put_nowait((subject, reason, note, "Warning" if warning else "Normal"))
        except queue.Full:
            log.debug("an Event was dropped: too many wait")

    def _loop(self) -> None:
        while (item := self._waiting.get()) is not None:
            try:
                self.write(*item)
            except CinderbankError as error:
                log.info("an Event was not written: %s", error.message)
            except Exception:
                log.exception("an Event was not written")

    def write(self, subject: Subject, reason: str, note: str, type_: str) -> None:
        """Create an Event, or let the series it belongs to grow."""
        now = self._clock()
        key = (subject.uid, reason, note, type_)
        series = self._series.get(key)
        if series is not None and now - series.last_seen < SERIES_WINDOW_SECONDS:
            self._grow(subject, series, now)
            return
        if not self._bucket.take():
            return
        name = f"{subject.name[:200]}.{uuid.uuid4().hex[:16]}"
        self._api.create(
            events_path(subject.namespace),
            self._body(name, subject, reason, note, type_),
        )
        self._series[key] = _Series(name, 1, now, now)
        self._series.move_to_end(key)
        while len(self._series) > REMEMBERED_SERIES:
            self._series.popitem(last=False)

    def _grow(self, subject: Subject, series: _Series, now: float) -> None:
        series.count += 1
        series.last_seen = now
        due = series.count == 2 or now - series.written_at >= SERIES_WRITE_SECONDS
        if not due or not self._bucket.take():
            return
        series.written_at = now
        self._api.merge_patch(
            f"{events_path(subject.namespace)}/{series.name}",
            {"series": {"count": series.count, "lastObservedTime": _micro_time()}},
        )

    def _body(
        self, name: str, subject: Subject, reason: str, note: str, type_: str
    ) -> Mapping[str, Any]:
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": subject.namespace},
            "eventTime": _micro_time(),
            "reportingController": f"{GROUP}/operator",
            "reportingInstance": self._instance[:128],
            "action": "Reconcile",
            "reason": reason[:128],
            "type": type_,
            "note": note,
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": subject.kind,
                "namespace": subject.namespace,
                "name": subject.name,
                "uid": subject.uid,
            },
        }


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
