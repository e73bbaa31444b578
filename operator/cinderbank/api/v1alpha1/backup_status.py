"""status of a VolumeBackup, and the way between it and the engine's Memory and Report."""

from __future__ import annotations

from datetime import datetime

from cinderbank.api.v1alpha1.run_memory import memory_of_run, read_remembered, status_of_run
from cinderbank.api.v1alpha1.run_status import RunStatus
from cinderbank.domain.record import Memory, Report


class VolumeBackupStatus(RunStatus):
    """What the operator found and did for a backup; written by the operator only."""


def memory_of(status: object) -> Memory:
    """What `status` (as the API server gave it, or None) makes us remember. Raises InvalidSpec."""
    return memory_of_run(read_remembered(VolumeBackupStatus, status))


def status_of(
    memory: Memory, report: Report, previous: object, generation: int, now: datetime
) -> VolumeBackupStatus:
    """The status to write; `previous` is the one read, of which conditions keep their times."""
    return status_of_run(VolumeBackupStatus, memory, report, previous, generation, now)
