"""The `Claims` port on the Kubernetes API: one namespace's claims, its cluster's persistent volumes.

What is made here is as the driver's own provisioner would make it (seen with cinder-csi-plugin v1.36.0
and external-provisioner v6.3.0): the annotation pv.kubernetes.io/provisioned-by is what lets the
provisioner delete the Cinder volume of a PersistentVolume whose policy is Delete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.paths import claim_path, persistent_volume_path
from cinderbank.domain.claim import (
    CSI_DRIVER,
    ClaimedVolume,
    ClaimFacts,
    NewClaim,
    NewPersistentVolume,
    PersistentVolumeFacts,
    volume_mode_of,
)
from cinderbank.domain.errors import Forbidden
from cinderbank.domain.names import RESTORE_TAG

ZONE_LABEL = "topology.cinder.csi.openstack.org/zone"
"""On every node and in every node affinity that the driver makes, where its topology is on."""

PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"

_LABEL_VALUE = re.compile("[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_QUANTITY = re.compile(r"([0-9]{1,20})([KMGTPE]i?|k|m)?")
_UNITS = {
    None: 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60,
}  # fmt: skip


class KubeClaims:
    """See ports.claims. `refusal` is what keeps this object's cloud from becoming persistent volumes."""

    def __init__(self, api: KubeApi, namespace: str, refusal: str | None) -> None:
        self._api = api
        self._namespace = namespace
        self._refusal = refusal

    def check_allowed(self) -> None:
        if self._refusal is not None:
            raise Forbidden(self._refusal, reason="ClaimsNotAllowed")

    def find_claim(self, name: str) -> ClaimFacts | None:
        with _rights("PersistentVolumeClaims"):
            found = self._api.get(claim_path(self._namespace, name))
        return None if found is None else claim_facts(found)

    def find_persistent_volume(self, name: str) -> PersistentVolumeFacts | None:
        with _rights("PersistentVolumes"):
            found = self._api.get(persistent_volume_path(name))
        return None if found is None else persistent_volume_facts(found)

    def has_nodes_in(self, zone: str) -> bool:
        if not _LABEL_VALUE.fullmatch(zone):
            return False
        with _rights("Nodes"):
            return self._api.has_any("/api/v1/nodes", f"{ZONE_LABEL}={zone}")

    def create_persistent_volume(self, wanted: NewPersistentVolume) -> str:
        self.check_allowed()
        with _rights("PersistentVolumes"):
            body = persistent_volume_body(wanted, self._namespace)
            return _uid(self._api.create(persistent_volume_path(), body))

    def create_claim(self, wanted: NewClaim) -> str:
        with _rights("PersistentVolumeClaims"):
            return _uid(self._api.create(claim_path(self._namespace), claim_body(wanted)))

    def delete_persistent_volume(self, name: str, uid: str) -> None:
        with _rights("PersistentVolumes"):
            self._api.delete(persistent_volume_path(name), uid)

    def delete_claim(self, name: str, uid: str) -> None:
        with _rights("PersistentVolumeClaims"):
            self._api.delete(claim_path(self._namespace, name), uid)


def claim_facts(found: Mapping[str, Any]) -> ClaimFacts:
    """Of a v1 PersistentVolumeClaim as the API server gives it."""
    metadata, spec = found["metadata"], found.get("spec") or {}
    requests = (spec.get("resources") or {}).get("requests") or {}
    return ClaimFacts(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        phase=(found.get("status") or {}).get("phase") or "Pending",
        volume_name=spec.get("volumeName") or "",
        storage_class=spec.get("storageClassName") or "",
        access_modes=tuple(spec.get("accessModes") or ()),
        volume_mode=volume_mode_of(spec.get("volumeMode")),
        requested_bytes=quantity_bytes(str(requests.get("storage", "0"))),
        restore_uid=(metadata.get("labels") or {}).get(RESTORE_TAG, ""),
        wants_other_data=any(
            spec.get(field) for field in ("selector", "dataSource", "dataSourceRef")
        ),
        deleting="deletionTimestamp" in metadata,
    )


def persistent_volume_facts(found: Mapping[str, Any]) -> PersistentVolumeFacts:
    """Of a v1 PersistentVolume as the API server gives it."""
    metadata, spec = found["metadata"], found.get("spec") or {}
    csi, claim = spec.get("csi") or {}, spec.get("claimRef") or {}
    return PersistentVolumeFacts(
        name=metadata["name"],
        uid=metadata["uid"],
        phase=(found.get("status") or {}).get("phase") or "Pending",
        driver=csi.get("driver") or "",
        volume_handle=csi.get("volumeHandle") or "",
        claim_namespace=claim.get("namespace") or "",
        claim_name=claim.get("name") or "",
        claim_uid=claim.get("uid") or "",
        fs_type=csi.get("fsType") or "",
        restore_uid=(metadata.get("labels") or {}).get(RESTORE_TAG, ""),
        deleting="deletionTimestamp" in metadata,
    )


def quantity_bytes(text: str) -> int:
    """A Kubernetes quantity in bytes, rounded up; what can not be read counts as too much to fit."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return 1 << 100
    number, unit = int(found[1]), found[2]
    return -(-number // 1000) if unit == "m" else number * _UNITS[unit]


def persistent_volume_body(wanted: NewPersistentVolume, namespace: str) -> dict[str, Any]:
    claim = wanted.claim
    csi = {"driver": CSI_DRIVER, "volumeHandle": wanted.volume_id}
    spec = {
        **_shared(claim),
        "capacity": {"storage": f"{wanted.size_gib}Gi"},
        "persistentVolumeReclaimPolicy": str(wanted.reclaim_policy),
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": namespace,
            "name": claim.name,
        },
        "csi": {**csi, "fsType": claim.fs_type} if claim.fs_type else csi,
    }
    if wanted.zone:
        in_zone = {"key": ZONE_LABEL, "operator": "In", "values": [wanted.zone]}
        terms = [{"matchExpressions": [in_zone]}]
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": claim.persistent_volume,
            "labels": {RESTORE_TAG: wanted.restore_uid},
            "annotations": {PROVISIONED_BY: CSI_DRIVER},
        },
        "spec": spec,
    }


def claim_body(wanted: NewClaim) -> dict[str, Any]:
    claim = wanted.claim
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim.name, "labels": {RESTORE_TAG: wanted.restore_uid}},
        "spec": {
            **_shared(claim),
            "volumeName": claim.persistent_volume,
            "resources": {"requests": {"storage": f"{wanted.size_gib}Gi"}},
        },
    }


def _shared(claim: ClaimedVolume) -> dict[str, Any]:
    """What must be equal on both for Kubernetes to bind them; a class left out would be the default one."""
    return {
        "storageClassName": claim.storage_class,
        "accessModes": list(claim.access_modes),
        "volumeMode": str(claim.volume_mode),
    }


def _uid(made: Mapping[str, Any]) -> str:
    return str(made["metadata"]["uid"])


@contextmanager
def _rights(kind: str) -> Iterator[None]:
    try:
        yield
    except Forbidden as error:
        if error.reason == "ClaimsNotAllowed":
            raise
        raise Forbidden(
            f"the operator has no right to do that to {kind}: a cluster administrator applies "
            f"deploy/persistent-volumes ({error.message})",
            reason="PersistentVolumesForbidden",
            status_code=error.status_code,
        ) from error
