"""spec -> the engine's request, and what a user reads when it can not be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from cinderbank.api.v1alpha1 import BACKUP_BANK
from cinderbank.api.v1alpha1.claim import FileSystem
from cinderbank.api.v1alpha1.duration import parse_duration
from cinderbank.api.v1alpha1.model import camel_case
from cinderbank.api.v1alpha1.volume_backup import VolumeBackupSpec
from cinderbank.api.v1alpha1.volume_restore import VolumeRestoreSpec
from cinderbank.domain.claim import FILE_SYSTEMS, ReclaimPolicy, VolumeMode
from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.facts import BackupId, VolumeId
from cinderbank.domain.placement import Wanted
from cinderbank.domain.record import (
    BackupRequest,
    ClaimRequest,
    DeletionPolicy,
    Incremental,
    OnDelete,
    RestoreRequest,
    Timeouts,
    Transport,
)
from cinderbank.domain.selection import BackupSelector

VOLUME = "0f6c2d7e-6d3e-4a52-9d6c-0a4e5b1f7c11"
BACKUP = BackupId("01JD0000000000000000000000")
CLOUD = {"secretName": "openstack", "cloudName": "openstack"}


def backup(**fields: Any) -> dict[str, Any]:
    least = {
        "source": {"volumeID": VOLUME},
        "cloudCredentialsRef": CLOUD,
        "bankRef": {"name": "main"},
    }
    return {**least, **fields}


def restore(**fields: Any) -> dict[str, Any]:
    return {"source": {"backupRef": {"name": "db"}}, "cloudCredentialsRef": CLOUD, **fields}


def bank(s3: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    least = {
        "endpoint": "https://s3.example.org:9000",
        "bucket": "backups",
        "credentialsSecretRef": {"name": "bank"},
    }
    return {"site": "paris-1", "s3": {**least, **(s3 or {})}, **fields}


def test_the_least_backup() -> None:
    request = VolumeBackupSpec.read(backup(), "spec").to_request("nightly")
    assert request == BackupRequest(
        volume_id=VolumeId(VOLUME), volume_name=None, backup_name="nightly"
    )


def test_a_full_backup() -> None:
    raw = backup(
        source={"volumeName": "db"},
        backupName="b",
        description="d",
        deletionPolicy="Delete",
        cancel=True,
        hold=True,
        timeouts={"snapshot": "90s", "clone": "1h30m", "noProgress": "5m"},
        incremental="Full",
        transport="Raw",
        retryLimit=0,
        tags={"app": "db"},
    )
    assert VolumeBackupSpec.read(raw, "spec").to_request("x") == BackupRequest(
        volume_id=None,
        volume_name="db",
        backup_name="b",
        description="d",
        deletion_policy=DeletionPolicy.DELETE,
        cancel=True,
        hold=True,
        timeouts=Timeouts(
            snapshot=timedelta(seconds=90),
            clone=timedelta(minutes=90),
            no_progress=timedelta(minutes=5),
        ),
        incremental=Incremental.FULL,
        transport=Transport.RAW,
        retry_limit=0,
        tags={"app": "db"},
    )


def test_the_schema_s_defaults_are_the_engine_s() -> None:
    request = VolumeBackupSpec.read(backup(), "spec").to_request("x")
    assert request.timeouts == Timeouts()
    assert request.retry_limit == BackupRequest(None, "x", "x").retry_limit


def test_ids_are_lower_case_as_cinder_writes_them() -> None:
    raw = backup(source={"volumeID": VOLUME.upper()})
    assert VolumeBackupSpec.read(raw, "spec").to_request("x").volume_id == VOLUME


def test_the_least_restore() -> None:
    spec = VolumeRestoreSpec.read(restore(), "spec")
    wanted = Wanted(None, None, {}, {})
    assert spec.to_request(BACKUP, "main") == RestoreRequest(
        backup_id=BACKUP, volume_name="", wanted=wanted, bank_name="main"
    )


def test_a_full_restore() -> None:
    raw = restore(
        source={"bank": {"bankRef": {"name": "main"}, "backupID": BACKUP}},
        target={
            "name": "n",
            "description": "",
            "volumeType": "ssd",
            "availabilityZone": "z",
            "sizeGiB": 7,
            "metadata": {"a": "b"},
            "bootable": False,
            "persistentVolumeClaim": {
                "name": "data",
                "storageClassName": "",
                "accessModes": ["ReadWriteMany"],
                "volumeMode": "Block",
                "fsType": "xfs",
                "reclaimPolicy": "Delete",
            },
        },
        mappings={"volumeType": {"ssd": "nvme"}, "availabilityZone": {"a": "b"}},
        dryRun=True,
        onDelete="Delete",
        cancel=True,
        timeouts={"image": "2h"},
        salvage=True,
        retryLimit=9,
    )
    assert VolumeRestoreSpec.read(raw, "spec").to_request(BACKUP, "main") == RestoreRequest(
        backup_id=BACKUP,
        volume_name="n",
        description="",
        wanted=Wanted("ssd", "z", {"ssd": "nvme"}, {"a": "b"}),
        bank_name="main",
        dry_run=True,
        size_gib=7,
        metadata={"a": "b"},
        bootable=False,
        claim=ClaimRequest(
            "data", "", ("ReadWriteMany",), VolumeMode.BLOCK, "xfs", ReclaimPolicy.DELETE
        ),
        cancel=True,
        on_delete=OnDelete.DELETE,
        timeouts=Timeouts(image=timedelta(hours=2)),
        salvage=True,
        retry_limit=9,
    )


def test_a_restore_by_what_is_known() -> None:
    selector = {
        "volumeID": VOLUME.upper(),
        "backupName": "nightly",
        "site": "paris-1",
        "tags": {"app": "db"},
        "asOf": "2026-11-22T13:00:00+01:00",
        "requireVerified": True,
    }
    raw = restore(source={"bank": {"bankRef": {"name": "main"}, "selector": selector}})
    asked = VolumeRestoreSpec.read(raw, "spec").to_request(BackupId(""), "main").selector
    assert asked == BackupSelector(
        volume_id=VolumeId(VOLUME),
        backup_name="nightly",
        site="paris-1",
        tags={"app": "db"},
        as_of=datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
        require_verified=True,
    )


def test_a_backup_of_a_claim_and_the_least_restore_into_one() -> None:
    raw = backup(source={"persistentVolumeClaim": {"name": "data"}})
    request = VolumeBackupSpec.read(raw, "spec").to_request("nightly")
    assert (request.claim_name, request.volume_id, request.volume_name) == ("data", None, None)
    into = restore(target={"persistentVolumeClaim": {"name": "data"}})
    assert VolumeRestoreSpec.read(into, "spec").to_request(BACKUP, "main").claim == ClaimRequest(
        "data"
    )


def test_fields_of_a_newer_release_are_dropped() -> None:
    newer = VolumeBackupSpec.read(backup(transportOfNextYear="Qcow2"), "spec")
    assert newer == VolumeBackupSpec.read(backup(), "spec")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (None, "spec.source: Field required"),
        ([], "spec is []"),
        (backup(source={}), "spec.source: set exactly one of volumeID, volumeName"),
        (
            backup(source={"volumeID": VOLUME, "volumeName": "db"}),
            "spec.source: set exactly one of volumeID, volumeName",
        ),
        (
            backup(source={"volumeName": "db", "persistentVolumeClaim": {"name": "data"}}),
            "spec.source: set exactly one of volumeID, volumeName, persistentVolumeClaim and snapshotID",
        ),
        (
            backup(source={"persistentVolumeClaim": {"name": "a/b"}}),
            "spec.source.persistentVolumeClaim.name is 'a/b'",
        ),
        (
            backup(source={"volumeID": "db"}),
            "spec.source.volumeID is 'db': must be a volume's UUID",
        ),
        (backup(source={"volumeID": VOLUME + "\n"}), "spec.source.volumeID is"),
        (
            backup(source={"snapshotID": "before"}),
            "spec.source.snapshotID is 'before': must be a snapshot's UUID",
        ),
        (backup(source={"volumeID": VOLUME, "snapshotID": VOLUME}), "set exactly one of"),
        (backup(bankRef={"name": "../main"}), "spec.bankRef.name is '../main': must be the name"),
        (backup(bankRef={"name": "x" * 300}), "..."),
        (backup(timeouts={"clone": "5"}), "spec.timeouts.clone is '5': must be a duration from 1s"),
        (backup(timeouts={"clone": "0s"}), "spec.timeouts.clone is '0s': must be a duration from"),
        (backup(retryLimit=-1), "spec.retryLimit is -1: Input should be greater"),
        (backup(cancel="perhaps"), "spec.cancel is 'perhaps'"),
        (backup(deletionPolicy="Drop"), "spec.deletionPolicy is 'Drop'"),
    ],
)
def test_a_bad_backup_is_told_by_field_value_and_way_out(raw: object, says: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        VolumeBackupSpec.read(raw, "spec").to_request("x")
    assert says in refused.value.message
    assert len(refused.value.message) < 300


@pytest.mark.parametrize(
    "raw",
    [
        restore(source={"bank": {"bankRef": {"name": "main"}, "backupID": "../../x"}}),
        restore(source={"bank": {"backupID": BACKUP}}),
        restore(source={"bank": {"bankRef": {"name": "m"}, "selector": {"asOf": "12:00"}}}),
        restore(
            source={"bank": {"bankRef": {"name": "m"}, "selector": {"asOf": "2026-11-22T12:00:00"}}}
        ),
        restore(source={"bank": {"bankRef": {"name": "m"}, "selector": {"site": "A/B"}}}),
        restore(source={"recoveryPointRef": {"name": "a/b"}}),
        restore(mappings={"volumeType": {"a": ""}}),
        restore(target={"sizeGiB": 0}),
        restore(target={"metadata": {"a": 1}}),
        restore(target={"persistentVolumeClaim": {}}),
        restore(target={"persistentVolumeClaim": {"name": "a", "accessModes": ["Sometimes"]}}),
        restore(target={"persistentVolumeClaim": {"name": "a", "storageClassName": "../x"}}),
        restore(target={"persistentVolumeClaim": {"name": "a", "fsType": "-o remount"}}),
        restore(target={"persistentVolumeClaim": {"name": "a", "fsType": "proc"}}),
        restore(target={"persistentVolumeClaim": {"name": "a", "fsType": ""}}),
        restore(target={"persistentVolumeClaim": {"name": "a", "reclaimPolicy": "Recycle"}}),
        restore(timeouts={"image": "999h"}),
    ],
)
def test_a_bad_restore_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec, match=r"^spec\."):
        VolumeRestoreSpec.read(raw, "spec").to_request(BACKUP, "main")


@pytest.mark.parametrize(
    "raw",
    [
        bank(),
        bank({"endpoint": "http://127.0.0.1:9000/"}),
        bank({"endpoint": "https://[fd00::1]:9000"}),
        bank({"prefix": "a/b-1/c_d.e"}),
        bank({"bucket": "a.b-c"}),
        bank(chunkSizeMiB=16, accessMode="ReadOnly", validation={"interval": "1h"}),
    ],
)
def test_a_good_bank(raw: dict[str, Any]) -> None:
    assert BACKUP_BANK.spec.read(raw, "spec").dump()["site"] == "paris-1"


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (bank({"endpoint": "s3.example.org"}), "s3.endpoint"),
        (bank({"endpoint": "ftp://s3.example.org"}), "s3.endpoint"),
        (bank({"endpoint": "https://user:word@s3.example.org"}), "s3.endpoint"),
        (bank({"endpoint": "https://s3.example.org/bucket"}), "s3.endpoint"),
        (bank({"bucket": "Backups"}), "s3.bucket"),
        (bank({"prefix": "/a"}), "s3.prefix"),
        (bank({"prefix": "a/"}), "s3.prefix"),
        (bank({"prefix": "a/../b"}), "s3.prefix"),
        (bank({"prefix": "a//b"}), "s3.prefix"),
        (bank(site="Paris 1"), "site"),
        (bank(chunkSizeMiB=3), "chunkSizeMiB"),
        (bank(accessMode="AppendOnly"), "accessMode"),
    ],
)
def test_a_bad_bank_is_refused(raw: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpec, match=rf"^spec\.{field} is"):
        BACKUP_BANK.spec.read(raw, "spec")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("1h1h", 7200), ("720h", 2_592_000)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text, "f").total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "5", "0s", "-1s", "1d", "1.5h", "5m ", "721h", "m", "PT5M"])
def test_no_durations(text: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^spec\.x is .*such as 15m"):
        parse_duration(text, "spec.x")


@pytest.mark.parametrize(
    ("python", "kubernetes"),
    [
        ("volume_id", "volumeID"),
        ("size_gib", "sizeGiB"),
        ("chunk_size_mib", "chunkSizeMiB"),
        ("content_hash", "contentHash"),
        ("s3", "s3"),
        ("id", "id"),
        ("last_transition_time", "lastTransitionTime"),
    ],
)
def test_names(python: str, kubernetes: str) -> None:
    assert camel_case(python) == kubernetes


def test_the_crd_takes_the_file_systems_that_are_made() -> None:
    assert get_args(FileSystem) == FILE_SYSTEMS
