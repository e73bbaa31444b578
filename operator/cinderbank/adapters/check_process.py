"""`ports.checks.Checks` by child processes: `python -m cinderbank bank check --events`.

The operator uses the same door as a person in a shell: a bank file in a folder of the child's own
(0700), with the secrets as files beside it.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from cinderbank.adapters.event_child import EventChild, spawn
from cinderbank.adapters.s3_location import S3Credentials, S3Location
from cinderbank.adapters.secret_files import write_secret_files
from cinderbank.adapters.transfer_process import environment
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.wrapped_keys import encoded_kek
from cinderbank.domain.errors import Conflict, Unavailable
from cinderbank.ports.checks import (
    CheckAbsent,
    CheckEnded,
    CheckFacts,
    CheckFailed,
    CheckProgress,
    CheckRequest,
    CheckRunning,
    DamagedBackup,
)

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

MAX_DAMAGED = 20
MAX_RANGES = 10
ENDS = (0, 1)
"""Exit codes of a check that looked: 1 says that it found damage."""


def check_command(bank_file: Path, request: CheckRequest) -> list[str]:
    level = request.level
    if level == "sample":
        level = f"sample={request.sample_percent}%"
    # -P: the working directory must not shadow a module of ours.
    command = [sys.executable, "-P", "-m", "cinderbank", "bank", "check", "--events"]
    command += ["--bank", str(bank_file), "--level", level, "--seed", str(request.seed)]
    return command if request.backup_id is None else [*command, request.backup_id]


@dataclass(frozen=True, slots=True)
class CheckAccess:
    """What a child needs to reach the bank by itself."""

    location: S3Location
    credentials: S3Credentials
    site: str
    read_only: bool
    bank_id: str | None
    keks: tuple[KeyEncryptionKey, ...] = field(default=(), repr=False)
    accepts_plain: bool = False


class CheckProcesses(Generic[K]):
    """All checks of this operator, at most `slots` at once; thread-safe. Close it at the end.

    `on_change` is told the key of an object whose check has news, from threads of ours; it MUST NOT
    block.
    """

    def __init__(
        self,
        folder: Path,
        slots: int,
        on_change: Callable[[K], None],
        command: Callable[[Path, CheckRequest], list[str]] = check_command,
    ) -> None:
        self._folder = folder
        self._slots = slots
        self._on_change = on_change
        self._command = command
        self._lock = threading.Lock()
        self._children: dict[K, CheckChild] = {}
        self._waiting: dict[K, None] = {}

    def of(self, key: K, access: CheckAccess) -> ObjectChecks[K]:
        """The check of one object; `key` must be stable as long as the operator lives."""
        return ObjectChecks(self, key, access)

    def observe(self, key: K) -> CheckFacts:
        with self._lock:
            child = self._children.get(key)
        return CheckAbsent() if child is None else child.facts

    def start(self, key: K, access: CheckAccess, request: CheckRequest) -> None:
        with self._lock:
            child = self._children.get(key)
            if child is not None and child.is_running:
                raise Conflict(f"the check of {key} runs already", reason="CheckRunning")
            if sum(each.is_running for each in self._children.values()) >= self._slots:
                self._waiting.setdefault(key)
                raise Unavailable(
                    "another check runs; this one starts when it has ended", reason="NoCheckSlot"
                )
            self._waiting.pop(key, None)
            self._children[key] = self._spawn(key, access, request)

    def _spawn(self, key: K, access: CheckAccess, request: CheckRequest) -> CheckChild:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="check-", dir=self._folder))
        try:
            files = bank_files(access)
            write_secret_files(folder, files)
            secrets = [files[name].decode().strip() for name in files if name in _SECRET_FILES]
            command = self._command(folder / "bank.yaml", request)
            return CheckChild(
                spawn(command, environment(folder), folder, CheckChild.what),
                secrets=secrets,
                on_change=lambda: self._on_change(key),
                on_end=lambda: self._ended(key, folder),
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _ended(self, key: K, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            waiting = next(iter(self._waiting), None)
        self._on_change(key)
        if waiting is not None:
            self._on_change(waiting)

    def forget(self, key: K) -> None:
        """End what runs for an object that is gone or needs it no more. Idempotent."""
        with self._lock:
            self._waiting.pop(key, None)
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


class ObjectChecks(Generic[K]):
    """`ports.checks.Checks` of one object."""

    def __init__(self, processes: CheckProcesses[K], key: K, access: CheckAccess) -> None:
        self._processes = processes
        self._key = key
        self._access = access

    def observe(self) -> CheckFacts:
        return self._processes.observe(self._key)

    def start(self, request: CheckRequest) -> None:
        self._processes.start(self._key, self._access, request)


class CheckChild(EventChild):
    """Running from the moment it is made. `facts` may be read at any time, from any thread."""

    what = "check"

    def __init__(self, *arguments: Any, on_change: Callable[[], None], **options: Any) -> None:
        self.facts: CheckFacts = CheckRunning(None)
        self._on_change = on_change
        self._damaged: tuple[DamagedBackup, ...] = ()
        self._last: dict[str, Any] | None = None
        # Last: its threads use what was set above.
        super().__init__(*arguments, **options)

    @property
    def is_running(self) -> bool:
        return isinstance(self.facts, CheckRunning)

    def heard(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "progress":
                self.facts = CheckRunning(_progress(event), self._damaged)
                self._on_change()
            case "damaged":
                if len(self._damaged) < MAX_DAMAGED:
                    self._damaged = (*self._damaged, _damaged(event))
            case "result" | "error":
                self._last = event

    def ended(self, code: int) -> None:
        self.facts = self._outcome(code)

    def _outcome(self, code: int) -> CheckFacts:
        last = self._last
        try:
            if last is not None and last["event"] == "result" and code in ENDS:
                problems = tuple(self.clean(str(each)) for each in last["problems"][:MAX_RANGES])
                progress = _progress({**last, "percent": 100.0})
                return CheckEnded(progress, self._damaged, problems)
            if last is not None and last["event"] == "error":
                told = self.clean(str(last["message"]))
                return CheckFailed(str(last["reason"]), told, bool(last["retryable"]))
        except (LookupError, TypeError, ValueError):
            log.warning("a check ended with a line that is no event")
        return CheckFailed("CheckDied", self.epitaph(code), retryable=True)


def _progress(event: dict[str, Any]) -> CheckProgress:
    return CheckProgress(
        percent=float(event["percent"]),
        backups=int(event["backups"]),
        ok=int(event["ok"]),
        damaged=int(event["damaged"]),
        unchecked=int(event["unchecked"]),
        chunks=int(event["chunks"]),
        chunks_read=int(event["chunksRead"]),
        bytes_read=int(event["bytesRead"]),
    )


def _damaged(event: dict[str, Any]) -> DamagedBackup:
    lost = tuple((int(row["first"]), int(row["last"])) for row in event["lost"][:MAX_RANGES])
    return DamagedBackup(
        str(event["backupID"]),
        str(event["site"]),
        str(event["volumeID"]),
        str(event["outcome"]),
        str(event["problem"]),
        int(event["lostBytes"]),
        lost,
    )


_SECRET_FILES = ("secret-access-key", "session-token")


def bank_files(access: CheckAccess) -> dict[str, bytes]:
    """The bank file of `cinderbank bank`, and the files that it names."""
    location, credentials = access.location, access.credentials
    files = {
        "access-key-id": credentials.access_key.encode(),
        "secret-access-key": credentials.secret_key.encode(),
    }
    document: dict[str, Any] = {
        "endpoint": location.endpoint_url,
        "bucket": location.bucket,
        "prefix": location.prefix,
        "region": location.region,
        "addressing": location.addressing,
        "insecureSkipVerify": location.insecure_skip_tls_verify,
        "site": access.site,
        "readOnly": access.read_only,
        "plainBackups": access.accepts_plain,
        "accessKeyIDFile": "access-key-id",
        "secretAccessKeyFile": "secret-access-key",
        "keyFiles": [],
    }
    if access.bank_id is not None:
        document["bankID"] = access.bank_id
    if location.ca_file:
        document["caFile"] = location.ca_file
    if credentials.session_token:
        files["session-token"] = credentials.session_token.encode()
        document["sessionTokenFile"] = "session-token"
    for number, kek in enumerate(access.keks):
        files[f"key-{number}"] = encoded_kek(kek)
        document["keyFiles"].append(f"key-{number}")
    # JSON is YAML, and quotes what must be quoted.
    return {**files, "bank.yaml": json.dumps(document).encode()}
