"""`ports.catalog.RecoveryPoints` on the Kubernetes API: two requests to make one, one to delete one.

Each belongs to its BackupBank by an owner reference, so that it goes with it. What carries our label
and is not owned by this very BackupBank is somebody else's: told, never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.paths import collection_path, object_path
from cinderbank.adapters.kube.records import FIELD_MANAGER
from cinderbank.api.v1alpha1.recovery_point import BANK_LABEL, labels_of, status_of
from cinderbank.api.v1alpha1.resource import API_VERSION
from cinderbank.domain.catalog import PointKey, PointState, Present
from cinderbank.domain.errors import Conflict, InvalidSpec, SourceGone, Unavailable
from cinderbank.domain.facts import BackupId, VolumeId
from cinderbank.ports.catalog import Described, Unreadable

KIND = "RecoveryPoint"
DEGRADED = "DamageFound"


class KubeRecoveryPoints:
    """Those of one BackupBank, named by namespace, name and uid."""

    def __init__(
        self, api: KubeApi, namespace: str, bank: str, bank_uid: str, now: Callable[[], datetime]
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._bank = bank
        self._bank_uid = bank_uid
        self._now = now

    def present(self, tags: Mapping[str, str]) -> Iterator[Present]:
        path = collection_path(KIND, self._namespace)
        try:
            for raw in self._api.list_all(path, f"{BANK_LABEL}={self._bank}"):
                yield present_of(raw, self._bank_uid, tags)
        except SourceGone as error:  # the list took too long, or its CRD is not installed yet
            raise Unavailable(error.message, reason="KubernetesUnavailable") from error

    def create(
        self,
        name: str,
        key: PointKey,
        found: Described | Unreadable,
        degraded: bool,
        verified_at: datetime | None = None,
    ) -> bool:
        body = {
            **_identity(self._namespace, name),
            "spec": {
                "bankRef": {"name": self._bank},
                "backupID": key.backup_id,
                "site": key.site,
                "volumeID": key.volume_id,
            },
        }
        body["metadata"] |= {
            "labels": labels_of(self._bank, key, found),
            "ownerReferences": [self._owner()],
        }
        try:
            made = self._api.create(collection_path(KIND, self._namespace), body)
        except Conflict:
            return False
        self._write(made, found, degraded, verified_at)
        return True

    def tell(
        self,
        point: Present,
        found: Described | Unreadable,
        degraded: bool,
        verified_at: datetime | None = None,
    ) -> None:
        raw = self._api.get(object_path(KIND, self._namespace, point.name))
        if raw is not None and raw["metadata"]["uid"] == point.uid:
            self._write(raw, found, degraded, verified_at)

    def delete(self, point: Present) -> None:
        with suppress(Conflict):
            self._api.delete(object_path(KIND, self._namespace, point.name), point.uid)

    def _owner(self) -> dict[str, Any]:
        return {
            "apiVersion": API_VERSION,
            "kind": "BackupBank",
            "name": self._bank,
            "uid": self._bank_uid,
            "controller": True,
        }

    def _write(
        self,
        raw: Mapping[str, Any],
        found: Described | Unreadable,
        degraded: bool,
        verified_at: datetime | None,
    ) -> None:
        """What was deleted or changed meanwhile is left to the next sync."""
        metadata = raw["metadata"]
        previous = (raw.get("status") or {}).get("conditions")
        now = self._now().replace(microsecond=0)
        generation = metadata.get("generation", 1)
        status = status_of(found, degraded, previous, generation, now, verified_at)
        body = {**_identity(self._namespace, metadata["name"]), "status": status}
        body["metadata"] |= {"resourceVersion": metadata["resourceVersion"]}
        path = object_path(KIND, self._namespace, metadata["name"])
        try:
            self._api.apply(f"{path}/status", body, FIELD_MANAGER)
        except (SourceGone, Conflict):
            return
        except InvalidSpec as error:
            if isinstance(found, Unreadable):
                raise
            # Whatever the bank makes us say, one backup never stops the mirrors of the others.
            told = f"the API server refuses what its manifest says: {error.message}"
            self._write(raw, Unreadable("DataCorrupt", told), degraded, None)


def _identity(namespace: str, name: str) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata}


def present_of(raw: Mapping[str, Any], bank_uid: str, tags: Mapping[str, str]) -> Present:
    """Reads leniently: a cluster's administrator may have written anything."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    state = _state(status)
    told = status.get("tags") or {}
    return Present(
        name=metadata["name"],
        uid=metadata["uid"],
        ours=any(
            owner.get("kind") == "BackupBank" and owner.get("uid") == bank_uid
            for owner in metadata.get("ownerReferences") or ()
        ),
        key=_key(raw.get("spec") or {}),
        state=state,
        looked_at=_time(status.get("lookedAtTime")),
        verified_at=_time(status.get("verifiedTime")),
        deleting="deletionTimestamp" in metadata,
        chosen=state in (PointState.UNREADABLE, PointState.UNSEEN)
        or all(told.get(name) == value for name, value in tags.items()),
    )


def _key(spec: Mapping[str, Any]) -> PointKey | None:
    site, backup_id, volume_id = (spec.get(name) for name in ("site", "backupID", "volumeID"))
    if not (isinstance(site, str) and isinstance(backup_id, str) and isinstance(volume_id, str)):
        return None
    return PointKey(site, BackupId(backup_id), VolumeId(volume_id))


def _state(status: Mapping[str, Any]) -> PointState:
    found = [each for each in status.get("conditions") or () if each.get("type") == "Ready"]
    if not found or "lookedAtTime" not in status:
        return PointState.UNSEEN
    if found[0].get("status") == "True":
        return PointState.READABLE
    degraded = found[0].get("reason") == DEGRADED
    return PointState.DEGRADED if degraded else PointState.UNREADABLE


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
