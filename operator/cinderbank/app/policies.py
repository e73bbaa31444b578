"""`kube.policies.PolicyWorlds` on the real adapters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.paths import collection_path, object_path
from cinderbank.adapters.kube.records import StatusWriter
from cinderbank.api.v1alpha1.resource import FINALIZER
from cinderbank.app.claimed_volumes import ClaimedVolumes
from cinderbank.app.clouds import Clouds
from cinderbank.domain.errors import Conflict, InvalidSpec, SourceGone
from cinderbank.domain.facts import BackupId, VolumeFacts, VolumeId
from cinderbank.domain.policy.children import (
    POLICY_LABEL,
    RUN_LABEL,
    VOLUME_LABEL,
    Child,
    ChildState,
    is_child,
    run_label,
)
from cinderbank.kube.known import VOLUME_BACKUP, VOLUME_BACKUP_POLICY, Key, key_of
from cinderbank.kube.policy_children import PolicyChildren, child_of
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.groups import Groups

VOLUMES_YOUNG_SECONDS = 60.0
"""Five hundred policies of one project list its volumes once a minute, not five hundred times."""

ProjectKey = tuple[str, str, str]


@dataclass
class _Listing:
    lock: threading.Lock
    at: float = float("-inf")
    volumes: tuple[VolumeFacts, ...] = ()


class VolumeLists:
    """The volumes of each project, at most a minute old; thread-safe."""

    def __init__(self, clouds: Clouds, clock: Callable[[], float] = time.monotonic) -> None:
        self._clouds = clouds
        self._clock = clock
        self._listings: dict[ProjectKey, _Listing] = {}
        self._lock = threading.Lock()

    def volumes(self, namespace: str, secret_name: str, cloud_name: str) -> Sequence[VolumeFacts]:
        # opened each time: a Secret that was changed or taken away counts at once
        cloud = self._clouds.open(namespace, secret_name, cloud_name)
        key = (namespace, f"{cloud.secret.uid} {cloud.secret.resource_version}", cloud_name)
        with self._lock:
            self._forget_old()
            listing = self._listings.setdefault(key, _Listing(threading.Lock()))
        with listing.lock:
            if self._clock() - listing.at > VOLUMES_YOUNG_SECONDS:
                listing.volumes = tuple(cloud.cinder.volumes())
                listing.at = self._clock()
            return listing.volumes

    def _forget_old(self) -> None:
        limit = self._clock() - 2 * VOLUMES_YOUNG_SECONDS
        for key, listing in list(self._listings.items()):
            if float("-inf") < listing.at < limit:
                del self._listings[key]


class Deeds(Protocol):
    """What policies share with the other kinds; see AppWorlds."""

    def holds_backup(self, namespace: str, bank: str, site: str, backup_id: BackupId) -> bool: ...
    def damaged_backups(self, namespace: str, bank: str) -> frozenset[tuple[str, BackupId]]: ...
    def write_status(self, raw: Raw, status: dict[str, Any]) -> None: ...
    def say(self, raw: Raw, reason: str, message: str, warning: bool) -> None: ...


class AppPolicyWorlds:
    """Everything that a policy does to the world."""

    def __init__(
        self,
        api: KubeApi,
        writer: StatusWriter,
        clouds: Clouds,
        known: PolicyChildren,
        deeds: Deeds,
    ) -> None:
        self._api = api
        self._writer = writer
        self._known = known
        self._deeds = deeds
        self._clouds = clouds
        self._lists = VolumeLists(clouds)
        self.volumes = self._lists.volumes
        self.claimed = ClaimedVolumes(api).claimed
        self.policies_in = known.policies_in
        self.write_status = deeds.write_status
        self.say = deeds.say

    def remember_status(self, raw: Raw, status: dict[str, Any]) -> Raw:
        return self._writer.write_now(raw, status)

    def children(self, key: Key) -> tuple[Child, ...]:
        return self._known.of(key.namespace, key.name)

    def is_as_it_was(self, raw: Raw) -> bool:
        key = key_of(raw)
        there = self._api.get(object_path(VOLUME_BACKUP_POLICY, key.namespace, key.name))
        now, then = {} if there is None else there["metadata"], raw["metadata"]
        return "deletionTimestamp" not in now and all(
            now.get(each) == then.get(each) for each in ("uid", "generation")
        )

    # Groups.

    def groups(self, namespace: str, secret_name: str, cloud_name: str) -> Groups:
        return self._clouds.open(namespace, secret_name, cloud_name).groups

    def children_of_run(self, key: Key, run_at: datetime) -> tuple[Child, ...]:
        path = collection_path(VOLUME_BACKUP, key.namespace)
        labels = f"{POLICY_LABEL}={key.name},{RUN_LABEL}={run_label(run_at)}"
        found = (child_of(raw) for raw in self._api.list_all(path, labels))
        return tuple(child for child in found if child is not None)

    def hold(self, raw: Raw) -> Raw:
        finalizers = raw["metadata"].get("finalizers") or []
        return self._with_finalizers(raw, [*finalizers, FINALIZER])

    def release(self, raw: Raw) -> None:
        finalizers = raw["metadata"].get("finalizers") or []
        with suppress(SourceGone):
            self._with_finalizers(raw, [each for each in finalizers if each != FINALIZER])

    def _with_finalizers(self, raw: Raw, finalizers: list[str]) -> Raw:
        """Only on the very object that was read; else Conflict."""
        key, metadata = key_of(raw), raw["metadata"]
        body = {"uid": key.uid, "resourceVersion": metadata["resourceVersion"]}
        path = object_path(VOLUME_BACKUP_POLICY, key.namespace, key.name)
        return self._api.merge_patch(path, {"metadata": {**body, "finalizers": finalizers}})

    # Children.

    def create_child(self, namespace: str, body: Raw) -> None:
        try:
            self._api.create(collection_path(VOLUME_BACKUP, namespace), body)
        except Conflict:
            metadata = body["metadata"]
            there = self._api.get(object_path(VOLUME_BACKUP, namespace, metadata["name"]))
            labels = {} if there is None else there["metadata"].get("labels") or {}
            wanted = metadata["labels"]
            same = all(labels.get(key) == wanted[key] for key in (POLICY_LABEL, VOLUME_LABEL))
            if there is not None and not (same and is_child(metadata["name"], labels)):
                raise InvalidSpec(
                    f"VolumeBackup {namespace}/{metadata['name']} is there and is not of this policy;"
                    " rename or delete it",
                    reason="ChildNameTaken",
                ) from None

    def cancel_child(self, key: Key, child: Child) -> None:
        path = object_path(VOLUME_BACKUP, key.namespace, child.name)
        patch = {"metadata": {"uid": child.uid}, "spec": {"cancel": True}}
        try:
            self._api.merge_patch(path, patch)
        except (SourceGone, Conflict):
            return  # it is gone, or another one of its name: there is nothing left to cancel

    def give_up_child(self, key: Key, child: Child) -> bool:
        path = object_path(VOLUME_BACKUP, key.namespace, child.name)
        raw = self._api.get(path)
        if raw is None or child.hold or child_of(raw) != child:
            return False
        if raw["metadata"]["labels"][POLICY_LABEL] != key.name:
            return False  # what it is called says another policy's by now
        try:
            if child.state is ChildState.GOOD:
                raw = self._with_its_data(path, raw)
            metadata = raw["metadata"]
            self._api.delete(path, metadata["uid"], metadata["resourceVersion"])
        except (Conflict, SourceGone):
            return False  # somebody changed it meanwhile: judged again
        return True

    def _with_its_data(self, path: str, raw: Raw) -> Raw:
        """The finalizer in the same write: without it the object would go, and its data would stay."""
        metadata = raw["metadata"]
        finalizers = metadata.get("finalizers") or []
        if FINALIZER not in finalizers:
            finalizers = [*finalizers, FINALIZER]
        patch = {
            "metadata": {
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
                "finalizers": finalizers,
            },
            "spec": {"deletionPolicy": "Delete"},
        }
        return self._api.merge_patch(path, patch)

    def children_in_truth(
        self, key: Key, volumes: frozenset[VolumeId], min_good: int
    ) -> tuple[Child, ...]:
        path = collection_path(VOLUME_BACKUP, key.namespace)
        found: dict[str, tuple[Child, Raw]] = {}
        some = ",".join(sorted(volumes))
        labels = f"{POLICY_LABEL}={key.name},{VOLUME_LABEL} in ({some})"
        for raw in self._api.list_all(path, labels):
            # a list has no kind in its items, and nothing here asks for it
            if (child := child_of(raw)) is not None:
                found[child.name] = (child, raw)
        if not min_good:
            return tuple(child for child, _ in found.values())
        good = [each for each in found.values() if each[0].state is ChildState.GOOD]
        good.sort(key=lambda each: (each[0].point_at, each[0].name), reverse=True)
        banks = {raw["spec"]["bankRef"]["name"] for _, raw in good}
        damaged = {bank: self._deeds.damaged_backups(key.namespace, bank) for bank in banks}
        proven: dict[VolumeId, int] = {}
        for child, raw in good:
            bank, stored = raw["spec"]["bankRef"]["name"], _stored(raw)
            whole = stored is not None and stored not in damaged[bank]
            if whole and stored is not None and proven.get(child.volume_id, 0) < min_good:
                whole = self._deeds.holds_backup(key.namespace, bank, *stored)
                proven[child.volume_id] = proven.get(child.volume_id, 0) + whole
            if not whole:
                found[child.name] = (replace(child, state=ChildState.LOST), raw)
        return tuple(child for child, _ in found.values())


def _stored(raw: Raw) -> tuple[str, BackupId] | None:
    """Site and id in the bank, as its status says."""
    status = raw.get("status") or {}
    backup_id, site = status.get("backupID"), status.get("site")
    if not isinstance(backup_id, str) or not isinstance(site, str):
        return None
    return site, BackupId(backup_id)
