"""The steps that only a restore takes whose new volume is a clone of the temporary image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cinderbank.domain import intents
from cinderbank.domain.facts import ImageId, SnapshotFacts, VolumeId
from cinderbank.domain.steps import Effect, Step


@dataclass(frozen=True, slots=True)
class ReleaseImage(Effect):
    """Delete the temporary image while its volume is still ours: only so is seen whether it can be."""

    intent = intents.RELEASE
    image_id: ImageId
    volume_id: VolumeId


@dataclass(frozen=True, slots=True)
class SnapshotClone(Effect):
    intent = intents.SNAPSHOT
    durable = True
    volume_id: VolumeId
    name: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CopyClone(Effect):
    """The volume that is handed over in the end: of the snapshot, so it needs the image no more than
    by way of that."""

    intent = intents.COPY
    durable = True
    snapshot: SnapshotFacts
    name: str
    description: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeepClone(Step):
    """Memory only: the clone is handed over as it is, and the image stays as long as it does."""

    why: str


FlattenStep = ReleaseImage | SnapshotClone | CopyClone | KeepClone
