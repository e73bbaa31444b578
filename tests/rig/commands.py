"""Runs a command to its end, within a time, with its output kept for the message if it fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# A command dies with the `up` that runs it: an orphan would write where the next `up` begins anew.
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


class CommandFailed(Exception):
    """A command ended with an error or took too long; the message ends with its last output."""


def run(
    *words: str | Path | int,
    timeout_seconds: float = 600,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: Path | None = None,
) -> str:
    """The command's output (both streams together). `env` is added to our environment."""
    argv = [str(word) for word in words]
    with open(stdin or os.devnull, "rb") as source:
        try:
            done = subprocess.run(
                [*DIES_WITH_US, *argv],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout_seconds,
                cwd=cwd,
                env={**os.environ, **(env or {})},
            )
        except subprocess.TimeoutExpired as error:
            said = (error.stdout or b"").decode(errors="replace")
            raise CommandFailed(
                f"{_short(argv)}: not done after {timeout_seconds:.0f} s\n{_end(said)}"
            ) from None
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        raise CommandFailed(f"{_short(argv)}: exit {done.returncode}\n{_end(said)}")
    return said


def succeeds(*words: str | Path | int, timeout_seconds: float = 60) -> bool:
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
