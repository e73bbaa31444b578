from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cinderbank.adapters.openstack.cinder import OpenStackCinder
from cinderbank.domain import errors as ours
from cinderbank.domain.facts import (
    ImageId,
    QuotaLeft,
    SnapshotFacts,
    SnapshotId,
    VolumeId,
    VolumeTypeFacts,
)
from tests.unit.openstack.cloud import PROJECT, REQUEST_ID, Answer, Cloud, Reset, Silence
from tests.unit.openstack.conftest import Connect

ID = "aaaaaaaa-1111-4222-8333-444444444444"
OTHER = "bbbbbbbb-1111-4222-8333-444444444444"
VOLUME: dict[str, Any] = {
    "id": ID,
    "name": "db",
    "description": None,
    "status": "in-use",
    "size": 7,
    "volume_type": "fast",
    "availability_zone": "nova",
    "bootable": "true",
    "encrypted": False,
    "snapshot_id": None,
    "created_at": "2026-11-22T10:00:00.000123",
    "metadata": {"k": "v"},
    "volume_image_metadata": {"image_name": "cirros"},
    "os-vol-tenant-attr:tenant_id": PROJECT,
}
SNAPSHOT: dict[str, Any] = {
    "id": OTHER,
    "name": "s",
    "status": "available",
    "volume_id": ID,
    "size": 7,
    "created_at": "2026-11-22T10:00:00",
    "metadata": {"k": "v"},
}
SNAPSHOT_FACTS = SnapshotFacts(
    id=SnapshotId(OTHER), name="s", status="available", volume_id=VolumeId(ID), size_gib=7
)


def create(cinder: OpenStackCinder) -> None:
    cinder.create_volume_from_snapshot(SNAPSHOT_FACTS, name="n", description="", metadata={})


