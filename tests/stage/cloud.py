"""One project of one site: volumes with known content, and what is left in it."""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
import yaml

GIB = 1 << 30
MIB = 1 << 20


@dataclass(frozen=True)
class Content:
    """What a volume holds: `used_mib` MiB of random data in pieces of 1 MiB, the rest zeros.

    The pieces are spread over the volume by `seed`; `head` lies over the first bytes.
    """

    size_gib: int
    used_mib: int
    seed: int = 1
    head: bytes = b""

    def write(self, path: Path) -> None:
        """A sparse file of the whole content."""
        chance = random.Random(self.seed)
        with open(path, "wb") as file:
            file.truncate(self.size_gib * GIB)
            for piece in chance.sample(range(self.size_gib * 1024), self.used_mib):
                file.seek(piece * MIB)
                file.write(chance.randbytes(MIB))
            if self.head:
                file.seek(0)
                file.write(self.head)


class Cloud:
    """A project as its own user sees it, by the clouds.yaml of the rig."""

    def __init__(self, clouds_yaml: Path, name: str) -> None:
        self.name = name
        self.entry: dict[str, Any] = yaml.safe_load(clouds_yaml.read_text())["clouds"][name]
        self.connection = openstack.connect(cloud=name, load_yaml_config=True)

    @property
    def clouds_yaml(self) -> str:
        """A clouds.yaml with this cloud alone, called `openstack`: what goes into the Secret."""
        return yaml.safe_dump({"clouds": {"openstack": self.entry}})

    def make_volume(self, name: str, content: Content, volume_type: str | None = None) -> str:
        """A volume with that content, by way of a Glance image; returns its id."""
        cinder, glance = self.connection.block_storage, self.connection.image
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            raw, qcow2 = Path(folder, "raw"), Path(folder, "qcow2")
            content.write(raw)
            if content.used_mib > content.size_gib * 1000:
                # As qcow2 it would be larger than the volume, and Cinder refuses to make one of it.
                image = self.make_image(f"content-of-{name}", raw, "raw")
            else:
                convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(qcow2)]
                subprocess.run(convert, check=True)
                raw.unlink()
                image = self.make_image(f"content-of-{name}", qcow2, "qcow2")
        more = {"volume_type": volume_type} if volume_type else {}
        volume = cinder.create_volume(
            size=content.size_gib, image_id=image, name=name, metadata={"owner": "stage"}, **more
        )
        self._until_available(volume.id, name)
        glance.delete_image(image)
        return str(volume.id)

    def make_blank_volume(self, name: str, size_gib: int, volume_type: str | None = None) -> str:
        more = {"volume_type": volume_type} if volume_type else {}
        cinder = self.connection.block_storage
        volume = cinder.create_volume(size=size_gib, name=name, **more)
        self._until_available(volume.id, name)
        return str(volume.id)

    def make_group(self, name: str, group_type: str, volume_ids: list[str]) -> str:
        """A Cinder group with these volumes, which are of the default type; returns its id."""
        cinder = self.connection.block_storage
        types = cinder.get("/group_types", microversion="3.11").json()["group_types"]
        [type_id] = [each["id"] for each in types if each["name"] == group_type]
        volume_type = self.volume(volume_ids[0]).volume_type
        kinds = cinder.get("/types").json()["volume_types"]
        wanted = [each["id"] for each in kinds if each["name"] == volume_type]
        body = {"name": name, "group_type": type_id, "volume_types": wanted}
        made = cinder.post("/groups", json={"group": body}, microversion="3.13").json()["group"]
        self._until_group_is(made["id"], "available")
        members = {"group": {"add_volumes": ",".join(volume_ids)}}
        answer = cinder.put(f"/groups/{made['id']}", json=members, microversion="3.13")
        assert answer.status_code == 202, answer.text
        self._until_group_is(made["id"], "available")
        return str(made["id"])

    def delete_group(self, group_id: str) -> None:
        """With its volumes."""
        body = {"delete": {"delete-volumes": True}}
        path = f"/groups/{group_id}/action"
        answer = self.connection.block_storage.post(path, json=body, microversion="3.13")
        assert answer.status_code == 202, answer.text
        self._until_group_is(group_id, "gone")

    def _until_group_is(self, group_id: str, status: str) -> None:
        def is_so() -> bool:
            path = f"/groups/{group_id}"
            answer = self.connection.block_storage.get(path, microversion="3.13")
            if answer.status_code == 404:
                return status == "gone"
            found = answer.json()["group"]["status"]
            assert found != "error", f"group {group_id} went into error"
            return bool(found == status)

        until(is_so, 240, f"group {group_id} to be {status}")

    def _until_available(self, volume_id: str, name: str) -> None:
        def is_available() -> bool:
            status = self.volume(volume_id).status
            assert status != "error", f"volume {name} ({volume_id}) went into error"
            return bool(status == "available")

        until(is_available, 600, f"volume {name}")

    def make_image(self, name: str, path: Path, disk_format: str) -> str:
        """An active image of that file; returns its id."""
        glance = self.connection.image
        body = {"name": name, "disk_format": disk_format, "container_format": "bare"}
        image = glance.post("/images", json=body).json()["id"]
        kind = {"Content-Type": "application/octet-stream"}
        with open(path, "rb") as data:
            answer = glance.put(f"/images/{image}/file", data=data, headers=kind)
        assert answer.status_code == 204, answer.text
        until(lambda: glance.get_image(image).status == "active", 240, f"image {name}")
        return str(image)

    def volume(self, volume_id: str) -> Any:
        return self.connection.block_storage.get_volume(volume_id)

    def attach(self, volume_id: str) -> None:
        """Make it `in-use` as a server would; no Nova is needed for that."""
        body = {"instance_uuid": str(uuid.uuid4()), "mountpoint": "/dev/vdb", "mode": "rw"}
        self._action(volume_id, {"os-attach": body})
        until(lambda: self.volume(volume_id).status == "in-use", 240, "in-use")

    def detach(self, volume_id: str) -> None:
        self._action(volume_id, {"os-detach": {}})

    def _action(self, volume_id: str, body: dict[str, Any]) -> None:
        answer = self.connection.block_storage.post(f"/volumes/{volume_id}/action", json=body)
        assert answer.status_code < 300, answer.text

    def delete_volume(self, volume_id: str) -> None:
        self.connection.block_storage.delete_volume(volume_id)

    def temporaries(self) -> list[str]:
        """Every snapshot, group snapshot, volume and image of cinderbank's that is there: kind, name, status."""
        cinder = self.connection.block_storage
        path = "/group_snapshots/detail"
        groups = cinder.get(path, microversion="3.14").json()["group_snapshots"]
        found = [f"snapshot {s.name} {s.status}" for s in cinder.snapshots() if is_ours(s.name)]
        found += [f"volume {v.name} {v.status}" for v in cinder.volumes() if is_ours(v.name)]
        found += [f"group snapshot {g['name']} {g['status']}" for g in groups if is_ours(g["name"])]
        images = self.connection.image.images()
        return found + [f"image {i.name} {i.status}" for i in images if is_ours(i.name)]


def is_ours(name: str | None) -> bool:
    return (name or "").startswith("cinderbank-")


def until(awaited: Callable[[], object], seconds: float, what: str) -> None:
    """Poll until it is so; TimeoutError that names it when it is not in time."""
    deadline = time.monotonic() + seconds
    while not awaited():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {seconds:.0f} s")
        time.sleep(0.2)
