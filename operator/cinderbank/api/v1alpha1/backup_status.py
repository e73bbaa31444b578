"""status of a VolumeBackup, and the way between it and the engine's Memory and Report."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pydantic import Field

from cinderbank.api.v1alpha1.copies import CopyStatuses, kept_condition, read_copies
from cinderbank.api.v1alpha1.model import BackupULID, Time
from cinderbank.api.v1alpha1.run_memory import memory_of_run, read_remembered, status_of_run
from cinderbank.api.v1alpha1.run_status import RunStatus
from cinderbank.api.v1alpha1.verified import verified_time_of
from cinderbank.domain.facts import BackupId
from cinderbank.domain.proofs import VERIFIED
from cinderbank.domain.record import Memory, Report


class VolumeBackupStatus(RunStatus):
    """What the operator found and did for a backup; written by the operator only."""

    base_backup_id: BackupULID | None = Field(
        default=None,
        description="Id of the earlier backup of this volume whose unchanged data is shared;"
        " progress.bytesReused says how much. It may be deleted at any time without harm to this one.",
    )
    copies: CopyStatuses | None = Field(
        default=None,
        description="The copies in other banks that spec.copies asks for; they go on by themselves"
        " after the backup is Completed. Condition Copied is True when all are there.",
    )
    verified_time: Time | None = Field(
        default=None,
        description="When a restore drill, or a BankCheck of level Sample or Full, last found it whole, at"
        " any site; unset once damage was found. Condition Verified says which.",
    )


def memory_of(status: object) -> Memory:
    """What `status` (as the API server gave it, or None) makes us remember. Raises InvalidSpec."""
    read = read_remembered(VolumeBackupStatus, status)
    base_id = read.base_backup_id
    return replace(memory_of_run(read), base_id=None if base_id is None else BackupId(base_id))


def status_of(
    memory: Memory, report: Report, previous: object, generation: int, now: datetime
) -> VolumeBackupStatus:
    """The status to write; `previous` is the one read, of which conditions keep their times, and what is
    said of copies (kube.copies) and of proofs (kube.verified) stays as it is."""
    found = status_of_run(
        VolumeBackupStatus,
        memory,
        report,
        previous,
        generation,
        now,
        base_backup_id=memory.base_id,
    )
    return found.model_copy(
        update={
            "conditions": (
                *(found.conditions or ()),
                *kept_condition(previous),
                *kept_condition(previous, VERIFIED),
            ),
            "copies": read_copies(previous) or None,
            "verified_time": verified_time_of(previous),
        }
    )
