"""Volumes that begin like a disk image: the same bytes come back, or nothing is ever committed.

Cinder guesses the format of a volume from its bytes when it makes an image of it, and unpacks what it
finds; see docs/transport.md. What is expected of each content is what was measured on this rig.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import Running, Scene, make_scene
from tests.e2e.test_refusals import stored
from tests.rig.openstack.volumes import nfs_file
from tests.stage.cloud import Content
from tests.stage.disk_images import FORMATS, QEMU_FORMATS, head
from tests.stage.namespace import Namespace, condition, phase_of
from tests.stage.site import Site, Stage, backup, restore

pytestmark = pytest.mark.timeout(1800)

REFUSED = {
    "a": {"qed": "UploadToImageFailed"},  # rbd: Raw is exact for all but what Glance refuses
    "b": {  # nfs: raw is converted too
        "qcow2": "ImageSizeMismatch",
        "vmdk": "ImageSizeMismatch",
        "vhdx": "ImageSizeMismatch",
        "vdi": "ImageSizeMismatch",
        "vhd": "UploadToImageFailed",
        "qed": "UploadToImageFailed",
    },
}


@dataclass
class Volumes:
    """One volume of each content at one site, their backups asked for."""

    site: Site
    scene: Scene
    here: Namespace
    ids: dict[str, str]


def _volumes(stage: Stage, a: Running, b: Running, letter: str) -> Iterator[Volumes]:
    scene = make_scene(stage, a, b, f"image-content-{letter}")
    site, here = (a.site, scene.at_a) if letter == "a" else (b.site, scene.at_b)
    ids = {name: _volume(stage, site, name) for name in FORMATS}
    specs = {"incremental": "Full", "retryLimit": 1}
    here.apply(*[backup(n, source={"volumeID": ids[n]}, **specs) for n in FORMATS])
    yield Volumes(site, scene, here, ids)
    for volume_id in ids.values():
        site.cloud.delete_volume(volume_id)


def _volume(stage: Stage, site: Site, name: str) -> str:
    content = Content(size_gib=1, used_mib=2, head=head(name))
    if site.letter == "a":
        return site.cloud.make_volume(f"begins-with-{name}", content)
    # As a server would write it: by way of an image NFS can not be given such a volume.
    volume_id = site.cloud.make_blank_volume(f"begins-with-{name}", 1)
    with open(nfs_file(stage.rig.site("b"), volume_id), "r+b") as disk:
        disk.write(content.head)
    return volume_id


@pytest.fixture(scope="module")
def at_a(stage: Stage, a: Running, b: Running) -> Iterator[Volumes]:
    yield from _volumes(stage, a, b, "a")


@pytest.fixture(scope="module")
def at_b(stage: Stage, a: Running, b: Running) -> Iterator[Volumes]:
    yield from _volumes(stage, a, b, "b")


@pytest.mark.parametrize("name", FORMATS)
def test_on_rbd(name: str, at_a: Volumes) -> None:
    same_bytes_or_refused(name, at_a)


@pytest.mark.parametrize("name", FORMATS)
def test_on_nfs(name: str, at_b: Volumes) -> None:
    same_bytes_or_refused(name, at_b)


def same_bytes_or_refused(name: str, volumes: Volumes) -> None:
    here, site = volumes.here, volumes.site
    refused = REFUSED[site.letter].get(name)
    ended = here.wait("vbk", name, lambda o: phase_of(o) in ("Completed", "Failed"), seconds=1200)
    if refused is not None:
        assert condition(ended, "Stalled")["reason"] == refused, ended["status"]
        return
    assert phase_of(ended) == "Completed", ended["status"]
    backup_id = ended["status"]["backupID"]
    asked = {}
    if name in QEMU_FORMATS:
        # The back end can not be seen from outside, and NFS would change the bytes: nobody guesses.
        here.apply(restore(f"{name}-auto", backup_id=backup_id))
        auto = here.wait_phase("vrs", f"{name}-auto", "Failed", seconds=60)
        assert condition(auto, "Stalled")["reason"] == "ContentIsImage"
        asked = {"transport": "Qcow2"}
    here.apply(restore(name, backup_id=backup_id, retryLimit=1, **asked))
    back = here.wait_phase("vrs", name, "Completed", seconds=600)
    volume_id = back["status"]["volumeID"]
    assert site.volume_sha256(volume_id) == site.volume_sha256(volumes.ids[name])
    site.cloud.delete_volume(volume_id)


def test_nothing_is_left_of_the_refused(at_b: Volumes) -> None:
    """Runs after the others: pytest keeps the order of a module."""
    assert at_b.site.cloud.temporaries() == []
    kept = "\n".join(stored(at_b.scene))
    for name in REFUSED["b"]:
        status = (at_b.here.get("vbk", name) or {})["status"]
        assert status["backupID"] not in kept
