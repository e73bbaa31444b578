"""A policy, by triggers alone: the second run's backup is Completed, and then the first one goes."""

from __future__ import annotations

import json
import os

import pytest

from tests.e2e.conftest import Running
from tests.stage.bucket import Bucket
from tests.stage.cloud import Content
from tests.stage.namespace import GROUP, Namespace, Object, condition
from tests.stage.site import CREDENTIALS, Stage

pytestmark = pytest.mark.timeout(2400)


def policy(volume_id: str, trigger: str) -> Object:
    """Suspended, so that no clock makes a run while the test looks."""
    template = {"spec": {"cloudCredentialsRef": CREDENTIALS, "bankRef": {"name": "main"}}}
    spec = {
        "schedule": "@daily",
        "suspend": True,
        "trigger": trigger,
        "selector": {"volumeIDs": [volume_id]},
        "retention": {"keepLast": 1},
        "rpo": "26h",
        "template": template,
    }
    metadata = {"name": "nightly"}
    return {"apiVersion": GROUP, "kind": "VolumeBackupPolicy", "metadata": metadata, "spec": spec}


def children(home: Namespace) -> set[str]:
    said = json.loads(home.run("get", "vbk", "-l", "cinderbank.io/policy=nightly", "-o", "json"))
    return {each["metadata"]["name"] for each in said["items"]}


def run(home: Namespace, volume_id: str, trigger: str, known: set[str]) -> Object:
    """The one backup that this trigger makes, Completed."""
    home.apply(policy(volume_id, trigger))
    home.wait("vbp", "nightly", lambda o: o["status"].get("lastTrigger") == trigger, seconds=900)
    [name] = children(home) - known
    return home.wait_phase("vbk", name, "Completed", seconds=900)


def test_a_second_run_makes_the_first_one_go(stage: Stage, a: Running) -> None:
    prefix = f"policy-{os.urandom(6).hex()}"
    home = a.site.namespace(prefix)
    a.site.furnish(home, prefix=prefix)
    volume_id = a.site.cloud.make_volume("nightly", Content(size_gib=1, used_mib=4, seed=71))
    first = run(home, volume_id, "first", set())
    name, first_id = first["metadata"]["name"], first["status"]["backupID"]
    second = run(home, volume_id, "second", {name})
    home.wait_gone("vbk", name, seconds=900)

    keys = Bucket(stage.environment).keys(prefix)
    assert [key for key in keys if "/tombs/" in key and first_id in key]
    second_id = second["status"]["backupID"]
    assert [key for key in keys if "/seals/" in key and second_id in key]
    assert not [key for key in keys if "/tombs/" in key and second_id in key]
    told = home.wait(
        "vbp",
        "nightly",
        lambda o: (
            condition(o, "RetentionApplied").get("reason") == "Applied"
            and o["status"].get("volumesCovered") == 1
        ),
        seconds=900,
    )
    assert condition(told, "RPOMet")["status"] == "True"
    assert children(home) == {second["metadata"]["name"]}

    home.delete("vbp", "nightly")
    home.wait_gone("vbp", "nightly", seconds=900)
    left = home.get("vbk", second["metadata"]["name"])
    assert left is not None and "deletionTimestamp" not in left["metadata"]
    a.site.cloud.delete_volume(volume_id)
    assert a.site.cloud.temporaries() == []
