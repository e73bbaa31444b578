"""One measurement, the results of one part, and where they are kept between runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Measurement:
    """One thing that one tool did once. What could not be measured is None, and `error` says why."""

    action: str
    tool: str
    case: str
    round: int = 0
    seconds: float | None = None
    mover_cpu_seconds: float | None = None
    """User and system time of what moves the bytes: our transfer, the cinder-backup service, the
    whole pipe of a command."""
    machine_cpu_seconds: float | None = None
    """Of all processes of the machine that are not niced."""
    peak_mib: float | None = None
    """VmHWM of what moves the bytes, added up over its processes."""
    size_gib: float | None = None
    used_gib: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds from the beginning until a stage was seen."""
    error: str | None = None
    api_writes: Mapping[str, int] = field(default_factory=dict)
    """What the Kubernetes API server was asked to write, by kind and verb."""


@dataclass(frozen=True, slots=True)
class PartResult:
    """All of one run of one part."""

    part: str
    began: str
    ended: str
    boot_id: str
    commit: str
    quick: bool
    rounds: int
    calibration_seconds: tuple[float, ...]
    versions: Mapping[str, str]
    measurements: tuple[Measurement, ...]

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> PartResult:
        rows = tuple(Measurement(**row) for row in body["measurements"])
        times = tuple(body["calibration_seconds"])
        return cls(**{**body, "measurements": rows, "calibration_seconds": times})


@dataclass(frozen=True, slots=True)
class Summary:
    """The repetitions of one measurement: median, and how far apart they are."""

    median: float
    least: float
    most: float
    count: int


def summary(
    rows: Iterable[Measurement], action: str, tool: str, case: str, what: str = "seconds"
) -> Summary | None:
    """Of the rows that are that; None when not one of them succeeded."""
    values = [
        float(value)
        for row in rows
        if (row.action, row.tool, row.case) == (action, tool, case)
        and row.error is None
        and (value := getattr(row, what)) is not None
    ]
    if not values:
        return None
    return Summary(median(values), min(values), max(values), len(values))


def save(folder: Path, result: PartResult) -> None:
    """The part's last run; replaces the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{result.part}.json.new"
    aside.write_text(json.dumps(asdict(result), indent=1) + "\n")
    os.replace(aside, folder / f"{result.part}.json")


def load(folder: Path, boot_id: str, parts: Iterable[str]) -> dict[str, PartResult]:
    """The last run of each of the parts since this machine was booted."""
    found = {}
    for part in parts:
        path = folder / f"{part}.json"
        if path.exists():
            result = PartResult.from_json(json.loads(path.read_text()))
            if result.boot_id == boot_id:
                found[part] = result
    return found
