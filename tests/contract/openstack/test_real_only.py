"""What only a real cloud can show: quotas, credentials, policies, the words it uses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cinderbank.adapters.openstack.cinder import OpenStackCinder
from cinderbank.adapters.openstack.errors import Call, refusal
from cinderbank.adapters.openstack.glance import OpenStackGlance
from cinderbank.adapters.openstack.session import connect
from cinderbank.domain.errors import AuthRefused, Forbidden, InvalidSpec, OverQuota
from cinderbank.domain.fidelity import CINDERS_OWN
from tests.contract.openstack.site import RealSite


def changed(clouds_yaml: Path, tmp_path: Path, **changes: Any) -> Path:
    """A copy of the rig's file in which cloud `a` has other values."""
    clouds = json.loads(clouds_yaml.read_text())["clouds"]
    cloud = clouds["a"] | {key: value for key, value in changes.items() if key != "auth"}
    cloud["auth"] = cloud["auth"] | changes.get("auth", {})
    path = tmp_path / "clouds.yaml"
    path.write_text(json.dumps({"clouds": {"a": cloud}}))
    return path


def test_more_than_the_quota_is_over_quota(real_site: RealSite) -> None:
    image = real_site.glance.create_image(name=f"{real_site.run}-quota", disk_format="raw")
    real_site.fill(image)
    with pytest.raises(OverQuota, match="quota") as refused:
        real_site.cinder.create_volume_from_image(
            image.id,
            name=f"{real_site.run}-too-big",
            description="",
            size_gib=500_000,
            volume_type=None,
            availability_zone=None,
            metadata={},
        )
    assert refused.value.status_code == 413
    assert refused.value.request_id


def test_a_key_that_image_metadata_does_not_take(real_site: RealSite) -> None:
    """Why domain.fidelity leaves such keys out: one of them, and all are refused."""
    volume_id = real_site.blank_volume()
    with pytest.raises(InvalidSpec, match="does not match"):
        real_site.cinder.set_image_metadata(volume_id, {"os_type": "linux", "a,b": "x"})
    facts = real_site.cinder.find_volume(volume_id)
    assert facts is not None
    assert facts.image_metadata == {}


def test_what_an_attachment_shows_among_the_metadata(real_site: RealSite) -> None:
    """Why domain.fidelity leaves CINDERS_OWN out."""
    volume_id = real_site.blank_volume()
    real_site.attach(volume_id)
    try:
        facts = real_site.until(
            lambda: real_site.cinder.find_volume(volume_id),
            lambda it: it is not None and it.status == "in-use",
        )
        assert facts is not None
        assert facts.metadata["attached_mode"] == "rw"
        assert set(facts.metadata) <= CINDERS_OWN
    finally:
        real_site.detach(volume_id)


def test_a_type_and_a_zone_that_are_not_there(real_site: RealSite) -> None:
    """What place() spares a user who would otherwise hear it after the whole transfer."""
    types = [each.name for each in real_site.cinder.volume_types()]
    assert "no-such-type" not in types
    image = real_site.glance.create_image(name=f"{real_site.run}-type", disk_format="raw")
    real_site.fill(image)
    with pytest.raises(InvalidSpec, match="no-such-type"):
        real_site.cinder.create_volume_from_image(
            image.id,
            name=f"{real_site.run}-none",
            description="",
            size_gib=1,
            volume_type="no-such-type",
            availability_zone=None,
            metadata={},
        )


def test_smaller_than_the_snapshot_is_invalid(real_site: RealSite) -> None:
    image = real_site.glance.create_image(name=f"{real_site.run}-size", disk_format="raw")
    real_site.fill(image)
    with pytest.raises(InvalidSpec, match="minimum"):
        real_site.cinder.create_volume_from_image(
            image.id,
            name=f"{real_site.run}-too-small",
            description="",
            size_gib=0,
            volume_type=None,
            availability_zone=None,
            metadata={},
        )


