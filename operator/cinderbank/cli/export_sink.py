"""Where exported bytes go: a new file (sparse), something that is written over, or a pipe."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import InvalidSpec

_ZEROS = bytes(1 << 20)


class Sink(Protocol):
    """Takes the volume's bytes in order. OSError when it can not."""

    def write(self, plain: Buffer) -> None: ...
    def zeros(self, count: int) -> None: ...
    def keep(self) -> None:
        """All is there and it is right: without this call a new file goes away again."""
        ...


class _Stream:
    """A pipe, a device or a file: every byte is written, zeros too."""

    def __init__(self, descriptor: int, sync: bool) -> None:
        self._descriptor = descriptor
        self._sync = sync

    def write(self, plain: Buffer) -> None:
        rest = memoryview(plain)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def zeros(self, count: int) -> None:
        for first in range(0, count, len(_ZEROS)):
            self.write(memoryview(_ZEROS)[: count - first])

    def keep(self) -> None:
        if self._sync:
            os.fsync(self._descriptor)


class _NewFile(_Stream):
    """Under another name until it is kept; zeros are holes."""

    def __init__(self, descriptor: int, partial: Path, target: Path, size_bytes: int) -> None:
        super().__init__(descriptor, sync=True)
        self._partial, self._target = partial, target
        os.ftruncate(descriptor, size_bytes)

    def zeros(self, count: int) -> None:
        os.lseek(self._descriptor, count, os.SEEK_CUR)

    def keep(self) -> None:
        super().keep()
        self._partial.replace(self._target)


@contextmanager
def open_sink(name: str, size_bytes: int, overwrite: bool) -> Iterator[Sink]:
    """Raises InvalidSpec when the target is there and may not be written over, or is a terminal."""
    if name == "-":
        if sys.stdout.isatty():
            raise InvalidSpec("stdout is a terminal: redirect it, or name a file")
        sys.stdout.flush()
        yield _Stream(sys.stdout.fileno(), sync=False)
        return
    target = Path(name)
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        mode = 0
    if mode and not overwrite:
        raise InvalidSpec(f"{target} is there already; --overwrite writes over it")
    if mode and not stat.S_ISREG(mode):
        # A device or a FIFO keeps its name; what is on it is not zero, so holes are written.
        descriptor = os.open(target, os.O_WRONLY)
        try:
            yield _Stream(descriptor, sync=stat.S_ISBLK(mode))
        finally:
            os.close(descriptor)
        return
    partial = target.with_name(f"{target.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield _NewFile(descriptor, partial, target, size_bytes)
    finally:
        os.close(descriptor)
        partial.unlink(missing_ok=True)
