"""A GitOps tool prunes, makes anew and takes a namespace away: the bank keeps all of it."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Running, Scene
from tests.stage.cloud import Content
from tests.stage.namespace import Namespace
from tests.stage.site import backup

pytestmark = pytest.mark.timeout(2400)


def written_by_us(namespace: Namespace, name: str) -> set[str]:
    """Top-level fields of a VolumeBackup, and those of its metadata."""
    said = json.loads(namespace.run("get", "vbk", name, "-o", "json", "--show-managed-fields"))
    entries = said["metadata"]["managedFields"]
    ours = [each["fieldsV1"] for each in entries if each["manager"] == "cinderbank"]
    return {part for fields in ours for part in {**fields, **fields.get("f:metadata", {})}}


def test_pruning_never_takes_data_from_the_bank(scene: Scene, a: Running) -> None:
    home = scene.at_a
    volume_id = a.site.cloud.make_volume("pruned", Content(size_gib=1, used_mib=8))
    source = {"volumeID": volume_id}
    kept = backup("kept", source=source)
    home.apply(kept, backup("goes-along", source=source, deletionPolicy="Delete"))
    done = {
        name: home.wait_phase("vbk", name, "Completed", seconds=900)
        for name in ("kept", "goes-along")
    }
    home.run("wait", "--for=condition=Ready", "--timeout=60s", "vbk/kept", "vbk/goes-along")
    ids = [found["status"]["backupID"] for found in done.values()]
    assert "finalizers" not in done["kept"]["metadata"], "who deletes it waits for nobody"
    assert written_by_us(home, "goes-along") == {"f:status", "f:metadata", "f:finalizers"}

    home.delete("vbk", "kept")
    home.wait_gone("vbk", "kept", seconds=900)
    home.apply(kept)
    again = home.wait_phase("vbk", "kept", "Completed", seconds=900)["status"]
    assert again["backupID"] not in ids, "made anew it is a new backup, of now"
    ids.append(again["backupID"])

    home.delete("namespace", home.name)
    home.wait_gone("namespace", home.name, seconds=900)
    keys = scene.bucket.keys(scene.prefix)
    for backup_id in ids:
        assert any(f"seals/{backup_id}" in key for key in keys)
    assert not any("/tombs/" in key for key in keys)
    a.site.cloud.delete_volume(volume_id)
