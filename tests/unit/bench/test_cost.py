"""What processes cost, by real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bench.cost import Look, Watch, machine_cpu_seconds
from tests.bench.path import command, finish, pieces

MIB = 1 << 20
WORK = "s = bytearray(64 << 20); s[::4096] = b'x' * (len(s) // 4096); print('ready', flush=True)"
# Ends when its stdin does; has worked before it says so.
PROGRAM = f"{WORK}; import sys; sum(range(2_000_000)); print('done', flush=True); sys.stdin.read()"


def test_a_line_of_proc() -> None:
    columns = "S 7 8 9 0 -1 0 0 0 0 0 150 50 9 9 20 0 1 0 1234 0 0"
    ticks = os.sysconf("SC_CLK_TCK")
    assert Look.parse(f"42 (a b) c) {columns}") == Look(42, 7, 9, 1234, 200 / ticks)


def test_a_watch_sees_cpu_time_and_memory_of_what_it_was_told() -> None:
    pids: set[int] = set()
    with (
        Watch(lambda look: look.pid in pids) as watch,
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child,
    ):
        pids.add(child.pid)
        assert child.stdout is not None and child.stdin is not None
        assert child.stdout.readline() == b"ready\n"
        assert child.stdout.readline() == b"done\n"
        watch.look()
        child.stdin.close()
    assert watch.peak_mib > 64
    assert watch.cpu_seconds > 0


def test_the_machine_has_worked() -> None:
    before = machine_cpu_seconds()
    assert before > 0
    assert machine_cpu_seconds() >= before


def test_a_command_costs_what_its_whole_pipe_does(tmp_path: Path) -> None:
    burn = f"{sys.executable} -c 'sum(range(3_000_000))'"
    with command(f"{burn} | {burn}", {}, tmp_path) as running:
        assert (finish(running).cpu_seconds or 0) > 0


def test_a_command_that_fails_in_the_middle_of_its_pipe_has_failed(tmp_path: Path) -> None:
    failure = pytest.raises(subprocess.SubprocessError, match="exit 3: broken")
    with command("{ echo broken >&2; exit 3; } | cat", {}, tmp_path) as running, failure:
        finish(running)


def test_a_command_gets_no_setting_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere")
    with command('test -z "$AWS_CA_BUNDLE" && test "$GIVEN" = 1', {"GIVEN": "1"}, tmp_path) as it:
        finish(it)


def test_nothing_is_left_of_a_command(tmp_path: Path) -> None:
    marker = tmp_path / "held"
    os.mkfifo(marker)
    with ExitStack() as kept:
        with command(f"sleep 1000 > {marker} & echo > {marker}; wait", {}, tmp_path):
            held = kept.enter_context(open(marker))
            assert held.readline() == "\n"
        # It ends when the last writer does: a sleep that lives would let us wait.
        assert held.read() == ""


def test_images_are_the_same_every_time() -> None:
    for case in ("random", "half compressible"):
        first, second = list(pieces(case, 4)), list(pieces(case, 4))
        assert first == second
        assert len(set(first)) == 4
        assert {len(piece) for piece in first} == {MIB}
