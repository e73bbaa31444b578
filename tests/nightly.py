"""What takes too long for `make test`, one part after the other: `make nightly [PARTS="model fuzz"]`.

A part that fails does not stop the later ones; the table at the end tells all, and the exit code is 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUZZ_SECONDS = 600
SCHEDULES = 100_000
MUTANT_SCHEDULES = 3_000
INTERLEAVINGS = 2_000
"""Of P14: as many seeds of the real code under the deterministic scheduler."""
TWO_SITES_SECONDS = 900

PARTS: dict[str, list[str]] = {
    "model": [
        "-m",
        "tests.model",
        "--schedules",
        str(SCHEDULES),
        "--mutants",
        str(MUTANT_SCHEDULES),
    ],
    "interleavings": ["-m", "pytest", "-q", "--timeout=0", "tests/crash/bank/test_interleaving.py"],
    "memory": ["-m", "pytest", "-q", "--timeout=0", "tests/unit/transfer/test_memory.py"],
    "schedules": ["-m", "pytest", "-q", "-s", "--timeout=0", "tests/unit/policy"],
    "fuzz": ["-m", "tests.fuzz", "all", "--seconds", str(FUZZ_SECONDS)],
    "two-sites": ["-m", "pytest", "-q", "-s", "--timeout=0", "tests/e2e/test_two_sites.py"],
}
NEEDS_RIG = {"two-sites"}


def main(chosen: list[str]) -> int:
    """Exit code 0 when every part that was chosen passed."""
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        print(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 64
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}",
        "CINDERBANK_INTERLEAVINGS": str(INTERLEAVINGS),
        "CINDERBANK_NIGHTLY": "1",
        "CINDERBANK_TWO_SITES_SECONDS": str(TWO_SITES_SECONDS),
        "CINDERBANK_RING_REQUIRED": "1",
    }

    def run(*arguments: str) -> int:
        command = [sys.executable, *arguments]
        print("$", " ".join(command), flush=True)
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode

    rows = []
    names = chosen or list(PARTS)
    starts_rig = bool(NEEDS_RIG & set(names)) and run("-m", "tests.rig", "status", "--quiet") != 0
    for name in names:
        started = time.monotonic()
        code = run("-m", "tests.rig", "up") if name in NEEDS_RIG else 0
        rows.append((name, code or run(*PARTS[name]), time.monotonic() - started))
    if starts_rig:
        run("-m", "tests.rig", "down")
    print("\npart            result    seconds")
    for name, code, seconds in rows:
        print(f"{name:<15} {'FAILED' if code else 'passed':<8} {seconds:8.0f}")
    return int(any(code for _, code, _ in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
