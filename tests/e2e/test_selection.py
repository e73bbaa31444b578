"""At the other site by what people know: the newest before a moment, with the volume's identity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.conftest import Running, Scene, make_scene
from tests.stage.cloud import Content
from tests.stage.namespace import condition
from tests.stage.site import Stage, backup, restore

pytestmark = pytest.mark.timeout(2400)

IMAGE_METADATA = {"os_type": "linux", "hw_disk_bus": "scsi", "min_ram": "512"}
DESCRIPTION = "the shop's books; every year"


@dataclass
class Told:
    """A volume with a whole identity, and its two backups."""

    scene: Scene
    volume_id: str
    volume_type: str
    sha256: str
    first: dict[str, Any]
    second: dict[str, Any]


@pytest.fixture(scope="module")
def told(stage: Stage, a: Running, b: Running) -> Iterator[Told]:
    scene, cloud = make_scene(stage, a, b, "selection"), a.site.cloud
    volume_id = cloud.make_volume("books", Content(size_gib=1, used_mib=16, seed=7))
    cinder = cloud.connection.block_storage
    cinder.update_volume(volume_id, description=DESCRIPTION)
    image = {"os-set_image_metadata": {"metadata": IMAGE_METADATA}}
    assert cinder.post(f"/volumes/{volume_id}/action", json=image).status_code == 200
    done = []
    for name in ("first", "second"):
        scene.at_a.apply(backup(name, source={"volumeID": volume_id}, tags={"run": name}))
        done.append(scene.at_a.wait_phase("vbk", name, "Completed", seconds=900)["status"])
    volume_type = str(cloud.volume(volume_id).volume_type)
    sha256 = a.site.volume_sha256(volume_id)
    yield Told(scene, volume_id, volume_type, sha256, *done)
    cloud.delete_volume(volume_id)


def by_selector(name: str, selector: dict[str, Any], **spec: Any) -> dict[str, Any]:
    body = restore(name, backup_id="", **spec)
    body["spec"]["source"] = {"bank": {"bankRef": {"name": "main"}, "selector": selector}}
    return body


def test_the_newest_before_a_moment_with_all_that_it_was(told: Told, b: Running) -> None:
    cloud, there = b.site.cloud, told.scene.at_b
    own = next(each.name for each in cloud.connection.block_storage.types() if each.name != "luks")
    selector = {"volumeName": "books", "asOf": told.first["snapshotTime"], "requireVerified": True}
    mappings = {"volumeType": {told.volume_type: own}}
    there.apply(by_selector("books", selector, mappings=mappings))
    back = there.wait_phase("vrs", "books", "Completed", seconds=900)["status"]
    resolved = back["resolved"]
    assert resolved["backupID"] == back["backupID"] == told.first["backupID"]
    assert (resolved["site"], resolved["bank"]) == ("site-a", "main")
    assert resolved["snapshotTime"] == told.first["snapshotTime"]
    assert (back["placement"]["volumeType"], back["placement"]["volumeTypeWhy"]) == (own, "Mapped")

    volume = cloud.volume(back["volumeID"])
    assert (volume.name, volume.description, volume.volume_type) == ("books", DESCRIPTION, own)
    old = told.first["source"]
    assert old["imageMetadata"].items() >= IMAGE_METADATA.items()
    assert volume.is_bootable and old["bootable"]
    assert volume.volume_image_metadata == old["imageMetadata"]
    assert volume.metadata["owner"] == "stage"
    assert b.site.volume_sha256(volume.id) == told.sha256
    assert cloud.temporaries() == []
    cloud.delete_volume(volume.id)


def test_a_dry_run_makes_nothing(told: Told, b: Running) -> None:
    cloud, there = b.site.cloud, told.scene.at_b
    spec = {"dryRun": True, "onDelete": "Delete", "target": {"sizeGiB": 3}}
    there.apply(by_selector("try", {"volumeID": told.volume_id, "tags": {"run": "second"}}, **spec))
    found = there.wait_phase("vrs", "try", "Completed", seconds=300)
    assert condition(found, "Ready")["reason"] == "DryRun"
    assert not found["metadata"].get("finalizers")
    plan = found["status"]["plan"]
    assert (plan["backupID"], plan["sizeGiB"]) == (told.second["backupID"], 3)
    assert 16 << 20 <= plan["bytesToMove"] < 1 << 30
    assert plan["transport"] == "Qcow2"
    assert plan["chunks"]["total"] == plan["chunks"]["looked"] > 0
    assert plan["chunks"]["missing"] == 0
    assert "quotaLeft" in plan
    assert "volumeID" not in found["status"]
    made = [v.name for v in cloud.connection.block_storage.volumes() if v.name == "try"]
    assert made + cloud.temporaries() == []
    pins = [key for key in told.scene.bucket.keys(told.scene.prefix) if "site-b/intents" in key]
    assert pins == []
    there.delete("vrs", "try")
    there.wait_gone("vrs", "try", seconds=60)


@pytest.mark.parametrize(
    ("name", "selector", "spec", "reason", "says"),
    [
        ("gold", {"volumeName": "books"}, {"target": {"volumeType": "gold"}}, "VolumeTypeNotFound", "it has "),
        ("nowhere", {"volumeName": "books"}, {"target": {"availabilityZone": "x"}}, "AvailabilityZoneNotFound", "it has "),
        ("nobody", {"volumeName": "book"}, {}, "NoBackupFits", "of 2 backups were looked at"),
        ("early", {"volumeName": "books", "asOf": "2020-01-01T00:00:00Z"}, {}, "NoBackupFits", "none is near"),
    ],
)  # fmt: skip
def test_what_can_not_be_says_why_before_anything_is_made(
    told: Told,
    b: Running,
    name: str,
    selector: dict[str, Any],
    spec: dict[str, Any],
    reason: str,
    says: str,
) -> None:
    there = told.scene.at_b
    there.apply(by_selector(name, selector, **spec))
    found = there.wait(
        "vrs", name, lambda o: o.get("status", {}).get("phase") == "Failed", seconds=300
    )
    assert condition(found, "Stalled")["reason"] == reason
    assert says in condition(found, "Stalled")["message"]
    assert b.site.cloud.temporaries() == []
