"""status of a VolumeRestore, and the way between it and the engine's Memory and Report."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from cinderbank.api.v1alpha1.model import ApiModel, CloudID, clipped
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
from cinderbank.domain.record import Drill, Memory, Report, Transport


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


class Different(ApiModel):
    """Where the scratch volume of a drill is not what the backup is, in sectors of 512 bytes."""

    count: Annotated[int, Field(ge=1)] = Field(description="How many ranges differ.")
    different_bytes: Bytes = Field(description="Bytes in all of them.")
    ranges: Annotated[tuple[LostRange, ...], Field(max_length=MAX_LOST_RANGES)] = Field(
        description="The first 100 of them."
    )


class DrillStatus(ApiModel):
    """How the scratch volume of a drill was read back, and what the comparison came to."""

    transport: Literal["Raw", "Qcow2", "Vdi"] = Field(
        description="How it was read back through Glance: Raw, Qcow2 or Vdi."
    )
    transport_reason: Annotated[str, Field(max_length=128)] = Field(
        default="", description="Why so, in one CamelCase word."
    )
    compared: bool = Field(default=False, description="Whether all of it was compared.")
    different: Different | None = Field(
        default=None, description="What differs; unset when nothing does."
    )

    def to_domain(self) -> Drill:
        different = self.different
        return Drill(
            Transport(self.transport),
            self.transport_reason,
            self.compared,
            None
            if different is None
            else LostRanges(different.count, different.different_bytes, _pairs(different.ranges)),
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
    flattens: bool | None = Field(
        default=None,
        description="True once the new volume was seen to be a clone of the temporary image that has to be "
        "made independent of it; false when that could not be, and the image stays as long as the volume.",
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
    drill: DrillStatus | None = Field(default=None, description="Only with spec.drill.")


def memory_of(status: object) -> Memory:
    """What `status` (as the API server gave it, or None) makes us remember. Raises InvalidSpec."""
    read = read_remembered(VolumeRestoreStatus, status)
    return replace(
        memory_of_run(read),
        image_proven=None if read.image_proven is None else ImageId(read.image_proven),
        flattens=read.flattens,
        lost=None if read.lost is None else _lost_ranges(read.lost),
        created_volume_id=None if read.volume_id is None else VolumeId(read.volume_id),
        resolved=None if read.resolved is None else read.resolved.to_domain(),
        placement=None if read.placement is None else read.placement.to_domain(),
        plan=None if read.plan is None else read.plan.to_domain(),
        drill=None if read.drill is None else read.drill.to_domain(),
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
        flattens=memory.flattens,
        lost=None if memory.lost is None else _told(memory.lost),
        resolved=None if memory.resolved is None else resolved_of(memory.resolved),
        placement=None if memory.placement is None else placement_of(memory.placement),
        plan=_plan(memory),
        drill=None if memory.drill is None else _drill(memory.drill),
    )


def _drill(drill: Drill) -> dict[str, Any]:
    different = drill.different
    return {
        "transport": drill.transport,
        "transport_reason": clipped(drill.reason, 128),
        "compared": drill.compared,
        "different": None
        if different is None
        else {
            "count": different.count,
            "different_bytes": different.lost_bytes,
            "ranges": _rows(different),
        },
    }


def _plan(memory: Memory) -> dict[str, Any] | None:
    if memory.plan is None:
        return None
    return plan_of(memory.plan, memory.placement, str(memory.transport or Transport.RAW))


def _lost_ranges(lost: Lost) -> LostRanges:
    return LostRanges(lost.count, lost.lost_bytes, _pairs(lost.ranges))


def _pairs(ranges: tuple[LostRange, ...]) -> tuple[tuple[int, int], ...]:
    return tuple((each.first_byte, each.last_byte) for each in ranges)


def _rows(lost: LostRanges) -> list[dict[str, int]]:
    return [{"first_byte": first, "last_byte": last} for first, last in lost.ranges]


def _told(lost: LostRanges) -> dict[str, Any]:
    return {
        "count": lost.count,
        "lost_bytes": lost.lost_bytes,
        "ranges": _rows(lost),
    }
