"""What every ports.cinder.Cinder keeps: the engine's fake and the real thing alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from cinderbank.domain.errors import Conflict, InvalidSpec, SourceGone
from cinderbank.domain.facts import ImageId, SnapshotFacts, SnapshotId, VolumeFacts, VolumeId
from tests.contract.openstack.site import Site

TAG = "contract.cinderbank.io/tag"


def nobody() -> str:
    return str(uuid4())


@pytest.fixture(scope="module")
def source(site: Site) -> VolumeFacts:
    """An available blank volume that the module shares."""
    facts = site.cinder.find_volume(site.blank_volume())
    assert facts is not None
    return facts


@pytest.fixture(scope="module")
def snapshot(site: Site, source: VolumeFacts) -> SnapshotFacts:
    """An available snapshot of the source, tagged with the run."""
    made = site.cinder.create_snapshot(
        source.id, name=f"{site.run}-snapshot", description="contract", metadata={TAG: site.run}
    )
    return snapshot_until(site, made.id, site.run, "available")


def snapshot_until(site: Site, snapshot_id: SnapshotId, tag: str, status: str) -> SnapshotFacts:
    def mine() -> list[SnapshotFacts]:
        return [it for it in site.cinder.snapshots_tagged(TAG, tag) if it.id == snapshot_id]

    return site.until(mine, lambda found: bool(found) and found[0].status == status)[0]


def volume_until(site: Site, volume_id: VolumeId, status: str) -> VolumeFacts:
    facts = site.until(
        lambda: site.cinder.find_volume(volume_id),
        lambda it: it is not None and it.status == status,
    )
    assert facts is not None
    return facts


class TestReads:
    def test_a_volume_is_found_with_its_facts(self, source: VolumeFacts) -> None:
        assert (source.status, source.size_gib) == ("available", 1)
        assert not source.bootable
        assert not source.encrypted
        assert source.image_metadata == {}
        assert source.created_at is not None
        assert source.created_at.utcoffset() == timedelta(0)

    def test_what_is_not_there_is_none(self, site: Site) -> None:
        assert site.cinder.find_volume(VolumeId(nobody())) is None

    def test_names_are_exact(self, site: Site, source: VolumeFacts) -> None:
        assert source.id in [it.id for it in site.cinder.volumes_named(source.name)]
        assert source.id in [it.id for it in site.cinder.volumes()]
        assert list(site.cinder.volumes_named(source.name[:-1])) == []

    def test_no_volume_has_a_tag_that_none_was_given(self, site: Site, source: VolumeFacts) -> None:
        assert list(site.cinder.volumes_tagged(TAG, nobody())) == []
        assert list(site.cinder.snapshots_tagged(TAG, nobody())) == []

    def test_a_resource_without_messages_has_none(self, site: Site, source: VolumeFacts) -> None:
        since = datetime.now(UTC) - timedelta(days=1)
        assert list(site.cinder.messages(source.id, since=since)) == []

    def test_a_volume_s_type_and_zone_are_among_what_the_project_may_use(
        self, site: Site, source: VolumeFacts
    ) -> None:
        types = site.cinder.volume_types()
        assert source.volume_type in [each.name for each in types]
        assert len({each.id for each in types}) == len(types)
        zones = site.cinder.availability_zones()
        assert zones is not None
        assert source.availability_zone in zones

    def test_the_quota_that_is_left(self, site: Site, source: VolumeFacts) -> None:
        left = site.cinder.quota_left()
        assert left is not None
        assert left.volumes is None or left.volumes > 0
        assert left.gib is None or left.gib > 0


class TestSnapshots:
    def test_it_is_found_by_its_tag(
        self, site: Site, source: VolumeFacts, snapshot: SnapshotFacts
    ) -> None:
        assert snapshot.volume_id == source.id
        assert snapshot.size_gib == source.size_gib
        assert [it.id for it in site.cinder.snapshots_tagged(TAG, site.run)] == [snapshot.id]

    def test_a_volume_in_use_is_snapshot_as_well(self, site: Site) -> None:
        volume_id = site.blank_volume()
        site.attach(volume_id)
        tag = nobody()
        try:
            assert volume_until(site, volume_id, "in-use")
            made = site.cinder.create_snapshot(
                volume_id, name=f"{site.run}-in-use", description="", metadata={TAG: tag}
            )
            snapshot_until(site, made.id, tag, "available")
        finally:
            site.detach(volume_id)
        with pytest.raises(Conflict):
            site.cinder.delete_volume(volume_id)  # it has a snapshot
        site.cinder.delete_snapshot(made.id)
        site.until(lambda: site.cinder.snapshots_tagged(TAG, tag), lambda found: not found)
        site.cinder.delete_snapshot(made.id)
        site.cinder.delete_volume(volume_id)

    def test_no_snapshot_of_what_is_not_there(self, site: Site) -> None:
        with pytest.raises(SourceGone):
            site.cinder.create_snapshot(
                VolumeId(nobody()), name=f"{site.run}-none", description="", metadata={}
            )


class TestVolumeFromSnapshot:
    def test_it_is_made_found_and_deleted(self, site: Site, snapshot: SnapshotFacts) -> None:
        tag = nobody()
        made = site.cinder.create_volume_from_snapshot(
            snapshot, name=f"{site.run}-clone", description="of a snapshot", metadata={TAG: tag}
        )
        facts = volume_until(site, made.id, "available")
        assert facts.snapshot_id == snapshot.id
        assert facts.size_gib == snapshot.size_gib
        assert facts.description == "of a snapshot"
        assert facts.metadata[TAG] == tag
        assert [it.id for it in site.cinder.volumes_tagged(TAG, tag)] == [made.id]
        site.cinder.delete_volume(made.id)
        site.until(lambda: site.cinder.find_volume(made.id), lambda it: it is None)
        site.cinder.delete_volume(made.id)
        assert list(site.cinder.volumes_tagged(TAG, tag)) == []

    def test_not_of_a_snapshot_that_is_gone(self, site: Site, snapshot: SnapshotFacts) -> None:
        gone = SnapshotFacts(
            id=SnapshotId(nobody()),
            name="",
            status="available",
            volume_id=snapshot.volume_id,
            size_gib=1,
        )
        with pytest.raises(SourceGone):
            site.cinder.create_volume_from_snapshot(
                gone, name=f"{site.run}-none", description="", metadata={}
            )


class TestUpload:
    def test_a_volume_becomes_a_private_image(self, site: Site, source: VolumeFacts) -> None:
        name = f"{site.run}-upload"
        image_id = site.cinder.upload_to_image(source.id, image_name=name, disk_format="qcow2")
        with pytest.raises(Conflict):  # it is uploading
            site.cinder.upload_to_image(source.id, image_name=name, disk_format="qcow2")
        assert [it.id for it in site.glance.images_named(name)] == [image_id]
        image = site.until(
            lambda: site.glance.images_named(name)[0],
            lambda it: it.status == "active",
        )
        assert image.disk_format == "qcow2"
        assert image.size_bytes
        volume_until(site, source.id, "available")
        site.glance.delete_image(image_id)

    def test_not_of_a_volume_that_is_gone(self, site: Site) -> None:
        with pytest.raises(SourceGone):
            site.cinder.upload_to_image(
                VolumeId(nobody()), image_name=f"{site.run}-none", disk_format="raw"
            )


class TestVolumeFromImage:
    @pytest.fixture(scope="class")
    @staticmethod
    def image_id(site: Site) -> ImageId:
        image = site.glance.create_image(name=f"{site.run}-image", disk_format="raw")
        site.fill(image)
        return image.id

    def create(
        self, site: Site, image_id: ImageId, *, volume_type: str | None = None, tag: str = ""
    ) -> VolumeFacts:
        return site.cinder.create_volume_from_image(
            image_id,
            name=f"{site.run}-restored",
            description="",
            size_gib=1,
            volume_type=volume_type,
            availability_zone=None,
            metadata={TAG: tag},
        )

    def test_it_is_bootable_until_that_is_put_back(self, site: Site, image_id: ImageId) -> None:
        tag = nobody()
        made = self.create(site, image_id, tag=tag)
        facts = volume_until(site, made.id, "available")
        assert facts.bootable
        assert facts.image_metadata
        assert [it.id for it in site.cinder.volumes_tagged(TAG, tag)] == [made.id]
        for _ in range(2):
            site.cinder.set_bootable(made.id, False)
            site.cinder.delete_image_metadata(made.id, [*facts.image_metadata, "never-there"])
        facts = volume_until(site, made.id, "available")
        assert not facts.bootable
        assert facts.image_metadata == {}
        site.cinder.delete_volume(made.id)

    def test_image_metadata_is_put_back(self, site: Site, image_id: ImageId) -> None:
        """Also an image_id that this cloud does not know: it was the old volume's."""
        made = volume_until(site, self.create(site, image_id).id, "available")
        had = {
            "image_id": nobody(),
            "os_type": "linux",
            "hw_disk_bus": "scsi",
            "a b:c/d.e": "ä" * 300,
        }
        for _ in range(2):
            site.cinder.set_image_metadata(made.id, had)
        foreign = [key for key in made.image_metadata if key not in had]
        site.cinder.delete_image_metadata(made.id, foreign)
        facts = volume_until(site, made.id, "available")
        assert facts.image_metadata == had
        assert facts.bootable
        site.cinder.delete_volume(made.id)

    def test_an_image_without_data_is_a_conflict(self, site: Site) -> None:
        image = site.glance.create_image(name=f"{site.run}-queued", disk_format="raw")
        with pytest.raises(Conflict):
            self.create(site, image.id)

    def test_an_image_that_is_gone(self, site: Site) -> None:
        with pytest.raises(SourceGone):
            self.create(site, ImageId(nobody()))

    def test_an_unknown_type_is_the_users_to_mend(self, site: Site, image_id: ImageId) -> None:
        with pytest.raises(InvalidSpec, match="no-such-type"):
            self.create(site, image_id, volume_type="no-such-type")

    def test_what_is_gone_cannot_be_changed(self, site: Site) -> None:
        with pytest.raises(SourceGone):
            site.cinder.set_image_metadata(VolumeId(nobody()), {"os_type": "linux"})
        with pytest.raises(SourceGone):
            site.cinder.set_bootable(VolumeId(nobody()), True)
        with pytest.raises(SourceGone):
            site.cinder.delete_image_metadata(VolumeId(nobody()), ["image_id"])


def test_deleting_what_is_not_there_is_done_already(site: Site) -> None:
    site.cinder.delete_volume(VolumeId(nobody()))
    site.cinder.delete_snapshot(SnapshotId(nobody()))
