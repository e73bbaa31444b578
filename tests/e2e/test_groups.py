"""Two volumes that belong together, written by turns: their backups are of one moment, and come back at B."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Running, Scene
from tests.rig.openstack import volumes
from tests.stage.cloud import Content
from tests.stage.namespace import GROUP, Namespace, Object, condition
from tests.stage.site import CREDENTIALS, Stage

pytestmark = pytest.mark.timeout(2400)

SET = "cinderbank.io/group-snapshot"


def policy(name: str, **spec: Any) -> Object:
    """Suspended, so that no clock makes a run while the test looks."""
    template = {"spec": {"cloudCredentialsRef": CREDENTIALS, "bankRef": {"name": "main"}}}
    body = {"schedule": "@daily", "suspend": True, "template": template, **spec}
    return {
        "apiVersion": GROUP,
        "kind": "VolumeBackupPolicy",
        "metadata": {"name": name},
        "spec": body,
    }


def children(home: Namespace, name: str) -> list[Object]:
    said = home.run("get", "vbk", "-l", f"cinderbank.io/policy={name}", "-o", "json")
    items: list[Object] = json.loads(said)["items"]
    return items


def by_tags(name: str, volume_id: str, set_id: str) -> Object:
    """As at a site that has the bank and nothing else."""
    selector = {"volumeID": volume_id, "tags": {SET: set_id}}
    source = {"bank": {"bankRef": {"name": "main"}, "selector": selector}}
    spec = {"source": source, "cloudCredentialsRef": CREDENTIALS, "target": {"name": name}}
    metadata = {"name": name}
    return {"apiVersion": GROUP, "kind": "VolumeRestore", "metadata": metadata, "spec": spec}


def test_both_are_of_one_moment(stage: Stage, a: Running, b: Running, scene: Scene) -> None:
    cloud, home = a.site.cloud, scene.at_a
    contents = [Content(size_gib=1, used_mib=4, seed=seed) for seed in (81, 82)]
    members = [cloud.make_volume(f"pair-{n}", each) for n, each in enumerate(contents)]
    group_id = cloud.make_group("pair", "one-moment", members)
    group = {"groupID": group_id, "consistency": "Declared"}
    with volumes.writing_by_turns(stage.rig.site("a"), members):
        home.apply(policy("pair", group=group, trigger="now"))
        home.wait("vbp", "pair", lambda _: len(children(home, "pair")) == 2, seconds=900)
    told = home.wait("vbp", "pair", lambda o: o["status"].get("lastTrigger") == "now", seconds=900)
    assert condition(told, "Ready")["status"] == "True"
    moment = condition(told, "OneMoment")
    assert (moment["status"], moment["reason"]) == ("True", "Declared")
    assert cloud.temporaries() == []

    backups = children(home, "pair")
    assert {each["status"]["phase"] for each in backups} == {"Completed"}
    [set_id] = {each["metadata"]["labels"][SET] for each in backups}
    restored = []
    for number, member in enumerate(members):
        name = f"pair-{number}-{os.urandom(3).hex()}"
        scene.at_b.apply(by_tags(name, member, set_id))
        restored.append((name, contents[number]))
    numbers = [number_in(b, scene.at_b, name, content) for name, content in restored]
    assert numbers[0] - numbers[1] in (0, 1)
    assert numbers[1] > 0
    assert b.site.cloud.temporaries() == []
    cloud.delete_group(group_id)


def number_in(b: Running, home: Namespace, name: str, content: Content) -> int:
    """What stood in the first 8 bytes; all others are as they were made."""
    done = home.wait_phase("vrs", name, "Completed", seconds=900)
    volume_id = done["status"]["volumeID"]
    rig_site = b.site.stage.rig.site(b.site.letter)
    first = next(iter(rig_site.volume_blocks(volume_id)))[:8]
    digest, path = hashlib.sha256(), Path(b.site.stage.rig.state, f"expected-{name}")
    try:
        content.write(path)
        with open(path, "r+b") as file:
            file.write(first)
        with open(path, "rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    finally:
        path.unlink(missing_ok=True)
    assert b.site.volume_sha256(volume_id) == digest.hexdigest()
    b.site.cloud.delete_volume(volume_id)
    return int.from_bytes(first, "big")


def test_what_is_not_of_one_moment_says_so(a: Running, scene: Scene) -> None:
    cloud, home = a.site.cloud, scene.at_a
    members = [cloud.make_blank_volume(f"loose-{n}", 1) for n in range(2)]
    group_id = cloud.make_group("loose", "one-by-one", members)
    group = {"groupID": group_id, "consistency": "Required"}
    home.apply(
        policy("grouped", group=group, trigger="now"),
        policy("single", selector={"volumeIDs": members}),
    )
    refused = home.wait(
        "vbp", "grouped", lambda o: o["status"].get("lastTrigger") == "now", seconds=900
    )
    assert condition(refused, "BackupsMade")["reason"] == "NotTold"
    assert "Declared" in condition(refused, "BackupsMade")["message"]
    assert condition(refused, "OneMoment")["status"] == "Unknown"
    assert condition(refused, "Stalled")["status"] == "True"
    single = home.wait("vbp", "single", lambda o: condition(o, "OneMoment"), seconds=900)
    assert condition(single, "OneMoment")["reason"] == "NoGroup"
    assert all(each in condition(single, "OneMoment")["message"] for each in members)
    assert children(home, "grouped") == children(home, "single") == []
    assert cloud.temporaries() == []
    home.delete("vbp", "grouped")
    home.wait_gone("vbp", "grouped", seconds=900)
    cloud.delete_group(group_id)
