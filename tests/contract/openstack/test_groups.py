"""ports.groups.Groups: the fake and the real one, whose way with groups docs/groups.md tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cinderbank.adapters.openstack.groups import OpenStackGroups
from cinderbank.adapters.openstack.session import connect
from cinderbank.domain.errors import Conflict, SourceGone
from cinderbank.domain.facts import SnapshotFacts, VolumeId
from cinderbank.domain.policy.group import GroupSnapshotFacts
from cinderbank.ports.groups import Groups
from tests.contract.openstack.site import FakeSite, RealSite, Site
from tests.fakes.groups import FakeGroups
from tests.stage.cloud import Cloud

NO_ID = "11111111-1111-4111-8111-111111111111"


@dataclass
class Bench:
    groups: Groups
    site: Site
    group_id: str
    members: list[VolumeId]

    def snapshot(self, name: str) -> GroupSnapshotFacts:
        """One that is available."""
        made = self.groups.create_group_snapshot(self.group_id, name=name, description="of a test")
        found = self.site.until(
            lambda: self.groups.group_snapshots_named(name),
            lambda it: len(it) == 1 and it[0].status == "available",
        )
        assert found[0].id == made
        assert found[0].group_id == self.group_id
        return found[0]

    def members_of(self, found: GroupSnapshotFacts) -> list[SnapshotFacts]:
        return sorted(self.groups.members(found), key=lambda each: each.volume_id)

    def delete(self, found: GroupSnapshotFacts) -> None:
        self.groups.delete_group_snapshot(found.id)
        self.site.until(
            lambda: self.groups.group_snapshots_named(found.name), lambda it: len(it) == 0
        )


@pytest.fixture(scope="module")
def fake_bench() -> Bench:
    site = FakeSite()
    members = [site.blank_volume() for _ in range(2)]
    groups = FakeGroups(site.cloud, [str(each) for each in members])
    return Bench(groups, site, groups.group_id, members)


@pytest.fixture(scope="module")
def cloud(clouds_yaml: Path) -> Iterator[Cloud]:
    os.environ.setdefault("OS_CLIENT_CONFIG_FILE", str(clouds_yaml))
    found = Cloud(clouds_yaml, "a")
    yield found
    found.connection.close()


@pytest.fixture(scope="module")
def real_bench(real_site: RealSite, cloud: Cloud) -> Iterator[Bench]:
    members = [real_site.blank_volume() for _ in range(2)]
    group_id = cloud.make_group(real_site.run, "one-moment", [str(each) for each in members])
    groups = OpenStackGroups(real_site.connection)
    yield Bench(groups, real_site, group_id, members)
    real_site.until(lambda: _left(cloud, groups, group_id), lambda it: not it)
    cloud.delete_group(group_id)


def _left(cloud: Cloud, groups: Groups, group_id: str) -> list[str]:
    """Of a test that failed: Cinder deletes no group that has snapshots."""
    path = "/group_snapshots/detail"
    rows = cloud.connection.block_storage.get(path, microversion="3.14").json()["group_snapshots"]
    left = [each["id"] for each in rows if each["group_id"] == group_id]
    for each in rows:
        if each["id"] in left and each["status"] in ("available", "error"):
            groups.delete_group_snapshot(each["id"])
    return left


@pytest.fixture(params=["fake", "real"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return request.getfixturevalue(f"{request.param}_bench")


def test_a_group_and_its_volumes(bench: Bench) -> None:
    found = bench.groups.find_group(bench.group_id)
    assert found is not None
    assert found.status == "available"
    assert set(found.volume_ids) == set(bench.members)
    assert bench.groups.find_group(NO_ID) is None


def test_a_snapshot_its_members_and_its_end(bench: Bench) -> None:
    found = bench.snapshot(f"{bench.site.run}-whole")
    members = bench.members_of(found)
    assert [each.volume_id for each in members] == sorted(bench.members)
    assert {each.status for each in members} == {"available"}
    assert {each.name for each in members} == {found.name}
    assert [bench.site.cinder.find_snapshot(each.id) for each in members] == members
    bench.delete(found)
    assert list(bench.groups.members(found)) == []
    assert [bench.site.cinder.find_snapshot(each.id) for each in members] == [None, None]
    bench.groups.delete_group_snapshot(found.id)


def test_a_member_goes_only_with_its_group_snapshot(bench: Bench) -> None:
    found = bench.snapshot(f"{bench.site.run}-member")
    member = bench.members_of(found)[0]
    with pytest.raises(Conflict, match="part of a group"):
        bench.site.cinder.delete_snapshot(member.id)
    bench.delete(found)


def test_what_hangs_on_a_member_is_seen(bench: Bench) -> None:
    found = bench.snapshot(f"{bench.site.run}-clone")
    members = bench.members_of(found)
    assert list(bench.groups.volumes_of(members)) == []
    made = bench.site.cinder.create_volume_from_snapshot(
        members[0], name=f"{bench.site.run}-of-member", description="", metadata={}
    )
    bench.site.until(
        lambda: bench.site.cinder.find_volume(made.id),
        lambda it: it is not None and it.status == "available",
    )
    assert [each.id for each in bench.groups.volumes_of(members)] == [made.id]
    assert list(bench.groups.volumes_of(members[1:])) == []
    bench.site.cinder.delete_volume(made.id)
    bench.site.until(lambda: bench.groups.volumes_of(members), lambda it: len(it) == 0)
    bench.delete(found)


def test_names_are_compared_whole(bench: Bench) -> None:
    found = bench.snapshot(f"{bench.site.run}-name")
    assert list(bench.groups.group_snapshots_named(f"{bench.site.run}-nam")) == []
    bench.delete(found)


def test_no_such_group(bench: Bench) -> None:
    with pytest.raises(SourceGone):
        bench.groups.create_group_snapshot(NO_ID, name="none", description="")
    bench.groups.delete_group_snapshot(NO_ID)


def test_who_is_shown_what_a_group_type_promises(
    real_bench: Bench, cloud: Cloud, clouds_yaml: Path
) -> None:
    """Why spec.group.consistency knows Declared."""
    answer = cloud.connection.block_storage.get("/group_types", microversion="3.11")
    types = {each["name"]: each["id"] for each in answer.json()["group_types"]}
    assert real_bench.groups.promises_one_moment(types["one-moment"]) is None
    assert real_bench.groups.promises_one_moment(NO_ID) is None
    admin = connect(clouds_yaml, "a-admin", cacert=None)
    try:
        groups = OpenStackGroups(admin)
        assert groups.promises_one_moment(types["one-moment"]) is True
        assert groups.promises_one_moment(types["one-by-one"]) is False
    finally:
        admin.close()
