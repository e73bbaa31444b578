"""Metrics, on a registry of our own; the only door to prometheus_client.

Gauges of objects are counted when they are scraped, from what is known of the cluster, so they are
right at once after a restart. Labels are bounded: no object's name but a BackupBank's and a policy's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cinderbank.adapters.policy_metrics import PoliciesAtScrape, PolicyFigures, ProjectName

DURATION_BUCKETS_SECONDS = (
    10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400,
)  # fmt: skip
TICK_BUCKETS_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

MOST_REASONS = 100
"""Reasons come from code, so they are few; a cloud that invents some must not fill Prometheus."""

ALL_OTHERS = "Other"


class Metrics:
    """What we count, and how it is called outside; thread-safe."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside each counter that nobody asks for
        self.registry = CollectorRegistry()
        PlatformCollector(registry=self.registry)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._reasons: set[str] = set()
        self._lock = threading.Lock()
        self._bytes = Counter(
            "cinderbank_bytes",
            "Bytes of volume content that transfers have done, by direction (backup, restore).",
            ["direction"],
            registry=self.registry,
        )
        self._backup_duration = self._duration("backup")
        self._restore_duration = self._duration("restore")
        self._errors = Counter(
            "cinderbank_errors",
            "Errors that objects met, by reason; an error that is met again counts again.",
            ["reason"],
            registry=self.registry,
        )
        self._ticks = Counter(
            "cinderbank_ticks",
            "Ticks by kind and result (ok, retryable, failed).",
            ["kind", "result"],
            registry=self.registry,
        )
        self._tick_seconds = Histogram(
            "cinderbank_tick_duration_seconds",
            "How long a tick takes, by kind.",
            ["kind"],
            buckets=TICK_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._status_writes = Counter(
            "cinderbank_status_writes",
            "Statuses by outcome: written, unchanged, held_back (progress alone, too early).",
            ["outcome"],
            registry=self.registry,
        )

    def _duration(self, what: str) -> Histogram:
        return Histogram(
            f"cinderbank_{what}_duration_seconds",
            f"Seconds from start to end of a {what}, by result (Completed, Failed, Canceled).",
            ["result"],
            buckets=DURATION_BUCKETS_SECONDS,
            registry=self.registry,
        )

    def moved(self, direction: str, byte_count: int) -> None:
        self._bytes.labels(direction).inc(byte_count)

    def ended(self, kind: str, result: str, seconds: float) -> None:
        """A VolumeBackup or a VolumeRestore has reached its outcome."""
        durations = {"VolumeBackup": self._backup_duration, "VolumeRestore": self._restore_duration}
        if kind in durations:
            durations[kind].labels(result).observe(seconds)

    def error(self, reason: str) -> None:
        with self._lock:
            if reason not in self._reasons and len(self._reasons) >= MOST_REASONS:
                reason = ALL_OTHERS
            self._reasons.add(reason)
        self._errors.labels(reason).inc()

    def ticked(self, kind: str, result: str, seconds: float) -> None:
        self._ticks.labels(kind, result).inc()
        self._tick_seconds.labels(kind).observe(seconds)

    def status_write(self, outcome: str) -> None:
        self._status_writes.labels(outcome).inc()

    def count_at_scrape(
        self,
        *,
        backups: Callable[[], Mapping[str, int]],
        restores: Callable[[], Mapping[str, int]],
        banks: Callable[[], Mapping[tuple[str, str], bool]],
        policies: Callable[[], Mapping[tuple[str, str], PolicyFigures]],
        unprotected: Callable[[], Mapping[ProjectName, int]],
        queue_depth: Callable[[], int],
        loop_lag_seconds: Callable[[], float],
        version: str,
    ) -> None:
        self.registry.register(
            _AtScrape(backups, restores, banks, queue_depth, loop_lag_seconds, version)
        )
        self.registry.register(PoliciesAtScrape(policies, unprotected))

    def render(self) -> tuple[bytes, str]:
        """The page and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _AtScrape(Collector):
    def __init__(
        self,
        backups: Callable[[], Mapping[str, int]],
        restores: Callable[[], Mapping[str, int]],
        banks: Callable[[], Mapping[tuple[str, str], bool]],
        queue_depth: Callable[[], int],
        loop_lag_seconds: Callable[[], float],
        version: str,
    ) -> None:
        self._phases = {"backups": backups, "restores": restores}
        self._banks = banks
        self._queue_depth = queue_depth
        self._loop_lag_seconds = loop_lag_seconds
        self._version = version

    def collect(self) -> Iterator[Metric]:
        for noun, count in self._phases.items():
            gauge = GaugeMetricFamily(
                f"cinderbank_{noun}",
                f"Volume{noun.capitalize()} by phase.",
                labels=["phase"],
            )
            for phase, number in sorted(count().items()):
                gauge.add_metric([phase], number)
            yield gauge
        ready = GaugeMetricFamily(
            "cinderbank_bank_ready",
            "1 when the BackupBank is Ready, else 0.",
            labels=["namespace", "name"],
        )
        for (namespace, name), is_ready in sorted(self._banks().items()):
            ready.add_metric([namespace, name], 1 if is_ready else 0)
        yield ready
        yield GaugeMetricFamily(
            "cinderbank_queue_depth",
            "Objects that are due and wait for a thread.",
            value=self._queue_depth(),
        )
        yield GaugeMetricFamily(
            "cinderbank_loop_lag_seconds",
            "For how long the event loop of the watches has not come round.",
            value=self._loop_lag_seconds(),
        )
        info = GaugeMetricFamily(
            "cinderbank_build_info", "1; the version is the label.", labels=["version"]
        )
        info.add_metric([self._version], 1)
        yield info


def metrics_reference() -> str:
    """docs/reference/metrics.md, whole; a test keeps the file equal to it."""
    metrics = Metrics()
    metrics.count_at_scrape(
        backups=dict,
        restores=dict,
        banks=dict,
        policies=dict,
        unprotected=dict,
        queue_depth=int,
        loop_lag_seconds=float,
        version="",
    )
    labels = {
        "cinderbank_backups": "phase",
        "cinderbank_restores": "phase",
        "cinderbank_bank_ready": "namespace, name",
        "cinderbank_policy_rpo_met": "namespace, name",
        "cinderbank_policy_drilled": "namespace, name",
        "cinderbank_policy_checked": "namespace, name",
        "cinderbank_policy_volumes_selected": "namespace, name",
        "cinderbank_policy_volumes_covered": "namespace, name",
        "cinderbank_policy_missed_runs": "namespace, name",
        "cinderbank_policy_last_success_timestamp_seconds": "namespace, name",
        "cinderbank_unprotected_volumes": "namespace, secret, cloud",
        "cinderbank_build_info": "version",
        "cinderbank_bytes": "direction",
        "cinderbank_backup_duration_seconds": "result",
        "cinderbank_restore_duration_seconds": "result",
        "cinderbank_errors": "reason",
        "cinderbank_ticks": "kind, result",
        "cinderbank_tick_duration_seconds": "kind",
        "cinderbank_status_writes": "outcome",
    }
    rows = []
    for metric in sorted(metrics.registry.collect(), key=lambda each: each.name):
        if metric.name.startswith("cinderbank_"):
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            label = labels.get(metric.name, "")
            rows.append(f"| `{name}` | {metric.type} | {label} | {metric.documentation} |")
    return "\n".join(
        [
            "# Metrics",
            "",
            "`GET /metrics` of the operator, in Prometheus' text format. Counters and histograms begin",
            "anew when the operator restarts; the gauges are counted at each scrape. Beside these",
            "stand `process_*` and `python_*` of prometheus_client.",
            "",
            "| metric | type | labels | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )
