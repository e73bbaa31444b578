"""Signs of life: who works at a session says so once a minute, and a collection breaks the silent.

A beat is for liveness only. A session that was broken although somebody works at it costs that backup
(its seal is refused), never another one; so no clock, and no beat that came late, can lose data. Ages
are by the store's own clock: a beat's body is always the same, what counts is when it was put.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from cinderbank.bank import layout
from cinderbank.bank.manifest import to_json
from cinderbank.bank.store import ObjectStore
from cinderbank.domain.errors import CinderbankError

log = logging.getLogger(__name__)

BEAT_NAME = "cinderbank-beat"
INTERVAL_SECONDS = 60.0
END_SECONDS = 5.0


def put_beat(store: ObjectStore, site: str, session: str) -> None:
    """Say once that this session (or reader) is alive. Idempotent."""
    store.put(layout.beat(site, session), to_json({}, BEAT_NAME))


class Heartbeat:
    """Beats in the background between `with` and its end; a beat that fails is the next one's work.

    The beat stays behind: a collection removes it when the session's intent is gone.
    """

    def __init__(
        self,
        store: ObjectStore,
        site: str,
        session: str,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._store = store
        self._site = site
        self._session = session
        self._interval_seconds = interval_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits for a beat in flight, but not for its retries: one that comes late harms nobody."""
        self._stop.set()
        self._thread.join(END_SECONDS)

    def _beat(self) -> None:
        while True:
            try:
                put_beat(self._store, self._site, self._session)
            except CinderbankError as error:
                log.warning("no sign of life for %s: %s", self._session, error.reason)
            if self._stop.wait(self._interval_seconds):
                return
