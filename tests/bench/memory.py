"""Part `memory`: peak memory of our data path, for volumes that exist only as a pattern."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

from cinderbank.adapters.transfer_process import MALLOC
from tests.bench.bench import Bench
from tests.bench.measurement import Measurement
from tests.bench.names import OWN, PEAK
from tests.stage.operator_process import ROOT

PROGRAM = ROOT / "tests" / "unit" / "transfer" / "virtual_backup.py"
LIMIT_SECONDS = 3600


def run(bench: Bench, _stage: object) -> None:
    """Zeros, text and noise; chunks are made and thrown away, so that what grows is ours."""
    for size_gib in (1, 8) if bench.options.quick else (1, 100):
        about = Measurement(PEAK, OWN, f"{size_gib} GiB", size_gib=size_gib)
        began = time.monotonic()
        try:
            said = _program(size_gib)
        except (subprocess.SubprocessError, ValueError) as error:
            bench.note(replace(about, error=str(error)[:500]))
            continue
        bench.note(
            replace(
                about,
                seconds=round(time.monotonic() - began, 2),
                mover_cpu_seconds=round(said["cpu_seconds"], 2),
                peak_mib=round(said["rss_mib"], 1),
            )
        )


def _program(size_gib: int) -> dict[str, float]:
    # As the operator starts its children.
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}",
        **MALLOC,
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(size_gib * 1024), "mixed"],
        env=environment,
        capture_output=True,
        check=True,
        timeout=LIMIT_SECONDS,
    )
    return dict(json.loads(done.stdout))
