"""CRDs, RBAC, samples and status against a real API server: what it takes, refuses, and says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from cinderbank.api.v1alpha1 import RESOURCES, backup_status, restore_status
from cinderbank.api.v1alpha1.copies import status_with
from cinderbank.domain import copies
from cinderbank.domain.copies import Copy
from cinderbank.domain.facts import (
    BackupId,
    ChunkLook,
    ImageId,
    QuotaLeft,
    TransferProgress,
    VolumeFacts,
    VolumeId,
)
from cinderbank.domain.placement import Placement, Warned, Why
from cinderbank.domain.plan import Plan, Survey
from cinderbank.domain.record import (
    Condition,
    Intent,
    LastError,
    Memory,
    Outcome,
    Phase,
    Report,
    Temporary,
    Transport,
)
from cinderbank.domain.selection import Resolved
from tests.rig.cluster import ApiError, Cluster
from tests.rig.kubernetes import cluster as rig_cluster
from tests.stage.namespace import Namespace, Refused
from tests.stage.required import required_rig
from tests.stage.site import install

ROOT = Path(__file__).resolve().parents[2]
OPERATOR_NAMESPACE = "cinderbank-system"
OPERATOR_ACCOUNT = "cinderbank-operator"
GROUP = "cinderbank.io"
OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}"
VOLUME = "0f6c2d7e-6d3e-4a52-9d6c-0a4e5b1f7c11"
OTHER_VOLUME = "1f6c2d7e-6d3e-4a52-9d6c-0a4e5b1f7c11"
BACKUP = BackupId("01JD0000000000000000000000")
NOW = datetime(2026, 11, 22, 20, 0, 0, 123456, tzinfo=UTC)
Object = dict[str, Any]


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """The cluster of site a, with deploy/ applied; no OpenStack is needed here."""
    found = rig_cluster(required_rig(), "a")
    install(in_namespace(found, OPERATOR_NAMESPACE))
    return found


def in_namespace(cluster: Cluster, name: str) -> Namespace:
    return Namespace(cluster.kubectl, cluster.kubeconfig, name)


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """One that the tests of this file share; no operator works in it while they run alone."""
    found = in_namespace(cluster, f"crds-{os.urandom(3).hex()}")
    found.create()
    yield found
    found.delete("namespace", found.name)


def with_changes(body: Object, changes: Object) -> Object:
    """`body` with `changes` merged in, as a merge patch would; None takes a field out."""
    merged = dict(body)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = with_changes(merged[name], value)
        else:
            merged[name] = value
    return merged


def an_object(kind: str, spec: Object, changes: Object) -> Object:
    body = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": kind,
        "metadata": {"name": f"x-{os.urandom(4).hex()}"},
        "spec": spec,
    }
    return with_changes(body, changes)


CLOUD = {"secretName": "openstack", "cloudName": "openstack"}


def backup(**spec: Any) -> Object:
    # A bank that is not there, so that an operator beside us leaves the object alone.
    least = {
        "source": {"volumeID": VOLUME},
        "cloudCredentialsRef": CLOUD,
        "bankRef": {"name": "none"},
    }
    return an_object("VolumeBackup", least, {"spec": spec})


def restore(**spec: Any) -> Object:
    least = {"source": {"backupRef": {"name": "none"}}, "cloudCredentialsRef": CLOUD}
    return an_object("VolumeRestore", least, {"spec": spec})


def bank(s3: Object | None = None, **spec: Any) -> Object:
    store = {
        "endpoint": "http://127.0.0.1:9",
        "bucket": "none",
        "credentialsSecretRef": {"name": "none"},
    }
    return an_object("BackupBank", {"site": "a", "s3": store}, {"spec": {**spec, "s3": s3 or {}}})


def path_of(namespace: Namespace, body: Object, part: str = "") -> str:
    plural = body["kind"].lower() + "s"
    whole = f"/apis/{GROUP}/v1alpha1/namespaces/{namespace.name}/{plural}"
    return f"{whole}/{body['metadata']['name']}{part}"


def create(cluster: Cluster, namespace: Namespace, body: Object) -> Object:
    collection = path_of(namespace, body).rsplit("/", 1)[0]
    made: Object = cluster.request("POST", collection, body)
    return made


# --- CRDs ------------------------------------------------------------------------------------------


def test_the_crds_are_established(cluster: Cluster) -> None:
    for resource in RESOURCES:
        found = cluster.request(
            "GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{resource.crd_name}"
        )
        conditions = {each["type"]: each for each in found["status"]["conditions"]}
        assert conditions["Established"]["status"] == "True"
        assert conditions["NamesAccepted"]["status"] == "True"
        assert "NonStructuralSchema" not in conditions


def undescribed(schema: Object, path: str) -> Iterator[str]:
    if path.endswith((".apiVersion", ".kind", ".metadata")):
        return
    if not schema.get("description"):
        yield path
    for name, part in schema.get("properties", {}).items():
        yield from undescribed(part, f"{path}.{name}")
    if "properties" in schema.get("items", {}):
        yield from undescribed(schema["items"], f"{path}[]")


def test_explain_has_words_for_every_field(cluster: Cluster, namespace: Namespace) -> None:
    """`kubectl explain` reads what the API server publishes as OpenAPI."""
    published = cluster.request("GET", f"/openapi/v3/apis/{GROUP}/v1alpha1")["components"][
        "schemas"
    ]
    for resource in RESOURCES:
        [schema] = [
            each
            for name, each in published.items()
            if name.startswith("io.cinderbank") and name.endswith(f".{resource.kind}")
        ]
        assert list(undescribed(schema, resource.kind)) == []
    said = namespace.run("explain", "vbk.spec.deletionPolicy")
    assert "Retain keeps it" in said


# --- what is refused, and in which words -----------------------------------------------------------

ONE_BACKUP = "set exactly one of backupRef, bank and recoveryPointRef"
ONE_OF_BANK = "set exactly one of backupID and selector"


def by_selector(selector: Object | None, **bank: Any) -> Object:
    named = {"bankRef": {"name": "none"}, **bank}
    if selector is not None:
        named["selector"] = selector
    return restore(source={"backupRef": None, "bank": named})


ONE_SOURCE = "set exactly one of volumeID, volumeName, persistentVolumeClaim and snapshotID"
DURATION = "must be a duration from 1s to 720h"

BAD: list[tuple[str, Object, str]] = [
    ("no source", backup(source={"volumeID": None}), ONE_SOURCE),
    ("two sources", backup(source={"volumeName": "db"}), ONE_SOURCE),
    ("volume id", backup(source={"volumeID": "db"}), "must be a volume's UUID"),
    ("two kinds", backup(source={"persistentVolumeClaim": {"name": "data"}}), ONE_SOURCE),
    (
        "claim to make",
        restore(target={"persistentVolumeClaim": {"name": "data", "accessModes": ["Often"]}}),
        "Unsupported value",
    ),
    (
        "class of a claim",
        restore(target={"persistentVolumeClaim": {"name": "data", "storageClassName": "a/b"}}),
        "must be the name of a StorageClass",
    ),
    (
        "two ways",
        backup(source={"snapshotID": VOLUME}),
        ONE_SOURCE,
    ),
    ("empty volume name", backup(source={"volumeID": None, "volumeName": ""}), "at least 1 chars"),
    ("bank name", backup(bankRef={"name": "a/b"}), "must be the name of a Kubernetes object"),
    ("secret", backup(cloudCredentialsRef={"secretName": None}), "secretName: Required value"),
    ("cloud name", backup(cloudCredentialsRef={"cloudName": "a b"}), "an entry below `clouds:`"),
    ("duration", backup(timeouts={"clone": "5"}), DURATION),
    ("ISO duration", backup(timeouts={"image": "PT5M"}), DURATION),
    ("no time", backup(timeouts={"snapshot": "0s"}), DURATION),
    ("long time", backup(timeouts={"noProgress": "9999999h9999999h"}), DURATION),
    ("retries", backup(retryLimit=101), "less than or equal to 100"),
    ("policy", backup(deletionPolicy="Drop"), 'supported values: "Retain", "Delete"'),
    ("tag name", backup(tags={"": "x"}), "a tag's name must have 1 to 63 characters"),
    ("tag value", backup(tags={"a": "x" * 256}), "may not be more than 255"),
    ("many tags", backup(tags={f"t{n}": "" for n in range(33)}), "at most 32"),
    ("copy to itself", backup(copies=[{"bankRef": {"name": "none"}}]), "must go to another bank"),
    (
        "two copies in one bank",
        backup(copies=[{"bankRef": {"name": "far"}}, {"bankRef": {"name": "far"}}]),
        "each bank can have one copy",
    ),
    ("drill and plan", restore(drill=True, dryRun=True), "a drill goes without dryRun"),
    ("drill and salvage", restore(drill=True, salvage=True), "a drill goes without"),
    ("drill that deletes", restore(drill=True, onDelete="Delete"), "a drill goes without"),
    (
        "drill with a name",
        restore(drill=True, target={"name": "mine"}),
        "of spec.target a drill takes only volumeType and availabilityZone",
    ),
    (
        "drill with metadata",
        restore(drill=True, target={"metadata": {"a": "b"}}),
        "of spec.target a drill takes only",
    ),
    ("copy", backup(copies=[{}]), "spec.copies[0].bankRef: Required value"),
    (
        "plain copy",
        backup(copies=[{"bankRef": {"name": "far"}, "plainCopy": "Yes"}]),
        'supported values: "Refused", "Allowed"',
    ),
    ("name", with_changes(backup(), {"metadata": {"name": "x" * 64}}), "at most 63 characters"),
    ("no spec", {**backup(), "spec": {}}, "spec.source: Required value"),
    ("no restore source", restore(source={"backupRef": None}), ONE_BACKUP),
    (
        "two restore sources",
        restore(source={"bank": {"bankRef": {"name": "m"}, "backupID": BACKUP}}),
        ONE_BACKUP,
    ),
    ("id and selector", by_selector({"volumeName": "db"}, backupID=BACKUP), ONE_OF_BANK),
    ("neither id nor selector", by_selector(None), ONE_OF_BANK),
    ("empty selector", by_selector({}), "say which volume or backup"),
    ("no tags", by_selector({"tags": {}, "site": "a"}), "say which volume or backup"),
    (
        "volume id and name",
        by_selector({"volumeID": VOLUME, "volumeName": "db"}),
        "set volumeID or volumeName, not both",
    ),
    ("asOf", by_selector({"volumeName": "db", "asOf": "12:00"}), "asOf"),
    ("asOf without zone", by_selector({"volumeName": "db", "asOf": "2026-11-22T12:00:00"}), "asOf"),
    ("recovery point", restore(source={"recoveryPointRef": {"name": "x"}}), ONE_BACKUP),
    ("mapping", restore(mappings={"volumeType": {"": "x"}}), "1 to 255 characters"),
    (
        "a site beside a selector",
        restore(
            source={
                "backupRef": None,
                "bank": {
                    "bankRef": {"name": "m"},
                    "site": "paris",
                    "selector": {"volumeName": "db"},
                },
            }
        ),
        "site goes with backupID",
    ),
    (
        "backup id",
        restore(source={"backupRef": None, "bank": {"bankRef": {"name": "m"}, "backupID": "../x"}}),
        "must be a backup id: 26 upper-case letters and digits",
    ),
    ("size", restore(target={"sizeGiB": 0}), "greater than or equal to 1"),
    ("metadata key", restore(target={"metadata": {"k" * 256: ""}}), "1 to 255 characters"),
    ("onDelete", restore(onDelete="Drop"), 'supported values: "Detach", "Delete"'),
    ("endpoint", bank({"endpoint": "s3.example.org"}), "must be the store's URL"),
    ("endpoint path", bank({"endpoint": "https://s3/bucket"}), "must be the store's URL"),
    ("endpoint user", bank({"endpoint": "https://a:b@s3"}), "must be the store's URL"),
    ("bucket", bank({"bucket": "Mine"}), "must be an S3 bucket name"),
    ("prefix", bank({"prefix": "/a"}), "must be a path without / at its ends"),
    ("prefix dots", bank({"prefix": "a/../b"}), "must be a path without / at its ends"),
    ("site", bank(site="Paris 1"), "must be a short name of lower-case letters"),
    ("no site", bank(site=None), "spec.site: Required value"),
    ("no key", bank(encryption={}), "keySecretRef: Required value"),
    (
        "plain backups",
        bank(encryption={"keySecretRef": {"name": "keys"}, "plainBackups": "Yes"}),
        'supported values: "Refused", "Readable"',
    ),
    ("chunk size", bank(chunkSizeMiB=3), 'supported values: "1", "2", "4", "8", "16"'),
    (
        "CA and no check",
        bank({"caSecretRef": {"name": "ca"}, "insecureSkipVerify": True}),
        "set caSecretRef or insecureSkipVerify, not both",
    ),
]


@pytest.mark.parametrize(("body", "says"), [pytest.param(b, s, id=i) for i, b, s in BAD])
def test_a_bad_object_is_refused_with_a_way_out(
    cluster: Cluster, namespace: Namespace, body: Object, says: str
) -> None:
    with pytest.raises(ApiError) as refused:
        create(cluster, namespace, body)
    assert refused.value.status == 422
    assert says in str(refused.value)


FROZEN: list[tuple[Object, Object, str]] = [
    (backup(), {"source": {"volumeID": OTHER_VOLUME}}, "source can not be changed"),
    (backup(), {"bankRef": {"name": "other"}}, "bankRef can not be changed"),
    (backup(), {"cloudCredentialsRef": {"cloudName": "o"}}, "cloudCredentialsRef can not be"),
    (backup(), {"backupName": "n"}, "backupName can not be changed"),
    (backup(description="d"), {"description": None}, "description can not be changed"),
    (backup(), {"timeouts": {"clone": "2h"}}, "timeouts can not be changed"),
    (backup(), {"retryLimit": 4}, "retryLimit can not be changed"),
    (backup(tags={"a": "b"}), {"tags": {"a": "c"}}, "tags can not be changed"),
    (backup(cancel=True), {"cancel": False}, "cancel can not be taken back"),
    (backup(cancel=True), {"cancel": None}, "cancel can not be taken back"),
    (restore(), {"source": {"backupRef": {"name": "o"}}}, "source can not be changed"),
    (restore(), {"target": {"name": "n"}}, "target can not be changed"),
    (restore(target={"name": "n"}), {"target": {"name": "o"}}, "target can not be changed"),
    (restore(), {"mappings": {"volumeType": {"a": "b"}}}, "mappings can not be changed"),
    (restore(dryRun=True), {"dryRun": False}, "dryRun can not be changed"),
    (restore(drill=True), {"drill": False}, "drill can not be changed"),
    (restore(), {"timeouts": {"clone": "2h"}}, "timeouts can not be changed"),
    (restore(), {"retryLimit": 4}, "retryLimit can not be changed"),
    (restore(cancel=True), {"cancel": False}, "cancel can not be taken back"),
    (bank(), {"site": "b"}, "site can not be changed"),
    (bank(), {"s3": {"bucket": "other"}}, "bucket can not be changed"),
    (bank(), {"s3": {"prefix": "a"}}, "prefix can not be changed"),
    (bank({"prefix": "a"}), {"s3": {"prefix": None}}, "prefix can not be changed"),
    (
        bank(encryption={"keySecretRef": {"name": "keys"}}),
        {"encryption": None},
        "encryption can be added and its keys changed, but not taken away",
    ),
]


@pytest.mark.parametrize(
    ("body", "change", "says"),
    [pytest.param(b, c, s, id=f"{b['kind']}-{json.dumps(c)}") for b, c, s in FROZEN],
)
def test_what_was_asked_stays_asked(
    cluster: Cluster, namespace: Namespace, body: Object, change: Object, says: str
) -> None:
    body = with_changes(body, {"metadata": {"name": f"frozen-{os.urandom(4).hex()}"}})
    create(cluster, namespace, body)
    with pytest.raises(ApiError) as refused:
        cluster.request("PATCH", path_of(namespace, body), {"spec": change})
    assert refused.value.status == 422
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (
            backup(),
            [
                {"deletionPolicy": "Delete"},
                {"hold": True},
                {"hold": None},
                {"copies": [{"bankRef": {"name": "far"}}]},
                {"copies": [{"bankRef": {"name": "near"}, "plainCopy": "Allowed"}]},
                {"copies": None},
                {"cancel": True},
                {"deletionPolicy": "Retain"},
            ],
        ),
        (restore(), [{"onDelete": "Delete"}, {"onDelete": "Detach"}, {"cancel": True}]),
        (
            bank(),
            [
                {"s3": {"endpoint": "https://new.example.org"}},
                {"s3": {"region": "eu"}},
                {"accessMode": "ReadOnly"},
                {"chunkSizeMiB": 8},
                {"encryption": {"keySecretRef": {"name": "keys"}}},
                {"encryption": {"keySecretRef": {"name": "new-keys"}, "plainBackups": "Readable"}},
                {"validation": {"interval": "1m"}},
            ],
        ),
    ],
    ids=["VolumeBackup", "VolumeRestore", "BackupBank"],
)
def test_what_may_be_changed_can_be(
    cluster: Cluster, namespace: Namespace, body: Object, changes: list[Object]
) -> None:
    create(cluster, namespace, body)
    for change in changes:
        cluster.request("PATCH", path_of(namespace, body), {"spec": change})


# --- status ----------------------------------------------------------------------------------------


def test_an_object_that_nobody_has_seen_says_so(cluster: Cluster, namespace: Namespace) -> None:
    body = backup()
    create(cluster, namespace, body)
    status = cluster.request("GET", path_of(namespace, body))["status"]
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    # An operator beside us may already have looked, and found that there is no such bank.
    assert ready["status"] != "True"
    assert status["phase"] == "Pending"


FULL = Memory(
    backup_id=BACKUP,
    site="paris-1",
    started_at=NOW,
    source=VolumeFacts(
        id=VolumeId(VOLUME),
        name="db",
        status="in-use",
        size_gib=20,
        description="d",
        volume_type="ssd",
        availability_zone="nova",
        bootable=True,
        encrypted=False,
        created_at=NOW,
        metadata={"a": "b"},
        image_metadata={"hw_firmware_type": "uefi"},
    ),
    snapshot_taken_at=NOW,
    size_bytes=20 << 30,
    content_hash="ab" * 64,
    intents=(Intent("CreateSnapshot", NOW),),
    transfer_attempt=2,
    failures=1,
    next_try_at=NOW,
    last_error=LastError("QuotaExceeded", "too much", NOW, retryable=True, request_id="req-1"),
    manifest_digest="sha256:" + "0" * 64,
    outcome=Outcome(Phase.COMPLETED, "Completed", "all is well", NOW, final=True),
    completed_at=NOW,
)
REPORT = Report(
    Phase.COMPLETED,
    (Condition("Ready", "True", "Completed", "all is well"),),
    TransferProgress(20 << 30, 20 << 30, 1 << 30, 1 << 20, 0, 2e8, 0.0),
    (Temporary("image", ImageId("1f6c"), "n"),),
)


def test_a_full_status_is_kept_to_the_last_field(cluster: Cluster, namespace: Namespace) -> None:
    """A field that the schema does not know is dropped by the API server, without a word."""
    body = backup()
    create(cluster, namespace, body)
    status = backup_status.status_of(FULL, REPORT, None, 1, NOW).dump()
    cluster.request("PATCH", path_of(namespace, body, "/status"), {"status": status})
    found = cluster.request("GET", path_of(namespace, body))["status"]
    assert found == status
    assert backup_status.memory_of(found) == FULL

    warned = (Warned("VolumeTypeSubstituted", "another"),)
    restored = replace(
        FULL,
        transport=Transport.QCOW2,
        created_volume_id=VolumeId(OTHER_VOLUME),
        image_proven=ImageId("i-1"),
        resolved=Resolved(BACKUP, "main", "paris-1", NOW, "NewestThatFits", "of 3"),
        placement=Placement(None, Why.DEFAULT, "nova", Why.SAME_NAME, warned),
        plan=Plan(BACKUP, 20, 4096, Survey(QuotaLeft(1, None), ChunkLook(9, 9, 1, "p")), warned),
    )
    body = restore()
    create(cluster, namespace, body)
    status = restore_status.status_of(restored, REPORT, None, 1, NOW).dump()
    cluster.request("PATCH", path_of(namespace, body, "/status"), {"status": status})
    found = cluster.request("GET", path_of(namespace, body))["status"]
    assert found == status
    assert restore_status.memory_of(found) == restored


def test_what_is_said_of_copies_is_kept_and_a_completed_one_stays(
    cluster: Cluster, namespace: Namespace
) -> None:
    body = backup(copies=[{"bankRef": {"name": "far"}}])
    create(cluster, namespace, body)
    path, done = path_of(namespace, body, "/status"), TransferProgress(100, 100)
    copy = replace(
        copies.completed(Copy("far", BACKUP), done, NOW), attempts=2, failures=1, next_try_at=NOW
    )
    plain = backup_status.status_of(FULL, REPORT, None, 1, NOW).dump()
    status = status_with(plain, [copy], 1, NOW)
    cluster.request("PATCH", path, {"status": status})
    assert cluster.request("GET", path_of(namespace, body))["status"] == status
    with pytest.raises(ApiError, match="a copy that is Completed stays so"):
        back = {**status["copies"][0], "phase": "Copying"}
        cluster.request("PATCH", path, {"status": {"copies": [back]}})
    leaving = {**status["copies"][0], "phase": "Left"}
    cluster.request("PATCH", path, {"status": {"copies": [leaving]}})


def test_status_by_server_side_apply_replaces_the_default(
    cluster: Cluster, namespace: Namespace
) -> None:
    """The default is nobody's, so the first apply meets no conflict; what is left out goes."""
    body = backup()
    create(cluster, namespace, body)
    words = ("apply", "--server-side", "--subresource=status", "--field-manager=test", "-f", "-")
    identity = {key: body[key] for key in ("apiVersion", "kind", "metadata")}
    for report, memory in ((REPORT, replace(FULL, intents=())), (REPORT, Memory(backup_id=BACKUP))):
        status = backup_status.status_of(memory, report, None, 1, NOW).dump()
        namespace.run(*words, stdin=json.dumps({**identity, "status": status}))
        assert cluster.request("GET", path_of(namespace, body))["status"] == status


