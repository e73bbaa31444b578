"""PVC in, PVC out, with the real Cinder CSI driver and external-provisioner at both sites.

No Nova is there: no Pod mounts anything, so bytes are written and compared at the back ends.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import Running, Scene, make_scene
from tests.rig.csi import services
from tests.rig.up import up
from tests.stage.cloud import MIB, until
from tests.stage.namespace import Namespace, Object
from tests.stage.site import Site, Stage, backup, restore

pytestmark = pytest.mark.timeout(2400)

STORAGE_CLASS: Object = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "cinder"},
    "provisioner": "cinder.csi.openstack.org",
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "Immediate",
    "parameters": {"csi.storage.k8s.io/fstype": "ext4"},
}


def claim(name: str, storage_class: str) -> Object:
    spec = {
        "storageClassName": storage_class,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": spec,
    }


def bound(namespace: Namespace, name: str) -> Object:
    """The claim's persistent volume, once it has one."""
    found = namespace.wait(
        "pvc", name, lambda o: o.get("status", {}).get("phase") == "Bound", seconds=240
    )
    volume = namespace.get("pv", found["spec"]["volumeName"])
    assert volume is not None
    return volume


def gone_from_cinder(site: Site, volume_id: str) -> None:
    cinder = site.cloud.connection.block_storage
    until(
        lambda: cinder.find_volume(volume_id, ignore_missing=True) is None,
        240,
        f"end of {volume_id}",
    )


@pytest.fixture(scope="module")
def driver(stage: Stage, a: Running, b: Running) -> Iterator[None]:
    up(only=("csi",))
    for running in (a, b):
        running.site.install_persistent_volumes()
        running.site.namespace("default").apply(STORAGE_CLASS)
    yield
    for service in services(stage.rig):
        stage.rig.supervisor.stop(service.name)
    stage.rig.mark_up()


@dataclass
class Banked:
    """A backup of a claim of the driver's at site a."""

    scene: Scene
    backup_id: str
    sha256: str


@pytest.fixture(scope="module")
def banked(stage: Stage, a: Running, b: Running, driver: None) -> Iterator[Banked]:
    scene = make_scene(stage, a, b, "claims")
    scene.at_a.apply(claim("data", "cinder"))
    made = bound(scene.at_a, "data")
    volume_id = made["spec"]["csi"]["volumeHandle"]
    until(lambda: a.site.cloud.volume(volume_id).status == "available", 240, volume_id)
    chance = random.Random(7)
    pieces = {at * MIB: chance.randbytes(MIB) for at in (0, 5, 700, 1023)}
    stage.rig.site("a").write_volume(volume_id, pieces)

    scene.at_a.apply(backup("data", source={"persistentVolumeClaim": {"name": "data"}}))
    done = scene.at_a.wait_phase("volumebackup", "data", "Completed", seconds=1200)["status"]
    assert done["source"]["volumeID"] == volume_id
    assert done["persistentVolumeClaim"] == {
        "name": "data",
        "persistentVolume": made["metadata"]["name"],
        "storageClassName": "cinder",
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Filesystem",
        "fsType": "ext4",
    }
    yield Banked(scene, done["backupID"], a.site.volume_sha256(volume_id))
    scene.at_a.delete("pvc", "data")
    gone_from_cinder(a.site, volume_id)


def test_a_claim_of_the_driver_comes_back_as_one_and_the_driver_deletes_it(
    banked: Banked, b: Running
) -> None:
    there = banked.scene.at_b
    target = {"persistentVolumeClaim": {"name": "data", "reclaimPolicy": "Delete"}}
    there.apply(restore("data", backup_id=banked.backup_id, target=target))
    done = there.wait_phase("volumerestore", "data", "Completed", seconds=1200)["status"]
    volume_id, told = done["volumeID"], done["persistentVolumeClaim"]

    persistent = bound(there, "data")
    assert persistent["metadata"]["name"] == told["persistentVolume"]
    assert persistent["spec"]["csi"] == {
        "driver": "cinder.csi.openstack.org",
        "volumeHandle": volume_id,
        "fsType": "ext4",
    }
    assert persistent["spec"]["storageClassName"] == told["storageClassName"] == "cinder"
    assert "nodeAffinity" not in persistent["spec"], "no node here has the driver's zone"
    assert b.site.volume_sha256(volume_id) == banked.sha256
    metadata = b.site.cloud.volume(volume_id).metadata
    assert metadata["csi.storage.k8s.io/pvc/namespace"] == there.name
    assert "cinder.csi.openstack.org/cluster" not in metadata, "that is site a's"

    there.delete("pvc", "data")
    there.wait_gone("pvc", "data", seconds=240)
    gone_from_cinder(b.site, volume_id)
    there.wait_gone("pv", told["persistentVolume"], seconds=240)


def test_a_claim_that_waits_is_filled_and_only_what_is_ours_is_deleted(
    banked: Banked, b: Running
) -> None:
    """One claim that was there before, one that the restore makes, and both objects deleted with Delete."""
    there = banked.scene.at_b
    there.apply(claim("waiting", "by-hand"))
    for name in ("waiting", "fresh"):
        target = {"persistentVolumeClaim": {"name": name, "storageClassName": "by-hand"}}
        there.apply(restore(name, backup_id=banked.backup_id, target=target, onDelete="Delete"))
    volumes = {}
    for name in ("waiting", "fresh"):
        done = there.wait_phase("volumerestore", name, "Completed", seconds=1200)["status"]
        persistent = bound(there, name)
        volumes[name] = (done["volumeID"], persistent["metadata"]["name"])
        assert persistent["spec"]["csi"]["volumeHandle"] == done["volumeID"]
        assert persistent["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
        assert b.site.volume_sha256(done["volumeID"]) == banked.sha256
        there.delete("volumerestore", name)

    there.wait_gone("volumerestore", "fresh", seconds=240)
    gone_from_cinder(b.site, volumes["fresh"][0])
    assert there.get("pvc", "fresh") is None and there.get("pv", volumes["fresh"][1]) is None

    def is_held(found: Object) -> bool:
        conditions = found["status"]["conditions"]
        return any(each["type"] == "Stalled" and each["reason"] == "Held" for each in conditions)

    there.wait("volumerestore", "waiting", is_held, seconds=240)
    assert there.get("pvc", "waiting") is not None
    there.run(
        "patch", "volumerestore", "waiting", "--type=merge", "-p", '{"spec":{"onDelete":"Detach"}}'
    )
    there.wait_gone("volumerestore", "waiting", seconds=240)
    assert bound(there, "waiting")["metadata"]["name"] == volumes["waiting"][1]

    there.delete("pvc", "waiting")
    there.wait_gone("pvc", "waiting", seconds=240)
    assert b.site.cloud.volume(volumes["waiting"][0]).status == "available", "Retain"
    there.delete("pv", volumes["waiting"][1])
    b.site.cloud.delete_volume(volumes["waiting"][0])
    gone_from_cinder(b.site, volumes["waiting"][0])
