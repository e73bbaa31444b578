"""The backups and the policies that the watches have told: an index, and never the truth for a delete.

What a policy makes is named by what it is for, so a view that is late makes nothing twice. Before
something is deleted, all is read anew from the API server.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cinderbank.api.v1alpha1.copies import COPIED, read_copies
from cinderbank.api.v1alpha1.resource import API_VERSION
from cinderbank.api.v1alpha1.volume_backup_policy import VolumeBackupPolicySpec
from cinderbank.domain.facts import VolumeId
from cinderbank.domain.policy.children import (
    NUMBER_LABEL,
    POLICY_LABEL,
    RUN_LABEL,
    TRIGGER_LABEL,
    VOLUME_LABEL,
    Child,
    ChildState,
    child_name,
    is_child,
    labels_of,
    read_number,
    read_run_label,
    trigger_digest,
)
from cinderbank.domain.policy.runs import Run
from cinderbank.kube.known import VOLUME_BACKUP, VOLUME_BACKUP_POLICY, Key, key_of

Owner = tuple[str, str]
"""Namespace and name of a policy."""


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """What a policy's status says, for metrics."""

    rpo_met: bool | None
    selected: int
    covered: int
    missed: int
    last_success_seconds: float | None
    drilled: bool | None = None
    checked: bool | None = None


class PolicyChildren:
    """Fed by the watches and by the full list; thread-safe."""

    def __init__(self) -> None:
        self._children: dict[Owner, dict[str, Child]] = {}
        self._policies: dict[Owner, Key] = {}
        self._figures: dict[Owner, PolicyFigures] = {}
        self._lock = threading.Lock()

    def see(self, raw: Mapping[str, Any]) -> Key | None:
        """Take an object in; returns the policy for which something has changed by it."""
        key = key_of(raw)
        if key.kind == VOLUME_BACKUP_POLICY:
            with self._lock:
                self._policies[key.namespace, key.name] = key
                self._figures[key.namespace, key.name] = _figures(raw)
        if key.kind != VOLUME_BACKUP:
            return None
        if (child := child_of(raw)) is None:
            self.drop(key)  # somebody may have taken its labels off
            return None
        owner = (key.namespace, raw["metadata"]["labels"][POLICY_LABEL])
        with self._lock:
            mine = self._children.setdefault(owner, {})
            changed = mine.get(key.name) != child
            mine[key.name] = child
            return self._policies.get(owner) if changed else None

    def drop(self, key: Key) -> None:
        """The object is gone, or another one of its name is there now."""
        with self._lock:
            if key.kind == VOLUME_BACKUP_POLICY:
                owner = (key.namespace, key.name)
                if self._policies.get(owner) == key:
                    del self._policies[owner]
                    self._figures.pop(owner, None)
            elif key.kind == VOLUME_BACKUP:
                for owner, mine in list(self._children.items()):
                    known = mine.get(key.name)
                    if owner[0] == key.namespace and known is not None and known.uid == key.uid:
                        del mine[key.name]
                        if not mine:
                            del self._children[owner]

    def of(self, namespace: str, policy: str) -> tuple[Child, ...]:
        with self._lock:
            return tuple(self._children.get((namespace, policy), {}).values())

    def policies_in(self, namespace: str) -> int:
        with self._lock:
            return sum(1 for owner in self._policies if owner[0] == namespace)

    def figures(self) -> dict[Owner, PolicyFigures]:
        with self._lock:
            return dict(self._figures)


def child_body(
    key: Key, spec: VolumeBackupPolicySpec, volume_id: VolumeId, run: Run, number: int = 0
) -> dict[str, Any]:
    """A VolumeBackup. No owner: deleting the policy, or a prune by a GitOps tool, leaves it alone. No
    label or annotation of the policy itself is given on, only what the template says."""
    labels = labels_of(key.name, volume_id, run.at, trigger_digest(run.trigger), number)
    return {
        "apiVersion": API_VERSION,
        "kind": VOLUME_BACKUP,
        "metadata": {
            "namespace": key.namespace,
            "name": child_name(key.name, volume_id, run.at),
            "labels": {**spec.template.to_labels(), **labels},
        },
        "spec": spec.template.to_spec(volume_id),
    }


