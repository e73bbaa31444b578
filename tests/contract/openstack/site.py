"""A site for the contract suites: what the ports do not offer but a test must be able to bring about."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import uuid4

from openstack.connection import Connection

from cinderbank.adapters.openstack.cinder import OpenStackCinder
from cinderbank.adapters.openstack.glance import OpenStackGlance
from cinderbank.adapters.openstack.session import connect
from cinderbank.domain.facts import GIB, ImageFacts, ImageId, VolumeFacts, VolumeId
from cinderbank.ports.cinder import Cinder
from cinderbank.ports.glance import Glance
from tests.contract.openstack.contents import real_bytes, wrapped
from tests.fakes.cinder import FakeCinder
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.faults import Faults
from tests.fakes.glance import FakeGlance

GIVE_UP_SECONDS = 270.0
Seen = TypeVar("Seen")


class Site(Protocol):
    """One project with a Cinder and a Glance; `run` is in every name, so that nothing is left behind."""

    cinder: Cinder
    glance: Glance
    run: str

    def blank_volume(self) -> VolumeId:
        """A new `available` volume of 1 GiB."""
        ...

    def volume_holding(self, content: str) -> VolumeId:
        """As blank_volume, with these bytes: see tests.fakes.contents."""
        ...

    def attach(self, volume_id: VolumeId) -> None:
        """Make it in-use."""
        ...

    def detach(self, volume_id: VolumeId) -> None: ...

    def fill(self, image: ImageFacts, content: str = "text") -> None:
        """Give a queued image its bytes, a qcow2 one a disk of 1 GiB with them: it becomes active."""
        ...

    def still_holds(self, volume_id: VolumeId, content: str) -> bool | None:
        """Whether a volume's bytes are these; None where nobody can look at them."""
        ...

    def until(self, look: Callable[[], Seen], good: Callable[[Seen], bool]) -> Seen:
        """Look again until it is good; fails when that takes too long."""
        ...


def volume_of(site: Site, image_id: ImageId) -> VolumeFacts:
    """A volume of 1 GiB that begins to be made of an image."""
    return site.cinder.create_volume_from_image(
        image_id,
        name=f"{site.run}-of-image",
        description="",
        size_gib=1,
        volume_type=None,
        availability_zone=None,
        metadata={"cinderbank.io/contract": site.run},
    )


