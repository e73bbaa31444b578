"""Snapshots of one project, read: by id, by a metadata entry, by the group snapshot that they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openstack.proxy import Proxy

from cinderbank.adapters.openstack import bodies
from cinderbank.adapters.openstack.calls import is_uuid, pages, read
from cinderbank.adapters.openstack.errors import Call
from cinderbank.domain.errors import SourceGone
from cinderbank.domain.facts import SnapshotFacts, SnapshotId

MICROVERSION = "3.22"
"""The first that filters by metadata; it also tells group_snapshot_id (3.14). Below 3.66, where `force`
stops to be taken."""

OWNER = "os-extended-snapshot-attributes:project_id"


def find(cinder: Proxy, snapshot_id: SnapshotId, project_id: str) -> SnapshotFacts | None:
    """The snapshot, or None (404, or another project's, which an administrator would be shown)."""
    call = Call("read", f"snapshot {snapshot_id}")
    if not is_uuid(snapshot_id):
        return None
    try:
        body = read(cinder, f"/snapshots/{snapshot_id}", call).get("snapshot")
    except SourceGone:
        return None
    facts = bodies.snapshot(body, call)
    assert isinstance(body, dict)  # bodies.snapshot has read it
    return facts if body.get(OWNER, project_id) == project_id else None


def tagged(cinder: Proxy, key: str, value: str) -> Sequence[SnapshotFacts]:
    """All with metadata {key: value}, oldest first; the filter is a Python literal."""
    call = Call("list", f"snapshots with metadata {key}={value}")
    found = _listed(cinder, {"metadata": str({key: value})}, call)
    ours = [it for it in found if bodies.Body(it, call).texts("metadata").get(key) == value]
    return bodies.oldest_first([bodies.snapshot(item, call) for item in ours])


def of_group_snapshot(cinder: Proxy, name: str, group_snapshot_id: str) -> Sequence[SnapshotFacts]:
    """The members of a group snapshot: Cinder gives them its name and no metadata."""
    call = Call("list", f"snapshots of group snapshot {group_snapshot_id}")
    found = _listed(cinder, {"name": name}, call)
    ours = [item for item in found if item.get("group_snapshot_id") == group_snapshot_id]
    return bodies.oldest_first([bodies.snapshot(item, call) for item in ours])


def _listed(cinder: Proxy, params: Mapping[str, str], call: Call) -> list[Mapping[str, Any]]:
    path = "/snapshots/detail"
    return list(
        pages(cinder, path, call, key="snapshots", params=params, microversion=MICROVERSION)
    )