def test_a_final_phase_never_changes(cluster: Cluster, namespace: Namespace) -> None:
    body = backup()
    create(cluster, namespace, body)
    path = path_of(namespace, body, "/status")
    for phase in ("Queued", "Failed", "Failed"):
        cluster.request("PATCH", path, {"status": {"phase": phase}})
    for status in ({"phase": "Pending"}, {"phase": None}):
        with pytest.raises(ApiError, match="never changes"):
            cluster.request("PATCH", path, {"status": status})
    cluster.request("PATCH", path, {"status": {"phase": "Deleting"}})


def test_a_backup_id_never_changes(cluster: Cluster, namespace: Namespace) -> None:
    body = backup()
    create(cluster, namespace, body)
    path = path_of(namespace, body, "/status")
    cluster.request("PATCH", path, {"status": {"backupID": BACKUP}})
    with pytest.raises(ApiError, match="backupID never changes"):
        cluster.request("PATCH", path, {"status": {"backupID": BACKUP[:-1] + "1"}})


def test_the_columns_show_how_it_goes(cluster: Cluster, namespace: Namespace) -> None:
    body = backup()
    create(cluster, namespace, body)
    moving = Report(
        Phase.TRANSFERRING,
        (Condition("Ready", "False", "InProgress", "copying"),),
        TransferProgress(100, 41, rate_bytes_per_second=212 * 2**20, eta_seconds=200),
    )
    memory = Memory(backup_id=BACKUP, source=FULL.source, snapshot_taken_at=NOW)
    status = backup_status.status_of(memory, moving, None, 1, NOW).dump()
    cluster.request("PATCH", path_of(namespace, body, "/status"), {"status": status})
    said = namespace.run("get", "vbk", body["metadata"]["name"], "-o", "wide")
    heads, line = said.strip().splitlines()
    for head in ("PHASE", "PROGRESS", "SIZE-GIB", "BANK", "SNAPSHOT-TIME", "BACKUP-ID", "MESSAGE"):
        assert head in heads
    for word in ("Transferring", "41 %  212 MiB/s  ETA 3m", "db", "20", "none", BACKUP, "copying"):
        assert word in line
    assert BACKUP not in namespace.run("get", "cinderbank")


