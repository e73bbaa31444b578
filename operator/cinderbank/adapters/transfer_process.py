"""`ports.transfers.Transfers` by child processes: `python -m cinderbank transfer --wait --job FILE`.

A child gets a folder of its own (0700) with its job and its secrets as files, and a pipe as stdin
that stays open: when the operator dies the kernel closes it, and the child ends. It gets no
Kubernetes token, no secret in its arguments or environment, and it is never adopted.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from cinderbank.adapters.ready_process import ReadyProcesses
from cinderbank.adapters.s3 import S3Credentials, S3Location
from cinderbank.adapters.secret_files import write_secret_files
from cinderbank.adapters.transfer_child import Child
from cinderbank.bank.chunk import DEFAULT_CHUNK_BYTES
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.wrapped_keys import encoded_kek
from cinderbank.domain.errors import Conflict, Unavailable
from cinderbank.domain.facts import TransferAbsent, TransferFacts
from cinderbank.domain.failure import NO_TRANSFER_SLOT
from cinderbank.ports.transfers import Transfer
from cinderbank.transfer.job import BankJob, CloudJob, Job, dump

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

PASSED_ENVIRONMENT = (
    "PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip

MALLOC = {
    # Chunks come and go all the time. Given back to the kernel each time (a low mmap threshold) they cost
    # twice the CPU, for the zeros that it puts into 1024 pages; cut out of an arena for each thread they
    # fragment. So there is one arena, and what is free in it stays.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}


def transfer_command(job: Path) -> list[str]:
    # -P: the working directory must not shadow a module of ours.
    return [sys.executable, "-P", "-m", "cinderbank", "transfer", "--wait", "--job", str(job)]


@dataclass(frozen=True, slots=True)
class TransferAccess:
    """What a child needs to reach bank and cloud by itself."""

    location: S3Location
    credentials: S3Credentials
    site: str
    read_only: bool
    bank_id: str | None
    cloud_name: str = ""
    """The cloud of a backup or a restore; a copy has none, but a `target`."""
    clouds_yaml: bytes = field(default=b"", repr=False)
    cacert: bytes | None = field(default=None, repr=False)
    chunk_bytes: int = DEFAULT_CHUNK_BYTES
    keks: tuple[KeyEncryptionKey, ...] = ()
    """The bank's keys; none in a bank without encryption."""
    accepts_plain: bool = False
    bandwidth_bytes_per_second: int | None = None
    """To and from the bank, of each transfer; None: as fast as it goes."""
    concurrent_transfers: int | None = None
    """At most so many with this bank at once, beside the slots of the operator; None: no more limit."""
    target: TransferAccess | None = None
    """The other bank of a copy, whose limits hold as well."""

    @property
    def banks(self) -> tuple[TransferAccess, ...]:
        return (self,) if self.target is None else (self, self.target)


