"""From measurements to the few numbers that are compared between releases. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench import names
from tests.bench.measurement import Measurement, PartResult, summary

Results = Mapping[str, PartResult]
DIGITS = 3


@dataclass(frozen=True, slots=True)
class Ratio:
    """Seconds of a peer by ours: above 1 we are faster."""

    part: str
    action: str
    case: str
    peer: str
    own: str = names.OWN


_PLACES = (
    ("", names.OWN, names.BY_HAND),
    ("_on_ceph", names.OWN_ON_CEPH, names.BY_HAND_ON_CEPH),
)
"""Where Glance keeps its images: in files, or on the Ceph of the volumes."""

RATIOS: dict[str, Ratio] = {
    **{
        f"{case}_{short}{place}_vs_cinder_backup{suffix}": Ratio("peers", action, case, peer, own)
        for place, own, _ in _PLACES
        for case in names.USED_PERCENT
        for short, action in (
            ("backup", names.FULL),
            ("restore", names.RESTORE),
            ("incremental_unchanged", names.INCREMENTAL),
        )
        for peer, suffix in ((names.ZLIB, ""), (names.ZSTD, "_zstd"))
    },
    **{
        f"{case}_restore{place}_vs_glance_by_hand": Ratio(
            "peers", names.RESTORE, case, by_hand, own
        )
        for place, own, by_hand in _PLACES
        for case in names.USED_PERCENT
    },
    # The one of the volume that most volumes are like.
    "incremental_unchanged_vs_cinder_backup": Ratio(
        "peers", names.INCREMENTAL, "sparse", names.ZLIB
    ),
    **{
        f"{direction}_vs_{short}{suffix}": Ratio("path", action, case, peer, own)
        for case, suffix in ((names.RANDOM, ""), (names.HALF_COMPRESSIBLE, "_half_compressible"))
        for direction, action in (
            ("data_path", names.STORE),
            ("data_path_back", names.READ_BACK),
        )
        # restic always encrypts, so against it we do.
        for short, peer, own in (
            ("curl", names.CURL, names.OWN),
            ("rclone", names.RCLONE, names.OWN),
            ("restic", names.RESTIC, names.OWN_ENCRYPTED),
            ("borg", names.BORG, names.OWN),
        )
    },
}
PEAK_RSS = "transfer_peak_rss_mib"
"""The one figure that is better when it is smaller."""

HEADLINES = (
    "sparse_backup_vs_cinder_backup",
    "sparse_restore_vs_cinder_backup",
    "sparse_restore_vs_glance_by_hand",
    "half_backup_vs_cinder_backup",
    "half_restore_vs_cinder_backup",
    "full_backup_vs_cinder_backup",
    "full_restore_vs_cinder_backup",
    "full_restore_vs_glance_by_hand",
    "full_restore_on_ceph_vs_cinder_backup",
    "incremental_unchanged_vs_cinder_backup",
    "data_path_vs_curl",
    "data_path_vs_restic",
    "data_path_vs_borg",
    PEAK_RSS,
)
"""What the report begins with; the other figures are in the JSON."""

NOT_RUN = "part {} has not been run since this machine was booted"


def figures(results: Results) -> tuple[dict[str, float | None], dict[str, str]]:
    """Every figure by name, None for what is missing; and why, for those."""
    values: dict[str, float | None] = {}
    missing: dict[str, str] = {}
    for name, ratio in RATIOS.items():
        found = _ratio(results, ratio)
        values[name] = found if isinstance(found, float) else None
        if isinstance(found, str):
            missing[name] = found
    peak = _peak_rss(results)
    values[PEAK_RSS] = peak if isinstance(peak, float) else None
    if isinstance(peak, str):
        missing[PEAK_RSS] = peak
    return values, missing


def _ratio(results: Results, ratio: Ratio) -> float | str:
    """The ratio of the medians, or why there is none."""
    if ratio.part not in results:
        return NOT_RUN.format(ratio.part)
    rows = results[ratio.part].measurements
    medians = []
    for tool in (ratio.peer, ratio.own):
        found = summary(rows, ratio.action, tool, ratio.case)
        if found is None:
            return why_missing(rows, ratio.action, tool, ratio.case)
        medians.append(found.median)
    peer, own = medians
    return round(peer / own, DIGITS) if own > 0 else f"{ratio.own} took no time that can be seen"


def _peak_rss(results: Results) -> float | str:
    if "memory" not in results:
        return NOT_RUN.format("memory")
    rows = results["memory"].measurements
    for row in rows:
        if row.peak_mib is None:
            return f"{row.case}: {row.error or 'no peak was seen'}"
    return max((row.peak_mib for row in rows if row.peak_mib is not None), default="nothing ran")


def why_missing(rows: Iterable[Measurement], action: str, tool: str, case: str) -> str:
    """Of a measurement that has no result: the first error of it, or of what comes before it."""
    for row in rows:
        if (row.action, row.tool, row.case) == (action, tool, case) and row.error:
            return f"{tool}, {case}: {row.error}"
    return f"{tool}, {case}: {action} was not reached"


def noise(results: Results) -> dict[str, Any]:
    """How much the same piece of work varied while the parts ran, each and all together."""
    by_part = {
        name: spread(result.calibration_seconds)
        for name, result in results.items()
        if result.calibration_seconds
    }
    every = [t for result in results.values() for t in result.calibration_seconds]
    return {"all": spread(every) if every else None, **by_part}


def spread(seconds: Iterable[float]) -> dict[str, float]:
    """Median, least and most; spread_percent is (most - least) / median."""
    times = list(seconds)
    middle, least, most = median(times), min(times), max(times)
    return {
        "count": len(times),
        "median_seconds": round(middle, 4),
        "least_seconds": round(least, 4),
        "most_seconds": round(most, 4),
        "spread_percent": round(100 * (most - least) / middle, 1),
    }
