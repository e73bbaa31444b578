"""A site whose Glance keeps its images in the Ceph of the volumes: a restored volume is a clone at first."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Running, Scene
from tests.rig.openstack.images_on_ceph import images_on_ceph, parent_of
from tests.stage.cloud import Content
from tests.stage.site import Stage, backup, restore

pytestmark = pytest.mark.timeout(2400)


def restored(scene: Scene, name: str, backup_id: str) -> tuple[str, list[str]]:
    """The new volume, and the reasons of the events that its restore has told."""
    scene.at_a.apply(restore(name, backup_id=backup_id, transport="Raw"))
    found = scene.at_a.wait_phase("vrs", name, "Completed", seconds=1200)
    return found["status"]["volumeID"], [told["reason"] for told in scene.at_a.events(name)]


def test_no_image_stays_behind_whatever_ceph_can(scene: Scene, a: Running, stage: Stage) -> None:
    cloud, site = a.site.cloud, stage.rig.site("a")
    volume_id = cloud.make_volume("on-ceph", Content(size_gib=1, used_mib=100, seed=41))
    sha256 = site.volume_sha256(volume_id)

    with images_on_ceph(site, clone_format=1):
        scene.at_a.apply(backup("on-ceph", source={"volumeID": volume_id}, transport="Raw"))
        found = scene.at_a.wait_phase("vbk", "on-ceph", "Completed", seconds=1200)
        backup_id = found["status"]["backupID"]
        freed, told = restored(scene, "freed", backup_id)
        assert "ImageHeld" in told and "CloneKept" not in told
        assert site.volume_sha256(freed) == sha256
        assert parent_of(site, freed) == ""
        assert cloud.temporaries() == []
        assert cloud.volume(freed).metadata["owner"] == "stage"
        cloud.delete_volume(freed)

    with images_on_ceph(site, clone_format=2):
        clone, told = restored(scene, "clone", backup_id)
        assert "ImageHeld" not in told
        assert site.volume_sha256(clone) == sha256
        assert parent_of(site, clone).startswith("images-a/")
        assert cloud.temporaries() == []
        cloud.delete_volume(clone)
    cloud.delete_volume(volume_id)
