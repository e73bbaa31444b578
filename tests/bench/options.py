"""What `make bench` was asked to do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

PARTS = ("peers", "path", "growth", "memory", "policies")
"""In the order in which they run."""

REPORT = "report"
ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Options:
    parts: tuple[str, ...]
    """Which parts to run; none to write the report alone."""
    rounds: int
    quick: bool


def parse(words: Sequence[str]) -> Options:
    """Exits with 2 and the reason when the words make no sense."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"{', '.join(PARTS)}; {REPORT} for the report alone",
    )
    parser.add_argument("--quick", action="store_true", help="small volumes, one round")
    parser.add_argument("--rounds", type=int, help=f"repetitions (default {ROUNDS}, quick 1)")
    chosen = parser.parse_args(list(words))
    unknown = [part for part in chosen.parts if part not in (*PARTS, REPORT)]
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if chosen.rounds is not None and chosen.rounds < 1:
        parser.error(f"--rounds is {chosen.rounds}; at least 1")
    wanted = chosen.parts or list(PARTS)
    return Options(
        parts=tuple(part for part in PARTS if part in wanted),
        rounds=chosen.rounds or (1 if chosen.quick else ROUNDS),
        quick=chosen.quick,
    )
