"""One maker at a time of a thing that many may ask for: a build, an install, a set of keys."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Say = Callable[[str], None]


@contextmanager
def exclusive(lock: Path, what: str, say: Say = print) -> Iterator[int]:
    """Hold `lock` while `what` is made; say so when another process holds it first.

    Yields the descriptor: a child that inherits it keeps others waiting even if we are killed.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{what}: another process is making it, waiting")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()
