"""`make demo` and `make test` say what they need before they change anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.rig import preflight

ROOT = Path(__file__).resolve().parents[3]
PYTHON = "/usr/bin/python3"  # not the venv's: the preflight comes before there is one


def preflight_as(*become: str, purpose: str) -> subprocess.CompletedProcess[str]:
    command = [*become, PYTHON, "-m", "tests.rig", "preflight", purpose]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("purpose", ["demo", "test"])
def test_who_is_not_root_is_told_at_once(purpose: str) -> None:
    # Another user who can read this clone wherever it lies; who is not root needs no setpriv.
    reading = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    nobody = ["setpriv", "--reuid=65534", "--clear-groups", *reading]
    become = nobody if os.geteuid() == 0 else []
    said = preflight_as(*become, purpose=purpose)
    assert said.returncode == 2
    assert "you are not root" in said.stderr and said.stdout == ""


def test_it_says_what_it_uses_and_how_to_end_it() -> None:
    if preflight.problems():
        assert preflight_as(purpose="demo").returncode == 2
        return
    said = preflight_as(purpose="demo")
    assert said.returncode == 0, said.stderr
    for words in ("GiB of memory", "GiB of disk", "tests.rig down"):
        assert words in said.stdout


def test_too_little_room_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "NEEDED_DISK_GIB", 10**6)
    monkeypatch.setattr(preflight, "STATE", Path("/nonexistent"))
    found = dict(preflight._room())
    assert any("GiB of disk are free" in problem for problem in found)
    assert any("make room for" in way_out for way_out in found.values())