class TestFindVolume:
    def test_facts(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        cloud.cinder("GET", f"/volumes/{ID}", Answer(body={"volume": VOLUME}))
        facts = cinder.find_volume(VolumeId(ID))
        assert facts is not None
        assert (facts.name, facts.status, facts.size_gib, facts.description) == (
            "db",
            "in-use",
            7,
            "",
        )
        assert (facts.bootable, facts.encrypted, facts.snapshot_id) == (True, False, None)
        assert facts.created_at == datetime(2026, 11, 22, 10, 0, 0, 123, tzinfo=UTC)
        assert facts.image_metadata == {"image_name": "cirros"}

    def test_gone(self, cinder: OpenStackCinder) -> None:
        assert cinder.find_volume(VolumeId(ID)) is None

    @pytest.mark.parametrize("odd", ["detail", "..", "a/b", f"{ID}?x", "", "ä"])
    def test_what_is_no_id_is_not_asked_for(
        self, cloud: Cloud, cinder: OpenStackCinder, odd: str
    ) -> None:
        asked = len(cloud.requests)
        assert cinder.find_volume(VolumeId(odd)) is None
        assert len(cloud.requests) == asked

    def test_another_projects(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        theirs = VOLUME | {"os-vol-tenant-attr:tenant_id": "f" * 32}
        cloud.cinder("GET", f"/volumes/{ID}", Answer(body={"volume": theirs}))
        assert cinder.find_volume(VolumeId(ID)) is None

    def test_a_404_of_a_gateway_is_not_gone(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        cloud.cinder(
            "GET", f"/volumes/{ID}", Answer(404, b"<h1>no backend</h1>", from_service=False)
        )
        with pytest.raises(ours.Unavailable):
            cinder.find_volume(VolumeId(ID))

    def test_one_connection_that_breaks_is_got_over(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        cloud.cinder("GET", f"/volumes/{ID}", Reset(), Answer(body={"volume": VOLUME}))
        assert cinder.find_volume(VolumeId(ID)) is not None

    def test_half_an_answer_is_none(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        cloud.cinder("GET", f"/volumes/{ID}", Answer(200, b"{}", promised_bytes=99))
        with pytest.raises(ours.Unavailable, match="bytes read"):
            cinder.find_volume(VolumeId(ID))

    def test_retry_after_is_the_callers_to_wait_for(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        """keystoneauth would sleep that long."""
        text = "The server is currently unavailable."
        cloud.cinder(
            "GET", f"/volumes/{ID}", Answer(503, {"message": text}, {"Retry-After": "3000"})
        )
        with pytest.raises(ours.Unavailable, match=text) as refused:
            cinder.find_volume(VolumeId(ID))
        assert refused.value.retry_after_seconds == 3000
        assert refused.value.request_id == REQUEST_ID
        assert len(cloud.asked("GET", ID)) == 1

    def test_a_token_that_is_refused_is_renewed(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        cloud.cinder("GET", f"/volumes/{ID}", Answer(401, {}), Answer(body={"volume": VOLUME}))
        assert cinder.find_volume(VolumeId(ID)) is not None
        assert cloud.tokens == 2

    def test_and_refused_again(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        cloud.cinder("GET", f"/volumes/{ID}", Answer(401, {"error": {"message": "no"}}))
        with pytest.raises(ours.AuthRefused):
            cinder.find_volume(VolumeId(ID))

    @pytest.mark.parametrize(
        "body",
        [
            b"{garbage",
            b"",
            b"[" * 100_000,
            [],
            {},
            {"volume": []},
            {"volume": VOLUME | {"id": "../x"}},
            {"volume": VOLUME | {"size": "7"}},
            {"volume": VOLUME | {"size": -1}},
            {"volume": VOLUME | {"size": True}},
            {"volume": VOLUME | {"size": None}},
            {"volume": VOLUME | {"status": None}},
            {"volume": VOLUME | {"name": "x" * 1_000_000}},
            {"volume": VOLUME | {"created_at": "yesterday"}},
            {"volume": VOLUME | {"bootable": "perhaps"}},
            {"volume": VOLUME | {"metadata": ["k"]}},
            {"volume": VOLUME | {"metadata": {"k": {"deep": 1}}}},
            {"volume": VOLUME | {"metadata": {str(n): "" for n in range(5000)}}},
        ],
    )
    def test_odd_answers(self, cloud: Cloud, cinder: OpenStackCinder, body: Any) -> None:
        cloud.cinder("GET", f"/volumes/{ID}", Answer(body=body))
        with pytest.raises(ours.Unavailable) as refused:
            cinder.find_volume(VolumeId(ID))
        assert refused.value.reason == "UnexpectedAnswer"
        assert len(refused.value.message) < 500


class TestLists:
    def test_tags_are_asked_for_and_looked_at_again(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        older = VOLUME | {"id": OTHER, "created_at": "2025-01-01T00:00:00"}
        untagged = VOLUME | {"metadata": {"k": "w"}}
        cloud.cinder("GET", "/volumes/detail", Answer(body={"volumes": [VOLUME, untagged, older]}))
        assert [it.id for it in cinder.volumes_tagged("k", "v")] == [OTHER, ID]
        request = cloud.asked("GET", "/volumes/detail")[0]
        assert request.query == {"metadata": "{'k': 'v'}"}
        assert "OpenStack-API-Version" not in request.headers

    def test_names_are_exact(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        longer = VOLUME | {"id": OTHER, "name": "db2"}
        cloud.cinder("GET", "/volumes/detail", Answer(body={"volumes": [VOLUME, longer]}))
        assert [it.id for it in cinder.volumes_named("db")] == [ID]
        assert cloud.asked("GET", "/volumes/detail")[0].query == {"name": "db"}

    def test_snapshots(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        untagged = SNAPSHOT | {"metadata": {}}
        cloud.cinder("GET", "/snapshots/detail", Answer(body={"snapshots": [SNAPSHOT, untagged]}))
        (found,) = cinder.snapshots_tagged("k", "v")
        assert (found.id, found.volume_id) == (OTHER, ID)
        request = cloud.asked("GET", "/snapshots/detail")[0]
        assert request.headers["OpenStack-API-Version"] == "volume 3.22"

    def test_pages_go_on_by_marker_whatever_host_the_link_names(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        links = [{"rel": "next", "href": "http://internal.example/volumes?marker=1"}]
        second = VOLUME | {"id": OTHER}
        cloud.cinder(
            "GET",
            "/volumes/detail",
            Answer(body={"volumes": [VOLUME], "volumes_links": links}),
            Answer(body={"volumes": [second]}),
        )
        assert len(cinder.volumes_tagged("k", "v")) == 2
        asked = cloud.asked("GET", "/volumes/detail")
        assert asked[1].query == {"metadata": "{'k': 'v'}", "marker": ID}

    def test_pages_that_go_round_end(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        cloud.cinder(
            "GET",
            "/volumes/detail",
            Answer(body={"volumes": [VOLUME], "volumes_links": [{"rel": "next"}]}),
        )
        with pytest.raises(ours.Unavailable, match="next page"):
            cinder.volumes_tagged("k", "v")


class TestMessages:
    SINCE = datetime(2026, 11, 22, 10, 0, 0, 900_000, tzinfo=UTC)

    def message(self, text: str, second: int, resource_id: str = ID) -> dict[str, Any]:
        return {
            "event_id": "VOLUME_VOLUME_003_004",
            "user_message": text,
            "resource_uuid": resource_id,
            "created_at": f"2026-11-22T10:00:{second:02}",
            "request_id": REQUEST_ID,
        }

    def test_newest_first_of_this_resource_since_then(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        cloud.cinder(
            "GET",
            "/messages",
            Answer(
                body={
                    "messages": [
                        self.message("first", 0),
                        self.message("last", 5),
                        self.message("another's", 6, OTHER),
                        self.message("old", 0) | {"created_at": "2026-11-22T09:59:59.999"},
                    ]
                }
            ),
        )
        found = cinder.messages(ID, since=self.SINCE)
        assert [it.text for it in found] == ["last", "first"]
        request = cloud.asked("GET", "/messages")[0]
        assert request.query["resource_uuid"] == ID
        assert request.headers["OpenStack-API-Version"] == "volume 3.5"

    @pytest.mark.parametrize("status", [403, 404, 406])
    def test_a_cloud_without(self, cloud: Cloud, cinder: OpenStackCinder, status: int) -> None:
        cloud.cinder("GET", "/messages", Answer(status, {}))
        assert cinder.messages(ID, since=self.SINCE) == []


class TestCreates:
    def test_a_snapshot_is_forced_and_tagged(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        cloud.cinder("POST", "/snapshots", Answer(202, {"snapshot": SNAPSHOT}))
        made = cinder.create_snapshot(VolumeId(ID), name="s", description="d", metadata={"k": "v"})
        assert made.id == OTHER
        request = cloud.asked("POST", "/snapshots")[0]
        assert request.json["snapshot"] == {
            "volume_id": ID,
            "name": "s",
            "description": "d",
            "metadata": {"k": "v"},
            "force": True,
        }
        assert request.headers["OpenStack-API-Version"] == "volume 3.22"

    def test_a_volume_of_a_snapshot_has_no_zone(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        cloud.cinder("POST", "/volumes", Answer(202, {"volume": VOLUME | {"status": "creating"}}))
        create(cinder)
        wanted = cloud.asked("POST", "/volumes")[0].json["volume"]
        assert (wanted["snapshot_id"], wanted["size"]) == (OTHER, 7)
        assert "availability_zone" not in wanted

    def test_a_volume_of_an_image(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        cloud.cinder("POST", "/volumes", Answer(202, {"volume": VOLUME}))
        cinder.create_volume_from_image(
            ImageId(OTHER),
            name="n",
            description="",
            size_gib=9,
            volume_type="fast",
            availability_zone="west",
            metadata={"k": "v"},
        )
        wanted = cloud.asked("POST", "/volumes")[0].json["volume"]
        assert (wanted["imageRef"], wanted["size"]) == (OTHER, 9)
        assert (wanted["volume_type"], wanted["availability_zone"]) == ("fast", "west")

    def test_an_upload_is_private_and_not_forced(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        body = {"os-volume_upload_image": {"image_id": OTHER, "status": "uploading"}}
        cloud.cinder("POST", f"/volumes/{ID}/action", Answer(202, body))
        assert cinder.upload_to_image(VolumeId(ID), image_name="i", disk_format="qcow2") == OTHER
        request = cloud.asked("POST", "/action")[0]
        wanted = request.json["os-volume_upload_image"]
        assert (wanted["visibility"], wanted["force"], wanted["disk_format"]) == (
            "private",
            False,
            "qcow2",
        )
        assert request.headers["OpenStack-API-Version"] == "volume 3.1"

    @pytest.mark.parametrize(
        "fault",
        [
            Reset(),
            Answer(202, b"{}", promised_bytes=99),
            Answer(202, b"<html>"),
            Answer(202, {"volume": {}}),
            Answer(500, {}),
            Answer(504, b"gateway", from_service=False),
        ],
    )
    def test_an_answer_that_is_lost_is_told_and_not_sent_again(
        self, cloud: Cloud, cinder: OpenStackCinder, fault: Answer | Reset
    ) -> None:
        cloud.cinder("POST", "/volumes", fault)
        with pytest.raises(ours.OutcomeUnknown):
            create(cinder)
        assert len(cloud.asked("POST", "/volumes")) == 1

    def test_an_answer_that_does_not_come(self, cloud: Cloud, connect_to: Connect) -> None:
        cloud.cinder("GET", "/types", Answer(body={"volume_types": []}))
        cloud.cinder("POST", "/volumes", Silence())
        connection = connect_to()
        cinder = OpenStackCinder(connection)
        cinder.volume_types()  # what has to be found out first has its time
        connection.session.timeout = (5, 0.2)
        with pytest.raises(ours.OutcomeUnknown, match="timed out"):
            create(cinder)
        assert cloud.heard_in_silence.wait(120)
        assert len(cloud.asked("POST", "/volumes")) == 1

    def test_503_says_that_nothing_was_done(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        cloud.cinder("POST", "/volumes", Answer(503, {}))
        with pytest.raises(ours.Unavailable):
            create(cinder)
        assert len(cloud.asked("POST", "/volumes")) == 1

    def test_a_refused_token_is_renewed_and_the_call_made_once(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        cloud.cinder("POST", "/volumes", Answer(401, {}), Answer(202, {"volume": VOLUME}))
        create(cinder)
        first, second = cloud.asked("POST", "/volumes")
        assert first.body == second.body != b""

    def test_a_keystone_that_fails_is_no_lost_answer(
        self, cloud: Cloud, connect_to: Connect
    ) -> None:
        connection = connect_to()
        connection.session.auth.invalidate()
        cloud.login = Reset()
        with pytest.raises(ours.Unavailable, match="log in"):
            create(OpenStackCinder(connection))
        assert cloud.asked("POST", "/volumes") == []

    def test_over_quota(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        text = "VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota 'volumes'."
        body = {"overLimit": {"code": 413, "message": text, "retryAfter": "0"}}
        cloud.cinder("POST", "/volumes", Answer(413, body, {"Retry-After": "0"}))
        with pytest.raises(ours.OverQuota, match="Maximum number of volumes") as refused:
            create(cinder)
        assert refused.value.retry_after_seconds is None

    def test_an_id_that_is_none_is_not_sent(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        with pytest.raises(ours.InvalidSpec, match=r"volume id '\.\./x' is not a UUID"):
            cinder.upload_to_image(VolumeId("../x"), image_name="i", disk_format="raw")


class TestWhatTheProjectMayUse:
    def test_types(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        types = [
            {"id": ID, "name": "ssd", "extra_specs": {"RESKEY:availability_zones": "az1, az2,"}},
            {"id": OTHER, "name": "hdd", "extra_specs": {}},
            {"id": OTHER, "name": "nvme"},
        ]
        cloud.cinder("GET", "/types", Answer(body={"volume_types": types}))
        assert cinder.volume_types() == [
            VolumeTypeFacts(OTHER, "hdd"),
            VolumeTypeFacts(OTHER, "nvme"),
            VolumeTypeFacts(ID, "ssd", ("az1", "az2")),
        ]

    def test_zones(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        zones = [
            {"zoneName": "nova", "zoneState": {"available": True}},
            {"zoneName": "az2", "zoneState": {"available": False}},
        ]
        cloud.cinder("GET", "/os-availability-zone", Answer(body={"availabilityZoneInfo": zones}))
        assert cinder.availability_zones() == ["az2", "nova"]

    @pytest.mark.parametrize(
        "body", [{}, {"availabilityZoneInfo": {}}, {"availabilityZoneInfo": [1]}]
    )
    def test_zones_that_make_no_sense(
        self, cloud: Cloud, cinder: OpenStackCinder, body: object
    ) -> None:
        cloud.cinder("GET", "/os-availability-zone", Answer(body=body))
        with pytest.raises(ours.Unavailable):
            cinder.availability_zones()

    @pytest.mark.parametrize("status", [403, 404])
    def test_a_cloud_that_does_not_say(
        self, cloud: Cloud, cinder: OpenStackCinder, status: int
    ) -> None:
        cloud.cinder("GET", "/os-availability-zone", Answer(status, {}))
        cloud.cinder("GET", "/limits", Answer(status, {}))
        assert cinder.availability_zones() is None
        assert cinder.quota_left() is None

    @pytest.mark.parametrize(
        ("absolute", "left"),
        [
            ((10, 3, 1000, 990), QuotaLeft(7, 10)),
            ((-1, 3, 1000, 2000), QuotaLeft(None, 0)),
            ((10, 3, None, None), QuotaLeft(7, None)),
        ],
    )
    def test_quota(
        self,
        cloud: Cloud,
        cinder: OpenStackCinder,
        absolute: tuple[int | None, ...],
        left: QuotaLeft,
    ) -> None:
        names = (
            "maxTotalVolumes",
            "totalVolumesUsed",
            "maxTotalVolumeGigabytes",
            "totalGigabytesUsed",
        )
        limits = {"absolute": dict(zip(names, absolute, strict=True)), "rate": []}
        cloud.cinder("GET", "/limits", Answer(body={"limits": limits}))
        assert cinder.quota_left() == left


class TestChanges:
    @pytest.mark.parametrize("status", [202, 404])
    def test_a_delete_is_done_or_was_done(
        self, cloud: Cloud, cinder: OpenStackCinder, status: int
    ) -> None:
        cloud.cinder("DELETE", f"/volumes/{ID}", Answer(status, None))
        cinder.delete_volume(VolumeId(ID))
        assert cloud.asked("DELETE", ID)[0].query == {}

    def test_a_404_of_a_gateway_is_not_deleted(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        cloud.cinder("DELETE", f"/snapshots/{ID}", Answer(404, b"no backend", from_service=False))
        with pytest.raises(ours.Unavailable):
            cinder.delete_snapshot(SnapshotId(ID))

    def test_busy(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        text = "Invalid snapshot: Snapshot status must be available or error and must not be part of a group."
        cloud.cinder("DELETE", f"/snapshots/{ID}", Answer(400, {"badRequest": {"message": text}}))
        with pytest.raises(ours.Conflict, match="must be available"):
            cinder.delete_snapshot(SnapshotId(ID))

    def test_bootable(self, cloud: Cloud, cinder: OpenStackCinder) -> None:
        cloud.cinder("POST", f"/volumes/{ID}/action", Answer(200, None))
        cinder.set_bootable(VolumeId(ID), False)
        assert cloud.asked("POST", "/action")[0].json == {"os-set_bootable": {"bootable": False}}

    def test_image_metadata_is_taken_out_key_by_key(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        cloud.cinder("POST", f"/volumes/{ID}/action", Answer(200, None))
        cinder.delete_image_metadata(VolumeId(ID), ["image_id", "image_name"])
        assert [it.json["os-unset_image_metadata"] for it in cloud.asked("POST", "/action")] == [
            {"key": "image_id"},
            {"key": "image_name"},
        ]
        assert cloud.asked("GET", ID) == []

    def test_a_key_that_is_not_there_is_fine_and_the_next_one_goes(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        cloud.cinder("GET", f"/volumes/{ID}", Answer(body={"volume": VOLUME}))
        gone = Answer(404, {"itemNotFound": {"message": "Glance metadata cannot be found."}})
        cloud.cinder("POST", f"/volumes/{ID}/action", gone, Answer(200, None))
        cinder.delete_image_metadata(VolumeId(ID), ["never", "image_name"])
        assert len(cloud.asked("POST", "/action")) == 2

    def test_a_key_that_is_there_and_can_not_be_found(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        cloud.cinder("GET", f"/volumes/{ID}", Answer(body={"volume": VOLUME}))
        with pytest.raises(ours.Conflict, match="image_name"):
            cinder.delete_image_metadata(VolumeId(ID), ["image_name"])

    def test_image_metadata_is_set_in_one_request(
        self, cloud: Cloud, cinder: OpenStackCinder
    ) -> None:
        cloud.cinder("POST", f"/volumes/{ID}/action", Answer(200, {"metadata": {}}))
        cinder.set_image_metadata(VolumeId(ID), {"os_type": "linux", "hw_disk_bus": "scsi"})
        (request,) = cloud.asked("POST", "/action")
        wanted = {"os_type": "linux", "hw_disk_bus": "scsi"}
        assert request.json == {"os-set_image_metadata": {"metadata": wanted}}

    def test_a_missing_volume_is_not_a_missing_key(self, cinder: OpenStackCinder) -> None:
        with pytest.raises(ours.SourceGone):
            cinder.delete_image_metadata(VolumeId(ID), ["image_name"])
