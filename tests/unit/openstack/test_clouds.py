from __future__ import annotations

from pathlib import Path

import pytest

from cinderbank.adapters.openstack.clouds import AUTH_TYPES, auth_plugin, parse_cloud, read_cloud
from cinderbank.domain.errors import InvalidSpec

GOOD = """
clouds:
  here:
    auth_type: v3applicationcredential
    auth:
      auth_url: https://keystone.example:5000/v3
      application_credential_id: 0123
      application_credential_secret: "top secret"
      project_id: ~
    region_name: One
    interface: internalURL
    regions: [One, Two]
    block_storage_endpoint_override: https://cinder.example/v3
"""


def entry(text: str) -> bytes:
    return f"clouds: {{here: {text}}}".encode()


AUTH = "auth: {auth_url: 'https://k/v3', username: u, password: p, project_name: x}"


def test_all_values_are_texts_and_secrets_are_not_shown() -> None:
    cloud = parse_cloud(GOOD.encode(), "here")
    assert cloud.auth["application_credential_id"] == "0123"
    assert "project_id" not in cloud.auth
    assert (cloud.region_name, cloud.interface, cloud.verify) == ("One", "internal", True)
    assert cloud.endpoint_overrides == {"block-storage": "https://cinder.example/v3"}
    assert "top secret" not in repr(cloud)
    assert auth_plugin(cloud) is not None


@pytest.mark.parametrize(
    ("auth", "auth_type"),
    [
        (
            "application_credential_id: a, application_credential_secret: b",
            "v3applicationcredential",
        ),
        ("token: a, project_id: x", "token"),
        ("username: a, password: b, project_name: c", "password"),
    ],
)
def test_an_auth_type_that_is_left_out_follows_from_the_rest(auth: str, auth_type: str) -> None:
    cloud = parse_cloud(entry(f"{{auth: {{auth_url: 'https://k/v3', {auth}}}}}"), "here")
    assert cloud.auth_type == auth_type
    assert auth_plugin(cloud) is not None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a mapping"),
        (b"[]", "not a mapping"),
        (b"clouds: {}", "no entry under `clouds`"),
        (b"clouds: {there: {}, elsewhere: {}}", "'here' is not in .*: elsewhere, there"),
        (b"clouds: {here: 1}", "it is not a mapping"),
        (b"clouds:\n  here: {password: top-secret\n  x: [", "not YAML: line 3"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"clouds: " + b"[" * 5000, "nested more than"),
        (b"a: &a [x]\nclouds: *a", "alias: line 2: write the value out"),
        (b"clouds: {here: !!python/object/apply:os.system [id]}", "not a mapping"),
        (b"x" * 300_000, "longer than"),
        (entry("{}"), "`auth` is missing"),
        (entry("{auth: {auth_url: [x]}}"), "not a text"),
        (entry("{auth: {username: u}}"), "auth.auth_url is missing"),
        (entry("{profile: p, auth: {username: u}}"), "`profile` is not looked up"),
        (entry("{auth: {auth_url: 'file:///etc/passwd'}}"), "auth.auth_url is not a URL"),
        (entry("{auth: {auth_url: 'https://user:word@k/'}}"), "auth.auth_url is not a URL"),
        (entry("{auth: {auth_url: 'https://k/latest#'}}"), "auth.auth_url is not a URL"),
        (entry("{auth: {auth_url: 'https://k/latest?x='}}"), "auth.auth_url is not a URL"),
        (entry("{auth: {auth_url: 'https://k:port/'}}"), "auth.auth_url is not a URL"),
        (
            entry(f"{{{AUTH}, auth_type: v3oidcdeviceauthz}}"),
            "'v3oidcdeviceauthz' is not supported",
        ),
        (entry(f"{{{AUTH}, auth_type: v3kerberos}}"), "'v3kerberos' is not supported"),
        (entry(f"{{{AUTH}, auth_type: none}}"), "'none' is not supported"),
        (entry(f"{{{AUTH}, cert: /etc/x}}"), "`cert` names a file"),
        (entry(f"{{{AUTH}, key: /etc/x}}"), "`key` names a file"),
        (entry(f"{{{AUTH}, interface: side}}"), "interface 'side'"),
        (entry(f"{{{AUTH}, verify: perhaps}}"), "verify 'perhaps'"),
        (entry(f"{{{AUTH}, regions: [a, b]}}"), "`regions` has 2 entries"),
        (entry(f"{{{AUTH}, region_name: [a]}}"), "`region_name` is not a"),
        (
            entry(f"{{{AUTH}, image_endpoint_override: 'ftp://x'}}"),
            "image_endpoint_override is not a URL",
        ),
    ],
)
def test_what_is_wrong_is_named(content: bytes, says: str) -> None:
    with pytest.raises(InvalidSpec, match=says) as refused:
        parse_cloud(content, "here")
    assert "top-secret" not in refused.value.message


@pytest.mark.parametrize(
    "password",
    [
        "*top-secret",
        "!top-secret!1",
        "!top!secret",
        "&top-secret *x",
        "&top-secret x\n      y: &top-secret z",
    ],
)
def test_a_password_that_yaml_takes_for_something_else_is_not_told(password: str) -> None:
    auth = f"auth_url: https://k/v3\n      password: {password}\n      username: u"
    with pytest.raises(InvalidSpec, match="line") as refused:
        parse_cloud(f"clouds:\n  here:\n    auth:\n      {auth}\n".encode(), "here")
    assert "top" not in refused.value.message


@pytest.mark.parametrize(
    ("auth", "missing"),
    [
        ("username: u, project_id: x", "auth.password"),
        ("password: p, project_id: x", "auth.username or auth.user_id"),
        ("username: u, password: p", "auth.project_id or auth.project_name"),
        ("application_credential_id: a", "auth.application_credential_secret"),
    ],
)
def test_a_missing_credential_is_named(auth: str, missing: str) -> None:
    cloud = parse_cloud(entry(f"{{auth: {{auth_url: 'https://k/v3', {auth}}}}}"), "here")
    with pytest.raises(InvalidSpec, match=missing):
        auth_plugin(cloud)


def test_every_type_that_is_offered_can_be_loaded() -> None:
    from keystoneauth1 import loading

    assert set(AUTH_TYPES) <= set(loading.get_available_plugin_names())


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="cannot be read: No such file"):
        read_cloud(tmp_path / "none", "here")
