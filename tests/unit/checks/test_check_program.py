"""The real `bank check --events` as a process: it says why it can not look, and ends with its parent."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cinderbank
from cinderbank.adapters.check_process import CheckAccess, bank_files, check_command
from cinderbank.adapters.s3_location import S3Credentials, S3Location
from cinderbank.ports.checks import CheckRequest
from tests.fakes.backups import SITE

SECRET = "very-secret-key-0123456789"


@pytest.fixture
def silence() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def start(folder: Path, endpoint: str) -> subprocess.Popen[bytes]:
    location = S3Location(endpoint, "bucket", addressing="path")
    access = CheckAccess(location, S3Credentials("user", SECRET), SITE, False, None)
    for name, content in bank_files(access).items():
        (folder / name).write_bytes(content)
    source = str(Path(cinderbank.__file__).parents[1])
    return subprocess.Popen(
        check_command(folder / "bank.yaml", CheckRequest("full")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": source},
    )


def test_it_ends_when_its_parent_does(tmp_path: Path, silence: socket.socket) -> None:
    child = start(tmp_path, f"http://127.0.0.1:{silence.getsockname()[1]}")
    connection, _ = silence.accept()  # it is in the middle of its first request
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(timeout=120) == 130
    connection.close()


def test_what_stops_it_is_its_last_line(tmp_path: Path) -> None:
    child = start(tmp_path, "ftp://nowhere")
    assert child.stdout is not None
    assert child.stderr is not None
    # Not communicate(): that closes stdin, and so ends the child.
    out, err = child.stdout.read(), child.stderr.read()
    child.wait(timeout=120)
    last = json.loads(out.splitlines()[-1])
    assert (last["event"], last["reason"], last["retryable"]) == (
        "error",
        "InvalidConfiguration",
        False,
    )
    assert child.returncode == 64
    assert SECRET.encode() not in out + err


def test_it_imports_no_kubernetes_and_no_openstack() -> None:
    code = (
        "import sys; import cinderbank.cli.bank_check_events; "
        "print([name for name in ('kopf', 'kubernetes', 'openstack') if name in sys.modules])"
    )
    source = str(Path(cinderbank.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": source},
        check=True,
    )
    assert found.stdout.strip() == b"[]"
