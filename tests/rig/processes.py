"""Processes by what /proc says of them: which are ours, which only look like it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """One line of /proc/PID/stat. Pid and start time together name a process for good."""

    pid: int
    state: str
    session: int
    start_ticks: int
    threads: int

    @property
    def alive(self) -> bool:
        """A zombie is dead: it holds nothing any more, only its parent has not looked yet.

        Not so while another thread of it is on its way out: that one still holds its ports.
        """
        return self.state not in "ZXx" or self.threads > 1

    @classmethod
    def parse(cls, line: str) -> Process:
        # The command in brackets may itself hold blanks and brackets.
        pid = int(line.split(" ", 1)[0])
        columns = line.rsplit(")", 1)[1].split()
        return cls(pid, columns[0], int(columns[3]), int(columns[19]), int(columns[17]))

    @classmethod
    def read(cls, pid: int) -> Process | None:
        """The process with this number now; None when there is none."""
        try:
            return cls.parse(Path(f"/proc/{pid}/stat").read_text())
        except (OSError, IndexError, ValueError):
            return None

    def again(self) -> Process | None:
        """The same process as it is now; None when it is dead or its number is another's."""
        now = Process.read(self.pid)
        same = now is not None and now.start_ticks == self.start_ticks and now.alive
        return now if same else None

    @classmethod
    def all(cls) -> Iterator[Process]:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                process = cls.read(int(entry))
                if process is not None:
                    yield process


def started_at(process: Process) -> float:
    """When the process began, in seconds since the epoch."""
    uptime_seconds = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime_seconds + process.start_ticks / os.sysconf("SC_CLK_TCK")


def working_directory(pid: int) -> Path | None:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return None


def command_line(pid: int) -> str:
    """The command line on one line, cut to a length that a message can hold."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "(gone)"
    return " ".join(word.decode(errors="replace") for word in words).strip()[:200]
