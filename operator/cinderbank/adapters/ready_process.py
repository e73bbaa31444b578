"""A transfer process that has started already, and waits to be told its job.

Three quarters of a second of a small transfer were Python and its imports (docs/adr/0010): a process
is started when an object that may need one is first looked at, and gets its files and a line on stdin
when it does.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cinderbank.adapters.event_child import spawn
from cinderbank.domain.errors import Unavailable

KEPT_SECONDS = 600.0
"""So long one is trusted to wait."""

PATIENCE_SECONDS = 1.5 * KEPT_SECONDS
"""So long it does wait: nobody may tell a job to one that is just leaving."""


@dataclass(frozen=True, slots=True)
class ReadyProcess:
    """Waits for a line on stdin; ends when stdin closes, or after PATIENCE_SECONDS."""

    process: subprocess.Popen[bytes]
    folder: Path
    """Its own (0700), and empty: where its job goes, and its secrets."""
    since: float

    @property
    def is_waiting(self) -> bool:
        return self.process.poll() is None and time.monotonic() - self.since < KEPT_SECONDS

    def begin(self) -> None:
        """Its files are there. Raises Unavailable when it is gone."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Unavailable("the transfer process died before it began") from error

    def end(self) -> None:
        """It, its pipes and its folder; returns when they are gone."""
        try:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
                # What `begin` could not flush is still there, and closing flushes: into a broken pipe.
                with suppress(OSError):
                    if pipe is not None:
                        pipe.close()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


class ReadyProcesses:
    """At most one that waits; thread-safe. Close it at the end."""

    def __init__(
        self,
        folder: Path,
        command: Callable[[Path], list[str]],
        environment: Callable[[Path], Mapping[str, str]],
    ) -> None:
        """`command` makes a command line of the job file, `environment` what it gets of the folder."""
        self._folder = folder
        self._command = command
        self._environment = environment
        self._lock = threading.Lock()
        self._spare: ReadyProcess | None = None
        self._closed = False

    def prepare(self) -> None:
        """Have one that waits. Never raises: without one the next transfer takes a little longer."""
        with self._lock:
            if self._closed or (self._spare is not None and self._spare.is_waiting):
                return
            self._drop()
            try:
                self._spare = self._new()
            except (OSError, Unavailable):
                self._spare = None

    def take(self) -> ReadyProcess:
        """The one that waits, else a new one; it is the caller's. Raises Unavailable (also once this is
        closed), OSError."""
        with self._lock:
            self._require_open()
            spare, self._spare = self._spare, None
        if spare is not None and spare.is_waiting:
            return spare
        if spare is not None:
            spare.end()
        return self._new()

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable("the operator ends; no transfer is begun any more")

    def close(self) -> None:
        """None is left, and `prepare` makes no more."""
        with self._lock:
            self._closed = True
            self._drop()

    def _drop(self) -> None:
        if self._spare is not None:
            self._spare.end()
        self._spare = None

    def _new(self) -> ReadyProcess:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="transfer-", dir=self._folder))
        try:
            process = spawn(
                self._command(folder / "job.json"), self._environment(folder), folder, "transfer"
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return ReadyProcess(process, folder, time.monotonic())
