"""Runs the parts that were asked for, then writes docs/benchmarks.* from the last run of each.

`python -m tests.bench [PART ...] [--quick] [--rounds N]`; `make bench` installs what that needs.
Each part's results are kept in .bench/, so that a part can be run again by itself. Whatever is
started is ended, also after Ctrl-C.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from tests.bench import growth, machine, memory, path, peers, plots, policies, report
from tests.bench.bench import Bench, boot_id
from tests.bench.ground import ground
from tests.bench.measurement import load, save
from tests.bench.options import PARTS, Options, parse
from tests.rig.paths import CLONE
from tests.rig.progress import Progress

RESULTS = CLONE / ".bench"
QUICK_RESULTS = RESULTS / "quick"
DOCS = CLONE / "docs"
RUN: dict[str, Callable[[Bench, Any], None]] = {
    "peers": peers.run,
    "path": path.run,
    "growth": growth.run,
    "memory": memory.run,
    "policies": policies.run,
}


def main(words: list[str]) -> int:
    """0 when every part came to its end (a failed measurement is told in the report), else 1."""
    options = parse(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything ends with us
    progress = Progress()
    try:
        failed = _run(options, progress)
    except KeyboardInterrupt:
        print("interrupted; what was started has been ended", file=sys.stderr)
        return 130
    _report(options, progress)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(options: Options, progress: Progress) -> list[str]:
    """The parts that did not come to their end."""
    failed = []
    with ground(options) as stage:
        for name in options.parts:
            progress.say(f"part {name} begins")
            began = progress.seconds
            bench = Bench(name, options, progress)
            try:
                RUN[name](bench, stage)
            except Exception:
                traceback.print_exc()
                failed.append(name)
            if bench.has_results:
                save(QUICK_RESULTS if options.quick else RESULTS, bench.result())
            progress.say(f"part {name} took {progress.seconds - began:.0f} s")
    return failed


def _report(options: Options, progress: Progress) -> None:
    """A quick run is a rehearsal: its report stays out of docs/."""
    results = load(QUICK_RESULTS if options.quick else RESULTS, boot_id(), PARTS)
    if not results:
        progress.say("no results since this machine was booted: no report")
        return
    target = QUICK_RESULTS if options.quick else DOCS
    about = machine.describe()
    report.write(target, results, about)
    plots.write(target / "benchmarks", results)
    progress.say(f"the report: {target / 'benchmarks.md'}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
