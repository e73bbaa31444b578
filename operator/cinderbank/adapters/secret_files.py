"""Secrets as files, for what reads only files: in a folder that only we can read, for a while."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def write_secret_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` (0700) with these files (0600) in it; the names are ours, never a Secret's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in files.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


@contextmanager
def secret_files(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A folder with these files, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="cinderbank-"))
    try:
        write_secret_files(folder, files)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


FOLDER_PREFIX = "cinderbank-operator-"


@contextmanager
def private_folder() -> Iterator[Path]:
    """This process' own folder (0700) for everything temporary; gone at the end.

    What an operator that was killed has left behind, secrets of its transfers among it, is removed by
    the next one: a lock that only a living process can hold tells them apart.
    """
    folder, lock = _own_folder()
    try:
        for other in folder.parent.glob(f"{FOLDER_PREFIX}*"):
            if other != folder:
                _remove_if_left_behind(other)
        yield folder
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _own_folder() -> tuple[Path, int]:
    """A new folder and the lock that we hold on it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        try:
            lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Before we held the lock, another operator that starts now may have taken it for a dead one's.
        if (folder / "lock").exists():
            return folder, lock
        os.close(lock)


def _remove_if_left_behind(folder: Path) -> None:
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # not there yet, not ours, or gone meanwhile
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # it lives
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
