"""Which volumes of a project a policy is for.

A volume is selected when any part of the selector names it and no part of the excludes does. What we
made for a backup or a drill of ours is never selected, nor what is not there yet or not there for long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from cinderbank.domain.facts import VolumeFacts, VolumeId
from cinderbank.domain.names import BACKUP_TAG, DRILL_TAG, RESTORE_TAG

MOST_CLAIMS = 5000
"""PersistentVolumeClaims that one selector is read for; of more the first by name, and it is told."""

PASSING_STATUSES = frozenset({"creating", "deleting", "error_deleting"})


@dataclass(frozen=True, slots=True)
class Pattern:
    """Ways to name volumes; any of them will do, and an empty one names none."""

    volume_ids: frozenset[VolumeId] = frozenset()
    volume_names: tuple[str, ...] = ()
    """Globs: * any text, ? one character, [ab] one of these; upper and lower case differ."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """All of these entries."""

    def names(self, volume: VolumeFacts) -> bool:
        return (
            volume.id in self.volume_ids
            or any(fnmatchcase(volume.name, glob) for glob in self.volume_names)
            or (bool(self.metadata) and self.metadata.items() <= volume.metadata.items())
        )


@dataclass(frozen=True, slots=True)
class Selector:
    include: Pattern
    exclude: Pattern = Pattern()


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is behind the claims of one pattern."""

    volumes: frozenset[VolumeId] = frozenset()
    cut: bool = False
    """There are more than MOST_CLAIMS; these are of the first."""


NO_CLAIMS = Claimed()


@dataclass(frozen=True, slots=True)
class Selection:
    volumes: tuple[VolumeFacts, ...]
    """By id."""
    absent: tuple[VolumeId, ...]
    """Ids that the selector or a claim names, and that the project has not; sorted."""
    claims_cut: bool = False


def select(
    selector: Selector,
    volumes: Iterable[VolumeFacts],
    claimed: Claimed = NO_CLAIMS,
    claimed_out: Claimed = NO_CLAIMS,
) -> Selection:
    """`claimed`: what the selector names by claims; `claimed_out`: what its excludes do."""
    asked = selector.include.volume_ids | claimed.volumes
    present: set[VolumeId] = set()
    chosen = []
    for volume in volumes:
        present.add(volume.id)
        if _is_ours(volume) or volume.status in PASSING_STATUSES:
            continue
        if volume.id not in claimed.volumes and not selector.include.names(volume):
            continue
        if volume.id not in claimed_out.volumes and not selector.exclude.names(volume):
            chosen.append(volume)
    return Selection(
        tuple(sorted(chosen, key=lambda each: each.id)),
        tuple(sorted(asked - present)),
        claimed.cut or claimed_out.cut,
    )


def within(
    volumes: Iterable[VolumeFacts], most: int, known: Collection[VolumeId]
) -> tuple[VolumeId, ...]:
    """At most so many of them, by id; those that are `known`, because they have backups already, come
    first: nothing that was protected is given up for what is new."""
    ids = sorted((each.id for each in volumes), key=lambda each: (each not in known, each))
    return tuple(sorted(ids[:most]))


def protectable(volumes: Iterable[VolumeFacts]) -> frozenset[VolumeId]:
    """What could be selected at all: the ground of the report of unprotected volumes."""
    return frozenset(
        volume.id
        for volume in volumes
        if not _is_ours(volume) and volume.status not in PASSING_STATUSES
    )


def _is_ours(volume: VolumeFacts) -> bool:
    """A temporary volume of a backup, or the scratch volume of a drill."""
    has = volume.metadata
    return BACKUP_TAG in has or (DRILL_TAG in has and RESTORE_TAG in has)
