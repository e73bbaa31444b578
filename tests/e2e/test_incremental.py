"""A second backup stores what changed; a deleted first one does not harm it; a check finds all whole."""

from __future__ import annotations

import os

import pytest

from tests.e2e.conftest import Running, Scene
from tests.rig.openstack.volumes import nfs_file
from tests.stage.cloud import MIB, Content
from tests.stage.namespace import GROUP, condition
from tests.stage.site import Stage, backup, restore

pytestmark = pytest.mark.timeout(2400)


def test_second_backup_of_a_volume(scene: Scene, a: Running, b: Running, stage: Stage) -> None:
    """At site b, whose NFS files can be written as a server would."""
    content = Content(size_gib=1, used_mib=200, seed=11)
    volume_id = b.site.cloud.make_volume("grows", content)
    first_sha256 = b.site.volume_sha256(volume_id)
    scene.at_b.apply(backup("first", source={"volumeID": volume_id}, deletionPolicy="Delete"))
    first = scene.at_b.wait_phase("vbk", "first", "Completed", seconds=900)["status"]

    with open(nfs_file(stage.rig.site("b"), volume_id), "r+b") as disk:
        disk.seek(512 * MIB)
        disk.write(os.urandom(MIB))
    second_sha256 = b.site.volume_sha256(volume_id)
    assert second_sha256 != first_sha256
    scene.at_b.apply(backup("second", source={"volumeID": volume_id}))
    second = scene.at_b.wait_phase("vbk", "second", "Completed", seconds=900)["status"]
    assert second["baseBackupID"] == first["backupID"]
    assert second["progress"]["bytesReused"] > 0
    # One chunk of 4 MiB changed, in part or whole.
    assert 0 < second["progress"]["bytesStored"] < 5 * MIB

    scene.at_b.delete("vbk", "first")
    scene.at_b.wait_gone("vbk", "first", seconds=900)
    check = {
        "apiVersion": GROUP,
        "kind": "BankCheck",
        "metadata": {"name": "all"},
        "spec": {"bankRef": {"name": "main"}, "level": "Full"},
    }
    scene.at_b.apply(check)
    done = scene.at_b.wait(
        "bankcheck", "all", lambda o: o.get("status", {}).get("phase") == "Completed", seconds=900
    )
    assert condition(done, "Intact")["status"] == "True"

    scene.at_a.apply(restore("second", backup_id=second["backupID"]))
    back = scene.at_a.wait_phase("vrs", "second", "Completed", seconds=900)["status"]
    assert a.site.volume_sha256(back["volumeID"]) == second_sha256
    a.site.cloud.delete_volume(back["volumeID"])
    b.site.cloud.delete_volume(volume_id)
