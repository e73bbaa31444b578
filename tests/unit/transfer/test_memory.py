"""Memory does not follow the size of the volume: measured in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cinderbank.adapters.transfer_process import MALLOC

PROGRAM = Path(__file__).with_name("virtual_backup.py")
COPY_PROGRAM = Path(__file__).with_name("virtual_copy.py")
INDEX_PROGRAM = Path(__file__).with_name("virtual_index.py")
MIB = 1 << 20
STATED_MIB = 64
"""transfer.pipeline says how much it adds to an idle process."""


def measured(program: Path, *arguments: str, seconds: float = 280) -> dict[str, float]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    # As the operator starts its children.
    environment = {"PYTHONPATH": path, "PATH": "", **MALLOC}
    done = subprocess.run(
        [sys.executable, str(program), *arguments],
        env=environment,
        capture_output=True,
        check=True,
        timeout=seconds,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.timeout(600)  # two processes, on a machine that may be busy
@pytest.mark.parametrize("kind", ["zero", "pattern", "pattern restore", "pattern incremental"])
def test_a_volume_of_any_size_takes_what_is_stated(kind: str) -> None:
    found = measured(PROGRAM, "1024", *kind.split())
    assert found["rss_mib"] < found["idle_mib"] + STATED_MIB


@pytest.mark.timeout(600)
def test_a_copy_takes_what_is_stated() -> None:
    found = measured(COPY_PROGRAM, "512")
    assert found["rss_mib"] < found["idle_mib"] + STATED_MIB


@pytest.mark.timeout(600)
def test_p19_all_that_may_be_in_flight_to_a_slow_bank_keeps_the_stated_bound() -> None:
    found = measured(PROGRAM, "768", "pattern", "slow-sink")
    assert found["rss_mib"] < found["idle_mib"] + STATED_MIB


@pytest.mark.timeout(600)
def test_p19_a_slow_source_takes_no_memory() -> None:
    found = measured(PROGRAM, "512", "pattern", "slow-source")
    assert found["rss_mib"] < found["idle_mib"] + STATED_MIB


def test_p19_an_unchanged_volume_sends_nothing() -> None:
    found = measured(PROGRAM, "256", "pattern", "incremental")
    assert (found["reused_bytes"], found["stored_bytes"], found["requests"]) == (256 * MIB, 0, 1)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["zero", "data"])
def test_p19_the_index_streams(kind: str) -> None:
    small = measured(INDEX_PROGRAM, "0.25", kind)["rss_mib"]
    large = measured(INDEX_PROGRAM, "1", kind)["rss_mib"]
    assert large < small * 1.2


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_p19_the_index_of_4_tib_streams() -> None:
    assert measured(INDEX_PROGRAM, "4", "data", seconds=3600)["rss_mib"] < 120


@pytest.mark.nightly
@pytest.mark.timeout(5 * 3600)
def test_p19_1_tib_of_zeros_at_constant_memory() -> None:
    found = measured(PROGRAM, str(1 << 20), "zero", seconds=5 * 3600)
    assert found["rss_mib"] < 120
    assert found["stored_bytes"] == 0
    assert found["requests"] == 4  # its index parts
