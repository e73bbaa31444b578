from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cinderbank.adapters.openstack.glance import OpenStackGlance
from cinderbank.domain import errors as ours
from cinderbank.domain.facts import ImageId
from tests.unit.openstack.cloud import PROJECT, Answer, Cloud, Reset

ID = "aaaaaaaa-1111-4222-8333-444444444444"
OTHER = "bbbbbbbb-1111-4222-8333-444444444444"
IMAGE: dict[str, Any] = {
    "id": ID,
    "name": "tag",
    "owner": PROJECT,
    "status": "active",
    "disk_format": "qcow2",
    "size": 3 << 40,
    "virtual_size": 5 << 40,
    "os_hash_algo": "sha512",
    "os_hash_value": "ab" * 64,
    "created_at": "2026-11-22T10:00:00Z",
}
QUEUED = IMAGE | {"status": "queued", "disk_format": None, "size": None, "os_hash_algo": None}


def test_facts(cloud: Cloud, glance: OpenStackGlance) -> None:
    cloud.glance("GET", "/images", Answer(body={"images": [IMAGE]}))
    (facts,) = glance.images_named("tag")
    assert (facts.size_bytes, facts.hash_algo) == (3 << 40, "sha512")
    assert (facts.disk_format, facts.virtual_size_bytes) == ("qcow2", 5 << 40)
    assert facts.created_at == datetime(2026, 11, 22, 10, tzinfo=UTC)


def test_names_are_exact_and_the_owners(cloud: Cloud, glance: OpenStackGlance) -> None:
    older = IMAGE | {"id": OTHER, "created_at": "2025-01-01T00:00:00Z"}
    cloud.glance(
        "GET",
        "/images",
        Answer(body={"images": [IMAGE, IMAGE | {"name": "tag2"}], "next": "/v2/images?marker=x"}),
        Answer(body={"images": [IMAGE | {"owner": "f" * 32}, older]}),
    )
    # The second page goes on after the last image of the first.
    assert [it.id for it in glance.images_named("tag")] == [OTHER, ID]
    first, second = cloud.asked("GET", "/images")
    assert first.query == {"name": "tag", "owner": PROJECT}
    assert second.query["marker"] == ID


def test_a_new_image_has_no_properties(cloud: Cloud, glance: OpenStackGlance) -> None:
    cloud.glance("POST", "/images", Answer(201, QUEUED))
    made = glance.create_image(name="tag", disk_format="raw")
    assert (made.status, made.disk_format, made.size_bytes) == ("queued", "", None)
    (request,) = cloud.asked("POST", "/images")
    assert request.json == {
        "name": "tag",
        "disk_format": "raw",
        "container_format": "bare",
        "visibility": "private",
    }


@pytest.mark.parametrize(
    "fault", [Reset(), Answer(200, QUEUED), Answer(201, b"?"), Answer(502, b"")]
)
def test_an_answer_that_is_lost(
    cloud: Cloud, glance: OpenStackGlance, fault: Answer | Reset
) -> None:
    cloud.glance("POST", "/images", fault)
    with pytest.raises(ours.OutcomeUnknown):
        glance.create_image(name="tag", disk_format="raw")
    assert len(cloud.asked("POST", "/images")) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(409, ours.Conflict), (403, ours.Forbidden), (413, ours.OverQuota)]
)
def test_a_delete_that_is_refused(
    cloud: Cloud, glance: OpenStackGlance, status: int, kind: type[Exception]
) -> None:
    cloud.glance("DELETE", f"/images/{ID}", Answer(status, {"message": "no"}))
    with pytest.raises(kind):
        glance.delete_image(ImageId(ID))


@pytest.mark.parametrize("status", [204, 404])
def test_a_delete_is_done_or_was_done(cloud: Cloud, glance: OpenStackGlance, status: int) -> None:
    cloud.glance("DELETE", f"/images/{ID}", Answer(status))
    glance.delete_image(ImageId(ID))
