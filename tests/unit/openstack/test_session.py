from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest

from cinderbank.adapters.openstack import calls
from cinderbank.adapters.openstack.cinder import OpenStackCinder
from cinderbank.adapters.openstack.session import connect
from cinderbank.domain.errors import AuthRefused, Forbidden, InvalidSpec, Unavailable
from cinderbank.domain.facts import VolumeTypeFacts
from tests.unit.openstack.cloud import PASSWORD, PROJECT, Answer, Cloud, Silence
from tests.unit.openstack.conftest import Connect


def test_it_says_who_calls_and_keeps_no_cookie(cloud: Cloud, connect_to: Connect) -> None:
    connection = connect_to()
    cloud.cinder(
        "GET", "/types", Answer(body={"volume_types": []}, headers={"Set-Cookie": "a=b; Path=/"})
    )
    for _ in range(2):
        assert OpenStackCinder(connection).volume_types() == []
    request = cloud.asked("GET", "/types")[-1]
    assert request.headers["User-Agent"].startswith("cinderbank/")
    assert "Cookie" not in request.headers


def test_nothing_of_the_environment_is_read(
    cloud: Cloud, connect_to: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secure = tmp_path / "secure.yaml"
    secure.write_text("clouds: {here: {auth: {password: another}}}")
    monkeypatch.setenv("OS_CLIENT_SECURE_FILE", str(secure))
    monkeypatch.setenv("OS_USERNAME", "somebody")
    monkeypatch.setenv("OS_AUTH_URL", "http://127.0.0.1:1/")
    monkeypatch.chdir(tmp_path)
    connect_to()
    user = cloud.asked("POST", "/auth/tokens")[0].json["auth"]["identity"]["password"]["user"]
    assert (user["name"], user["password"]) == ("member", PASSWORD)


def test_a_vendor_hook_is_not_run(connect_to: Connect) -> None:
    connect_to(
        vendor_hook="antigravity:nothing", profile="http://127.0.0.1:1/", cache={"class": "x"}
    )


def test_a_call_of_the_sdk_itself_is_not_sent_again_either(
    cloud: Cloud, connect_to: Connect
) -> None:
    cloud.glance("PUT", "/images/x/file", Answer(503, {}))
    assert connect_to().image.put("/images/x/file", data=b"1").status_code == 503
    assert len(cloud.asked("PUT", "/file")) == 1


def test_wrong_credentials(cloud: Cloud, connect_to: Connect) -> None:
    text = f"The request you have made requires authentication. password={PASSWORD}"
    cloud.login = Answer(401, {"error": {"code": 401, "message": text}})
    with pytest.raises(AuthRefused) as refused:
        connect_to()
    assert refused.value.status_code == 401
    assert "requires authentication" in refused.value.message
    assert PASSWORD not in refused.value.message


def test_a_keystone_that_is_silent(cloud: Cloud, connect_to: Connect) -> None:
    cloud.login = Silence()
    with pytest.raises(Unavailable, match="timed out"):
        connect_to(read_seconds=0.2)


def test_a_keystone_that_is_not_there(connect_to: Connect) -> None:
    auth = {
        "auth_url": "http://127.0.0.1:1/v3",
        "username": "a",
        "password": "b",
        "project_id": "c",
    }
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        connect_to(auth=auth)


def test_an_answer_of_keystone_without_end_is_not_read_to_its_end(
    cloud: Cloud, connect_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cinderbank.adapters.openstack.session.ANSWER_LIMIT_BYTES", 100_000)
    cloud.login = Answer(201, b"x" * 200_000)
    with pytest.raises(Unavailable, match="longer than 100000 bytes"):
        connect_to()


def test_a_domain_that_is_missing_is_the_users_to_mend(cloud: Cloud, connect_to: Connect) -> None:
    cloud.login = Answer(
        400, {"error": {"code": 400, "message": "Expecting to find domain in user."}}
    )
    with pytest.raises(InvalidSpec, match="Expecting to find domain"):
        connect_to()


def test_a_region_that_is_not_there(cloud: Cloud, connect_to: Connect) -> None:
    cloud.regions = {"volumev3": ["One", "Two"], "image": ["One"]}
    with pytest.raises(InvalidSpec, match=r"no public image service in region Two.*: One"):
        connect_to(region_name="Two")


def test_a_region_that_nobody_chose(cloud: Cloud, connect_to: Connect) -> None:
    cloud.regions = {"volumev3": ["One", "Two"], "image": ["One"]}
    with pytest.raises(InvalidSpec, match=r"region_name is missing and there are: One, Two"):
        connect_to(region_name=None)


def test_a_cloud_without_volumes(cloud: Cloud, connect_to: Connect) -> None:
    cloud.regions = {"image": ["One"]}
    with pytest.raises(InvalidSpec, match=r"no public block-storage service.*: none"):
        connect_to()


def test_a_token_for_no_project(cloud: Cloud, connect_to: Connect) -> None:
    cloud.project = None
    with pytest.raises(InvalidSpec, match="no project"):
        connect_to()


def test_certificates_are_verified_unless_the_project_says_no(connect_to: Connect) -> None:
    assert connect_to().session.verify is True
    assert connect_to(verify=False).session.verify is False
    assert connect_to(insecure=True).session.verify is False


def test_the_projects_file_cannot_name_a_file_of_ours(cloud: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "clouds.yaml"
    path.write_text(json.dumps(cloud.clouds_yaml(cacert="/etc/passwd")))
    with pytest.raises(InvalidSpec, match="`cacert` names a file of another machine"):
        connect(path, "here", cacert=None)


def test_a_ca_that_is_none(connect_to: Connect, tmp_path: Path) -> None:
    path = tmp_path / "cacert"
    path.write_text("no certificate")
    with pytest.raises(InvalidSpec, match="cacert is not a PEM file"):
        connect_to(cacert=path)


def test_bodies_and_urls_stay_out_of_the_log(
    cloud: Cloud, connect_to: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    cloud.cinder("GET", "/types", Answer(body={"volume_types": [{"name": "private-words"}]}))
    assert OpenStackCinder(connect_to()).volume_types()[0].name == "private-words"
    assert "private-words" not in caplog.text
    assert PASSWORD not in caplog.text


def test_threads_share_one_connection_and_one_token(cloud: Cloud, connect_to: Connect) -> None:
    cinder = OpenStackCinder(connect_to())
    cloud.cinder("GET", "/types", Answer(body={"volume_types": []}))
    answers: list[object] = []
    threads = [
        threading.Thread(target=lambda: answers.append(cinder.volume_types())) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[]] * 16
    assert cloud.tokens == 1


@pytest.mark.parametrize("status", [301, 302, 303, 305, 307, 308])
def test_a_token_does_not_follow_a_redirect_to_another_host(
    cloud: Cloud, connect_to: Connect, status: int
) -> None:
    connection = connect_to()
    elsewhere = cloud.url.replace("127.0.0.1", "localhost") + "/elsewhere"
    cloud.cinder("GET", "/types", Answer(status, headers={"Location": elsewhere}))
    with pytest.raises(Unavailable, match="redirects to http://localhost"):
        OpenStackCinder(connection).volume_types()
    assert not [request for request in cloud.requests if request.path == "/elsewhere"]


def test_a_redirect_within_the_host_is_followed(cloud: Cloud, connect_to: Connect) -> None:
    connection = connect_to()
    there = f"{cloud.url}/volume/v3/{PROJECT}/types/"
    cloud.cinder("GET", "/types", Answer(302, headers={"Location": there}))
    cloud.cinder("GET", "/types/", Answer(body={"volume_types": [{"name": "ssd"}]}))
    assert OpenStackCinder(connection).volume_types() == [VolumeTypeFacts("", "ssd")]


def test_small_things_do_not_become_hundreds_of_mebibytes(
    cloud: Cloud, connect_to: Connect
) -> None:
    connection = connect_to()
    cloud.cinder("GET", "/types", Answer(body=b'{"volume_types":[' + b"{}," * 600_000 + b"{}]}"))
    with pytest.raises(Unavailable, match="more than 1000000 of"):
        OpenStackCinder(connection).volume_types()


def test_a_list_of_many_long_pages_ends(
    cloud: Cloud, connect_to: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "LISTING_LIMIT_BYTES", 1 << 20)
    connection = connect_to()
    for number in range(20):
        item = {"id": f"t{number}", "name": "ssd", "description": "x" * 100_000}
        page = {"volume_types": [item], "volume_types_links": [{"rel": "next"}]}
        cloud.cinder("GET", "/types", Answer(body=page))
    with pytest.raises(Unavailable, match="the list is longer than"):
        OpenStackCinder(connection).volume_types()
    assert len(cloud.asked("GET", "/types")) == 11


def test_what_is_no_openstack_service_is_not_repeated(cloud: Cloud, connect_to: Connect) -> None:
    connection = connect_to()
    inside = {"message": "build 77, database at 10.1.2.3"}
    cloud.cinder("GET", "/types", Answer(403, inside, from_service=False))
    with pytest.raises(Forbidden, match="HTTP 403: Forbidden") as refused:
        OpenStackCinder(connection).volume_types()
    assert "10.1.2.3" not in refused.value.message
