"""Claims and persistent volumes as JSON, and whose clouds may become persistent volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from cinderbank.adapters.kube.claims import (
    KubeClaims,
    claim_body,
    claim_facts,
    persistent_volume_body,
    persistent_volume_facts,
    quantity_bytes,
)
from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.secrets import Secret
from cinderbank.app.clouds import Cloud, claims_refusal
from cinderbank.domain.claim import (
    CSI_DRIVER,
    ClaimedVolume,
    NewClaim,
    NewPersistentVolume,
    ReclaimPolicy,
    VolumeMode,
)
from cinderbank.domain.errors import Forbidden
from cinderbank.domain.facts import VolumeId

WANTED = ClaimedVolume(
    "data", "restored-uid-1", "", ("ReadWriteOnce",), VolumeMode.FILESYSTEM, "xfs"
)


def new_volume(zone: str = "") -> NewPersistentVolume:
    return NewPersistentVolume(WANTED, VolumeId("vol-1"), 3, ReclaimPolicy.DELETE, "uid-1", zone)


def test_a_persistent_volume_is_reserved_for_its_claim() -> None:
    body = persistent_volume_body(new_volume(), "shop")
    assert body["metadata"] == {
        "name": "restored-uid-1",
        "labels": {"cinderbank.io/restore-uid": "uid-1"},
        "annotations": {"pv.kubernetes.io/provisioned-by": CSI_DRIVER},
    }
    assert body["spec"] == {
        "capacity": {"storage": "3Gi"},
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Filesystem",
        "storageClassName": "",
        "persistentVolumeReclaimPolicy": "Delete",
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": "shop",
            "name": "data",
        },
        "csi": {"driver": CSI_DRIVER, "volumeHandle": "vol-1", "fsType": "xfs"},
    }


def test_its_zone_is_a_node_affinity() -> None:
    spec = persistent_volume_body(new_volume("az-1"), "shop")["spec"]
    [term] = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term == {
        "matchExpressions": [
            {
                "key": "topology.cinder.csi.openstack.org/zone",
                "operator": "In",
                "values": ["az-1"],
            }
        ]
    }


def test_a_claim_asks_for_its_volume_and_for_no_default_class() -> None:
    spec = claim_body(NewClaim(WANTED, 3, "uid-1"))["spec"]
    assert (spec["volumeName"], spec["storageClassName"]) == ("restored-uid-1", "")
    assert spec["resources"] == {"requests": {"storage": "3Gi"}}


def test_what_is_made_is_read_back_as_it_was_meant() -> None:
    volume = persistent_volume_body(new_volume(), "shop")
    volume["metadata"]["uid"] = "pv-uid"
    facts = persistent_volume_facts(volume)
    assert (facts.driver, facts.volume_handle, facts.restore_uid) == (CSI_DRIVER, "vol-1", "uid-1")
    assert (facts.claim_namespace, facts.claim_name, facts.claim_uid) == ("shop", "data", "")
    claim = claim_body(NewClaim(WANTED, 3, "uid-1"))
    claim["metadata"] |= {"namespace": "shop", "uid": "claim-uid"}
    made = claim_facts(claim)
    assert (made.volume_name, made.requested_bytes) == ("restored-uid-1", 3 << 30)
    assert (made.phase, made.deleting, made.wants_other_data) == ("Pending", False, False)


def test_a_volume_that_is_no_csi_volume() -> None:
    facts = persistent_volume_facts(
        {"metadata": {"name": "old", "uid": "1"}, "spec": {"hostPath": {"path": "/x"}}}
    )
    assert (facts.driver, facts.volume_handle, facts.claim_uid) == ("", "", "")


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1Gi", 1 << 30),
        ("10G", 10**10),
        ("1073741824", 1 << 30),
        ("1500m", 2),
        ("0", 0),
        ("1.5Gi", 1 << 100),
        ("1e3", 1 << 100),
        ("", 1 << 100),
    ],
)
def test_quantities(text: str, size_bytes: int) -> None:
    assert quantity_bytes(text) == size_bytes


@pytest.mark.parametrize("fs_type", ["proc", "tmpfs", ""])
def test_the_driver_is_never_told_to_mount_what_is_no_volume(fs_type: str) -> None:
    """Whatever a status says, which others than the operator may be allowed to write."""
    wanted = replace(new_volume(), claim=replace(WANTED, fs_type=fs_type))
    csi = persistent_volume_body(wanted, "shop")["spec"]["csi"]
    assert csi == {"driver": CSI_DRIVER, "volumeHandle": "vol-1"}


class RefusingApi(KubeApi):
    def __init__(self) -> None:
        """No client."""

    def get(self, path: str) -> dict[str, Any] | None:
        raise Forbidden("persistentvolumes is forbidden", status_code=403)

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        raise Forbidden(f"403 {body['kind']} is forbidden: exceeded quota", status_code=403)


def test_missing_rights_name_what_to_apply() -> None:
    claims = KubeClaims(RefusingApi(), "shop", refusal=None)
    with pytest.raises(Forbidden, match="deploy/persistent-volumes") as refused:
        claims.find_persistent_volume("restored-uid-1")
    assert refused.value.reason == "PersistentVolumesForbidden"


def test_a_claim_that_a_quota_refuses_is_no_matter_of_rights() -> None:
    claims = KubeClaims(RefusingApi(), "shop", refusal=None)
    with pytest.raises(Forbidden, match="exceeded quota") as refused:
        claims.create_claim(NewClaim(WANTED, 3, "uid-1"))
    assert refused.value.reason == "Forbidden"
    assert "deploy/" not in refused.value.message


def test_nothing_is_made_of_a_cloud_that_is_not_the_drivers() -> None:
    claims = KubeClaims(RefusingApi(), "shop", refusal="another cloud")
    for ask in (claims.check_allowed, lambda: claims.create_persistent_volume(new_volume())):
        with pytest.raises(Forbidden, match="another cloud") as refused:
            ask()
        assert refused.value.reason == "ClaimsNotAllowed"


def cloud(auth_url: str, overrides: bool = False) -> Cloud:
    secret = Secret("shop", "openstack", "1", "1", {})
    return Cloud(None, None, None, None, None, "openstack", secret, auth_url, overrides)  # type: ignore[arg-type]


OURS = ("https://keystone.example.org/v3",)


@pytest.mark.parametrize(
    ("found", "trusted", "told"),
    [
        (cloud("https://keystone.example.org/v3"), (), "CINDERBANK_CSI_AUTH_URLS"),
        (cloud("https://evil.example.org/v3"), OURS, "CINDERBANK_CSI_AUTH_URLS"),
        (cloud("https://keystone.example.org/v3", True), OURS, "overrides an endpoint"),
    ],
)
def test_clouds_that_do_not_become_persistent_volumes(
    found: Cloud, trusted: tuple[str, ...], told: str
) -> None:
    refusal = claims_refusal(found, trusted)
    assert refusal is not None and told in refusal and "shop/openstack" in refusal


@pytest.mark.parametrize(
    "auth_url", ["https://keystone.example.org/v3", "https://keystone.example.org/v3/"]
)
def test_the_drivers_cloud_does(auth_url: str) -> None:
    assert claims_refusal(cloud(auth_url), OURS) is None
