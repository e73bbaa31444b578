"""Secrets as files, for what reads only files: in a folder that only we can read, for a while."""

from __future__ import annotations

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
