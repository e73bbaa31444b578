"""Watches the transfer processes of this machine and keeps the most memory that each kind took."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path


class TransferMemory(threading.Thread):
    """Reads VmHWM of every `cinderbank transfer` again and again; what it saw last is its peak."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks_kib: dict[tuple[str, int], int] = {}
        """By kind (backup, restore) and the volume's size in bytes."""
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.2):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    self._look(process)
                except (OSError, ValueError, LookupError):
                    continue  # it ended while it was looked at

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def _look(self, process: Path) -> None:
        words = (process / "cmdline").read_bytes().decode().split("\0")
        if "cinderbank" not in words or "--job" not in words:
            return
        path = Path(words[words.index("--job") + 1])
        if not path.is_file():
            return  # a test's pipe, which must not find a reader in us
        job = json.loads(path.read_text())
        key = (job["kind"], job["transfer"]["size_bytes"])
        peak = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
        if peak is not None:
            self.peaks_kib[key] = max(self.peaks_kib.get(key, 0), int(peak[1]))
