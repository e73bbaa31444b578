"""The steps that only a restore drill has."""

from __future__ import annotations

from dataclasses import dataclass

from cinderbank.domain import intents
from cinderbank.domain.facts import BackupId, ImageId, LostRanges, VolumeId
from cinderbank.domain.record import TransportChoice
from cinderbank.domain.steps import Effect, Step


@dataclass(frozen=True, slots=True)
class ChooseReadBack(Step):
    """Memory only: how the scratch volume comes back through Glance."""

    choice: TransportChoice


@dataclass(frozen=True, slots=True)
class ReadBackAnew(Effect):
    """Go on as `choice` says; ends the comparison of the image that was tried before, which is deleted
    next. Not counted as a failure."""

    choice: TransportChoice


@dataclass(frozen=True, slots=True)
class UploadScratch(Effect):
    intent = intents.DRILL_IMAGE
    durable = True
    volume_id: VolumeId
    name: str
    disk_format: str


@dataclass(frozen=True, slots=True)
class StartComparison(Effect):
    intent = intents.COMPARE
    durable = True
    site: str
    backup_id: BackupId
    image_id: ImageId
    size_bytes: int
    volume_bytes: int


@dataclass(frozen=True, slots=True)
class Compared(Step):
    """Memory only: what the comparison came to, for good."""

    different: LostRanges | None


@dataclass(frozen=True, slots=True)
class NoteVerdict(Effect):
    """Tell the bank, so that every site knows."""

    intent = intents.VERDICT
    site: str
    backup_id: BackupId
    is_whole: bool


DrillStep = ChooseReadBack | ReadBackAnew | UploadScratch | StartComparison | Compared | NoteVerdict
