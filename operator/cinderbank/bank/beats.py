"""Signs of life: the operator says of each session that it works at, once a minute, that it does.

A beat is for liveness only. A session that was broken although somebody works at it costs that backup
(its seal is refused), never another one; so no clock, and no beat that came late, can lose data. Ages
are by the store's own clock: a beat's body is always the same, what counts is when it was put.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cinderbank.bank import layout
from cinderbank.bank.manifest import to_json
from cinderbank.bank.store import ObjectStore

BEAT_NAME = "cinderbank-beat"
INTERVAL_SECONDS = 60.0


class Beats:
    """Of one process and bank: at most one request a minute for each session. Thread-safe."""

    def __init__(
        self, store: ObjectStore, monotonic_seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._monotonic_seconds = monotonic_seconds
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def beat(self, site: str, session: str) -> None:
        """Say that this session (or reader) is alive, unless that was said within a minute.

        Idempotent. The beat goes with the intent, or when a collection finds it alone.
        """
        key, now = layout.beat(site, session), self._monotonic_seconds()
        with self._lock:
            young = {k: at for k, at in self._last.items() if now - at < INTERVAL_SECONDS}
            if key in young:
                return
        self._store.put(key, to_json({}, BEAT_NAME))
        with self._lock:
            self._last = {**young, key: now}
