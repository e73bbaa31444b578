"""What the person at the terminal sees."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

WIDTH = 78


class Screen:
    """Numbered steps, commands as one would type them, and one line that moves."""

    def __init__(self, steps: int) -> None:
        self.began = time.monotonic()
        self.steps = steps
        self.step = 0
        self.moving = sys.stdout.isatty()
        self.last = ""
        self.last_at = 0.0

    def clock(self) -> str:
        seconds = int(time.monotonic() - self.began)
        return f"{seconds // 60:2d}:{seconds % 60:02d}"

    def title(self, text: str) -> None:
        self.step += 1
        self._print(f"\n[{self.clock()}] {self.step}/{self.steps}  {text}")

    def say(self, text: str) -> None:
        self._print(f"        {text}")

    def command(self, text: str) -> None:
        self._print(f"        $ {text}")

    def live(self, text: str) -> None:
        """The moving line; where there is no terminal, a line when it says something new."""
        if self.moving:
            sys.stdout.write(f"\r\033[K[{self.clock()}] {text[:WIDTH]}")
            sys.stdout.flush()
            self.last = text
        elif text != self.last and time.monotonic() - self.last_at >= 2:
            print(f"[{self.clock()}] {text}", flush=True)
            self.last, self.last_at = text, time.monotonic()

    def landed(self, text: str) -> None:
        """The moving line comes to rest."""
        if self.moving:
            sys.stdout.write("\r\033[K")
        self.last = "" if self.moving else text
        print(f"[{self.clock()}] {text}", flush=True)

    def _print(self, text: str) -> None:
        if self.moving and self.last:
            sys.stdout.write("\n")
        self.last = ""
        print(text, flush=True)


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns, the second to the right."""
    left = max(len(name) for name, _ in rows)
    right = max(len(value) for _, value in rows)
    return "\n".join(f"        {name:<{left}}   {value:>{right}}" for name, value in rows)


def mib(count: float) -> str:
    return f"{count / (1 << 20):,.0f} MiB"
