"""Restore drills on real clouds: one that a policy makes and that verifies, and one that finds a difference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest

from cinderbank.domain.names import drill_image_name, drill_volume_name
from tests.e2e.conftest import Running, Scene, make_scene
from tests.stage.cloud import GIB, Cloud, Content, until
from tests.stage.namespace import GROUP, Namespace, Object, condition
from tests.stage.site import CREDENTIALS, Stage, restore

pytestmark = pytest.mark.timeout(2400)

SECTOR = 512
AT = GIB // 2 + 7 * SECTOR
"""Where one byte is changed."""
ATTEMPTS = 8


@dataclass
class Banked:
    scene: Scene
    home: Namespace
    backup: Object


def policy(volume_id: str) -> Object:
    """Its schedule comes once in four years, so that no clock makes a run while the test looks."""
    template = {"spec": {"cloudCredentialsRef": CREDENTIALS, "bankRef": {"name": "main"}}}
    spec = {
        "schedule": "0 0 29 2 *",
        "trigger": "now",
        "selector": {"volumeIDs": [volume_id]},
        "drill": {"every": 1},
        "template": template,
    }
    metadata = {"name": "drilled"}
    return {"apiVersion": GROUP, "kind": "VolumeBackupPolicy", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def banked(stage: Stage, a: Running, b: Running) -> Iterator[Banked]:
    scene = make_scene(stage, a, b, "drill")
    volume_id = a.site.cloud.make_volume("drilled", Content(size_gib=1, used_mib=96, seed=81))
    home = scene.at_a
    home.apply(policy(volume_id))
    home.wait("vbp", "drilled", lambda o: o["status"].get("lastTrigger") == "now", seconds=900)
    said = json.loads(home.run("get", "vbk", "-l", "cinderbank.io/policy=drilled", "-o", "json"))
    [child] = said["items"]
    done = home.wait_phase("vbk", child["metadata"]["name"], "Completed", seconds=900)
    yield Banked(scene, home, done)
    home.delete("vbp", "drilled")
    a.site.cloud.delete_volume(volume_id)


def test_a_backup_of_a_policy_is_drilled_and_verified(banked: Banked, a: Running) -> None:
    home, name = banked.home, banked.backup["metadata"]["name"]
    drill = home.wait_phase("vrs", f"{name}-drill", "Completed", seconds=900)
    assert condition(drill, "Verified")["reason"] == "RestoreDrill"
    assert drill["status"]["drill"]["compared"] and "different" not in drill["status"]["drill"]
    assert "volumeID" not in drill["status"], "nothing that anybody could use"
    assert a.site.cloud.temporaries() == []

    def is_verified(found: Object) -> bool:
        return condition(found, "Verified").get("reason") == "RestoreDrill"

    told = home.wait("vbk", name, is_verified, seconds=900)
    assert condition(told, "Verified")["status"] == "True"
    assert told["status"]["verifiedTime"] >= told["status"]["completionTime"]
    head, row = home.run("get", "vbk", name).splitlines()
    assert "VERIFIED" in head.split() and name in row
    home.wait(
        "vbp", "drilled", lambda o: condition(o, "Drilled").get("status") == "True", seconds=900
    )
    [proof] = [key for key in banked.scene.bucket.keys(banked.scene.prefix) if "/proofs/" in key]
    assert f"/proofs/site-a/{told['status']['backupID']}/drill-" in proof


def test_one_changed_byte_of_the_scratch_volume_is_found(
    banked: Banked, stage: Stage, a: Running
) -> None:
    """Changed past Cinder, while the operator is dead: between the restore and the reading back."""
    home, backup_id = banked.home, banked.backup["status"]["backupID"]
    for number in count(1):
        assert number <= ATTEMPTS, "the operator was never caught before it read the volume back"
        name = f"falsified-{number}"
        home.apply(restore(name, backup_id=backup_id, drill=True))
        uid = str((home.get("vrs", name) or {})["metadata"]["uid"])
        if (volume_id := caught(a, uid)) is not None:
            break
        home.wait_phase("vrs", name, "Completed", seconds=900)
    stage.rig.site("a").write_volume(volume_id, {AT: b"!"})
    a.operator.start()

    drill = home.wait_phase("vrs", name, "Failed", seconds=900)
    assert condition(drill, "Ready")["reason"] == "DrillFoundDifference"
    assert condition(drill, "Verified")["status"] == "False"
    told = drill["status"]["drill"]
    assert told["transport"] == "Raw", "a converted image alone is not believed"
    assert told["different"] == {
        "count": 1,
        "differentBytes": SECTOR,
        "ranges": [{"firstByte": AT, "lastByte": AT + SECTOR - 1}],
    }
    assert a.site.cloud.temporaries() == []
    child = banked.backup["metadata"]["name"]
    damaged = home.wait(
        "vbk", child, lambda o: condition(o, "Verified").get("status") == "False", seconds=900
    )
    assert condition(damaged, "Verified")["reason"] == "DrillFoundDifference"
    assert damaged["status"]["phase"] == "Completed" and "verifiedTime" not in damaged["status"]

    there = banked.scene.at_b
    volume = damaged["status"]["source"]["volumeID"]
    selector = {"volumeID": volume, "requireVerified": True}
    source = {"bank": {"bankRef": {"name": "main"}, "selector": selector}}
    there.apply({**restore("careful", backup_id=backup_id, dryRun=True),
                 "spec": {"source": source, "cloudCredentialsRef": CREDENTIALS, "dryRun": True}})  # fmt: skip
    refused = there.wait_phase("vrs", "careful", "Failed", seconds=900)
    assert "other bytes come back" in condition(refused, "Ready")["message"]


def caught(a: Running, uid: str) -> str | None:
    """Kill the operator once the scratch volume is there; its id, when it was not read back yet."""
    cloud = a.site.cloud
    until(lambda: scratch(cloud, uid), 600, "the scratch volume")
    a.operator.kill_and_wait_for_its_children()
    images = cloud.connection.image.images(name=drill_image_name(uid))
    found = scratch(cloud, uid)
    if list(images) or not found:
        a.operator.start()
        return None
    until(lambda: cloud.volume(found).status == "available", 600, "the scratch volume")
    return found


def scratch(cloud: Cloud, uid: str) -> str:
    found = cloud.connection.block_storage.volumes(name=drill_volume_name(uid))
    return next((str(volume.id) for volume in found), "")
