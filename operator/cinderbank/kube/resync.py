"""The full list, now and then: finds what the watches lost, and says when everything is known.

A watch that was away for too long is begun anew by a list, and objects that vanished meanwhile are
never told as deleted. Without this they would stay in our counts, and their transfers running.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from cinderbank.domain.errors import CinderbankError
from cinderbank.kube.known import KINDS, Key, KnownObjects, key_of
from cinderbank.kube.reconcile import Raw

log = logging.getLogger(__name__)

FIRST_LIST_RETRY_SECONDS = 5.0


class Resync:
    """Lists on its interval, in a thread of its own."""

    def __init__(
        self,
        list_kind: Callable[[str], Iterable[Raw]],
        known: KnownObjects,
        *,
        on_seen: Callable[[Raw], None],
        on_missing: Callable[[Key], None],
        interval_seconds: float,
    ) -> None:
        self._list_kind = list_kind
        self._known = known
        self._on_seen = on_seen
        self._on_missing = on_missing
        self._interval_seconds = interval_seconds
        self._stop = threading.Event()
        self._listed_at: float | None = None
        self._thread = threading.Thread(target=self._loop, name="resync", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def age_seconds(self) -> float | None:
        """Since the last full list that went well; None when none did."""
        return None if self._listed_at is None else time.monotonic() - self._listed_at

    def run_once(self) -> None:
        """Raises what the API server's answers raise."""
        started_at = time.monotonic()
        total = 0
        for kind in KINDS:
            before = self._known.keys()
            present = set()
            for raw in self._list_kind(kind):
                present.add(key_of(raw))
                self._on_seen(raw)
            total += len(present)
            for key in self._known.missing(present, kind, before):
                log.info("%s is gone, and no watch told it", key)
                self._on_missing(key)
        self._listed_at = time.monotonic()
        log.info("listed %d objects in %.1f s", total, self._listed_at - started_at)

    def first(self) -> bool:
        """List until it works once; False when told to stop. The CRDs may come after us."""
        while not self._stop.is_set():
            try:
                self.run_once()
            except CinderbankError as error:
                log.warning(
                    "waiting for our kinds (are the CRDs installed, and RBAC?): %s", error.message
                )
                self._stop.wait(FIRST_LIST_RETRY_SECONDS)
            else:
                return True
        return False

    def _loop(self) -> None:
        while not self._stop.wait(self._interval_seconds):
            try:
                self.run_once()
            except CinderbankError as error:
                log.warning("the full list failed: %s", error.message)
            except Exception:
                log.exception("the full list failed")
