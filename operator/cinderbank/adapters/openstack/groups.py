"""ports.groups.Groups over the Block Storage API v3: generic volume groups and their snapshots.

Measured on Cinder 29, and read in its source:
- A group snapshot takes name and description, no metadata, and its members get the same name: the name is
  the tag. It is of every volume that is in the group at that moment; nobody can leave one out.
- A member can not be deleted by itself (400), only with the group snapshot.
- A delete while a volume hangs on a member forgets the member's row and leaves its snapshot on the back end
  for ever (volume/manager.py, delete_group_snapshot): so it is only asked for when none does.
- A project member may do all of this, but sees no specs of a group type (group:access_group_types_specs is
  the administrator's): whether a type promises one moment is then not told.
"""

from __future__ import annotations

from collections.abc import Sequence

from openstack.connection import Connection

from cinderbank.adapters.openstack import bodies, snapshots
from cinderbank.adapters.openstack.calls import is_uuid, made, pages, read, unexpected, uuid, write
from cinderbank.adapters.openstack.errors import Call
from cinderbank.domain.errors import Conflict, Forbidden, SourceGone, Unsupported
from cinderbank.domain.facts import SnapshotFacts, VolumeFacts, VolumeId
from cinderbank.domain.policy.group import GroupSnapshotFacts
from cinderbank.domain.policy.moment import GroupFacts

GROUP_MICROVERSION = "3.25"
"""The first that lists a group's volumes."""

MICROVERSION = "3.14"
"""The first with group snapshots."""

SORTED_MICROVERSION = "3.29"
"""The first whose list of group snapshots is filtered and comes in pages."""

ONE_MOMENT_SPEC = "consistent_group_snapshot_enabled"
ONE_MOMENT = "<is> True"
"""Cinder compares the whole text (volume/volume_utils.py, is_group_a_cg_snapshot_type)."""


class OpenStackGroups:
    """One project of one Cinder."""

    def __init__(self, connection: Connection) -> None:
        self._cinder = connection.block_storage

    def find_group(self, group_id: str) -> GroupFacts | None:
        call = Call("read", f"group {group_id}")
        if not is_uuid(group_id):
            return None
        path = f"/groups/{group_id}"
        asked = {"list_volume": "true"}
        try:
            answer = read(self._cinder, path, call, params=asked, microversion=GROUP_MICROVERSION)
        except SourceGone:
            return None
        body = bodies.Body(answer.get("group"), call)
        return GroupFacts(
            id=body.id(),
            name=body.text("name"),
            status=body.needed_text("status"),
            group_type_id=body.needed_text("group_type"),
            volume_ids=tuple(sorted(VolumeId(each) for each in body.ids("volumes"))),
        )

    def promises_one_moment(self, group_type_id: str) -> bool | None:
        call = Call("read", f"group type {group_type_id}")
        path = f"/group_types/{uuid(group_type_id, 'group type')}"
        try:
            answer = read(self._cinder, path, call, microversion=MICROVERSION)
        except (SourceGone, Forbidden, Unsupported):
            return None
        group_type = answer.get("group_type")
        if not isinstance(group_type, dict):
            raise unexpected(call, "`group_type` is missing")
        if "group_specs" not in group_type:
            return None
        return bodies.Body(group_type, call).texts("group_specs").get(ONE_MOMENT_SPEC) == ONE_MOMENT

    def group_snapshots_named(self, name: str) -> Sequence[GroupSnapshotFacts]:
        call = Call("list", f"group snapshots named {name!r}")
        found = pages(
            self._cinder,
            "/group_snapshots/detail",
            call,
            key="group_snapshots",
            params={"name": name},
            microversion=SORTED_MICROVERSION,
        )
        ours = [self._facts(item, call) for item in found]
        return bodies.oldest_first([facts for facts in ours if facts.name == name])

    def members(self, snapshot: GroupSnapshotFacts) -> Sequence[SnapshotFacts]:
        return snapshots.of_group_snapshot(self._cinder, snapshot.name, snapshot.id)

    def volumes_of(self, members: Sequence[SnapshotFacts]) -> Sequence[VolumeFacts]:
        ids = {member.id for member in members}
        call = Call("list", "the volumes of the project")
        found = pages(self._cinder, "/volumes/detail", call, key="volumes", params={})
        return [bodies.volume(each, call) for each in found if each.get("snapshot_id") in ids]

    def create_group_snapshot(self, group_id: str, *, name: str, description: str) -> str:
        call = Call("snapshot", f"group {group_id}", makes=True)
        body = {"group_id": uuid(group_id, "group"), "name": name, "description": description}
        response = write(
            self._cinder,
            "POST",
            "/group_snapshots",
            call,
            expected=(200, 202),
            json={"group_snapshot": body},
            microversion=MICROVERSION,
        )
        return made(
            response, call, lambda answer: bodies.Body(answer, call).inner("group_snapshot").id()
        )

    def delete_group_snapshot(self, group_snapshot_id: str) -> None:
        """400 is how Cinder says that its status forbids it: Conflict."""
        path = f"/group_snapshots/{uuid(group_snapshot_id, 'group snapshot')}"
        call = Call("delete", f"group snapshot {group_snapshot_id}", bad_request=Conflict)
        try:
            write(
                self._cinder, "DELETE", path, call, expected=(202, 204), microversion=MICROVERSION
            )
        except SourceGone:
            return

    def _facts(self, content: object, call: Call) -> GroupSnapshotFacts:
        body = bodies.Body(content, call)
        return GroupSnapshotFacts(
            id=body.id(),
            name=body.text("name"),
            status=body.needed_text("status"),
            group_id=body.id("group_id"),
            created_at=body.time("created_at"),
        )
