"""The steps that only a restore takes whose new volume is a clone of the temporary image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cinderbank.domain import intents
from cinderbank.domain.facts import ImageId, SnapshotFacts, SnapshotId, VolumeId
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
    """The volume that is handed over in the end. It needs the image only by way of the snapshot."""

    intent = intents.COPY
    durable = True
    snapshot: SnapshotFacts
    name: str
    description: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FlattenCopy(Effect):
    """Delete the snapshot, upon which Cinder flattens the copy. Durable, so that `tries` counts what
    Cinder has answered, and no outage."""

    intent = intents.FLATTEN
    durable = True
    snapshot_id: SnapshotId


@dataclass(frozen=True, slots=True)
class KeepClone(Step):
    """Memory and an Event: the clone is handed over as it is, and the image stays as long as it does."""

    why: str


FlattenStep = ReleaseImage | SnapshotClone | CopyClone | FlattenCopy | KeepClone
