"""status of a VolumeRestore, and the way between it and the engine's Memory and Report."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pydantic import Field

from cinderbank.api.v1alpha1.model import CloudID
from cinderbank.api.v1alpha1.run_memory import memory_of_run, read_remembered, status_of_run
from cinderbank.api.v1alpha1.run_status import RunStatus
from cinderbank.domain.facts import ImageId, VolumeId
from cinderbank.domain.record import Memory, Report


class VolumeRestoreStatus(RunStatus):
    """What the operator found and did for a restore; written by the operator only."""

    volume_id: CloudID | None = Field(
        default=None,
        description="Id of the new volume in Cinder. Use it once phase is Completed.",
    )
    image_proven: CloudID | None = Field(
        default=None,
        description="Id of the temporary image whose bytes were proven to be those of the backup.",
    )


def memory_of(status: object) -> Memory:
    """What `status` (as the API server gave it, or None) makes us remember. Raises InvalidSpec."""
    read = read_remembered(VolumeRestoreStatus, status)
    return replace(
        memory_of_run(read),
        image_proven=None if read.image_proven is None else ImageId(read.image_proven),
        created_volume_id=None if read.volume_id is None else VolumeId(read.volume_id),
    )


def status_of(
    memory: Memory, report: Report, previous: object, generation: int, now: datetime
) -> VolumeRestoreStatus:
    """The status to write; `previous` is the one read, of which conditions keep their times."""
    return status_of_run(
        VolumeRestoreStatus,
        memory,
        report,
        previous,
        generation,
        now,
        volume_id=memory.created_volume_id,
        image_proven=memory.image_proven,
    )
