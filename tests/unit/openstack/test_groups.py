"""Groups of a cloud that answers as it is told; the real one is the contract ring's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cinderbank.adapters.openstack.cinder import OpenStackCinder
from cinderbank.adapters.openstack.groups import OpenStackGroups
from cinderbank.domain import errors as ours
from cinderbank.domain.facts import SnapshotFacts, SnapshotId, VolumeId
from cinderbank.domain.policy.group import GroupSnapshotFacts
from tests.unit.openstack.cloud import PROJECT, Answer, Cloud, Silence
from tests.unit.openstack.conftest import Connect
from tests.unit.openstack.test_cinder import ID, OTHER, SNAPSHOT, VOLUME

THIRD = "cccccccc-1111-4222-8333-444444444444"
GROUP: dict[str, Any] = {
    "id": ID,
    "name": "shop",
    "status": "available",
    "group_type": OTHER,
    "volumes": [THIRD, OTHER],
}
GROUP_SNAPSHOT: dict[str, Any] = {
    "id": OTHER,
    "name": "cinderbank-x",
    "status": "creating",
    "group_id": ID,
    "created_at": "2026-11-23T07:20:27.000000",
}
FACTS = GroupSnapshotFacts(OTHER, "cinderbank-x", "creating", ID, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def groups(connect_to: Connect) -> OpenStackGroups:
    return OpenStackGroups(connect_to())


def version_of(cloud: Cloud, method: str, ending: str) -> str:
    return cloud.asked(method, ending)[-1].headers["OpenStack-API-Version"]


def test_a_group(cloud: Cloud, groups: OpenStackGroups) -> None:
    cloud.cinder("GET", f"/groups/{ID}", Answer(body={"group": GROUP}))
    found = groups.find_group(ID)
    assert found is not None
    assert (found.id, found.status, found.group_type_id) == (ID, "available", OTHER)
    assert found.volume_ids == (OTHER, THIRD)
    assert cloud.asked("GET", f"/groups/{ID}")[0].query == {"list_volume": "true"}
    assert version_of(cloud, "GET", f"/groups/{ID}") == "volume 3.25"


def test_no_group(groups: OpenStackGroups) -> None:
    assert groups.find_group(ID) is None
    assert groups.find_group("../volumes") is None


@pytest.mark.parametrize(
    "odd",
    [
        {"group": None},
        {"group": GROUP | {"volumes": "all"}},
        {"group": GROUP | {"volumes": ["../x"]}},
        {"group": GROUP | {"volumes": [ID] * 1025}},
        {"group": GROUP | {"status": ""}},
        {"group": GROUP | {"group_type": 7}},
    ],
)
def test_an_odd_group_is_not_believed(cloud: Cloud, groups: OpenStackGroups, odd: object) -> None:
    cloud.cinder("GET", f"/groups/{ID}", Answer(body=odd))
    with pytest.raises(ours.Unavailable) as refused:
        groups.find_group(ID)
    assert refused.value.reason == "UnexpectedAnswer"


@pytest.mark.parametrize(
    ("answer", "promised"),
    [
        (Answer(body={"group_type": {"id": ID, "name": "a"}}), None),
        (Answer(body={"group_type": {"id": ID, "group_specs": {}}}), False),
        (
            Answer(
                body={"group_type": {"group_specs": {"consistent_group_snapshot_enabled": "True"}}}
            ),
            False,
        ),
        (
            Answer(
                body={
                    "group_type": {
                        "group_specs": {"consistent_group_snapshot_enabled": "<is> True"}
                    }
                }
            ),
            True,
        ),
        (Answer(404), None),
        (Answer(403), None),
        (Answer(406), None),
    ],
)
def test_what_a_type_promises(
    cloud: Cloud, groups: OpenStackGroups, answer: Answer, promised: bool | None
) -> None:
    cloud.cinder("GET", f"/group_types/{ID}", answer)
    assert groups.promises_one_moment(ID) is promised


def test_group_snapshots_by_name(cloud: Cloud, groups: OpenStackGroups) -> None:
    """Filtered again: a cloud may have taken the filter out."""
    rows = [GROUP_SNAPSHOT, GROUP_SNAPSHOT | {"id": THIRD, "name": "cinderbank-xy"}]
    cloud.cinder("GET", "/group_snapshots/detail", Answer(body={"group_snapshots": rows}))
    [found] = groups.group_snapshots_named("cinderbank-x")
    assert (found.id, found.status, found.group_id) == (OTHER, "creating", ID)
    assert found.created_at == datetime(2026, 11, 23, 7, 20, 27, tzinfo=UTC)
    assert cloud.asked("GET", "/detail")[0].query == {"name": "cinderbank-x"}
    assert version_of(cloud, "GET", "/detail") == "volume 3.29"


def test_members(cloud: Cloud, groups: OpenStackGroups) -> None:
    """Somebody else's snapshot of that name is none of them."""
    rows = [SNAPSHOT | {"group_snapshot_id": OTHER}, SNAPSHOT | {"id": THIRD}]
    cloud.cinder("GET", "/snapshots/detail", Answer(body={"snapshots": rows}))
    assert [each.id for each in groups.members(FACTS)] == [SNAPSHOT["id"]]
    assert cloud.asked("GET", "/detail")[0].query == {"name": "cinderbank-x"}


