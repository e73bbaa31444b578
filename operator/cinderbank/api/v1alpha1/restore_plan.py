"""What status of a VolumeRestore says of the choices that were made: backup, type, zone, plan."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from cinderbank.api.v1alpha1.model import ApiModel, BackupULID, ObjectName, SiteName, Time, clipped
from cinderbank.api.v1alpha1.run_status import NAME_LIMIT, TEXT_LIMIT, Bytes, Name, Text, Word
from cinderbank.domain import placement as places
from cinderbank.domain import plan as plans
from cinderbank.domain import selection
from cinderbank.domain.facts import BackupId, ChunkLook, QuotaLeft

WARNINGS_LIMIT = 16
Count = Annotated[int, Field(ge=0)]
Why = Literal["Requested", "Mapped", "SameName", "Default"]
_WHY = " Requested by spec.target, Mapped by spec.mappings, the SameName as before, or the cloud's Default."


class Resolved(ApiModel):
    """Which backup spec.source came to; never looked for again."""

    backup_id: BackupULID = Field(description="Id of the backup.")
    bank: ObjectName = Field(description="The BackupBank that it is read from.")
    site: SiteName = Field(description="Site that wrote it.")
    snapshot_time: Time = Field(description="The moment that its data is of.")
    reason: Word = Field(description="NewestThatFits for a selector, else Named.")
    message: Text = Field(default="", description="What was looked at.")

    def to_domain(self) -> selection.Resolved:
        return selection.Resolved(
            BackupId(self.backup_id),
            self.bank,
            self.site,
            self.snapshot_time,
            self.reason,
            self.message,
        )


class Warned(ApiModel):
    """Something to know; nothing has stopped for it."""

    reason: Word = Field(
        description="One stable CamelCase word, for example VolumeTypeSubstituted."
    )
    message: Text = Field(description="What it is, and what to do about it.")


Warnings = Annotated[tuple[Warned, ...], Field(max_length=WARNINGS_LIMIT)]


class Placement(ApiModel):
    """What the new volume is made as; what is unset is left to the cloud."""

    volume_type: Name | None = Field(default=None, description="Volume type that is asked for.")
    volume_type_why: Why = Field(description="Why that type." + _WHY)
    availability_zone: Name | None = Field(default=None, description="Zone that is asked for.")
    availability_zone_why: Why = Field(description="Why that zone." + _WHY)
    warnings: Warnings = Field(
        default=(), description="Where it is another than the backed-up volume's."
    )

    def to_domain(self) -> places.Placement:
        return places.Placement(
            self.volume_type,
            places.Why(self.volume_type_why),
            self.availability_zone,
            places.Why(self.availability_zone_why),
            _warned(self.warnings),
        )


class Quota(ApiModel):
    """What the project may still make; what is unset is without limit, or not told by the cloud."""

    volumes: Count | None = Field(default=None, description="How many volumes.")
    volume_gib: Count | None = Field(default=None, description="How many GiB of volumes.")


class Chunks(ApiModel):
    """Whether the backup's data is in the bank; contents are compared only when they are read."""

    total: Count = Field(description="Chunks of the volume.")
    looked: Count = Field(description="How many of them were looked at.")
    missing: Count = Field(description="How many of these are not there, or were found damaged.")
    problem: Text = Field(default="", description="Why it was not looked further.")


class Plan(ApiModel):
    """What a restore would do; status.transport and status.placement belong to it."""

    backup_id: BackupULID = Field(description="Id of the backup that would be restored.")
    size_gib: Count = Field(description="Size of the new volume in GiB.")
    bytes_to_move: Bytes = Field(
        description="Bytes that go from the bank through Glance: what is data, or all with Raw."
    )
    transport: Literal["Raw", "Qcow2"] = Field(description="How it goes through Glance.")
    volume_type: Name | None = Field(
        default=None, description="Type of the new volume; unset: the cloud's default."
    )
    availability_zone: Name | None = Field(
        default=None, description="Zone of the new volume; unset: the cloud's default."
    )
    quota_left: Quota | None = Field(
        default=None,
        description="What the project may still make; unset when the cloud does not say.",
    )
    chunks: Chunks = Field(description="Whether the backup is whole.")
    warnings: Warnings = Field(
        default=(), description="What would make it fail or come out otherwise."
    )

    def to_domain(self) -> plans.Plan:
        quota, look = self.quota_left, self.chunks
        survey = plans.Survey(
            None if quota is None else QuotaLeft(quota.volumes, quota.volume_gib),
            ChunkLook(look.total, look.looked, look.missing, look.problem),
        )
        return plans.Plan(
            BackupId(self.backup_id),
            self.size_gib,
            self.bytes_to_move,
            survey,
            _warned(self.warnings),
        )


def _warned(warnings: Warnings) -> tuple[places.Warned, ...]:
    return tuple(places.Warned(each.reason, each.message) for each in warnings)


def _told(warnings: tuple[places.Warned, ...]) -> list[dict[str, str]]:
    return [
        {"reason": each.reason, "message": clipped(each.message, TEXT_LIMIT)}
        for each in warnings[:WARNINGS_LIMIT]
    ]


def resolved_of(found: selection.Resolved) -> dict[str, Any]:
    return {
        "backup_id": found.backup_id,
        "bank": found.bank_name,
        "site": found.site,
        "snapshot_time": found.snapshot_at,
        "reason": found.reason,
        "message": clipped(found.message, TEXT_LIMIT),
    }


def placement_of(placed: places.Placement) -> dict[str, Any]:
    return {
        "volume_type": _clipped(placed.volume_type),
        "volume_type_why": placed.volume_type_why,
        "availability_zone": _clipped(placed.availability_zone),
        "availability_zone_why": placed.availability_zone_why,
        "warnings": _told(placed.warnings),
    }


def plan_of(plan: plans.Plan, placed: places.Placement | None, transport: str) -> dict[str, Any]:
    quota, look = plan.survey.quota, plan.survey.chunks
    return {
        "backup_id": plan.backup_id,
        "size_gib": plan.size_gib,
        "bytes_to_move": plan.bytes_to_move,
        "transport": transport,
        "volume_type": None if placed is None else _clipped(placed.volume_type),
        "availability_zone": None if placed is None else _clipped(placed.availability_zone),
        "quota_left": None
        if quota is None
        else {"volumes": quota.volumes, "volume_gib": quota.gib},
        "chunks": {
            "total": look.total,
            "looked": look.looked,
            "missing": look.missing,
            "problem": clipped(look.problem, TEXT_LIMIT),
        },
        "warnings": _told(plan.warnings),
    }


def _clipped(name: str | None) -> str | None:
    return None if name is None else clipped(name, NAME_LIMIT)
