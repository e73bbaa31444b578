"""The backup is deleted at its own site, and a collection runs, while another site restores it.

Each moment is held at the gate: nothing goes on at site b before all of it is done.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Running, Scene
from tests.rig import s3 as rig_s3
from tests.stage.bank_shell import BankShell
from tests.stage.cloud import Content
from tests.stage.gate import LIMIT_SECONDS, Gate, Hold
from tests.stage.namespace import Object, condition, phase_of
from tests.stage.site import Stage, backup, restore

pytestmark = pytest.mark.timeout(2400)

NAMES = ("unpinned", "early", "late")


def reading_keys(stage: Stage, prefix: str) -> dict[str, str]:
    """S3 keys that may read this bank and nothing else, as a Secret has them."""
    bucket = f"arn:aws:s3:::{stage.environment['S3_BUCKET']}"
    statements = [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [bucket]},
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{bucket}/{prefix}/*"]},
    ]
    policy = {"Version": "2012-10-17", "Statement": statements}
    keys = rig_s3.restricted_keys(rig_s3.store(stage.rig, rig_s3.MINIO), policy)
    return {"access-key-id": keys.access_key, "secret-access-key": keys.secret_key}


def from_bank(name: str, body: Object) -> Object:
    body["spec"]["source"]["bank"]["bankRef"]["name"] = name
    return body


def has_reason(found: Object, kind: str, reason: str) -> bool:
    return condition(found, kind).get("reason") == reason


@pytest.mark.skipif(rig_s3.chosen() != rig_s3.MINIO, reason="keys that may read only are MinIO's")
def test_a_restore_ends_right_or_clearly_when_its_backup_is_deleted(
    scene: Scene, a: Running, b: Running, stage: Stage, gate: Gate, tmp_path: Path
) -> None:
    volume_id = a.site.cloud.make_volume("going", Content(size_gib=1, used_mib=60, seed=31))
    shell = BankShell(tmp_path, stage.environment, scene.prefix, "site-a")
    spec = {"deletionPolicy": "Delete", "incremental": "Full"}
    for name in NAMES:
        scene.at_a.apply(backup(name, source={"volumeID": volume_id}, **spec))
    ids = {
        name: scene.at_a.wait_phase("vbk", name, "Completed", seconds=900)["status"]["backupID"]
        for name in NAMES
    }

    def delete_at_a(name: str) -> None:
        scene.at_a.delete("vbk", name)
        scene.at_a.wait_gone("vbk", name, seconds=LIMIT_SECONDS)
        assert shell.collect()["refusal"] is None

    def left_of(name: str) -> list[str]:
        keys = scene.bucket.keys(scene.prefix)
        return [key for key in keys if ids[name] in key and "/tombs/" not in key]

    def ends_without_its_backup(name: str) -> None:
        ended = scene.at_b.wait(
            "vrs", name, lambda o: phase_of(o) in ("Failed", "Completed"), seconds=LIMIT_SECONDS
        )
        assert has_reason(ended, "Stalled", "BackupNotFound"), ended["status"]
        assert b.site.cloud.temporaries() == []
        assert left_of(name) == []

    # The bank at b: with all rights, and with keys that can only read.
    main = b.site.bank("main", prefix=scene.prefix, endpoint=gate.url)
    main["spec"]["validation"] = {"interval": "2s"}
    scene.at_b.secret("reader", reading_keys(stage, scene.prefix))
    reader = {"endpoint": gate.url, "credentialsSecretRef": {"name": "reader"}}
    read_only = b.site.bank("read-only", prefix=scene.prefix, **reader)
    read_only["spec"]["accessMode"] = "ReadOnly"
    hopeful = b.site.bank("hopeful", prefix=scene.prefix, **reader)
    scene.at_b.apply(main, read_only, hopeful)
    refused = scene.at_b.wait(
        "bank", "hopeful", lambda o: has_reason(o, "Ready", "BankNotWritable"), seconds=900
    )
    told = condition(refused, "Ready")["message"]
    assert f"{scene.at_b.name}/reader" in told and "accessMode: ReadOnly" in told
    counted = scene.at_b.wait(
        "bank", "main", lambda o: o["status"].get("counts", {}).get("backups") == 3, seconds=900
    )["status"]
    assert counted["counts"]["newestBackupID"] == max(ids.values())
    assert counted["counts"]["newestSnapshotTime"] and counted["counts"]["storedBytes"] > 0
    assert counted["siteCounts"]["backups"] == 0

    # Keys that can only read are enough, and what nobody pins goes under the reader's hands.
    scene.at_b.apply(from_bank("read-only", restore("whole", backup_id=ids["unpinned"])))
    whole = scene.at_b.wait_phase("vrs", "whole", "Completed", seconds=900)["status"]
    with gate.holding(Hold("GET", "/chunks/", passing=5)) as hold:
        scene.at_b.apply(from_bank("read-only", restore("unpinned", backup_id=ids["unpinned"])))
        hold.wait()
        delete_at_a("unpinned")
    ends_without_its_backup("unpinned")

    # Before anybody was told that it is read.
    with gate.holding(Hold("PUT", "/intents/")) as hold:
        scene.at_b.apply(restore("early", backup_id=ids["early"]))
        hold.wait()
        delete_at_a("early")
    ends_without_its_backup("early")

    # Pinned, and some of it read: the pin keeps the rest.
    with gate.holding(Hold("GET", "/chunks/", passing=5)) as hold:
        scene.at_b.apply(restore("late", backup_id=ids["late"]))
        hold.wait()
        delete_at_a("late")
        assert left_of("late")
    late = scene.at_b.wait_phase("vrs", "late", "Completed", seconds=LIMIT_SECONDS)["status"]
    assert shell.collect()["refusal"] is None
    assert left_of("late") == []
    assert not [key for key in scene.bucket.keys(scene.prefix) if "/intents/" in key]

    expected = a.site.volume_sha256(volume_id)
    for status in (whole, late):
        assert b.site.volume_sha256(status["volumeID"]) == expected
        b.site.cloud.delete_volume(status["volumeID"])
    assert b.site.cloud.temporaries() == []
    a.site.cloud.delete_volume(volume_id)