def test_volumes_that_hang_on_members(cloud: Cloud, groups: OpenStackGroups) -> None:
    rows = [VOLUME, VOLUME | {"id": THIRD, "snapshot_id": OTHER}]
    cloud.cinder("GET", "/volumes/detail", Answer(body={"volumes": rows}))
    member = SnapshotFacts(SnapshotId(OTHER), "s", "available", VolumeId(ID), 1)
    assert [each.id for each in groups.volumes_of([member])] == [THIRD]


def test_create(cloud: Cloud, groups: OpenStackGroups) -> None:
    made = {"group_snapshot": {"id": OTHER, "name": "n", "group_type_id": ID}}
    cloud.cinder("POST", "/group_snapshots", Answer(202, made))
    assert groups.create_group_snapshot(ID, name="n", description="d") == OTHER
    [asked] = cloud.asked("POST", "/group_snapshots")
    assert asked.json == {"group_snapshot": {"group_id": ID, "name": "n", "description": "d"}}
    assert version_of(cloud, "POST", "/group_snapshots") == "volume 3.14"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(413, {"overLimit": {"message": "SnapshotLimitExceeded"}}), ours.OverQuota),
        (Answer(404), ours.SourceGone),
        (Answer(202, {}), ours.OutcomeUnknown),
        (Answer(500), ours.OutcomeUnknown),
        (
            Answer(400, {"badRequest": {"message": "volume is in error status."}}),
            ours.Conflict,
        ),
    ],
)
def test_create_refused(
    cloud: Cloud, groups: OpenStackGroups, answer: Answer, error: type[Exception]
) -> None:
    cloud.cinder("POST", "/group_snapshots", answer)
    with pytest.raises(error):
        groups.create_group_snapshot(ID, name="n", description="")


def test_create_without_an_answer(cloud: Cloud, connect_to: Connect) -> None:
    cloud.cinder("POST", "/group_snapshots", Silence())
    groups = OpenStackGroups(connect_to(read_seconds=0.3))
    with pytest.raises(ours.OutcomeUnknown):
        groups.create_group_snapshot(ID, name="n", description="")


def test_delete(cloud: Cloud, groups: OpenStackGroups) -> None:
    path = f"/group_snapshots/{ID}"
    cloud.cinder("DELETE", path, Answer(202), Answer(404), Answer(400))
    groups.delete_group_snapshot(ID)
    groups.delete_group_snapshot(ID)
    with pytest.raises(ours.Conflict):
        groups.delete_group_snapshot(ID)
    with pytest.raises(ours.InvalidSpec):
        groups.delete_group_snapshot("../volumes")


class TestFindSnapshot:
    def test_ours(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        owned = SNAPSHOT | {"os-extended-snapshot-attributes:project_id": PROJECT}
        cloud.cinder("GET", f"/snapshots/{OTHER}", Answer(body={"snapshot": owned}))
        found = cinder.find_snapshot(SnapshotId(OTHER))
        assert found is not None
        assert (found.volume_id, found.size_gib, found.status) == (ID, 7, "available")

    def test_of_another_project(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        """Which an administrator is shown."""
        owned = SNAPSHOT | {"os-extended-snapshot-attributes:project_id": "f" * 32}
        cloud.cinder("GET", f"/snapshots/{OTHER}", Answer(body={"snapshot": owned}))
        assert cinder.find_snapshot(SnapshotId(OTHER)) is None

    @pytest.mark.parametrize("odd", ["detail", "..", f"{ID}?x", ""])
    def test_none(self, cloud: Cloud, cinder: OpenStackCinder, odd: str) -> None:
        assert cinder.find_snapshot(SnapshotId(ID)) is None
        asked = len(cloud.requests)
        assert cinder.find_snapshot(SnapshotId(odd)) is None
        assert len(cloud.requests) == asked
