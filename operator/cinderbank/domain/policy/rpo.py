"""Whether every selected volume has a good copy that is young enough, and which one is worst."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cinderbank.domain.facts import VolumeFacts, VolumeId
from cinderbank.domain.policy.children import Child


@dataclass(frozen=True, slots=True)
class RpoVerdict:
    met: bool
    late: int
    """How many volumes have no good copy that is young enough."""
    worst: VolumeFacts
    worst_point_at: datetime | None
    """The newest recovery point of the worst; None when it has none at all."""
    turns_at: datetime | None
    """When the next volume gets late if nothing happens; None when all are late already."""


def judge_rpo(
    rpo: timedelta,
    volumes: Iterable[VolumeFacts],
    newest: Mapping[VolumeId, Child],
    now: datetime,
    since: datetime,
) -> RpoVerdict | None:
    """None when no volume is selected. A volume without a copy is late when `rpo` has passed since the
    policy began (`since`) and since the volume was made: a new one is not late at once."""
    worst: tuple[datetime, VolumeFacts, datetime | None] | None = None
    late, turns_at = 0, None
    for volume in volumes:
        child = newest.get(volume.id)
        counted = child.point_at if child is not None else max(since, volume.created_at or since)
        if now - counted > rpo:
            late += 1
        elif turns_at is None or counted + rpo < turns_at:
            turns_at = counted + rpo
        if worst is None or (counted, volume.id) < (worst[0], worst[1].id):
            worst = (counted, volume, None if child is None else child.point_at)
    if worst is None:
        return None
    return RpoVerdict(late == 0, late, worst[1], worst[2], turns_at)
