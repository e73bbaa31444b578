"""Barbican's answers, and what is never repeated of them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from openstack.connection import Connection

from cinderbank.adapters.openstack.key_manager import OpenStackKeyManager
from cinderbank.domain import errors as ours
from cinderbank.domain.facts import SecretFacts
from cinderbank.ports.key_manager import MAX_PAYLOAD_BYTES, Secret
from tests.unit.openstack.cloud import Answer, Cloud, Reset

ID = "aaaaaaaa-1111-4222-8333-444444444444"
OTHER = "bbbbbbbb-1111-4222-8333-444444444444"
PAYLOAD = bytes(range(32))
TEXT = base64.b64encode(PAYLOAD).decode()
ABOUT = {"secret_type": "symmetric", "algorithm": "aes", "bit_length": 256, "status": "ACTIVE"}
SECRET = Secret(PAYLOAD, "symmetric", "aes", 256)


@pytest.fixture
def keys(cloud: Cloud, connect_to: Callable[..., Connection]) -> OpenStackKeyManager:
    cloud.regions["key-manager"] = ["One"]
    return OpenStackKeyManager(connect_to())


def octets(payload: bytes) -> Answer:
    return Answer(200, payload, {"Content-Type": "application/octet-stream"})


def listed(secret_id: str, mode: str | None) -> dict[str, Any]:
    return {"secret_ref": f"http://elsewhere/v1/secrets/{secret_id}", "mode": mode, "name": None}


def test_a_secret_is_read_with_its_payload(cloud: Cloud, keys: OpenStackKeyManager) -> None:
    cloud.key_manager("GET", f"/secrets/{ID}", Answer(body=ABOUT))
    cloud.key_manager("GET", f"/secrets/{ID}/payload", octets(PAYLOAD))
    assert keys.read_secret(ID) == SECRET
    (asked,) = cloud.asked("GET", "/payload")
    assert asked.headers["Accept"] == "application/octet-stream"
    assert TEXT not in repr(SECRET) and str(PAYLOAD) not in repr(SECRET)


@pytest.mark.parametrize("size", [0, MAX_PAYLOAD_BYTES + 1, 1 << 20])
def test_a_payload_of_a_wrong_size(cloud: Cloud, keys: OpenStackKeyManager, size: int) -> None:
    cloud.key_manager("GET", f"/secrets/{ID}", Answer(body=ABOUT))
    cloud.key_manager("GET", f"/secrets/{ID}/payload", octets(b"k" * size))
    with pytest.raises(ours.Unavailable) as refused:
        keys.read_secret(ID)
    assert "kkkk" not in refused.value.message


@pytest.mark.parametrize("status", [200, 403])
def test_a_payload_without_end_is_not_read_to_its_end(
    cloud: Cloud, keys: OpenStackKeyManager, status: int
) -> None:
    """The rest of it never comes: who reads for it meets a broken connection."""
    cloud.key_manager("GET", f"/secrets/{ID}", Answer(body=ABOUT))
    endless = Answer(status, b"k" * (MAX_PAYLOAD_BYTES + 1), promised_bytes=10 << 20)
    cloud.key_manager("GET", f"/secrets/{ID}/payload", endless)
    expected = "longer than" if status == 200 else "HTTP 403"
    with pytest.raises(ours.CinderbankError, match=expected):
        keys.read_secret(ID)


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (403, ours.Forbidden, "EncryptionKeyForbidden"),
        (404, ours.SourceGone, "EncryptionKeyNotFound"),
        (503, ours.Unavailable, "Unavailable"),
    ],
)
@pytest.mark.parametrize("path", ["", "/payload"])
def test_refusals_have_reasons_of_their_own(
    cloud: Cloud, keys: OpenStackKeyManager, status: int, kind: Any, reason: str, path: str
) -> None:
    cloud.key_manager("GET", f"/secrets/{ID}", Answer(body=ABOUT))
    cloud.key_manager("GET", f"/secrets/{ID}/payload", octets(PAYLOAD))
    refusal = Answer(status, {"code": status, "title": "no", "description": "no"})
    cloud._scripts["GET", f"/key-manager/v1/secrets/{ID}{path}"].clear()
    cloud.key_manager("GET", f"/secrets/{ID}{path}", refusal)
    with pytest.raises(kind) as refused:
        keys.read_secret(ID)
    assert refused.value.reason == reason


@pytest.mark.parametrize("kind", ["certificate", "private", "", "x" * 500])
def test_what_is_no_key_of_a_volume(cloud: Cloud, keys: OpenStackKeyManager, kind: str) -> None:
    cloud.key_manager("GET", f"/secrets/{ID}", Answer(body=ABOUT | {"secret_type": kind}))
    with pytest.raises(ours.Unsupported) as refused:
        keys.read_secret(ID)
    assert refused.value.reason == "EncryptionKeyUnsupported"
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("secret_id", ["", "../orders", f"{ID}/payload", "1"])
def test_an_id_that_is_none_never_becomes_a_path(
    cloud: Cloud, keys: OpenStackKeyManager, secret_id: str
) -> None:
    with pytest.raises(ours.SourceGone):
        keys.read_secret(secret_id)
    keys.delete_secret(secret_id)
    assert not [it for it in cloud.requests if it.path.startswith("/key-manager")]


def test_only_what_is_marked_is_listed(cloud: Cloud, keys: OpenStackKeyManager) -> None:
    # A Barbican that ignores the filter; and a copy that Cinder has made has no mode.
    rows = [listed(OTHER, None), listed(ID, "cinderbank-restore-1"), listed(OTHER, "cinderbank-2")]
    cloud.key_manager("GET", "/secrets", Answer(body={"secrets": rows, "total": 3}))
    assert keys.marked_secrets("cinderbank-restore-1") == [SecretFacts(ID)]
    (asked,) = cloud.asked("GET", "/secrets")
    assert asked.query["mode"] == "cinderbank-restore-1"


def test_none_is_listed(cloud: Cloud, keys: OpenStackKeyManager) -> None:
    cloud.key_manager("GET", "/secrets", Answer(body={"total": 0}))
    assert keys.marked_secrets("m") == []


def test_a_secret_is_made_with_its_mark_and_without_a_name(
    cloud: Cloud, keys: OpenStackKeyManager
) -> None:
    made = Answer(201, {"secret_ref": f"http://elsewhere/v1/secrets/{ID}"})
    cloud.key_manager("POST", "/secrets", made)
    assert keys.create_secret("cinderbank-restore-1", SECRET) == SecretFacts(ID)
    (asked,) = cloud.asked("POST", "/secrets")
    assert asked.json == {
        "secret_type": "symmetric",
        "algorithm": "aes",
        "bit_length": 256,
        "mode": "cinderbank-restore-1",
        "payload": TEXT,
        "payload_content_type": "application/octet-stream",
        "payload_content_encoding": "base64",
    }


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Reset(), ours.OutcomeUnknown),
        (Answer(201, b"?"), ours.OutcomeUnknown),
        (
            Answer(400, {"title": "Bad", "description": f"payload: {TEXT!r} is bad"}),
            ours.InvalidSpec,
        ),
        (Answer(403, {"title": "no", "description": TEXT}), ours.Forbidden),
        (Answer(500, {"title": "no", "description": TEXT}), ours.OutcomeUnknown),
    ],
)
def test_a_refusal_that_quotes_the_key_is_not_repeated(
    cloud: Cloud, keys: OpenStackKeyManager, fault: Answer | Reset, kind: Any
) -> None:
    cloud.key_manager("POST", "/secrets", fault)
    with pytest.raises(kind) as refused:
        keys.create_secret("m", SECRET)
    assert TEXT not in str(refused.value)
    assert len(cloud.asked("POST", "/secrets")) == 1


@pytest.mark.parametrize("status", [204, 404])
def test_a_delete_is_idempotent(cloud: Cloud, keys: OpenStackKeyManager, status: int) -> None:
    cloud.key_manager("DELETE", f"/secrets/{ID}", Answer(status, None if status == 204 else {}))
    keys.delete_secret(ID)
    assert len(cloud.asked("DELETE", ID)) == 1


def test_a_cloud_without_one(cloud: Cloud, connect_to: Callable[..., Connection]) -> None:
    keys = OpenStackKeyManager(connect_to())
    with pytest.raises(ours.InvalidSpec) as refused:
        keys.read_secret(ID)
    assert refused.value.reason == "KeyManagerNotFound"


def test_an_endpoint_that_clouds_yaml_names(
    cloud: Cloud, connect_to: Callable[..., Connection]
) -> None:
    url = f"{cloud.url}/key-manager/v1/"
    keys = OpenStackKeyManager(connect_to(key_manager_endpoint_override=url))
    cloud.key_manager("GET", "/secrets", Answer(body={"secrets": [], "total": 0}))
    assert keys.marked_secrets("m") == []
