"""One run of one part: measures, tells what it does, and never stops for one failed measurement."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.calibration import calibrate
from tests.bench.cost import Watch, machine_cpu_seconds
from tests.bench.measurement import Measurement, PartResult
from tests.bench.options import Options
from tests.rig.paths import CLONE
from tests.rig.progress import Progress

ERROR_CHARS = 500


@dataclass(frozen=True, slots=True)
class Done:
    """What an action can tell of itself, where the one who calls it could not see it."""

    stages: Mapping[str, float] = field(default_factory=dict)
    cpu_seconds: float | None = None
    api_writes: Mapping[str, int] = field(default_factory=dict)


class Bench:
    """Collects the measurements of a part."""

    def __init__(self, part: str, options: Options, progress: Progress) -> None:
        self.part = part
        self.options = options
        self.say = progress.say
        self.versions: dict[str, str] = {}
        self._began = _now()
        self._rows: list[Measurement] = []
        self._calibrations: list[float] = []
        self.calibrate()

    def calibrate(self) -> None:
        """Call it when nothing else is under way."""
        self._calibrations.append(calibrate())

    def measure(
        self,
        about: Measurement,
        act: Callable[[], Done | None],
        watch: AbstractContextManager[Watch],
    ) -> bool:
        """Do it and note what it cost, or why it failed; whether it succeeded."""
        machine, began = machine_cpu_seconds(), time.monotonic()
        try:
            with watch as watched:
                done = act() or Done()
                seconds = time.monotonic() - began
        except Exception as error:
            self.failed(about, error)
            return False
        watched_cpu = watched.cpu_seconds if done.cpu_seconds is None else done.cpu_seconds
        row = replace(
            about,
            seconds=round(seconds, 3),
            mover_cpu_seconds=round(watched_cpu, 2),
            machine_cpu_seconds=round(machine_cpu_seconds() - machine, 2),
            peak_mib=round(watched.peak_mib, 1),
            stages={name: round(at, 2) for name, at in done.stages.items()},
            api_writes=done.api_writes,
        )
        self._rows.append(row)
        self.say(
            f"{_named(about)}: {seconds:.1f} s, {row.mover_cpu_seconds} s CPU, {row.peak_mib} MiB"
        )
        return True

    def failed(self, about: Measurement, error: Exception) -> None:
        """What could not be measured, and why."""
        text = f"{type(error).__name__}: {error}"[:ERROR_CHARS]
        self._rows.append(replace(about, error=text))
        self.say(f"{_named(about)}: FAILED, {text}")

    def tidy(self, act: Callable[[], object]) -> None:
        """Clean up; what can not be cleaned is told, and takes no result with it."""
        try:
            act()
        except Exception as error:
            self.say(f"could not clean up: {type(error).__name__}: {error}"[:ERROR_CHARS])

    @property
    def has_results(self) -> bool:
        return bool(self._rows)

    def note(self, row: Measurement) -> None:
        """What was measured in another way."""
        self._rows.append(row)
        self.say(f"{_named(row)}: {row.seconds} s, {row.peak_mib} MiB, {row.error or 'done'}")

    def result(self) -> PartResult:
        self.calibrate()
        return PartResult(
            part=self.part,
            began=self._began,
            ended=_now(),
            boot_id=boot_id(),
            commit=commit(),
            quick=self.options.quick,
            rounds=self.options.rounds,
            calibration_seconds=tuple(round(each, 4) for each in self._calibrations),
            versions=self.versions,
            measurements=tuple(self._rows),
        )


def _named(row: Measurement) -> str:
    return f"{row.case}, round {row.round + 1}, {row.tool}: {row.action}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def commit() -> str:
    """The commit that is measured, with a `+` when files that git knows are changed."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=CLONE, capture_output=True, text=True, check=True)
    return done.stdout.strip()
