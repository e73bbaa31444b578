"""Progress as people read it: percent, rate, time left, and the one line of the Progress column."""

from __future__ import annotations

import math

from cinderbank.api.v1alpha1.run_status import Progress
from cinderbank.domain.facts import TransferProgress

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def progress_of(seen: TransferProgress) -> Progress:
    """What a transfer said, as status tells it; nonsense (negative, infinite) becomes 0 or is left out."""
    percent = _percent(seen.bytes_processed, seen.bytes_total)
    rate = _whole(seen.rate_bytes_per_second)
    eta = (
        None
        if seen.eta_seconds is None or not math.isfinite(seen.eta_seconds)
        else _whole(seen.eta_seconds)
    )
    return Progress(
        summary=_summary(percent, rate, eta),
        percent=percent,
        bytes_total=_whole(seen.bytes_total),
        bytes_processed=_whole(seen.bytes_processed),
        bytes_stored=_whole(seen.bytes_stored),
        bytes_reused=_whole(seen.bytes_reused),
        bytes_zero=_whole(seen.bytes_zero),
        rate_bytes_per_second=rate,
        eta_seconds=eta,
    )


def at_rest(last: Progress, *, completed: bool) -> Progress:
    """The last figures once nothing runs any more: no rate, no time left, all done if Completed."""
    processed = last.bytes_total if completed else last.bytes_processed
    percent = 100 if completed else _percent(processed, last.bytes_total)
    return last.model_copy(
        update={
            "summary": _summary(percent, 0, None),
            "percent": percent,
            "bytes_processed": processed,
            "rate_bytes_per_second": 0,
            "eta_seconds": None,
        }
    )


def _whole(number: float) -> int:
    return max(0, int(number)) if math.isfinite(number) else 0


def _percent(done: int, total: int) -> int:
    """Rounded down, so that 100 means all."""
    return min(100, max(0, done * 100 // total)) if total > 0 else 0


def _summary(percent: int, rate: int, eta_seconds: int | None) -> str:
    parts = [f"{percent} %"]
    if rate and percent < 100:
        parts.append(f"{shown_bytes(rate)}/s")
        if eta_seconds is not None:
            parts.append(f"ETA {shown_seconds(eta_seconds)}")
    return "  ".join(parts)


def shown_bytes(count: int) -> str:
    """1536 -> `1.5 KiB`; whole numbers from 10 on."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 0 if unit == 0 or value >= 10 else 1
    return f"{value:.{digits}f} {_UNITS[unit]}"


def shown_seconds(seconds: int) -> str:
    """The two greatest units are enough: `45s`, `3m`, `1h5m`, `2d3h`."""
    if seconds < 60:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 24:
        return f"{hours}h{minutes % 60}m"
    return f"{hours // 24}d{hours % 24}h"
