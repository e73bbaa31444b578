"""Volume groups of Cinder and their snapshots, as policies need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cinderbank.domain.facts import SnapshotFacts, VolumeFacts
from cinderbank.domain.policy.group import GroupSnapshotFacts
from cinderbank.domain.policy.moment import GroupFacts


class Groups(Protocol):
    """One project of one Cinder. Errors, creates and deletes as in ports.cinder.Cinder; the tag of a group
    snapshot is its name."""

    def find_group(self, group_id: str) -> GroupFacts | None:
        """The group, or None when this project has none of that id (404)."""
        ...

    def promises_one_moment(self, group_type_id: str) -> bool | None:
        """Whether snapshots of a group of this type are of one moment; None when Cinder does not tell."""
        ...

    def group_snapshots_named(self, name: str) -> Sequence[GroupSnapshotFacts]:
        """All of this project with exactly this name, oldest first."""
        ...

    def members(self, snapshot: GroupSnapshotFacts) -> Sequence[SnapshotFacts]:
        """Its snapshots, one for each volume that was in the group."""
        ...

    def volumes_of(self, members: Sequence[SnapshotFacts]) -> Sequence[VolumeFacts]:
        """All volumes of this project that were made of one of these snapshots."""
        ...

    def create_group_snapshot(self, group_id: str, *, name: str, description: str) -> str:
        """Of every volume in the group; returns its id. Also raises OverQuota, Conflict, SourceGone."""
        ...

    def delete_group_snapshot(self, group_snapshot_id: str) -> None:
        """With its members. MUST NOT be asked for while a volume of ours was made of one of them: Cinder
        would forget the snapshot and leave it on the back end."""
        ...
