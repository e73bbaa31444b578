"""The supervisor with real processes: what it starts is ours, what is not ours is left alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.rig.ports import PortTaken
from tests.rig.processes import Process, started_at
from tests.rig.service import Service, ServiceFailed, Supervisor, UnknownService

MARK = "touch ready; "


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    for name in made.recorded():
        made.kill_recorded(name)


def service(tmp_path: Path, script: str, name: str = "one", **fields: object) -> Service:
    folder = tmp_path / name
    return Service(
        name=name,
        argv=("/bin/sh", "-c", script),
        cwd=folder,
        log=tmp_path / f"{name}.log",
        ready=(folder / "ready").exists,
        **fields,  # type: ignore[arg-type]
    )


def eventually(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.01)


def test_start_is_idempotent(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(service(tmp_path, MARK + "exec sleep 3600"))

    assert supervisor.start("one") is True
    first = supervisor.pid("one")
    assert supervisor.start("one") is False
    assert supervisor.pid("one") == first


def test_another_supervisor_of_the_same_rig_knows_the_process(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    one = service(tmp_path, MARK + "exec sleep 3600")
    supervisor.add(one)
    supervisor.start("one")

    assert Supervisor(tmp_path, [one]).start("one") is False


def test_wait_ready_waits_for_the_condition(supervisor: Supervisor, tmp_path: Path) -> None:
    """It is let go by the first look, which therefore has seen that it is not ready."""
    script = "while [ ! -e go ]; do sleep 0.02; done; " + MARK + "exec sleep 3600"
    made, looks = service(tmp_path, script), list[bool]()

    def ready() -> bool:
        looks.append(made.ready())
        (made.cwd / "go").touch()
        return looks[-1]

    supervisor.add(replace(made, ready=ready))
    supervisor.start("one")

    supervisor.wait_ready("one", timeout_seconds=120)

    assert (looks[0], looks[-1]) == (False, True)


def test_a_service_that_ends_early_is_told_with_its_log(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.add(service(tmp_path, "echo no such key; exit 3"))
    supervisor.start("one")

    with pytest.raises(ServiceFailed, match=r"(?s)one ended .*one\.log.*no such key"):
        supervisor.wait_ready("one")


def test_not_ready_in_time(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(service(tmp_path, "exec sleep 3600"))
    supervisor.start("one")

    with pytest.raises(ServiceFailed, match="not ready after 0 s"):
        supervisor.wait_ready("one", timeout_seconds=0.1)


def test_stop_asks_first(supervisor: Supervisor, tmp_path: Path) -> None:
    polite = "trap 'touch asked; exit 0' TERM; " + MARK + "while :; do sleep 0.05; done"
    supervisor.add(service(tmp_path, polite))
    supervisor.start("one")
    supervisor.wait_ready("one")

    supervisor.stop("one")

    assert not supervisor.is_running("one")
    assert (tmp_path / "one" / "asked").exists()


def test_stop_insists_after_its_time(supervisor: Supervisor, tmp_path: Path) -> None:
    deaf = "trap '' TERM; " + MARK + "while :; do sleep 0.05; done"
    supervisor.add(service(tmp_path, deaf, stop_timeout_seconds=0.2))
    supervisor.start("one")
    supervisor.wait_ready("one")

    supervisor.stop("one")

    assert not supervisor.is_running("one")


def test_kill_takes_the_children_too(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(service(tmp_path, "sleep 3600 & echo $! >child; " + MARK + "wait"))
    supervisor.start("one")
    supervisor.wait_ready("one")
    child = int((tmp_path / "one" / "child").read_text())

    supervisor.kill("one")

    process = Process.read(child)
    assert process is None or not process.alive


def test_children_of_a_dead_service_are_ended_before_the_next_start(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.add(service(tmp_path, "sleep 3600 & echo $! >child; " + MARK + "wait"))
    supervisor.start("one")
    supervisor.wait_ready("one")
    child = int((tmp_path / "one" / "child").read_text())
    first = supervisor.pid("one")
    assert first is not None
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not supervisor.is_running("one"))

    supervisor.start("one")

    process = Process.read(child)
    assert process is None or not process.alive


def test_a_zombie_is_not_running(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(service(tmp_path, MARK + "exec sleep 3600"))
    supervisor.start("one")
    pid = supervisor.pid("one")
    assert pid is not None

    os.kill(pid, signal.SIGKILL)  # we are its parent and do not reap it

    eventually(lambda: not supervisor.is_running("one"))


@pytest.mark.parametrize("inside", [True, False])
def test_a_reused_number_is_never_killed(
    supervisor: Supervisor, tmp_path: Path, inside: bool
) -> None:
    """The pid file names a process of the same number that began at another time."""
    supervisor.add(service(tmp_path, MARK + "exec sleep 3600"))
    where = tmp_path if inside else Path("/")
    with subprocess.Popen(["sleep", "3600"], cwd=where, start_new_session=True) as stranger:
        line = Path(f"/proc/{stranger.pid}/stat").read_text()
        head, tail = line.rsplit(")", 1)
        columns = tail.split()
        columns[19] = str(int(columns[19]) - 100)
        (tmp_path / "pid").mkdir(exist_ok=True)
        (tmp_path / "pid" / "one.pid").write_text(f"{head}) {' '.join(columns)}")

        assert not supervisor.is_running("one")
        supervisor.stop("one")
        supervisor.kill("one")

        assert stranger.poll() is None
        stranger.kill()


def test_a_process_outside_the_state_folder_is_not_ours(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.add(service(tmp_path, MARK + "exec sleep 3600"))
    with subprocess.Popen(["sleep", "3600"], cwd="/", start_new_session=True) as stranger:
        (tmp_path / "pid").mkdir(exist_ok=True)
        line = Path(f"/proc/{stranger.pid}/stat").read_text()
        (tmp_path / "pid" / "one.pid").write_text(line)

        supervisor.kill("one")

        assert stranger.poll() is None
        stranger.kill()


def test_a_taken_port_is_refused(supervisor: Supervisor, tmp_path: Path) -> None:
    listen = (
        "import socket, time; s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); time.sleep(3600)"
    )
    command = [sys.executable, "-c", listen]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout is not None
        port = int(stranger.stdout.readline())
        supervisor.add(service(tmp_path, MARK + "exec sleep 3600", ports=(port,)))

        with pytest.raises(PortTaken, match=f"process {stranger.pid}"):
            supervisor.start("one")
        assert not supervisor.is_running("one")
        stranger.kill()


def test_an_unknown_name_is_told_the_known_ones(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(service(tmp_path, "true"))

    with pytest.raises(UnknownService, match="there are: one"):
        supervisor.kill("two")


def test_the_start_time_is_that_of_the_process(supervisor: Supervisor, tmp_path: Path) -> None:
    before = time.time()
    supervisor.add(service(tmp_path, MARK + "exec sleep 3600"))
    supervisor.start("one")

    began = supervisor.started_at("one")
    own = Process.read(os.getpid())

    assert own is not None and began is not None
    assert started_at(own) < began
    tick = 0.1  # the kernel says the start in 1/100 s, and the uptime too
    assert before - tick <= began <= time.time() + tick
