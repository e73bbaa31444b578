"""Rings: every test belongs to the ring of its folder, and in CI a skipped test is a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
ON_THE_RIG = ("contract", "integration", "e2e")
RINGS = ("unit", "crash", *ON_THE_RIG)
NIGHTLY = os.environ.get("CINDERBANK_NIGHTLY") == "1"
RING_REQUIRED = os.environ.get("CINDERBANK_RING_REQUIRED") == "1"

# No clock decides, and the same examples each time: what is new is found by night, not in a landing.
settings.register_profile(
    "rings", deadline=None, derandomize=not NIGHTLY, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("rings")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not NIGHTLY:
        long = [item for item in items if item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    for item in items:
        ring = item.path.relative_to(TESTS).parts[0]
        if ring in RINGS:
            item.add_marker(getattr(pytest.mark, ring))
        if ring in ON_THE_RIG and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(1200))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if RING_REQUIRED and skipped:
        terminalreporter.write_line(
            f"{len(skipped)} skipped: with CINDERBANK_RING_REQUIRED=1 that is a failure", red=True
        )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if RING_REQUIRED and reporter and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
