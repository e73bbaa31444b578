"""Gauges of policies, counted when they are scraped from what their statuses say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class PolicyFigures(Protocol):
    """What is told of a policy."""

    @property
    def rpo_met(self) -> bool | None: ...
    @property
    def selected(self) -> int: ...
    @property
    def covered(self) -> int: ...
    @property
    def missed(self) -> int: ...
    @property
    def last_success_seconds(self) -> float | None: ...
    @property
    def drilled(self) -> bool | None: ...
    @property
    def checked(self) -> bool | None: ...


ProjectName = tuple[str, str, str]
"""Namespace, Secret and cloud: the credentials by which a namespace sees a project."""


class PoliciesAtScrape(Collector):
    def __init__(
        self,
        policies: Callable[[], Mapping[tuple[str, str], PolicyFigures]],
        unprotected: Callable[[], Mapping[ProjectName, int]],
    ) -> None:
        self._policies = policies
        self._unprotected = unprotected

    def collect(self) -> Iterator[Metric]:
        met = _gauge(
            "rpo_met", "1 when every volume's newest good copy is younger than spec.rpo, else 0."
        )
        selected = _gauge("volumes_selected", "Volumes that the policy selects.")
        covered = _gauge("volumes_covered", "Selected volumes that have a good copy.")
        missed = _gauge("missed_runs", "Runs that were missed, ever.")
        success = _gauge(
            "last_success_timestamp_seconds", "When the last good copy was completed; Unix time."
        )
        drilled = _gauge(
            "drilled", "1 when the last restore drill of every volume got every byte back, else 0."
        )
        checked = _gauge(
            "checked", "1 when the last scheduled check of every bank found all whole, else 0."
        )
        for name, figures in sorted(self._policies().items()):
            if figures.drilled is not None:
                drilled.add_metric(name, figures.drilled)
            if figures.checked is not None:
                checked.add_metric(name, figures.checked)
            if figures.rpo_met is not None:
                met.add_metric(name, 1 if figures.rpo_met else 0)
            selected.add_metric(name, figures.selected)
            covered.add_metric(name, figures.covered)
            missed.add_metric(name, figures.missed)
            if figures.last_success_seconds is not None:
                success.add_metric(name, figures.last_success_seconds)
        yield from (met, selected, covered, missed, success, drilled, checked)
        unprotected = GaugeMetricFamily(
            "cinderbank_unprotected_volumes",
            "Volumes of the project that no policy of the namespace selects.",
            labels=["namespace", "secret", "cloud"],
        )
        for project, count in sorted(self._unprotected().items()):
            unprotected.add_metric(project, count)
        yield unprotected


def _gauge(name: str, documentation: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(
        f"cinderbank_policy_{name}", documentation, labels=["namespace", "name"]
    )
