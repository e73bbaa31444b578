"""Runs a command to its end, within a time, with its output kept for the message if it fails."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Mapping, Optional, Sequence, Union

Word = Union[str, Path, int]


class CommandFailed(Exception):
    """A command ended with an error or took too long; the message ends with its last output."""


def run(
    *words: Word,
    timeout_seconds: float = 120,
    cwd: Optional[Path] = None,
    env: Optional[Mapping[str, str]] = None,
    stdin: Optional[Path] = None,
) -> str:
    """The command's output (both streams together). `env` is added to our environment."""
    argv = [str(word) for word in words]
    source = open(stdin, "rb") if stdin else None
    try:
        done = subprocess.run(
            argv,
            stdin=source or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_seconds,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")
        raise CommandFailed(f"{_short(argv)}: not done after {timeout_seconds:.0f} s\n{_end(said)}")
    except FileNotFoundError:
        raise CommandFailed(f"{argv[0]}: there is no such command") from None
    finally:
        if source:
            source.close()
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        raise CommandFailed(f"{_short(argv)}: exit {done.returncode}\n{_end(said)}")
    return said


def succeeds(*words: Word, timeout_seconds: float = 10) -> bool:
    """Whether the command ends well within the time."""
    try:
        run(*words, timeout_seconds=timeout_seconds)
        return True
    except CommandFailed:
        return False


def _short(argv: Sequence[str]) -> str:
    return " ".join(argv)[:200]


def _end(said: str) -> str:
    return said.strip()[-2000:]
