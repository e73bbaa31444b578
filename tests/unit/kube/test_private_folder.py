"""Nothing secret outlives the operator for long, even when it was killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cinderbank.adapters.secret_files import private_folder, secret_files

ROOT = Path(__file__).resolve().parents[3]

HOLD = """
import sys, time
from cinderbank.adapters.secret_files import private_folder
with private_folder() as folder:
    (folder / "secret").write_text("x")
    print(folder, flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def holder(folder: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", HOLD], env=env, stdout=subprocess.PIPE, text=True
    )


def test_it_is_ours_alone_and_goes_at_the_end(temporary: Path) -> None:
    with private_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(temporary.iterdir()) == []


def test_what_a_killed_one_left_is_removed_and_a_living_one_is_not(temporary: Path) -> None:
    living, killed = holder(temporary), holder(temporary)
    try:
        folders = []
        for process in (living, killed):
            assert process.stdout is not None
            folders.append(Path(process.stdout.readline().strip()))
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        with private_folder():
            assert folders[0].exists()
            assert not folders[1].exists()
    finally:
        for process in (living, killed):
            process.kill()
            process.communicate()


def test_secret_files_are_readable_by_us_alone(temporary: Path) -> None:
    with secret_files({"clouds.yaml": b"x"}) as folder:
        assert stat.S_IMODE((folder / "clouds.yaml").stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(temporary.iterdir()) == []


def test_many_that_start_at_once_leave_each_other_alone(temporary: Path) -> None:
    processes = [holder(temporary) for _ in range(6)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert Path(process.stdout.readline().strip()).joinpath("secret").exists()
    finally:
        for process in processes:
            process.kill()
            process.communicate()
