"""One process of the rig, and the supervisor that starts, stops and kills them by name."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.rig.ports import refuse_taken
from tests.rig.processes import Process, started_at, working_directory

POLL_SECONDS = 0.1
# The started process writes its own pid file and then becomes the service. So there is no moment
# in which a killed `up` leaves a process that nobody knows of. A start time survives exec.
WRITE_PID_THEN_EXEC = 'cat /proc/$$/stat >"$0.new" && mv "$0.new" "$0" && exec "$@"'


@dataclass(frozen=True)
class Service:
    """How one process is started, how it is known to be ready and how it is stopped.

    `cwd` lies inside the rig's state folder: it is what tells our process from another one that
    got the same number later. `env` is added to the caller's environment. `ready` answers at once
    and does not raise.
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    log: Path
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    ready_timeout_seconds: float = 300
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_seconds: float = 10
    in_namespace: bool = False


class ServiceFailed(Exception):
    """A service ended before it was ready, or was not ready in time; says where its log is."""


class UnknownService(Exception):
    """There is no service of this name; the message says which there are."""


class Supervisor:
    """Starts, stops and kills the services of one rig, from any number of processes at a time."""

    def __init__(
        self,
        state: Path,
        services: Iterable[Service] = (),
        enter_namespace: Callable[[], list[str]] = list,
    ) -> None:
        self.state = state
        self._pid_folder = state / "pid"
        self._services: dict[str, Service] = {}
        self._enter_namespace = enter_namespace
        for service in services:
            self.add(service)

    def add(self, service: Service) -> None:
        """Makes the service known; replaces the earlier one of the same name."""
        self._services[service.name] = service

    @property
    def names(self) -> list[str]:
        return list(self._services)

    def __getitem__(self, name: str) -> Service:
        try:
            return self._services[name]
        except KeyError:
            known = ", ".join(self._services) or "none"
            raise UnknownService(f"no service is called {name}; there are: {known}") from None

    def is_running(self, name: str) -> bool:
        return self.pid(name) is not None

    def pid(self, name: str) -> int | None:
        """The number of the service's first process while that one lives."""
        ours = self._leader(name)
        return ours.pid if ours else None

    def started_at(self, name: str) -> float | None:
        """When the running process began (seconds since the epoch)."""
        ours = self._leader(name)
        return started_at(ours) if ours else None

    def start(self, name: str) -> bool:
        """Starts the service unless it runs. True when it was started now. Does not wait."""
        service = self[name]
        with self._one_at_a_time(name):
            if self.is_running(name):
                return False
            self._end(name, signal.SIGKILL, 10)  # children that outlived a dead first process
            refuse_taken(service.ports)
            self._spawn(service)
            return True

    def wait_ready(self, name: str, timeout_seconds: float | None = None) -> float:
        """Returns the seconds it took until the service was ready; raises ServiceFailed if not."""
        service = self[name]
        limit = service.ready_timeout_seconds if timeout_seconds is None else timeout_seconds
        began = time.monotonic()
        while True:
            running = self.is_running(name)
            if running and service.ready():
                return time.monotonic() - began
            if not running:
                raise ServiceFailed(f"{name} ended before it was ready. {self._last_words(name)}")
            if time.monotonic() - began > limit:
                raise ServiceFailed(
                    f"{name} is not ready after {limit:.0f} s. {self._last_words(name)}"
                )
            time.sleep(POLL_SECONDS)

    def stop(self, name: str) -> None:
        """Asks the service to end, insists after its time is over, returns when it is gone."""
        service = self[name]
        with self._one_at_a_time(name):
            self._end(name, service.stop_signal, service.stop_timeout_seconds)

    def kill(self, name: str) -> None:
        """SIGKILL to the service and all its children, as a power cut would; waits until gone."""
        self[name]
        with self._one_at_a_time(name):
            self._end(name, signal.SIGKILL, 10)

    def restart(self, name: str) -> float:
        """Stops, starts and waits; the seconds until it was ready again."""
        self.stop(name)
        self.start(name)
        return self.wait_ready(name)

    def recorded(self) -> list[str]:
        """Names of all that was ever started and not yet ended, known or not (for `down`)."""
        return sorted(path.name[:-4] for path in self._pid_folder.glob("*.pid"))

    def kill_recorded(self, name: str) -> None:
        """Like kill, for a name that this version of the rig may not know any more."""
        with self._one_at_a_time(name):
            self._end(name, signal.SIGKILL, 20)

    def _spawn(self, service: Service) -> None:
        service.cwd.mkdir(parents=True, exist_ok=True)
        service.log.parent.mkdir(parents=True, exist_ok=True)
        pid_file = self._pid_file(service.name)
        argv = list(service.argv)
        if service.in_namespace:
            # Entering a mount namespace leaves one at its root directory.
            argv = [*self._enter_namespace(), "env", f"--chdir={service.cwd}", *argv]
        with open(service.log, "ab") as log:
            subprocess.Popen(
                ["/bin/sh", "-c", WRITE_PID_THEN_EXEC, str(pid_file), *argv],
                cwd=service.cwd,
                env={**os.environ, **service.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while not pid_file.exists():
            if time.monotonic() > deadline:
                raise ServiceFailed(f"{service.name} could not be started, see {service.log}")
            time.sleep(0.005)
        # On its way into the namespace a process stands in `/` for a moment: not to be known as
        # ours just then. Wait until it is, or has ended.
        while time.monotonic() < deadline:
            first = self._record(service.name)
            now = Process.read(first.pid) if first else None
            if now is None or not now.alive or self._inside(now.pid):
                return
            time.sleep(0.005)

    def _end(self, name: str, first_signal: signal.Signals, timeout_seconds: float) -> None:
        """Ends every process of the service and forgets it; `first_signal`, then SIGKILL."""
        for number, limit in ((first_signal, timeout_seconds), (signal.SIGKILL, 30)):
            if self._gone(name, number, limit):
                self._pid_file(name).unlink(missing_ok=True)
                return
        raise ServiceFailed(f"{name} cannot be killed: process {self.pid(name)}, in a disk wait?")

    def _gone(self, name: str, number: signal.Signals, timeout_seconds: float) -> bool:
        """Sends the signal and waits; whether all processes of the service are gone."""
        deadline = time.monotonic() + timeout_seconds
        leaving = set(self._members(name))
        self._signal(leaving, number)
        while leaving:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
            # One that is ending has no working directory any more, but still its ports.
            still = {process.again() for process in leaving}
            born_since = set(self._members(name)) - still
            self._signal(born_since, number)
            leaving = {process for process in still | born_since if process is not None}
        return True

    @staticmethod
    def _signal(processes: Iterable[Process], number: signal.Signals) -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def _record(self, name: str) -> Process | None:
        """What the service's first process wrote down when it began."""
        try:
            return Process.parse(self._pid_file(name).read_text())
        except (OSError, IndexError, ValueError):
            return None

    def _leader(self, name: str) -> Process | None:
        record = self._record(name)
        now = Process.read(record.pid) if record else None
        if record is None or now is None or not now.alive:
            return None
        same = now.start_ticks == record.start_ticks
        return now if same and self._inside(now.pid) else None

    def _members(self, name: str) -> list[Process]:
        """The living processes of the service: its first one and what that one started.

        A number that is in use as a session is not given to a new process, so members of the
        session are ours unless its first process is a stranger (a reused number).
        """
        record = self._record(name)
        if record is None:
            return []
        first = Process.read(record.pid)
        if first is not None and first.start_ticks != record.start_ticks:
            return []
        return [
            process
            for process in Process.all()
            if process.session == record.pid
            and process.alive
            and process.start_ticks >= record.start_ticks
            and self._inside(process.pid)
        ]

    def _inside(self, pid: int) -> bool:
        """Whether the process works inside this rig's state folder."""
        where = working_directory(pid)
        return where is not None and (where == self.state or self.state in where.parents)

    def _pid_file(self, name: str) -> Path:
        return self._pid_folder / f"{name}.pid"

    @contextmanager
    def _one_at_a_time(self, name: str) -> Iterator[None]:
        """Two commands that start, stop or kill the same service wait for each other."""
        self._pid_folder.mkdir(parents=True, exist_ok=True)
        with open(self._pid_folder / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _last_words(self, name: str) -> str:
        log = self[name].log
        try:
            lines = log.read_text(errors="replace").splitlines()[-5:]
        except OSError:
            lines = []
        return "\n  ".join([f"Log: {log}", *lines])
