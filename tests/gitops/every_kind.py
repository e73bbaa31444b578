"""Every kind in every situation: what the health of our objects is judged over.

A kind of api/v1alpha1 that is not in RECORDERS fails tests/unit/gitops/test_health.py. To add one: a module
beside recorded_banks.py that drives the kind's own work on fakes and gives a Recorded for each situation
(statuses come from our code, never from a text), a line here, and the kind's entries in deploy/gitops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from tests.gitops.recorded import Recorded
from tests.gitops.recorded_banks import record_banks
from tests.gitops.recorded_checks import record_checks
from tests.gitops.recorded_points import record_points
from tests.gitops.recorded_policies import record_policies
from tests.gitops.recorded_runs import record_backups, record_restores

RECORDERS: dict[str, Callable[[], Iterator[Recorded]]] = {
    "VolumeBackup": record_backups,
    "VolumeRestore": record_restores,
    "VolumeBackupPolicy": record_policies,
    "BackupBank": record_banks,
    "BankCheck": record_checks,
    "RecoveryPoint": record_points,
}

NEVER = {
    "VolumeBackup": {"CreatingVolume", "Comparing"},
    "VolumeRestore": {"Snapshotting", "Cloning", "Committing"},
}
"""Phases that the schema allows, as two kinds share it, and that the kind never has."""


@cache
def recorded(kind: str) -> tuple[Recorded, ...]:
    """Empty for a kind that is not in RECORDERS."""
    recorder = RECORDERS.get(kind)
    return () if recorder is None else tuple(recorder())
