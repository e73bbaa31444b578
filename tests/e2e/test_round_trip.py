"""What was backed up at one site comes back at the other, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cinderbank.domain.catalog import PointKey, point_name
from cinderbank.domain.facts import VolumeId
from tests.e2e.conftest import Running, Scene, make_scene
from tests.stage.cloud import GIB, Content, until
from tests.stage.namespace import Namespace, condition
from tests.stage.site import Site, Stage, backup, restore
from tests.stage.transfer_memory import TransferMemory

pytestmark = pytest.mark.timeout(2400)


@dataclass(frozen=True)
class Case:
    content: Content
    attached: bool = False
    home: str = "a"


CASES = {
    "zero": Case(Content(size_gib=1, used_mib=0)),
    "random": Case(Content(size_gib=1, used_mib=1024)),
    "half": Case(Content(size_gib=1, used_mib=512, seed=2)),
    "in-use": Case(Content(size_gib=1, used_mib=64, seed=3), attached=True),
    "five": Case(Content(size_gib=5, used_mib=200, seed=4)),
    "homeward": Case(Content(size_gib=1, used_mib=300, seed=5), home="b"),
}


@dataclass
class Trip:
    """One volume on its way: where it is from and where it goes."""

    source: Site
    target: Site
    here: Namespace
    there: Namespace
    volume_id: str


@pytest.fixture(scope="module")
def memory() -> Iterator[TransferMemory]:
    watching = TransferMemory()
    watching.start()
    yield watching
    watching.stop()


@pytest.fixture(scope="module")
def trips(
    stage: Stage, a: Running, b: Running, memory: TransferMemory
) -> Iterator[dict[str, Trip]]:
    """All volumes made and all backups asked for at once: they run side by side."""
    scene = make_scene(stage, a, b, "round-trip")
    found = {}
    for name, case in CASES.items():
        ends = [(a.site, scene.at_a), (b.site, scene.at_b)]
        (source, here), (target, there) = ends if case.home == "a" else reversed(ends)
        volume_id = source.cloud.make_volume(name, case.content)
        if case.attached:
            source.cloud.attach(volume_id)
        here.apply(backup(name, source={"volumeID": volume_id}))
        found[name] = Trip(source, target, here, there, volume_id)
    yield found
    for name, trip in found.items():
        if CASES[name].attached:
            trip.source.cloud.detach(trip.volume_id)
            until(
                lambda t=trip: t.source.cloud.volume(t.volume_id).status == "available",  # type: ignore[misc]
                240,
                name,
            )
        trip.source.cloud.delete_volume(trip.volume_id)


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_are_equal(name: str, trips: dict[str, Trip]) -> None:
    trip = trips[name]
    done = trip.here.wait_phase("volumebackup", name, "Completed", seconds=1200)
    assert done["status"]["progress"]["percent"] == 100
    assert done["status"]["temporaries"] == []

    trip.there.apply(restore(name, backup_id=done["status"]["backupID"]))
    back = trip.there.wait_phase("volumerestore", name, "Completed", seconds=1200)
    volume_id = back["status"]["volumeID"]
    volume = trip.target.cloud.volume(volume_id)
    assert (volume.status, volume.size, volume.name) == (
        "available",
        CASES[name].content.size_gib,
        name,
    )
    assert volume.metadata["owner"] == "stage"
    assert trip.target.volume_sha256(volume_id) == trip.source.volume_sha256(trip.volume_id)
    trip.target.cloud.delete_volume(volume_id)


def test_each_site_shows_what_either_has_written(trips: dict[str, Trip]) -> None:
    """A person at the other site finds the backup among its RecoveryPoints."""
    sooner = '{"spec":{"catalog":{"interval":"5s"}}}'
    for trip in trips.values():
        trip.there.run("patch", "bank", "main", "--type=merge", "-p", sooner)
    for name, trip in trips.items():
        done = trip.here.get("vbk", name)
        assert done is not None
        site, backup_id = f"site-{trip.source.letter}", done["status"]["backupID"]
        point = point_name("main", PointKey(site, backup_id, VolumeId(trip.volume_id)))
        shown = trip.there.wait(
            "rp", point, lambda o: condition(o, "Ready")["status"] == "True", seconds=240
        )
        assert shown["status"]["backupName"] == name
        assert shown["status"]["snapshotTime"] == done["status"]["snapshotTime"]
        assert shown["status"]["dataBytes"] <= CASES[name].content.size_gib * GIB


def test_nothing_temporary_is_left(trips: dict[str, Trip]) -> None:
    """Runs after the trips: pytest keeps the order of a module."""
    for trip in trips.values():
        assert trip.source.cloud.temporaries() == []
        assert trip.target.cloud.temporaries() == []


@pytest.mark.parametrize("kind", ["backup", "restore"])
def test_memory_does_not_follow_the_volume(kind: str, memory: TransferMemory) -> None:
    """1 GiB against 5 GiB, as seen while the trips ran."""
    small, large = memory.peaks_kib[kind, GIB], memory.peaks_kib[kind, 5 * GIB]
    print(f"peak of a {kind}: {small >> 10} MiB for 1 GiB, {large >> 10} MiB for 5 GiB")
    assert max(small, large) <= 150 << 10, "what transfer/ states, whatever the size"


def test_deletion_policy(scene: Scene, a: Running) -> None:
    """Retain keeps the bank's data when the object goes; Delete takes it out of the bank."""
    volume_id = a.site.cloud.make_volume("kept", Content(size_gib=1, used_mib=8))
    for name, policy in (("retained", "Retain"), ("deleted", "Delete")):
        spec = {"deletionPolicy": policy, "incremental": "Full"}  # so that neither lends chunks
        scene.at_a.apply(backup(name, source={"volumeName": "kept"}, **spec))
    ids = {
        name: scene.at_a.wait_phase("vbk", name, "Completed", seconds=900)["status"]["backupID"]
        for name in ("retained", "deleted")
    }
    for name in ids:
        scene.at_a.delete("vbk", name)
    for name in ids:
        scene.at_a.wait_gone("vbk", name, seconds=900)
    keys = scene.bucket.keys(scene.prefix)
    assert any("seals/" + ids["retained"] in key for key in keys)
    left = [key for key in keys if ids["deleted"] in key and "/tombs/" not in key]
    assert left == []
    a.site.cloud.delete_volume(volume_id)