# --- deploy/ ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [".", "overlays/namespaced"])
def test_an_installation_is_accepted(cluster: Cluster, folder: str) -> None:
    everything = in_namespace(cluster, OPERATOR_NAMESPACE)
    path = ROOT / "deploy" / folder
    everything.run(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", str(path)
    )


SAMPLES = sorted((ROOT / "deploy/samples").glob("*.yaml"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.name)
def test_a_sample_is_accepted(namespace: Namespace, path: Path) -> None:
    if path.name == "kustomization.yaml":
        namespace.run("apply", "--dry-run=server", "-k", str(path.parent))
    else:
        namespace.run("create", "--dry-run=server", "-f", str(path))


def test_the_comment_s_way_to_another_volume_works(namespace: Namespace) -> None:
    patch = {"metadata": {"name": "web"}, "spec": {"source": {"volumeID": OTHER_VOLUME}}}
    sample = str(ROOT / "deploy/samples/backup.yaml")
    words = ("patch", "--local", "-f", sample, "--type", "merge", "-o", "yaml")
    patched = namespace.run(*words, "-p", json.dumps(patch))
    assert yaml.safe_load(patched)["spec"]["source"] == {"volumeID": OTHER_VOLUME}
    namespace.run("create", "--dry-run=server", "-f", "-", stdin=patched)


def test_the_pod_meets_pod_security_restricted(cluster: Cluster) -> None:
    """The Deployment is taken in any case; only a Pod of it would be refused, and silently."""
    deployment = in_namespace(cluster, OPERATOR_NAMESPACE).get("deployment", OPERATOR_ACCOUNT)
    assert deployment is not None
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": deployment["spec"]["template"]["spec"],
    }
    cluster.request("POST", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods?dryRun=All", pod)
    pod["spec"] = {**pod["spec"], "hostNetwork": True}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        cluster.request("POST", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods?dryRun=All", pod)


# --- who may do what -------------------------------------------------------------------------------


def may(cluster: Cluster, user: str, verb: str, resource: str, namespace: str) -> bool:
    """`kubectl auth can-i`; resource is `group/plural[/subresource]`, group empty for core."""
    group, plural, *sub = resource.split("/")
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user,
            "groups": ["system:authenticated", f"system:serviceaccounts:{OPERATOR_NAMESPACE}"],
            "resourceAttributes": {
                "verb": verb,
                "group": group,
                "resource": plural,
                "subresource": "".join(sub),
                "namespace": namespace,
            },
        },
    }
    answer = cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


