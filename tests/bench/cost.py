"""What an action cost: CPU time and peak memory of processes, CPU time of the whole machine.

ru_maxrss is of no use for memory: that of a child begins at its parent's peak. So VmHWM is read
again and again while the process lives.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
LOOK_SECONDS = 0.1


class Look(NamedTuple):
    """One process at one moment."""

    pid: int
    parent: int
    session: int
    start_ticks: int
    cpu_seconds: float

    @classmethod
    def parse(cls, line: str) -> Look:
        """A line of /proc/PID/stat."""
        # The command in brackets may itself hold blanks and brackets.
        pid = int(line.split(" ", 1)[0])
        columns = line.rsplit(")", 1)[1].split()
        cpu_ticks = int(columns[11]) + int(columns[12])
        ticks = int(columns[19])
        return cls(pid, int(columns[1]), int(columns[3]), ticks, cpu_ticks / TICKS_PER_SECOND)


class Watch(threading.Thread):
    """Looks at the processes that `chosen` picks until it is stopped; adds up what it saw last.

    What a process uses between the last look and its end is missed: LOOK_SECONDS at most.
    """

    def __init__(self, chosen: Callable[[Look], bool]) -> None:
        super().__init__(daemon=True)
        self._chosen = chosen
        self._ended = threading.Event()
        self._first: dict[tuple[int, int], float] = {}
        self._last: dict[tuple[int, int], float] = {}
        self._peak_kib = 0
        self._began_ticks = uptime_ticks()

    def __enter__(self) -> Watch:
        self.look()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
        self.look()

    @property
    def cpu_seconds(self) -> float:
        """Since the watch began, also of processes that were there before."""
        return sum(last - self._first[key] for key, last in self._last.items())

    @property
    def peak_mib(self) -> float:
        """The most that the processes which were there at once have had, each at its own peak."""
        return self._peak_kib / 1024

    def run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Look now, beside the looks at intervals."""
        peaks_kib = 0
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    peaks_kib += self._look_at(Path("/proc", entry))
                except (OSError, ValueError, LookupError):
                    continue  # it ended while it was looked at
        self._peak_kib = max(self._peak_kib, peaks_kib)

    def _look_at(self, process: Path) -> int:
        """The peak of a process that is chosen, in KiB; 0 of any other."""
        found = Look.parse((process / "stat").read_text())
        if not self._chosen(found):
            return 0
        key = (found.pid, found.start_ticks)
        if key not in self._first:
            born_since = found.start_ticks >= self._began_ticks
            self._first[key] = 0.0 if born_since else found.cpu_seconds
            if not born_since:
                (process / "clear_refs").write_text("5")  # its peak begins anew
        self._last[key] = found.cpu_seconds
        peak = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
        return 0 if peak is None else int(peak[1])


def uptime_ticks() -> int:
    return int(float(Path("/proc/uptime").read_text().split()[0]) * TICKS_PER_SECOND)


def machine_cpu_seconds() -> float:
    """Of all processes and of the kernel since boot, without what is niced (or idle, or waits)."""
    user, _niced, system, _idle, _waits, irq, soft_irq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + system + irq + soft_irq) / TICKS_PER_SECOND