class TransferProcesses(Generic[K]):
    """All children of this operator, at most `slots` at once; thread-safe. Close it at the end.

    `on_progress` is told the key of an object whose transfer has come further, `on_end` of one whose
    transfer has ended, or which was refused for want of a slot when one is free. Both are called from
    threads of ours and MUST NOT block.
    """

    def __init__(
        self,
        folder: Path,
        slots: int,
        on_progress: Callable[[K], None],
        on_end: Callable[[K], None],
        command: Callable[[Path], list[str]] = transfer_command,
    ) -> None:
        self._ready = ReadyProcesses(folder, command, environment)
        self._slots = slots
        self._on_progress = on_progress
        self._on_end = on_end
        self._lock = threading.Lock()
        self._children: dict[K, Child] = {}
        self._places: dict[K, tuple[S3Location, ...]] = {}
        """The bank of each child; a copy has two."""
        # In the order of their first refusal. Nobody reserves: a waiter that is gone blocks nobody.
        self._waiting: dict[K, TransferAccess] = {}

    def of(self, key: K, access: TransferAccess) -> ObjectTransfers[K]:
        """The transfers of one object; `key` must be stable as long as the operator lives."""
        with self._lock:
            is_over = key in self._children
            running = self._running()
        # More processes than transfers would need more memory than is stated; and a start of Python is not
        # to get in the way of what Cinder does once this object's transfer is over.
        if not running and not is_over:
            self._ready.prepare()
        return ObjectTransfers(self, key, access)

    def forget(self, key: K) -> None:
        """End what runs for an object that is gone. Idempotent."""
        self.cancel(key)

    def keys(self) -> tuple[K, ...]:
        """Whose transfers run, wait for a slot, or have ended and are not forgotten."""
        with self._lock:
            return (*self._children, *self._waiting)

    def close(self) -> None:
        """End all children; returns when none is left."""
        self._ready.close()
        with self._lock:
            children = dict(self._children)
        # All are asked first, so that they end side by side.
        for child in children.values():
            child.terminate()
        for key in children:
            self.cancel(key)

    def running(self) -> int:
        with self._lock:
            return self._running()

    def _running(self) -> int:
        return sum(child.is_running for child in self._children.values())

    def observe(self, key: K) -> TransferFacts:
        with self._lock:
            child = self._children.get(key)
        return TransferAbsent() if child is None else child.facts

    def start(self, key: K, access: TransferAccess, transfer: Transfer) -> None:
        with self._lock:
            child = self._children.get(key)
            if child is not None and child.is_running:
                raise Conflict(f"a transfer of {key} runs already", reason="TransferRunning")
            if full := self._full(access):
                self._waiting[key] = access  # one that waits already keeps its place
                raise Unavailable(
                    f"{full} are in use; it starts when one is free", reason=NO_TRANSFER_SLOT
                )
            self._waiting.pop(key, None)
            self._children[key] = self._spawn(key, access, transfer)
            self._places[key] = tuple(bank.location for bank in access.banks)

    def _full(self, access: TransferAccess) -> str:
        """What there is none left of for one more transfer; empty when it may start."""
        if self._running() >= self._slots:
            return f"all {self._slots} transfer slots"
        for bank in access.banks:
            limit, place = bank.concurrent_transfers, bank.location
            here = sum(
                c.is_running and place in self._places[key] for key, c in self._children.items()
            )
            if limit is not None and here >= limit:
                return (
                    f"all {limit} transfers that the bank's spec.limits.concurrentTransfers allows"
                )
        return ""

    def _spawn(self, key: K, access: TransferAccess, transfer: Transfer) -> Child:
        ready = self._ready.take()
        folder = ready.folder
        try:
            write_secret_files(folder, _files(folder, access, transfer))
            ready.begin()
        except BaseException:
            ready.end()
            raise
        return Child(
            ready.process,
            secrets=_secrets(access),
            on_change=lambda: self._on_progress(key),
            on_end=lambda: self._ended(key, folder),
        )

    def _ended(self, key: K, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            # All of them: two slots that get free at once would wake the first one twice.
            waiting = [key for key, access in self._waiting.items() if not self._full(access)]
        for each in (key, *waiting):
            self._on_end(each)

    def cancel(self, key: K) -> None:
        with self._lock:
            self._waiting.pop(key, None)
            child = self._children.get(key)
        if child is None:
            return
        child.end()
        with self._lock:
            if self._children.get(key) is child:
                del self._children[key], self._places[key]


class ObjectTransfers(Generic[K]):
    """`ports.transfers.Transfers` of one object."""

    def __init__(self, processes: TransferProcesses[K], key: K, access: TransferAccess) -> None:
        self._processes = processes
        self._key = key
        self._access = access

    def observe(self) -> TransferFacts:
        return self._processes.observe(self._key)

    def start(self, transfer: Transfer) -> None:
        self._processes.start(self._key, self._access, transfer)

    def cancel(self) -> None:
        self._processes.cancel(self._key)


def environment(folder: Path) -> dict[str, str]:
    """Only what a Python needs to run and to find its way out of the network."""
    passed = {name: os.environ[name] for name in PASSED_ENVIRONMENT if name in os.environ}
    return {
        **passed,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        **MALLOC,
        # numpy's linear algebra is never used, and would keep buffers for each core.
        "OPENBLAS_NUM_THREADS": "1",
    }


def _files(folder: Path, access: TransferAccess, transfer: Transfer) -> dict[str, bytes]:
    files = dict(_bank_files(access, "bank"))
    cloud = target = None
    if access.target is not None:
        files |= _bank_files(access.target, "target")
        target = _bank_job(folder, access.target, "target")
    else:
        files["clouds.yaml"] = access.clouds_yaml
        if access.cacert:
            files["cacert.pem"] = access.cacert
        cloud = CloudJob(
            clouds_file=str(folder / "clouds.yaml"),
            cloud_name=access.cloud_name,
            ca_file=str(folder / "cacert.pem") if access.cacert else None,
        )
    bank = _bank_job(folder, access, "bank")
    job = Job(bank=bank, cloud=cloud, transfer=transfer, target=target)
    return {**files, "job.json": dump(job).encode()}


def _bank_job(folder: Path, access: TransferAccess, name: str) -> BankJob:
    location = access.location
    return BankJob(
        endpoint_url=location.endpoint_url,
        bucket=location.bucket,
        prefix=location.prefix,
        region=location.region,
        addressing=location.addressing,
        credentials_file=str(folder / f"{name}-s3.json"),
        site=access.site,
        read_only=access.read_only,
        bank_id=access.bank_id,
        ca_file=location.ca_file,
        insecure_skip_tls_verify=location.insecure_skip_tls_verify,
        chunk_bytes=access.chunk_bytes,
        keys_file=str(folder / f"{name}-keys.json") if access.keks else None,
        accepts_plain=access.accepts_plain,
        bandwidth_bytes_per_second=access.bandwidth_bytes_per_second,
    )


def _bank_files(access: TransferAccess, name: str) -> dict[str, bytes]:
    credentials = {
        "access_key": access.credentials.access_key,
        "secret_key": access.credentials.secret_key,
        "session_token": access.credentials.session_token,
    }
    files = {f"{name}-s3.json": json.dumps(credentials).encode()}
    if access.keks:
        files[f"{name}-keys.json"] = json.dumps(_encoded_keks(access)).encode()
    return files


def _secrets(access: TransferAccess) -> tuple[str, ...]:
    given: list[str | None] = []
    for bank in access.banks:
        credentials = bank.credentials
        given += [credentials.secret_key, credentials.session_token, *_encoded_keks(bank)]
    return tuple(s for s in given if s)


def _encoded_keks(access: TransferAccess) -> list[str]:
    return [encoded_kek(kek).decode("ascii").strip() for kek in access.keks]
