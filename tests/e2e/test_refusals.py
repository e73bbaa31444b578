"""What cannot work says why, names the thing and the way out, and leaves nothing behind."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import Running, Scene
from tests.rig.openstack.volumes import nfs_file
from tests.stage.cloud import Content
from tests.stage.namespace import Namespace, Object, condition, phase_of
from tests.stage.site import Stage, backup

pytestmark = pytest.mark.timeout(2400)
WORKS = ("Snapshotting", "Cloning", "Imaging", "Queued", "Transferring")
NO_SUCH_ID = "11111111-2222-4333-8444-555555555555"


def reason_is(reason: str) -> Callable[[Object], bool]:
    """Whether a condition or the last error gives that reason."""

    def awaited(found: Object) -> bool:
        status = found.get("status", {})
        reasons = {each["reason"] for each in status.get("conditions", [])}
        return reason in reasons | {status.get("lastError", {}).get("reason")}

    return awaited


def stalled(namespace: Namespace, name: str, reason: str, seconds: float = 900) -> str:
    """Waits for Stalled=True with that reason; the message."""
    found = namespace.wait(
        "vbk",
        name,
        lambda o: (c := condition(o, "Stalled")).get("status") == "True" and c["reason"] == reason,
        seconds=seconds,
    )
    assert condition(found, "Ready")["status"] == "False"
    return str(condition(found, "Stalled")["message"])


def retried(namespace: Namespace, name: str, reason: str, seconds: float = 900) -> str:
    """Waits for a retry with that reason: not Stalled, and said so; the message."""
    found = namespace.wait("vbk", name, reason_is(reason), seconds=seconds)
    assert condition(found, "Stalled").get("status") != "True"
    assert condition(found, "Reconciling")["status"] == "True"
    return str(found["status"]["lastError"]["message"])


def nothing_is_left(scene: Scene, a: Running) -> None:
    assert a.site.cloud.temporaries() == []
    assert stored(scene) == []


def stored(scene: Scene) -> list[str]:
    """What a backup keeps in the bank; the bank's own mark and that of each who writes to it, tombs of what
    was given up and the scratch of a self-test under way are none."""
    others = re.compile("bank.json|sites/[^/]+/(tombs|probes|writers)/.*")
    return [key for key in scene.bucket.keys(scene.prefix) if not others.fullmatch(key)]


def test_unknown_volume(scene: Scene, a: Running) -> None:
    scene.at_a.apply(backup("unknown", source={"volumeID": NO_SUCH_ID}))
    assert NO_SUCH_ID in stalled(scene.at_a, "unknown", "VolumeNotFound")
    nothing_is_left(scene, a)


def test_ambiguous_name(scene: Scene, a: Running) -> None:
    ids = [a.site.cloud.make_blank_volume("twin", 1) for _ in range(2)]
    scene.at_a.apply(backup("twin", source={"volumeName": "twin"}))
    message = stalled(scene.at_a, "twin", "VolumeNameAmbiguous")
    assert all(each in message for each in ids)
    nothing_is_left(scene, a)
    for each in ids:
        a.site.cloud.delete_volume(each)


def test_wrong_credentials_then_mended(scene: Scene, a: Running) -> None:
    volume_id = a.site.cloud.make_blank_volume("locked-out", 1)
    wrong = yaml.safe_load(a.site.cloud.clouds_yaml)
    wrong["clouds"]["openstack"]["auth"]["application_credential_secret"] = "not-the-secret"
    scene.at_a.secret("openstack", {"clouds.yaml": yaml.safe_dump(wrong)})
    scene.at_a.apply(backup("locked-out", source={"volumeID": volume_id}))
    found = scene.at_a.wait("vbk", "locked-out", reason_is("AuthenticationFailed"), seconds=900)
    text = yaml.safe_dump(found["status"])
    assert "openstack" in text and "not-the-secret" not in text
    nothing_is_left(scene, a)

    scene.at_a.secret("openstack", {"clouds.yaml": a.site.cloud.clouds_yaml})
    scene.at_a.wait_phase("vbk", "locked-out", "Completed", seconds=900)
    a.site.cloud.delete_volume(volume_id)


def test_bucket_missing(scene: Scene, a: Running) -> None:
    volume_id = a.site.cloud.make_blank_volume("no-bucket", 1)
    scene.at_a.apply(a.site.bank("nowhere", prefix="x", bucket="no-such-bucket"))
    scene.at_a.apply(
        backup("no-bucket", source={"volumeID": volume_id}, bankRef={"name": "nowhere"})
    )
    found = scene.at_a.wait("bank", "nowhere", reason_is("BucketNotFound"), seconds=900)
    assert condition(found, "Ready")["status"] == "False"
    assert "no-such-bucket" in condition(found, "Ready")["message"]
    found = scene.at_a.wait("vbk", "no-bucket", reason_is("BucketNotFound"), seconds=900)
    nothing_is_left(scene, a)
    a.site.cloud.delete_volume(volume_id)


def test_bank_unreachable(scene: Scene, a: Running) -> None:
    volume_id = a.site.cloud.make_blank_volume("far-bank", 1)
    scene.at_a.apply(a.site.bank("far", prefix="x", endpoint="http://127.0.0.1:9"))
    scene.at_a.apply(backup("far-bank", source={"volumeID": volume_id}, bankRef={"name": "far"}))
    message = retried(scene.at_a, "far-bank", "BankUnavailable")
    assert "127.0.0.1:9" in message
    nothing_is_left(scene, a)
    a.site.cloud.delete_volume(volume_id)


@contextmanager
def quota(stage: Stage, letter: str, project_id: str, **limits: int) -> Iterator[None]:
    """The project's Cinder quota changed, and put back."""
    admin = stage.cloud(f"{letter}-admin").connection.block_storage
    before = admin.get(f"/os-quota-sets/{project_id}").json()["quota_set"]
    admin.put(f"/os-quota-sets/{project_id}", json={"quota_set": limits})
    try:
        yield
    finally:
        kept = {name: before[name] for name in limits}
        admin.put(f"/os-quota-sets/{project_id}", json={"quota_set": kept})


