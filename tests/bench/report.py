"""docs/benchmarks.md and .json from results: nothing is measured here, nothing is left out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench import names
from tests.bench.figures import HEADLINES, PEAK_RSS, RATIOS, Results, figures, noise
from tests.bench.measurement import Measurement, PartResult, Summary, summary
from tests.bench.prose import HEAD, HOW, PARTS_PROSE

NONE = "–"
REASON_CHARS = 160


def write(folder: Path, results: Results, machine: Mapping[str, str]) -> None:
    """benchmarks.json and benchmarks.md; replaces those before."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("benchmarks.json", json.dumps(as_json(results, machine), indent=1) + "\n"),
        ("benchmarks.md", markdown(results, machine)),
    ):
        aside = folder / f"{name}.new"
        aside.write_text(text)
        os.replace(aside, folder / name)


def as_json(results: Results, machine: Mapping[str, str]) -> dict[str, Any]:
    values, missing = figures(results)
    return {
        "date": _ended(results),
        "machine": dict(machine),
        "ratios": values,
        "missing": missing,
        "noise": noise(results),
        "raw": {name: asdict(result) for name, result in results.items()},
    }


def markdown(results: Results, machine: Mapping[str, str]) -> str:
    """The whole report. What is missing is said with its reason."""
    blocks = [HEAD, _summary(results), _machine(results, machine)]
    for part, render in _PARTS.items():
        blocks.append(PARTS_PROSE[part])
        blocks.append(render(results[part]) if part in results else "This part has not been run.")
    blocks.append(HOW)
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def _ended(results: Results) -> str:
    return max((result.ended for result in results.values()), default="never")


def _summary(results: Results) -> str:
    values, missing = figures(results)
    rows = []
    for name in HEADLINES:
        value = values[name]
        if name == PEAK_RSS:
            shown = NONE if value is None else f"{value:.0f} MiB"
            rows.append((f"`{name}`", shown, _reason(missing.get(name, "less is better"))))
        else:
            ratio = RATIOS[name]
            what = f"{ratio.action}, {ratio.case}: {ratio.own} against {ratio.peer}"
            shown = NONE if value is None else f"{value:.2f}"
            rows.append((f"`{name}`", shown, _reason(missing.get(name, what))))
    return table(("figure", "value", "what, or why it is missing"), rows, right=(1,))


def _machine(results: Results, machine: Mapping[str, str]) -> str:
    about = table(("machine", ""), [(name.replace("_", " "), v) for name, v in machine.items()])
    runs = table(
        ("part", "began", "ended", "commit", "rounds", "calibration, median s", "spread"),
        [_run_row(name, result, noise(results)) for name, result in results.items()],
        right=(4, 5, 6),
    )
    return f"## Where and when\n\n{about}\n\n{runs}"


def _run_row(name: str, result: PartResult, every: Mapping[str, Any]) -> Sequence[str]:
    seen = every.get(name)
    rounds = f"{result.rounds}{', quick' if result.quick else ''}"
    shown = (NONE, NONE)
    if seen:
        shown = (f"{seen['median_seconds']:.3f}", f"{seen['spread_percent']:.0f} %")
    return (name, result.began, result.ended, f"`{result.commit}`", rounds, *shown)


def _peers(result: PartResult) -> str:
    blocks = []
    for case, percent in names.USED_PERCENT.items():
        tools = (
            names.OWN, names.OWN_ON_CEPH, names.ZLIB, names.ZSTD,
            names.BY_HAND, names.BY_HAND_ON_CEPH,
        )  # fmt: skip
        actions = (names.FULL, names.INCREMENTAL, names.RESTORE)
        if all(row.case != case for row in result.measurements):
            continue
        blocks.append(f"### {case.capitalize()}: {percent} % used")
        blocks.append(_costs(result.measurements, case, actions, tools))
    blocks.append(_stages(result.measurements))
    return "\n\n".join(blocks)


def _path(result: PartResult) -> str:
    tools = (
        names.OWN, names.OWN_ENCRYPTED, names.CURL, names.RCLONE, names.RESTIC, names.BORG,
    )  # fmt: skip
    blocks = []
    for case in (names.RANDOM, names.HALF_COMPRESSIBLE):
        blocks.append(f"### {case.capitalize()}")
        blocks.append(_costs(result.measurements, case, (names.STORE, names.READ_BACK), tools))
    told = ", ".join(f"{name}: {version}" for name, version in result.versions.items())
    return "\n\n".join([*blocks, f"Versions: {told}."])