KINDS = [f"{GROUP}/{resource.plural}" for resource in RESOURCES if resource.watched]
MIRROR = f"{GROUP}/recoverypoints"
BACKUPS = f"{GROUP}/volumebackups"
MADE_BY_POLICIES = (BACKUPS, f"{GROUP}/volumerestores", f"{GROUP}/bankchecks")


def test_the_operator_may_do_what_it_does(cluster: Cluster) -> None:
    asked = [
        *((verb, kind) for kind in KINDS for verb in ("get", "list", "watch", "patch")),
        *(("patch", f"{kind}/status") for kind in (*KINDS, MIRROR)),
        *((verb, MIRROR) for verb in ("get", "list", "create", "delete")),
        ("get", "/secrets"),
        ("get", "/namespaces"),  # is it being torn down?
        ("create", "events.k8s.io/events"),
        ("patch", "events.k8s.io/events"),
        *((verb, kind) for kind in MADE_BY_POLICIES for verb in ("create", "delete")),
        *((verb, "/persistentvolumeclaims") for verb in ("get", "list", "create", "delete")),
    ]
    assert [each for each in asked if not may(cluster, OPERATOR, *each, "any")] == []


def test_the_operator_may_do_no_more(cluster: Cluster) -> None:
    asked = [
        *(
            (verb, kind)
            for kind in KINDS
            for verb in ("create", "update", "delete", "deletecollection")
            if not (verb in ("create", "delete") and kind in MADE_BY_POLICIES)
        ),
        *((verb, MIRROR) for verb in ("update", "patch", "watch", "deletecollection")),
        *((verb, "/secrets") for verb in ("list", "watch", "create", "patch", "delete")),
        *((verb, "/persistentvolumeclaims") for verb in ("update", "patch", "watch")),
        *((verb, "/persistentvolumes") for verb in ("list", "update", "patch", "watch")),
        *((verb, "/pods") for verb in ("get", "create")),
        *((verb, "/namespaces") for verb in ("list", "watch", "delete")),
        ("create", "rbac.authorization.k8s.io/clusterroles"),
        ("get", "apiextensions.k8s.io/customresourcedefinitions"),
        ("patch", "apiextensions.k8s.io/customresourcedefinitions"),
    ]
    assert [each for each in asked if may(cluster, OPERATOR, *each, "any")] == []