class RealSite:
    """A project of the rig. close() deletes whatever carries this run in its name, whoever made it."""

    def __init__(self, clouds_yaml: Path, cloud: str, export: Path | None = None) -> None:
        """`export` is the folder of an nfs site's volumes."""
        self._export = export
        self.run = f"contract-{uuid4().hex[:8]}"
        self.connection: Connection = connect(clouds_yaml, cloud, cacert=None)
        self.cinder: Cinder = OpenStackCinder(self.connection)
        self.glance: Glance = OpenStackGlance(self.connection)

    def blank_volume(self) -> VolumeId:
        body = {"volume": {"size": 1, "name": f"{self.run}-blank"}}
        answer = self.connection.block_storage.post("/volumes", json=body)
        assert answer.status_code == 202, answer.text
        volume_id = VolumeId(answer.json()["volume"]["id"])
        self.until(
            lambda: self.cinder.find_volume(volume_id),
            lambda it: it is not None and it.status == "available",
        )
        return volume_id

    def volume_holding(self, content: str) -> VolumeId:
        if self._export is not None:
            volume_id = self.blank_volume()
            with open(self._export / f"volume-{volume_id}", "r+b") as disk:
                disk.write(real_bytes(content))
            return volume_id
        image = self.glance.create_image(name=f"{self.run}-holding", disk_format="qcow2")
        self.fill(image, content)
        volume_id = volume_of(self, image.id).id
        self.until(
            lambda: self.cinder.find_volume(volume_id),
            lambda it: it is not None and it.status == "available",
        )
        return volume_id

    def attach(self, volume_id: VolumeId) -> None:
        self._act(
            volume_id,
            {"os-attach": {"instance_uuid": str(uuid4()), "mountpoint": "/dev/vdb", "mode": "rw"}},
        )

    def detach(self, volume_id: VolumeId) -> None:
        self._act(volume_id, {"os-detach": {}})

    def fill(self, image: ImageFacts, content: str = "text") -> None:
        data = real_bytes(content)
        answer = self.connection.image.put(
            f"/images/{image.id}/file",
            data=wrapped(data, GIB) if image.disk_format == "qcow2" else data,
            headers={"Content-Type": "application/octet-stream"},
        )
        assert answer.status_code == 204, answer.text
        self.until(
            lambda: self.glance.images_named(image.name)[0],
            lambda it: it.status == "active",
        )

    def still_holds(self, volume_id: VolumeId, content: str) -> bool | None:
        if self._export is None:
            return None
        data = real_bytes(content)
        with open(self._export / f"volume-{volume_id}", "rb") as disk:
            return disk.read(len(data)) == data

    def until(self, look: Callable[[], Seen], good: Callable[[Seen], bool]) -> Seen:
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while not good(seen := look()):
            assert time.monotonic() < deadline, f"still: {seen}"
            time.sleep(0.2)
        return seen

    def close(self) -> None:
        """Children before parents, again and again until nothing is listed; then the connection."""
        try:
            self.until(self._delete_all, lambda left: not left)
        finally:
            self.connection.close()

    def _delete_all(self) -> list[str]:
        left: list[str] = []
        for proxy, path, key in (
            (self.connection.image, "/images", "images"),
            (self.connection.block_storage, "/volumes", "volumes"),
            (self.connection.block_storage, "/snapshots", "snapshots"),
        ):
            for item in proxy.get(f"{path}?limit=200").json()[key]:
                if not (item["name"] or "").startswith(self.run):
                    continue
                left.append(f"{key} {item['id']}")
                if key == "volumes":
                    self._act(VolumeId(item["id"]), {"os-detach": {}}, check=False)
                proxy.delete(f"{path}/{item['id']}")
        return left

    def _act(self, volume_id: VolumeId, body: dict[str, object], *, check: bool = True) -> None:
        answer = self.connection.block_storage.post(f"/volumes/{volume_id}/action", json=body)
        assert not check or answer.status_code in (200, 202), answer.text


class FakeSite:
    """The engine's fakes; waiting moves their clock."""

    def __init__(self, backend: str = "rbd") -> None:
        self.run = "contract-fake"
        self._clock = FakeClock()
        self.cloud = FakeCloud(self._clock, Faults(), backend=backend)
        self.cinder: Cinder = FakeCinder(self.cloud)
        self.glance: Glance = FakeGlance(self.cloud)

    def blank_volume(self) -> VolumeId:
        name = f"{self.run}-blank"
        return self.cloud.add_volume(self.cloud.new_id("volume"), name=name).id

    def volume_holding(self, content: str) -> VolumeId:
        volume_id = self.blank_volume()
        self.cloud.volumes[volume_id].content = content
        return volume_id

    def attach(self, volume_id: VolumeId) -> None:
        self.cloud.volumes[volume_id].status = "in-use"

    def detach(self, volume_id: VolumeId) -> None:
        self.cloud.volumes[volume_id].status = "available"

    def fill(self, image: ImageFacts, content: str = "text") -> None:
        filled = self.cloud.images[image.id]
        filled.status, filled.full_size_bytes, filled.content = "active", 5120, content

    def still_holds(self, volume_id: VolumeId, content: str) -> bool | None:
        return self.cloud.volumes[volume_id].content == content

    def until(self, look: Callable[[], Seen], good: Callable[[Seen], bool]) -> Seen:
        for _ in range(int(GIVE_UP_SECONDS)):
            if good(seen := look()):
                return seen
            self._clock.advance(1)
        raise AssertionError(f"still: {seen}")