def _growth(result: PartResult) -> str:
    rows = []
    for row in result.measurements:
        rows.append(
            (row.case, row.action, _number(row.seconds), _number(row.mover_cpu_seconds),
             _reason(row.error))
        )  # fmt: skip
    head = ("volume", "action", "s", "CPU s of the transfer", "")
    pictures = "\n\n".join(
        f"![seconds {curve}](benchmarks/{curve.replace(' ', '-')}.svg)"
        for curve in (names.BY_SIZE, names.BY_USE)
    )
    return f"{table(head, rows, right=(2, 3))}\n\n{pictures}"


def _memory(result: PartResult) -> str:
    rows = [
        (row.case, _number(row.peak_mib, 0), _number(row.seconds), _number(row.mover_cpu_seconds),
         _reason(row.error))
        for row in result.measurements
    ]  # fmt: skip
    return table(("volume", "peak MiB", "s", "CPU s", ""), rows, right=(1, 2, 3))


def _policies(result: PartResult) -> str:
    lines = [
        (row.case, row.action, _number(row.seconds), _number(row.mover_cpu_seconds, 2),
         _number(row.peak_mib, 0), str(sum(row.api_writes.values())), _writes(row))
        for row in result.measurements
    ]  # fmt: skip
    head = ("how many", "what", "s", "CPU s", "peak MiB", "writes", "which, or why it failed")
    rests = [
        f"At rest, {row.case}: {3600 * row.mover_cpu_seconds / row.seconds:.0f} s of CPU an hour,"
        f" {60 * sum(row.api_writes.values()) / row.seconds:.1f} writes a minute."
        for row in result.measurements
        if row.action == names.AT_REST and row.seconds and row.mover_cpu_seconds is not None
    ]
    return "\n\n".join([table(head, lines, right=(2, 3, 4, 5)), *rests])


def _writes(row: Measurement) -> str:
    told = ", ".join(f"{what} {count}" for what, count in sorted(row.api_writes.items()) if count)
    return _reason(row.error) if row.error else told


_PARTS: dict[str, Callable[[PartResult], str]] = {
    "peers": _peers,
    "path": _path,
    "growth": _growth,
    "memory": _memory,
    "policies": _policies,
}


def _costs(
    rows: Iterable[Measurement], case: str, actions: Sequence[str], tools: Sequence[str]
) -> str:
    """Medians of one case: time with its range, CPU, memory, and the errors."""
    every = list(rows)
    head = ("action", "tool", "s", "least..most", "MB/s", "CPU s", "machine's CPU s", "peak MiB")
    lines = []
    for action in actions:
        for tool in tools:
            found = summary(every, action, tool, case)
            if found is None:
                continue
            more = [
                summary(every, action, tool, case, what)
                for what in ("mover_cpu_seconds", "machine_cpu_seconds", "peak_mib")
            ]
            lines.append(
                (action, tool, f"{found.median:.1f}", f"{found.least:.1f}..{found.most:.1f}",
                 _rate(every, case, found), *(_median(each) for each in more))
            )  # fmt: skip
    failed = [
        f"- {row.tool}, {row.action}, round {row.round + 1}: {_reason(row.error)}"
        for row in every
        if row.case == case and row.error
    ]
    shown = table(head, lines, right=range(2, len(head)))
    return "\n\n".join([shown, *(["Failed:\n\n" + "\n".join(failed)] if failed else [])])


def _rate(rows: Iterable[Measurement], case: str, found: Summary) -> str:
    """Provisioned bytes by time."""
    size_gib = next((row.size_gib for row in rows if row.case == case and row.size_gib), None)
    return NONE if size_gib is None else f"{size_gib * (1 << 30) / 1e6 / found.median:.0f}"


def _stages(rows: Iterable[Measurement]) -> str:
    """When our phases were first seen, in the first round."""
    every = list(rows)
    lines = [
        (row.case, row.action, row.tool,
         ", ".join(f"{name} {at:.1f}" for name, at in row.stages.items()))
        for tool in (names.OWN, names.OWN_ON_CEPH)
        for row in every
        if row.tool == tool and row.round == 0 and row.stages
    ]  # fmt: skip
    head = ("volume", "action", "tool", "seconds until a phase was seen")
    return f"### Where our time goes\n\n{table(head, lines)}" if lines else ""


def _median(found: Summary | None) -> str:
    return NONE if found is None else f"{found.median:.1f}"


def _number(value: float | None, digits: int = 1) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _reason(text: str | None) -> str:
    """The beginning of an error; all of it is in the JSON."""
    one = " ".join((text or "").split())
    return one if len(one) <= REASON_CHARS else f"{one[:REASON_CHARS]}..."


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """A table in Markdown; the columns in `right` are numbers."""
    to_the_right = set(right)
    rule = ["---:" if number in to_the_right else "---" for number in range(len(head))]
    lines = [head, rule, *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