@pytest.mark.parametrize(
    ("role", "verbs", "never"),
    [
        ("view", ("get", "list", "watch"), ("create", "delete")),
        ("edit", ("get", "create", "delete"), ()),
    ],
)
def test_users_get_our_kinds_with_the_cluster_s_own_roles(
    cluster: Cluster,
    namespace: Namespace,
    role: str,
    verbs: tuple[str, ...],
    never: tuple[str, ...],
) -> None:
    user = f"jane-{role}"
    namespace.run("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}")
    for kind in KINDS:
        assert all(may(cluster, user, verb, kind, namespace.name) for verb in verbs)
        assert not any(may(cluster, user, verb, kind, namespace.name) for verb in never)
        assert not may(cluster, user, "patch", f"{kind}/status", namespace.name)
    assert may(cluster, user, "list", MIRROR, namespace.name)
    assert may(cluster, user, "delete", MIRROR, namespace.name) == ("delete" in verbs)
    written = [(v, k) for v in ("create", "update", "patch") for k in (MIRROR, f"{MIRROR}/status")]
    assert not any(may(cluster, user, verb, kind, namespace.name) for verb, kind in written)


def test_a_file_by_kubectl_is_refused_in_our_words(namespace: Namespace) -> None:
    """What a person at a terminal reads."""
    with pytest.raises(Refused, match=rf"spec\.source: .*{ONE_SOURCE}"):
        namespace.run("create", "-f", "-", stdin=json.dumps(backup(source={"volumeName": "db"})))