def child_of(raw: Mapping[str, Any]) -> Child | None:
    """A VolumeBackup as a child; None when it is none. Reads leniently: anybody writes objects."""
    metadata = raw["metadata"]
    labels = metadata.get("labels") or {}
    if not is_child(metadata["name"], labels):
        return None
    run_at = read_run_label(labels[RUN_LABEL])
    assert run_at is not None  # is_child has read it
    status = _mapping(raw.get("status"))
    return Child(
        name=metadata["name"],
        uid=metadata["uid"],
        volume_id=VolumeId(labels[VOLUME_LABEL]),
        run_at=run_at,
        state=_state(metadata, _mapping(raw.get("spec")), status),
        point_at=_point_at(status, run_at),
        ended_at=_time(status.get("completionTime")),
        hold=_mapping(raw.get("spec")).get("hold") is True,
        trigger=labels.get(TRIGGER_LABEL, ""),
        number=read_number(labels.get(NUMBER_LABEL)),
        encrypted=_mapping(status.get("source")).get("encrypted") is True,
    )


def _point_at(status: Mapping[str, Any], run_at: datetime) -> datetime:
    """The snapshot's time is of the cloud's clock, which may be wrong: it lies between the operator's
    own times, or one backup of a clock that is ahead would be the newest until that time comes."""
    taken, ended = _time(status.get("snapshotTime")), _time(status.get("completionTime"))
    begun = run_at if taken is None else max(taken, run_at)
    return begun if ended is None else min(begun, ended)


def created_at_of(raw: Mapping[str, Any], now: datetime) -> datetime:
    """When the object was made, by the API server's clock; `now` of one that does not say."""
    return _time(raw["metadata"].get("creationTimestamp")) or now


def _state(
    metadata: Mapping[str, Any], spec: Mapping[str, Any], status: Mapping[str, Any]
) -> ChildState:
    if "deletionTimestamp" in metadata:
        return ChildState.LEAVING
    if _mapping(status.get("outcome")).get("final") is not True:
        return ChildState.WORKING
    if status.get("phase") != "Completed":
        return ChildState.FAILED
    if condition_status(status, "Verified") == "False":
        return ChildState.LOST
    return ChildState.GOOD if _is_copied(spec, status) else ChildState.COPYING


def _is_copied(spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Whether every copy that is asked for is there: the condition Copied, and of the banks that are
    named now, as it may be older than the last one of them."""
    wanted = spec.get("copies")
    if not wanted:
        return True
    if condition_status(status, COPIED) != "True" or not isinstance(wanted, list):
        return False
    done = {each.bank for each in read_copies(status) if each.phase == "Completed"}
    return all(_mapping(_mapping(each).get("bankRef")).get("name") in done for each in wanted)


def condition_status(status: Mapping[str, Any], type_: str) -> str | None:
    found = condition_of(status, type_)
    return str(found.get("status")) if found else None


def condition_of(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """Empty when there is none."""
    conditions = status.get("conditions")
    for each in conditions if isinstance(conditions, list) else ():
        if isinstance(each, Mapping) and each.get("type") == type_:
            return each
    return {}


def _figures(raw: Mapping[str, Any]) -> PolicyFigures:
    status = _mapping(raw.get("status"))
    met, drilled, checked = (_is(status, each) for each in ("RPOMet", "Drilled", "Checked"))
    success = _time(status.get("lastSuccessTime"))
    return PolicyFigures(
        rpo_met=met,
        drilled=drilled,
        checked=checked,
        selected=_count(status.get("volumesSelected")),
        covered=_count(status.get("volumesCovered")),
        missed=_count(status.get("missedRuns")),
        last_success_seconds=None if success is None else success.timestamp(),
    )


def _is(status: Mapping[str, Any], type_: str) -> bool | None:
    return {"True": True, "False": False}.get(condition_status(status, type_) or "")


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
