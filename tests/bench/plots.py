"""The curves of part `growth` as SVG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

from tests.bench import names
from tests.bench.figures import Results
from tests.bench.measurement import Measurement

mpl.use("svg")
# The same results give the same file.
mpl.rcParams["svg.hashsalt"] = "cinderbank"
AXES: dict[str, tuple[str, Callable[[Measurement], float | None]]] = {
    names.BY_SIZE: ("size of the volume, GiB", lambda row: row.size_gib),
    names.BY_USE: ("used of the volume, GiB", lambda row: row.used_gib),
}


def write(folder: Path, results: Results) -> None:
    """One picture for each curve; none without the part."""
    if "growth" not in results:
        return
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    for curve, (label, where) in AXES.items():
        figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
        for action in (names.FULL, names.RESTORE):
            points = sorted(
                (at, row.seconds)
                for row in results["growth"].measurements
                if row.case.startswith(curve) and row.action == action
                and row.seconds is not None and (at := where(row)) is not None
            )  # fmt: skip
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=action)
        axes.set(xlabel=label, ylabel="seconds", ylim=(0, None), xlim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(folder / f"{curve.replace(' ', '-')}.svg", metadata={"Date": None})
        pyplot.close(figure)
