"""Runs the checks and the rings of tests one after the other and says how long each took.

`python3 tests/rings.py [RING ...]`, called by `make test` in the project's venv. A failing ring
does not stop the later ones: the table at the end tells all. The rig is brought up before the first
ring that needs it, and taken down at the end only when it was not up before.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

CHECKS: dict[str, list[list[str]]] = {
    "style": [[str(BIN / "ruff"), "check", "."], [str(BIN / "ruff"), "format", "--check", "."]],
    "types": [[str(BIN / "mypy")]],
    "layers": [[str(BIN / "lint-imports"), "--no-logo"]],
}
RINGS = ("unit", "crash", "contract", "integration", "e2e")
NEEDS_RIG = {"contract", "integration", "e2e"}


def run(command: list[str]) -> bool:
    print("$", " ".join(command), flush=True)
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}"}
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode == 0


def check(name: str) -> bool:
    """All commands of a check, also after one has failed."""
    results = [run(command) for command in CHECKS[name]]
    return all(results)


def rig(*arguments: str) -> bool:
    return run([sys.executable, "-m", "tests.rig", *arguments])


def main(chosen: list[str]) -> int:
    """Exit code 0 when everything that was chosen passed, else 1."""
    names = chosen or [*CHECKS, *RINGS]
    unknown = [name for name in names if name not in CHECKS and name not in RINGS]
    if unknown:
        print(
            f"no such ring: {', '.join(unknown)}; there are {', '.join([*CHECKS, *RINGS])}",
            file=sys.stderr,
        )
        return 2
    rows: list[tuple[str, bool, float]] = []

    def timed(name: str, action) -> bool:  # type: ignore[no-untyped-def]
        started = time.monotonic()
        passed = action()
        rows.append((name, passed, time.monotonic() - started))
        return passed

    rig_was_up = (
        subprocess.run(
            [sys.executable, "-m", "tests.rig", "status", "--quiet"], cwd=ROOT, check=False
        ).returncode
        == 0
    )
    rig_is_up = False
    for name in names:
        if name in CHECKS:
            timed(name, lambda name=name: check(name))
            continue
        if name in NEEDS_RIG and not rig_is_up:
            rig_is_up = timed("rig up", lambda: rig("up"))
            if not rig_is_up:
                break
        timed(name, lambda name=name: run([sys.executable, "-m", "pytest", "-q", f"tests/{name}"]))
    if rig_is_up and not rig_was_up:
        timed("rig down", lambda: rig("down"))
    return report(rows)


def report(rows: list[tuple[str, bool, float]]) -> int:
    print("\nring            result    seconds")
    for name, passed, seconds in rows:
        print(f"{name:<15} {'passed' if passed else 'FAILED':<8} {seconds:8.1f}")
    failed = sum(not passed for _, passed, _ in rows)
    print(f"\nrings: {len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
