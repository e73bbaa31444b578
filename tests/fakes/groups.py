"""Volume groups of a FakeCloud, as slow and as careless as Cinder's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cinderbank.domain.errors import Conflict, SourceGone
from cinderbank.domain.facts import SnapshotFacts, SnapshotId, VolumeFacts, VolumeId
from cinderbank.domain.policy.group import GroupSnapshotFacts
from cinderbank.domain.policy.moment import GroupFacts
from tests.fakes.cloud import FakeCloud, Snapshot


def uuid_of(kind: int, number: int) -> str:
    return f"{number:08x}-0000-4000-8{kind:03x}-000000000000"


GROUP_ID = uuid_of(1, 1)
TYPE_ID = uuid_of(2, 1)


@dataclass
class GroupSnapshot:
    id: str
    name: str
    group_id: str
    created_at: datetime
    visible_at: datetime
    status: str = "creating"
    next: list[tuple[datetime, str]] = field(default_factory=list)

    def facts(self) -> GroupSnapshotFacts:
        return GroupSnapshotFacts(self.id, self.name, self.status, self.group_id, self.created_at)


@dataclass
class FakeGroups:
    """One group, whose members a test chooses."""

    cloud: FakeCloud
    members_now: list[str] = field(default_factory=list)
    promised: bool | None = True
    status: str = "available"
    group_id: str = GROUP_ID
    snapshots: dict[str, GroupSnapshot] = field(default_factory=dict)
    leaked: list[str] = field(default_factory=list)
    """Members that a delete forgot while a volume hung on them: they stay on the back end for ever."""
    made: int = 0

    def find_group(self, group_id: str) -> GroupFacts | None:
        self.cloud.faults.read("find_group")
        if group_id != self.group_id:
            return None
        ids = tuple(VolumeId(each) for each in self.members_now)
        return GroupFacts(group_id, "shop", self.status, TYPE_ID, ids)

    def promises_one_moment(self, group_type_id: str) -> bool | None:
        self.cloud.faults.read("promises_one_moment")
        return self.promised

    def group_snapshots_named(self, name: str) -> Sequence[GroupSnapshotFacts]:
        self.cloud.faults.read("group_snapshots_named")
        self.settle()
        now = self.cloud.clock.now()
        shown = [each for each in self.snapshots.values() if each.visible_at <= now]
        return [each.facts() for each in shown if each.name == name]

    def members(self, snapshot: GroupSnapshotFacts) -> Sequence[SnapshotFacts]:
        self.cloud.faults.read("members")
        self.settle()
        return [each.facts() for each in self._of(snapshot.id)]

    def volumes_of(self, members: Sequence[SnapshotFacts]) -> Sequence[VolumeFacts]:
        self.cloud.faults.read("volumes_of")
        ids = {member.id for member in members}
        shown = self.cloud.shown(self.cloud.volumes)
        return [volume.facts() for volume in shown if volume.snapshot_id in ids]

    def create_group_snapshot(self, group_id: str, *, name: str, description: str) -> str:
        cloud = self.cloud
        with cloud.faults.effect("create_group_snapshot"):
            if group_id != self.group_id:
                raise SourceGone(f"group {group_id} not found")
            if not self.members_now:
                raise Conflict("Source group cannot be empty")
            self.made += 1
            now, visible_at = cloud.clock.now(), cloud.visible_at("group-snapshot")
            made = GroupSnapshot(uuid_of(3, self.made), name, group_id, now, visible_at)
            becomes = cloud.becomes("group-snapshot", "available")
            made.next = [(cloud.after(cloud.snapshot_seconds), becomes)]
            self.snapshots[made.id] = made
            for number, volume_id in enumerate(self.members_now):
                source = cloud.volumes[volume_id]
                snapshot_id = SnapshotId(uuid_of(4, self.made * 100 + number))
                cloud.snapshots[snapshot_id] = Snapshot(
                    snapshot_id,
                    name,
                    "creating",
                    source.id,
                    source.size_gib,
                    source.content,
                    now,
                    visible_at,
                    {},
                    group_snapshot_id=made.id,
                )
        return made.id

    def delete_group_snapshot(self, group_snapshot_id: str) -> None:
        cloud = self.cloud
        with cloud.faults.effect("delete_group_snapshot"):
            self.settle()
            found = self.snapshots.get(group_snapshot_id)
            if found is None:
                return
            if found.status not in ("available", "error"):
                raise Conflict("GroupSnapshot status must be available or error")
            found.status = "deleting"
            found.next = [(cloud.after(cloud.delete_seconds), "gone")]

    def settle(self) -> None:
        self.cloud.settle()
        now = self.cloud.clock.now()
        for each in list(self.snapshots.values()):
            while each.next and each.next[0][0] <= now:
                each.status = each.next.pop(0)[1]
                if each.status == "gone":
                    self._forget(each.id)
            for member in self._of(each.id):
                member.status = each.status

    def _forget(self, group_snapshot_id: str) -> None:
        used = {volume.snapshot_id for volume in self.cloud.volumes.values()}
        for member in self._of(group_snapshot_id):
            if member.id in used:
                self.leaked.append(member.id)
            del self.cloud.snapshots[member.id]
        del self.snapshots[group_snapshot_id]

    def _of(self, group_snapshot_id: str) -> list[Snapshot]:
        found = self.cloud.snapshots.values()
        return [each for each in found if each.group_snapshot_id == group_snapshot_id]
