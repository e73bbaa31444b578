"""status of a VolumeRestore, and the way between it and the engine's Memory and Report."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from cinderbank.api.v1alpha1.model import ApiModel, CloudID
from cinderbank.api.v1alpha1.restore_plan import (
    Placement,
    Plan,
    Resolved,
    placement_of,
    plan_of,
    resolved_of,
)
from cinderbank.api.v1alpha1.run_memory import memory_of_run, read_remembered, status_of_run
from cinderbank.api.v1alpha1.run_status import Bytes, RunStatus
from cinderbank.domain.facts import MAX_LOST_RANGES, ImageId, LostRanges, VolumeId
from cinderbank.domain.record import Memory, Report, Transport


class LostRange(ApiModel):
    """One part of the volume that is zeros now; both bytes belong to it."""

    first_byte: Bytes = Field(description="First byte, counted from 0.")
    last_byte: Bytes = Field(description="Last byte, counted from 0.")


class Lost(ApiModel):
    """What a salvage could not bring back."""

    count: Annotated[int, Field(ge=1)] = Field(description="How many ranges are lost.")
    lost_bytes: Bytes = Field(description="Bytes in all of them.")
    ranges: Annotated[tuple[LostRange, ...], Field(max_length=MAX_LOST_RANGES)] = Field(
        description="The first 100 of them."
    )


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
    lost: Lost | None = Field(
        default=None,
        description="What the bank had lost, and is zeros in the new volume: only with spec.salvage.",
    )
    resolved: Resolved | None = Field(
        default=None,
        description="Which backup it is: found once, before anything is made, and kept.",
    )
    placement: Placement | None = Field(
        default=None, description="Volume type and availability zone of the new volume, and why."
    )
    plan: Plan | None = Field(default=None, description="Only with spec.dryRun.")


def memory_of(status: object) -> Memory:
    """What `status` (as the API server gave it, or None) makes us remember. Raises InvalidSpec."""
    read = read_remembered(VolumeRestoreStatus, status)
    return replace(
        memory_of_run(read),
        image_proven=None if read.image_proven is None else ImageId(read.image_proven),
        lost=None if read.lost is None else _lost_ranges(read.lost),
        created_volume_id=None if read.volume_id is None else VolumeId(read.volume_id),
        resolved=None if read.resolved is None else read.resolved.to_domain(),
        placement=None if read.placement is None else read.placement.to_domain(),
        plan=None if read.plan is None else read.plan.to_domain(),
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
        lost=None if memory.lost is None else _told(memory.lost),
        resolved=None if memory.resolved is None else resolved_of(memory.resolved),
        placement=None if memory.placement is None else placement_of(memory.placement),
        plan=_plan(memory),
    )


def _plan(memory: Memory) -> dict[str, Any] | None:
    if memory.plan is None:
        return None
    return plan_of(memory.plan, memory.placement, str(memory.transport or Transport.RAW))


def _lost_ranges(lost: Lost) -> LostRanges:
    ranges = tuple((each.first_byte, each.last_byte) for each in lost.ranges)
    return LostRanges(lost.count, lost.lost_bytes, ranges)


def _told(lost: LostRanges) -> dict[str, Any]:
    return {
        "count": lost.count,
        "lost_bytes": lost.lost_bytes,
        "ranges": [{"first_byte": first, "last_byte": last} for first, last in lost.ranges],
    }
