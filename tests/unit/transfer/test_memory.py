"""Memory does not follow the size of the volume: measured in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("virtual_backup.py")


def peak_rss_mib(mib: int, kind: str) -> float:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(mib), kind],
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PATH": ""},
        capture_output=True,
        check=True,
        timeout=50,
    )
    return float(json.loads(done.stdout)["rss_mib"])


@pytest.mark.parametrize("kind", ["zero", "pattern"])
def test_a_volume_of_16_times_the_size_takes_the_same_memory(kind: str) -> None:
    small, large = peak_rss_mib(64, kind), peak_rss_mib(1024, kind)
    assert large < small * 1.2
    assert large < 200
