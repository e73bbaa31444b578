"""One child process that moves bytes: its stdout becomes facts, its end becomes an outcome."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from cinderbank.adapters.openstack.answers import tidy
from cinderbank.domain.errors import Unavailable
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

MAX_LINE_BYTES = 64 * 1024
KEPT_LINES = 5
TERM_SECONDS = 5.0


class Child:
    """Running from the moment it is made. `facts` may be read at any time, from any thread."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        bytes_total: int,
        secrets: Sequence[str],
        on_change: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        """Raises Unavailable when no process can be started. `on_end` is called once, when the
        process is gone and `facts` are final, also when it was cancelled."""
        self.facts: TransferFacts = TransferRunning(None)
        self._bytes_total = bytes_total
        self._secrets = secrets
        self._on_change = on_change
        self._on_end = on_end
        self._last: dict[str, Any] | None = None
        self._stderr: deque[str] = deque(maxlen=KEPT_LINES)
        try:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # A ^C in the terminal is for the operator, which then ends its children in order.
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"a transfer process can not be started: {error.strerror}") from error
        self._complaints = threading.Thread(target=self._read_stderr, daemon=True)
        self._complaints.start()
        self._reader = threading.Thread(target=self._follow, daemon=True, name="transfer")
        self._reader.start()

    @property
    def is_running(self) -> bool:
        return isinstance(self.facts, TransferRunning)

    def terminate(self) -> None:
        """Ask it to end; does not wait."""
        self._process.terminate()

    def end(self) -> None:
        """SIGTERM, then SIGKILL; returns when the process is gone and `on_end` was called."""
        self._process.terminate()
        try:
            self._process.wait(TERM_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join()

    def _follow(self) -> None:
        for line in _lines(self._process.stdout):
            self._hear(line)
        code = self._process.wait()
        self._complaints.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self.facts = self._outcome(code)
        self._on_end()

    def _hear(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind = event["event"]
            if kind == "progress":
                del event["event"]
                self.facts = TransferRunning(TransferProgress(**event))
                self._on_change()
            elif kind in ("result", "error"):
                self._last = event
        except (ValueError, LookupError, TypeError):
            log.warning("a transfer wrote a line that is no event")

    def _outcome(self, code: int) -> TransferFacts:
        last = self._last
        try:
            if last is not None and last["event"] == "result" and code == 0:
                progress = TransferProgress(**last["progress"])
                return TransferSucceeded(
                    progress, str(last["content_sha512"]), _lost(last.get("lost"))
                )
            if last is not None and last["event"] == "error":
                return TransferFailed(
                    str(last["reason"]), self._clean(str(last["message"])), bool(last["retryable"])
                )
        except (LookupError, TypeError, ValueError):
            log.warning("a transfer ended with a line that is no event")
        return TransferFailed("TransferDied", self._epitaph(code), retryable=True)

    def _epitaph(self, code: int) -> str:
        if code < 0:
            name = signal.Signals(-code).name
            hint = "; it may have had too little memory" if -code == signal.SIGKILL else ""
            how = f"was ended by {name}{hint}"
        else:
            how = f"ended with code {code} and without a result"
        # Lines of anybody's: bounded, and without what looks like a token or a signature.
        said = tidy(" | ".join(self._stderr))
        return self._clean(f"the transfer process {how}" + (f": {said}" if said else ""))

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "<secret>")
        return text

    def _read_stderr(self) -> None:
        for line in _lines(self._process.stderr):
            self._stderr.append(line.decode("utf-8", "replace").strip())


def _lost(told: Any) -> LostRanges | None:
    if told is None:
        return None
    ranges = tuple((int(first), int(last)) for first, last in told["ranges"][:MAX_LOST_RANGES])
    return LostRanges(int(told["count"]), int(told["lost_bytes"]), ranges)


def _lines(pipe: IO[bytes] | None) -> Any:
    """Lines of bounded length until the other end closes."""
    assert pipe is not None
    return iter(lambda: pipe.readline(MAX_LINE_BYTES), b"")
