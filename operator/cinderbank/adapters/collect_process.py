"""`ports.collections.Collections` by child processes: `python -m cinderbank bank gc --run --events`.

A process of its own, because it may take hours and some hundred MiB, and an operator must neither be
stuck nor be killed for it. It ends with the operator; ending at any moment is safe.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Generic, TypeVar

from cinderbank.adapters.check_process import CheckAccess, bank_files
from cinderbank.adapters.event_child import EventChild, spawn
from cinderbank.adapters.secret_files import write_secret_files
from cinderbank.adapters.transfer_process import environment
from cinderbank.domain.errors import Conflict, Unavailable
from cinderbank.ports.collections import (
    CollectionAbsent,
    CollectionEnded,
    CollectionFacts,
    CollectionRefused,
    CollectionRequest,
    CollectionRunning,
)

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


def collect_command(bank_file: Path, request: CollectionRequest) -> list[str]:
    # -P: the working directory must not shadow a module of ours.
    command = [sys.executable, "-P", "-m", "cinderbank", "bank", "gc", "--run", "--events"]
    share = ["--max-delete-percent", str(request.max_delete_percent)]
    return [*command, "--bank", str(bank_file), *share]


class CollectProcesses(Generic[K]):
    """All collections of this operator, one at once; thread-safe. Close it at the end.

    `on_end` is told the key of a bank whose collection has ended, from a thread of ours; it MUST NOT
    block.
    """

    def __init__(
        self,
        folder: Path,
        on_end: Callable[[K], None],
        command: Callable[[Path, CollectionRequest], list[str]] = collect_command,
    ) -> None:
        self._folder = folder
        self._on_end = on_end
        self._command = command
        self._lock = threading.Lock()
        self._children: dict[K, CollectChild] = {}

    def of(self, key: K, access: CheckAccess) -> BankCollections[K]:
        """The collection of one bank; `key` must be stable as long as the operator lives."""
        return BankCollections(self, key, access)

    def observe(self, key: K) -> CollectionFacts:
        with self._lock:
            child = self._children.get(key)
        return CollectionAbsent() if child is None else child.facts

    def start(self, key: K, access: CheckAccess, request: CollectionRequest) -> None:
        with self._lock:
            if any(child.is_running for child in self._children.values()):
                if key in self._children and self._children[key].is_running:
                    raise Conflict("a collection of this bank runs", reason="CollectionRunning")
                raise Unavailable(
                    "another bank is collected; this one's turn comes", reason="NoCollectionSlot"
                )
            self._children[key] = self._spawn(key, access, request)

    def _spawn(self, key: K, access: CheckAccess, request: CollectionRequest) -> CollectChild:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="collect-", dir=self._folder))
        try:
            write_secret_files(folder, bank_files(access))
            credentials = access.credentials
            command = self._command(folder / "bank.yaml", request)
            return CollectChild(
                spawn(command, environment(folder), folder, CollectChild.what),
                secrets=[s for s in (credentials.secret_key, credentials.session_token) if s],
                on_end=lambda: self._ended(key, folder),
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _ended(self, key: K, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._on_end(key)

    def forget(self, key: K) -> None:
        """End what runs for a bank that is gone, or whose result was taken. Idempotent."""
        with self._lock:
            child = self._children.pop(key, None)
        if child is not None:
            child.end()

    def close(self) -> None:
        """End all; returns when none is left."""
        with self._lock:
            children = dict(self._children)
        for child in children.values():
            child.terminate()
        for key in children:
            self.forget(key)


class BankCollections(Generic[K]):
    """`ports.collections.Collections` of one bank."""

    def __init__(self, processes: CollectProcesses[K], key: K, access: CheckAccess) -> None:
        self._processes = processes
        self._key = key
        self._access = access

    def observe(self) -> CollectionFacts:
        return self._processes.observe(self._key)

    def start(self, request: CollectionRequest) -> None:
        self._processes.start(self._key, self._access, request)

    def forget(self) -> None:
        self._processes.forget(self._key)


class CollectChild(EventChild):
    """Running from the moment it is made. `facts` may be read at any time, from any thread."""

    what = "collection"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.facts: CollectionFacts = CollectionRunning()
        self._last: dict[str, Any] | None = None
        # Last: its threads use what was set above.
        super().__init__(*arguments, **options)

    @property
    def is_running(self) -> bool:
        return isinstance(self.facts, CollectionRunning)

    def heard(self, event: dict[str, Any]) -> None:
        if event["event"] in ("result", "error"):
            self._last = event

    def ended(self, code: int) -> None:
        self.facts = self._outcome(code)

    def _outcome(self, code: int) -> CollectionFacts:
        last = self._last
        try:
            if last is not None and last["event"] == "result" and code == 0:
                return CollectionEnded(
                    int(last["freedObjects"]),
                    int(last["freedBytes"]),
                    int(last["refusedDeletes"]),
                    bool(last["complete"]),
                )
            if last is not None and last["event"] == "error":
                told = self.clean(str(last["message"]))
                return CollectionRefused(str(last["reason"]), told, bool(last["retryable"]))
        except (LookupError, TypeError, ValueError):
            log.warning("a collection ended with a line that is no event")
        return CollectionRefused("CollectionDied", self.epitaph(code), retryable=True)