def test_a_failed_copy_is_told_by_a_message(real_site: RealSite) -> None:
    """Deleting the image under an upload is the fault that a member can bring about."""
    since = datetime.now(UTC) - timedelta(minutes=10)  # the cloud's clock is another one
    volume_id = real_site.blank_volume()
    image_id = real_site.cinder.upload_to_image(
        volume_id, image_name=(name := f"{real_site.run}-doomed"), disk_format="raw"
    )
    real_site.until(
        lambda: real_site.glance.images_named(name)[0],
        lambda it: it.status in ("saving", "active"),
    )
    real_site.glance.delete_image(image_id)
    messages = real_site.until(lambda: real_site.cinder.messages(volume_id, since=since), bool)
    assert messages[0].event_id.startswith("VOLUME_VOLUME_003_")
    assert messages[0].resource_id == volume_id
    assert "copy volume to image" in messages[0].text
    assert messages[0].request_id
    assert not real_site.cinder.messages(volume_id, since=datetime.now(UTC) + timedelta(days=1))


def test_a_wrong_secret_is_refused(clouds_yaml: Path, tmp_path: Path) -> None:
    path = changed(clouds_yaml, tmp_path, auth={"application_credential_secret": "wrong"})
    with pytest.raises(AuthRefused) as refused:
        connect(path, "a", cacert=None)
    assert refused.value.status_code == 401
    assert "wrong" not in refused.value.message


def test_an_unknown_region_is_named_with_those_there_are(clouds_yaml: Path, tmp_path: Path) -> None:
    path = changed(clouds_yaml, tmp_path, region_name="Atlantis")
    with pytest.raises(InvalidSpec, match=r"Atlantis.*RegionA"):
        connect(path, "a", cacert=None)


def test_a_revoked_token_is_renewed_once(real_site: RealSite, clouds_yaml: Path) -> None:
    connection = connect(clouds_yaml, "a", cacert=None)
    token = connection.session.get_token()
    answer = real_site.connection.session.delete(
        connection.session.auth.get_access(connection.session)
        .service_catalog.url_for(service_type="identity", interface="public")
        .rstrip("/")
        .removesuffix("/v3")
        + "/v3/auth/tokens",
        headers={"X-Subject-Token": token},
        authenticated=True,
    )
    assert answer.status_code == 204
    assert OpenStackGlance(connection).images_named("none") == []
    assert connection.session.get_token() != token
    connection.close()


def test_what_a_member_may_not_do_is_forbidden(real_site: RealSite) -> None:
    answer = real_site.connection.block_storage.get("/os-services")
    error = refusal(answer, Call("list", "services"))
    assert isinstance(error, Forbidden)
    assert error.request_id


def test_an_administrator_does_not_see_another_projects_volume(
    real_site: RealSite, clouds_yaml: Path
) -> None:
    volume_id = real_site.blank_volume()
    admin = connect(clouds_yaml, "a-admin", cacert=None)
    assert admin.block_storage.get(f"/volumes/{volume_id}").status_code == 200
    assert OpenStackCinder(admin).find_volume(volume_id) is None
    admin.close()


def test_another_project_sees_nothing(real_site: RealSite, clouds_yaml: Path) -> None:
    real_site.glance.create_image(name=f"{real_site.run}-private", disk_format="raw")
    other = connect(clouds_yaml, "a-gamma", cacert=None)
    assert OpenStackGlance(other).images_named(f"{real_site.run}-private") == []
    other.close()


def test_a_tags_value_may_hold_quotes_and_braces(real_site: RealSite) -> None:
    """A key may not: Cinder takes [a-zA-Z0-9-_:. /] only."""
    volume_id = real_site.blank_volume()
    tag = {"x.io/its a:key": "it's \"}{\\"}
    made = real_site.cinder.create_snapshot(
        volume_id, name=f"{real_site.run}-quotes", description="", metadata=tag
    )
    found = real_site.cinder.snapshots_tagged(*next(iter(tag.items())))
    assert [it.id for it in found] == [made.id]
