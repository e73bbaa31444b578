"""`python -m tests.model --schedules 100000` is the nightly run; with `--mutants N` it also looks for
seeds that catch each mutant."""

from __future__ import annotations

import argparse
import sys
import time

from tests.model.actors import Violation
from tests.model.protocol import MUTANTS, PLAIN_BREAK, PROTOCOL, Protocol
from tests.model.schedule import Schedule


def explore(protocol: Protocol, first: int, count: int) -> tuple[int, list[tuple[int, str]]]:
    """Completed backups, and the seeds that lost something."""
    completed, lost = 0, []
    for seed in range(first, first + count):
        try:
            completed += Schedule(seed, protocol).run()
        except Violation as violation:
            lost.append((seed, str(violation)))
    return completed, lost


def main() -> int:
    """Exit code 1 when the protocol itself lost something."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--schedules", type=int, default=2000, help="of the protocol itself")
    parser.add_argument("--mutants", type=int, default=0, help="schedules of each mutant")
    parser.add_argument("--first-seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()
    completed, lost = explore(PROTOCOL, arguments.first_seed, arguments.schedules)
    print(
        f"protocol: {arguments.schedules} schedules, {completed} completed backups, "
        f"{len(lost)} violations, {time.monotonic() - started:.0f} s",
        *lost[:5],
        flush=True,
    )
    plain, lost_plain = explore(PLAIN_BREAK, arguments.first_seed, arguments.schedules // 10)
    print(f"plain break: {plain} completed backups, {len(lost_plain)} violations", flush=True)
    for mutant in MUTANTS if arguments.mutants else ():
        done, found = explore(mutant.protocol, arguments.first_seed, arguments.mutants)
        print(
            f"without {mutant.name}: {arguments.mutants} schedules, {done} completed backups, "
            f"{len(found)} violations, seeds {[seed for seed, _ in found[:5]]}",
            *found[:1],
            flush=True,
        )
    return 1 if lost or lost_plain else 0


if __name__ == "__main__":
    sys.exit(main())
