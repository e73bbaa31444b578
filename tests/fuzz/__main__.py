"""`python -m tests.fuzz TARGET|all [--seconds 600] [--seed N]`: until the time is over or a bug is found.

With atheris (group `nightly`) inputs are led by what of the code they reach; without it they are mutated
from valid samples, by a seed that is told. An input that breaks something is written to a file.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import secrets
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.mutation import mutated

MOST_ATHERIS_BYTES = 65_536


def main() -> int:
    """Exit code 0: nothing was found; 1: an input broke something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", help="one of tests/fuzz/targets.py, or all")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--engine", choices=["atheris", "mutation"], default=_engine())
    arguments = parser.parse_args()
    targets = _targets(arguments.engine)
    if arguments.target == "all":
        # Each in a process of its own: atheris ends the process that it runs in.
        return max(_in_a_process(name, arguments) for name in targets)
    if arguments.target not in targets:
        parser.error(f"there is no {arguments.target}; there are {', '.join(targets)}")
    run = _atheris if arguments.engine == "atheris" else _mutation
    return run(arguments.target, targets[arguments.target], arguments.seconds, arguments.seed)


def _targets(engine: str) -> dict[str, Any]:
    """Imported only now: atheris counts what is reached in modules that it saw being imported."""
    if engine != "atheris":
        return importlib.import_module("tests.fuzz.targets").TARGETS
    import atheris

    with atheris.instrument_imports(include=["cinderbank"]):
        return importlib.import_module("tests.fuzz.targets").TARGETS


def _engine() -> str:
    return "atheris" if importlib.util.find_spec("atheris") else "mutation"


def _in_a_process(name: str, arguments: argparse.Namespace) -> int:
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(arguments.seconds)]
    command += ["--seed", str(arguments.seed), "--engine", arguments.engine]
    return int(subprocess.run(command).returncode != 0)


def _mutation(name: str, target: Any, seconds: int, seed: int) -> int:
    random = Random(seed)
    ends_at, count, taken = time.monotonic() + seconds, 0, 0
    while time.monotonic() < ends_at:
        body = mutated(target.samples, random)
        count += 1
        try:
            taken += target(body)
        except Exception:
            return _found(name, body)
    print(
        f"{name}: mutation, seed {seed}: {count} inputs in {seconds} s, {taken} taken, no finding"
    )
    return 0


def _found(name: str, body: bytes) -> int:
    traceback.print_exc()
    path = Path(tempfile.gettempdir()) / f"cinderbank-fuzz-{name}.bin"
    path.write_bytes(body)
    print(f"{name}: FOUND; the input is {path} ({len(body)} bytes)")
    return 1


def _atheris(name: str, target: Any, seconds: int, seed: int) -> int:
    import atheris

    with tempfile.TemporaryDirectory(prefix="cinderbank-corpus-") as folder:
        for number, body in enumerate(target.samples):
            (Path(folder) / str(number)).write_bytes(body)
        options = [f"-max_total_time={seconds}", f"-max_len={MOST_ATHERIS_BYTES}"]
        # libFuzzer watches the memory of the whole process and one allocation at a time. The first is high
        # because atheris keeps what it sees compared of numpy arrays: 1 KiB an input of target qcow2,
        # where the same inputs without it stay at 58 MiB (180,000 of them, seen 2026-11-23).
        options += [f"-seed={seed % 2**31}", "-rss_limit_mb=4096", "-malloc_limit_mb=64"]
        options += ["-print_final_stats=1", f"-artifact_prefix={tempfile.gettempdir()}/"]
        atheris.Setup([sys.argv[0], *options, folder], target)
        print(f"{name}: atheris, seed {seed % 2**31}, {seconds} s", flush=True)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
