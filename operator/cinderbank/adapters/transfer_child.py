"""One child process that moves bytes: its stdout becomes facts, its end becomes an outcome."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from cinderbank.adapters.event_child import EventChild
from cinderbank.domain.facts import (
    MAX_LOST_RANGES,
    LostRanges,
    TransferFacts,
    TransferFailed,
    TransferProgress,
    TransferRunning,
    TransferSucceeded,
)

log = logging.getLogger(__name__)


class Child(EventChild):
    """Running from the moment it is made. `facts` may be read at any time, from any thread."""

    what = "transfer"

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        secrets: Sequence[str],
        on_change: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        """`on_end` is called once, when the process is gone and `facts` are final, also when it was
        cancelled."""
        self._moved_at = datetime.now(UTC)
        self._processed_bytes = 0
        self.facts: TransferFacts = TransferRunning(None, self._moved_at)
        self._on_change = on_change
        self._last: dict[str, Any] | None = None
        # Last: its threads use what was set above.
        super().__init__(process, secrets=secrets, on_end=on_end)

    @property
    def is_running(self) -> bool:
        return isinstance(self.facts, TransferRunning)

    def heard(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "progress":
            del event["event"]
            self._progressed(TransferProgress(**event))
        elif kind in ("result", "error"):
            self._last = event

    def ended(self, code: int) -> None:
        self.facts = self._outcome(code)

    def _progressed(self, progress: TransferProgress) -> None:
        if progress.bytes_processed > self._processed_bytes:
            self._processed_bytes = progress.bytes_processed
            self._moved_at = datetime.now(UTC)
        self.facts = TransferRunning(progress, self._moved_at)
        self._on_change()

    def _outcome(self, code: int) -> TransferFacts:
        last = self._last
        try:
            if last is not None and last["event"] == "result" and code == 0:
                progress = TransferProgress(**last["progress"])
                return TransferSucceeded(
                    progress,
                    str(last["content_hash"]),
                    _lost(last.get("lost")),
                    compared=last.get("compared") is True,
                    different=_lost(last.get("different")),
                )
            if last is not None and last["event"] == "error":
                return TransferFailed(
                    str(last["reason"]), self.clean(str(last["message"])), bool(last["retryable"])
                )
        except (LookupError, TypeError, ValueError):
            log.warning("a transfer ended with a line that is no event")
        return TransferFailed("TransferDied", self.epitaph(code), retryable=True)


def _lost(told: Any) -> LostRanges | None:
    if told is None:
        return None
    ranges = tuple((int(first), int(last)) for first, last in told["ranges"][:MAX_LOST_RANGES])
    return LostRanges(int(told["count"]), int(told["lost_bytes"]), ranges)
