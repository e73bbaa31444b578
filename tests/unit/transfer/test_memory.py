"""Memory does not follow the size of the volume: measured in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("virtual_backup.py")


def peak_rss_mib(mib: int, *kind: str) -> float:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    # As the operator starts its children.
    environment = {"PYTHONPATH": path, "PATH": "", "MALLOC_MMAP_THRESHOLD_": "1048576"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(mib), *kind],
        env=environment,
        capture_output=True,
        check=True,
        timeout=50,
    )
    return float(json.loads(done.stdout)["rss_mib"])


@pytest.mark.timeout(150)  # two processes, on a machine that may be busy
@pytest.mark.parametrize("kind", ["zero", "pattern", "pattern restore"])
def test_a_volume_of_8_times_the_size_takes_the_same_memory(kind: str) -> None:
    small, large = peak_rss_mib(128, *kind.split()), peak_rss_mib(1024, *kind.split())
    assert large < small * 1.2
    assert large < 200