def test_quota_exceeded_then_raised(scene: Scene, a: Running, stage: Stage) -> None:
    cloud = a.site.cloud
    volume_id = cloud.make_blank_volume("over-quota", 1)
    project_id = cloud.connection.current_project_id
    with quota(stage, "a", project_id, snapshots=0):
        scene.at_a.apply(backup("over-quota", source={"volumeID": volume_id}))
        message = retried(scene.at_a, "over-quota", "QuotaExceeded")
        assert "snapshot" in message.lower() and "quota" in message.lower()
        assert a.site.cloud.temporaries() == []
    scene.at_a.wait_phase("vbk", "over-quota", "Completed", seconds=900)
    cloud.delete_volume(volume_id)


def test_larger_than_the_image_size_cap(scene: Scene, a: Running, stage: Stage) -> None:
    volume_id = a.site.cloud.make_blank_volume("too-large", 2)
    glance = stage.rig.site("a")
    glance.set_options("glance", {"DEFAULT": {"image_size_cap": str(1 << 30)}})
    try:
        # Raw: a qcow2 image of an empty volume is smaller than any cap.
        spec = {"retryLimit": 1, "transport": "Raw"}
        scene.at_a.apply(backup("too-large", source={"volumeID": volume_id}, **spec))
        message = stalled(scene.at_a, "too-large", "UploadToImageFailed", seconds=900)
        assert "image_size_cap" in message
    finally:
        glance.reset_options("glance")
    nothing_is_left(scene, a)
    a.site.cloud.delete_volume(volume_id)


def test_a_disk_image_inside_a_volume_is_never_stored_wrong(
    scene: Scene, b: Running, stage: Stage
) -> None:
    """Site b (NFS): Cinder unpacks the qcow2 it finds in the volume; what comes is another disk."""
    volume_id = b.site.cloud.make_blank_volume("nested", 1)
    # As a server would write it: by way of an image Cinder itself refuses to make such a volume.
    with open(nfs_file(stage.rig.site("b"), volume_id), "r+b") as disk:
        disk.write(qcow2_of_2_gib())
    scene.at_b.apply(backup("nested", source={"volumeID": volume_id}))
    message = stalled(scene.at_b, "nested", "ImageSizeMismatch", seconds=900)
    assert "2147483648" in message
    assert b.site.cloud.temporaries() == []
    assert stored(scene) == []
    b.site.cloud.delete_volume(volume_id)


def qcow2_of_2_gib() -> bytes:
    """An empty qcow2 image whose virtual size is 2 GiB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inner.qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "2G"], check=True)
        return path.read_bytes()


def test_cancel_cleans_up(scene: Scene, a: Running) -> None:
    volume_id = a.site.cloud.make_volume("canceled", Content(size_gib=1, used_mib=600))
    scene.at_a.apply(backup("canceled", source={"volumeID": volume_id}))
    # While it works, wherever it is by then: a phase of its own may be over between two looks.
    scene.at_a.wait("vbk", "canceled", lambda o: phase_of(o) in WORKS, seconds=900)
    scene.at_a.run("patch", "vbk", "canceled", "--type=merge", "-p", '{"spec":{"cancel":true}}')
    scene.at_a.wait_phase("vbk", "canceled", "Canceled", seconds=900)
    nothing_is_left(scene, a)
    a.site.cloud.delete_volume(volume_id)
