"""A child process that tells what it does in JSON lines on stdout; its stdin stays open until it ends."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from cinderbank.adapters.openstack.answers import tidy
from cinderbank.domain.errors import Unavailable

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 64 * 1024
KEPT_LINES = 5
TERM_SECONDS = 5.0


def spawn(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, what: str
) -> subprocess.Popen[bytes]:
    """A process with all three pipes, in `folder`. Raises Unavailable when none can be started."""
    try:
        return subprocess.Popen(
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
        raise Unavailable(f"a {what} process can not be started: {error.strerror}") from error


class EventChild(ABC):
    """Running from the moment it is made. Subclasses say what an event means (`heard`) and what the
    end does (`ended`); both are called from one thread of ours, `heard` first."""

    what = "process"
    """What it is called in messages."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        secrets: Sequence[str],
        on_end: Callable[[], None],
    ) -> None:
        """`process` is of `spawn`, and ours from here on. `on_end` is called once, when it is gone
        and `ended` was called, also when it was cancelled."""
        self._secrets = secrets
        self._on_end = on_end
        self._stderr: deque[str] = deque(maxlen=KEPT_LINES)
        self._process = process
        self._complaints = threading.Thread(target=self._read_stderr, daemon=True)
        self._complaints.start()
        self._reader = threading.Thread(target=self._follow, daemon=True, name=self.what)
        self._reader.start()

    @abstractmethod
    def heard(self, event: dict[str, Any]) -> None:
        """One event; ValueError, LookupError or TypeError when it is none of ours."""

    @abstractmethod
    def ended(self, code: int) -> None:
        """The process is gone; `code` is negative for a signal."""

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
            try:
                self.heard(json.loads(line))
            except (ValueError, LookupError, TypeError):
                log.warning("a %s process wrote a line that is no event", self.what)
        code = self._process.wait()
        self._complaints.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self.ended(code)
        self._on_end()

    def epitaph(self, code: int) -> str:
        """How it ended, for a user, when it did not say so itself."""
        if code < 0:
            name = signal.Signals(-code).name
            hint = "; it may have had too little memory" if -code == signal.SIGKILL else ""
            how = f"was ended by {name}{hint}"
        else:
            how = f"ended with code {code} and without a result"
        # Lines of anybody's: bounded, and without what looks like a token or a signature.
        said = tidy(" | ".join(self._stderr))
        return self.clean(f"the {self.what} process {how}" + (f": {said}" if said else ""))

    def clean(self, text: str) -> str:
        """Without the secrets that the process was given."""
        for secret in self._secrets:
            text = text.replace(secret, "<secret>")
        return text

    def _read_stderr(self) -> None:
        for line in _lines(self._process.stderr):
            self._stderr.append(line.decode("utf-8", "replace").strip())


def _lines(pipe: IO[bytes] | None) -> Any:
    """Lines of bounded length until the other end closes."""
    assert pipe is not None
    return iter(lambda: pipe.readline(MAX_LINE_BYTES), b"")
