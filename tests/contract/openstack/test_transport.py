"""What becomes of volumes that hold disk images: the fake and the real Cinder alike, on rbd and on nfs.

docs/transport.md tells the whole table; here are those that differ from each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from cinderbank.domain.facts import GIB, VolumeFacts, VolumeId
from tests.contract.openstack.conftest import ROOT
from tests.contract.openstack.site import FakeSite, RealSite, Site, volume_of

pytestmark = pytest.mark.timeout(300)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
HALF = 512 << 20
TEXT = "text"
QCOW2 = "qcow2 of 512 MiB: data"
BACKED = "qcow2-backed of 512 MiB: data"
LUKS = "luks of 512 MiB: data"

UPLOADS: list[tuple[str, str, str, int | None]] = [
    ("rbd", "qcow2", TEXT, GIB),
    ("rbd", "qcow2", QCOW2, HALF),
    ("rbd", "qcow2", BACKED, None),
    ("rbd", "qcow2", LUKS, None),
    ("rbd", "vdi", TEXT, GIB),
    ("rbd", "vdi", QCOW2, HALF),
    ("rbd", "vdi", BACKED, None),
    ("rbd", "vdi", LUKS, None),
    ("rbd", "raw", QCOW2, GIB),
    ("rbd", "raw", BACKED, None),
    ("nfs", "vdi", TEXT, GIB),
    ("nfs", "vdi", QCOW2, HALF),
    ("nfs", "qcow2", QCOW2, HALF),
    ("nfs", "qcow2", LUKS, None),
    ("nfs", "raw", QCOW2, HALF),
    ("nfs", "raw", BACKED, None),
    ("nfs", "raw", LUKS, GIB),
]
"""Back end, disk_format, content: the size of the disk in the image; None: the image vanishes."""

VOLUMES: list[tuple[str, str, str, bool | None]] = [
    ("rbd", "qcow2", QCOW2, True),
    ("rbd", "raw", QCOW2, None),
    ("rbd", "raw", LUKS, True),
    ("nfs", "qcow2", TEXT, True),
    ("nfs", "qcow2", QCOW2, False),
    ("nfs", "qcow2", LUKS, None),
    ("nfs", "raw", LUKS, None),
]
"""Back end, disk_format, content: whether a volume that is made of such an image holds its bytes; None:
it goes into an error, and Cinder says nothing."""


class Places:
    """Sites by their back end, and the volumes that were made there."""

    def __init__(self, sites: dict[str, Site]) -> None:
        self.sites = sites
        self._volumes: dict[tuple[str, str], VolumeId] = {}

    def volume_holding(self, backend: str, content: str) -> VolumeId:
        key = (backend, content)
        if key not in self._volumes:
            self._volumes[key] = self.sites[backend].volume_holding(content)
        return self._volumes[key]


@pytest.fixture(scope="module", params=["fake", "real"])
def places(request: pytest.FixtureRequest) -> Iterator[Places]:
    if request.param == "fake":
        yield Places({backend: FakeSite(backend) for backend in ("rbd", "nfs")})
        return
    clouds_yaml = request.getfixturevalue("clouds_yaml")
    letters = json.loads((ROOT / ".rig" / "backends.json").read_text())
    with ExitStack() as stack:
        sites: dict[str, Site] = {}
        for letter, backend in letters.items():
            export = ROOT / ".rig" / f"site-{letter}" / "export" if backend == "nfs" else None
            site = RealSite(clouds_yaml, letter, export)
            stack.callback(site.close)
            sites[backend] = site
        yield Places(sites)


@pytest.mark.parametrize(("backend", "disk_format", "content", "size_bytes"), UPLOADS)
def test_the_disk_in_the_image_tells_whether_it_is_the_volume(
    places: Places, backend: str, disk_format: str, content: str, size_bytes: int | None
) -> None:
    site, volume_id = places.sites[backend], places.volume_holding(backend, content)
    name = f"{site.run}-{uuid4().hex[:8]}"
    site.cinder.upload_to_image(volume_id, image_name=name, disk_format=disk_format)
    site.until(
        lambda: site.cinder.find_volume(volume_id),
        lambda it: it is not None and it.status == "available",
    )
    images = site.glance.images_named(name)
    if size_bytes is None:
        assert list(images) == []
        (message, *_) = site.cinder.messages(volume_id, since=LONG_AGO)
        assert message.event_id.endswith("_003_004")
        return
    (image,) = images
    assert (image.status, image.disk_format) == ("active", disk_format)
    assert image.virtual_size_bytes == size_bytes
    assert (image.size_bytes == size_bytes) is (disk_format == "raw")
    site.glance.delete_image(image.id)


@pytest.mark.parametrize(("backend", "disk_format", "content", "exact"), VOLUMES)
def test_what_becomes_of_a_volume_of_an_image(
    places: Places, backend: str, disk_format: str, content: str, exact: bool | None
) -> None:
    site = places.sites[backend]
    image = site.glance.create_image(name=f"{site.run}-{disk_format}", disk_format=disk_format)
    site.fill(image, content)
    made = volume_of(site, image.id)

    def look() -> VolumeFacts | None:
        return site.cinder.find_volume(made.id)

    facts = site.until(look, lambda it: it is not None and it.status in ("available", "error"))
    assert facts is not None and facts.status == ("error" if exact is None else "available")
    if exact is None:
        assert list(site.cinder.messages(made.id, since=LONG_AGO)) == []
    else:
        assert site.still_holds(made.id, content) in (None, exact)
    site.cinder.delete_volume(made.id)
