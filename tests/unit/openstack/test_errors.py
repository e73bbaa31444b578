"""The table: what OpenStack says, and which of our errors that is."""

from __future__ import annotations

import json
import ssl
from typing import Any

import pytest
import requests
import urllib3.exceptions
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from cinderbank.adapters.openstack.answers import TEXT_LIMIT
from cinderbank.adapters.openstack.errors import Call, mapped, refusal
from cinderbank.domain import errors as ours

READ = Call("read", "volume v")
MAKE = Call("create", "volume v", makes=True)
DELETE = Call("delete", "volume v", bad_request=ours.Conflict)


def response(status: int, body: Any = b"", **headers: str) -> requests.Response:
    answer = requests.Response()
    answer.status_code = status
    answer._content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer.headers.update({"Content-Type": "application/json", "x-openstack-request-id": "req-1"})
    answer.headers.update({key.replace("_", "-"): value for key, value in headers.items()})
    return answer


def bad_request(text: str) -> requests.Response:
    return response(400, {"badRequest": {"code": 400, "message": text}})


GONE = response(404, {"itemNotFound": {"code": 404, "message": "Volume v could not be found."}})


FORMAT_REFUSED = (
    "Unable to set 'disk_format' to 'qcow2'. Reason: 'qcow2' is not one of [None, 'raw', 'iso']\n\n"
    "Failed validating 'enum' in schema['properties']['disk_format']"
)
QCOW2 = Call("upload", "volume v to a qcow2 image", makes=True, disk_format="qcow2")


@pytest.mark.parametrize(
    "answer",
    [
        bad_request(FORMAT_REFUSED),  # Cinder 29
        response(
            400, {"message": f"Provided object does not match schema 'image': {FORMAT_REFUSED}"}
        ),
        response(415, {"message": "no"}),
    ],
)
def test_a_disk_format_that_the_cloud_does_not_take_is_told_apart(
    answer: requests.Response,
) -> None:
    error = refusal(answer, QCOW2)
    assert isinstance(error, ours.Unsupported)
    assert error.reason == "ImageFormatRefused"


@pytest.mark.parametrize(
    ("answer", "call", "kind"),
    [
        (response(401, {"error": {"message": "no"}}), READ, ours.AuthRefused),
        (
            response(403, {"forbidden": {"message": "Policy doesn't allow it"}}),
            READ,
            ours.Forbidden,
        ),
        (GONE, READ, ours.SourceGone),
        (GONE, Call("read", "v", not_found=ours.Conflict), ours.Conflict),
        (response(405), READ, ours.Unsupported),
        (response(406), READ, ours.Unsupported),
        (response(408), MAKE, ours.Unavailable),
        (response(409), DELETE, ours.Conflict),
        (response(412), READ, ours.Conflict),
        (response(415, {"message": "Image failed safety checks"}), READ, ours.Unsupported),
        (response(418), READ, ours.Retryable),
        (bad_request(FORMAT_REFUSED), MAKE, ours.Retryable),
        (bad_request("Volume v status must be available"), QCOW2, ours.Conflict),
        (bad_request("something else"), QCOW2, ours.Retryable),
        (response(429), MAKE, ours.Unavailable),
        (response(500), READ, ours.Unavailable),
        (response(500), MAKE, ours.OutcomeUnknown),
        (response(501), READ, ours.Unsupported),
        (response(502), MAKE, ours.OutcomeUnknown),
        (response(503), READ, ours.Unavailable),
        (response(503), MAKE, ours.Unavailable),
        (response(504), MAKE, ours.OutcomeUnknown),
        (response(599), READ, ours.Unavailable),
        (response(302), READ, ours.Retryable),
        (response(204), MAKE, ours.OutcomeUnknown),
        (bad_request("Volume v status must be available"), MAKE, ours.Conflict),
        (
            bad_request(
                "Invalid volume: Volume v status must be available, but current status is: in-use."
            ),
            MAKE,
            ours.Conflict,
        ),
        (
            bad_request("The snapshot cannot be created when the volume is in error status."),
            MAKE,
            ours.Conflict,
        ),
        (bad_request("Invalid input received: Image v is not active."), MAKE, ours.Conflict),
        (
            bad_request("Invalid image identifier or unable to access requested image."),
            MAKE,
            ours.SourceGone,
        ),
        (
            bad_request("Volume size 1GB cannot be smaller than the image minDisk size 2GB."),
            MAKE,
            ours.InvalidSpec,
        ),
        (
            bad_request("Invalid input received: Availability zone 'x' is invalid."),
            MAKE,
            ours.InvalidSpec,
        ),
        (
            bad_request(
                "Invalid input for field/attribute size. Value: 0. 0 is less than the minimum of 1"
            ),
            MAKE,
            ours.InvalidSpec,
        ),
        (
            response(
                404, {"itemNotFound": {"message": "Volume type with name x could not be found."}}
            ),
            MAKE,
            ours.InvalidSpec,
        ),
        (bad_request("words of another year"), DELETE, ours.Conflict),
        (bad_request("words of another year"), MAKE, ours.Retryable),
    ],
    ids=lambda it: f"{it.status_code}" if isinstance(it, requests.Response) else None,
)
def test_answers(answer: requests.Response, call: Call, kind: type[ours.CinderbankError]) -> None:
    error = refusal(answer, call)
    assert type(error) is kind
    assert error.status_code == answer.status_code
    assert error.request_id == "req-1"
    assert f"cannot {call.verb} {call.resource}: HTTP {answer.status_code}" in error.message


def test_over_quota_has_cinders_words_and_no_haste() -> None:
    text = (
        "VolumeSizeExceedsAvailableQuota: Requested 5000G, quota is 1000G and 3G has been consumed."
    )
    body = {"overLimit": {"code": 413, "message": text, "retryAfter": "0"}}
    error = refusal(response(413, body, Retry_After="0"), MAKE)
    assert type(error) is ours.OverQuota
    assert text in error.message
    assert error.retry_after_seconds is None
    assert refusal(response(413, body, Retry_After="30"), MAKE).retry_after_seconds == 30
    assert refusal(response(503, Retry_After="Fri, 01 Jan"), READ).retry_after_seconds is None


def test_a_404_that_is_not_the_services_proves_nothing() -> None:
    answer = response(404, b"<h1>default backend - 404</h1>", Content_Type="text/html")
    del answer.headers["x-openstack-request-id"]
    error = refusal(answer, READ)
    assert type(error) is ours.Unavailable
    assert error.reason == "UnexpectedAnswer"


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (
            b"<html><title>409 Conflict</title><h1>409 Conflict</h1>Image &#x27;i&#x27; is in use<br />",
            "text/html",
            "HTTP 409: Image 'i' is in use",
        ),
        (
            {"message": "in use<br /><br />", "code": "409 Conflict"},
            "application/json",
            "HTTP 409: in use",
        ),
        ({"errors": [{"title": "T", "detail": "D"}]}, "application/json", "HTTP 409: T D"),
        (b"{broken", "application/json", "HTTP 409: {broken"),
        (b"[" * 100_000, "application/json", "HTTP 409: [["),
        (b"\xff\x00plain", "application/octet-stream", "plain"),
        ({"message": 5}, "application/json", "HTTP 409: {'message': 5}"),
        (b"", "text/plain", "HTTP 409"),
    ],
)
def test_texts(body: Any, content_type: str, says: str) -> None:
    assert says in refusal(response(409, body, Content_Type=content_type), READ).message


def test_no_secrets_and_no_endless_texts() -> None:
    token = "gAAAAA" + "b" * 100
    text = (
        f"token {token} X-Auth-Token: {token} password='open sesame' https://u:pw@host/ "
        + "x" * 1_000_000
    )
    message = refusal(response(500, {"message": text}), READ).message
    assert len(message) < TEXT_LIMIT + 100
    for secret in (token, "bbbbbb", "sesame'", "u:pw"):
        assert secret not in message


def raised(inner: Exception, outer: Exception) -> Exception:
    """As keystoneauth raises: the requests exception is the context."""
    try:
        try:
            raise inner
        except Exception:
            raise outer  # noqa: B904
    except Exception as exc:
        return exc


def refused_connection() -> requests.exceptions.ConnectionError:
    pool: Any = None
    reason = urllib3.exceptions.NewConnectionError(pool, "refused")
    return requests.exceptions.ConnectionError(urllib3.exceptions.MaxRetryError(pool, "/", reason))


def untrusted() -> requests.exceptions.SSLError:
    pool: Any = None
    reason = urllib3.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed"))
    return requests.exceptions.SSLError(urllib3.exceptions.MaxRetryError(pool, "/", reason))


RESET = requests.exceptions.ConnectionError(
    urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))
)
LATE = requests.exceptions.ReadTimeout("read timed out")


@pytest.mark.parametrize(
    ("exc", "makes", "kind"),
    [
        (raised(LATE, keystone.ConnectTimeout("late")), False, ours.Unavailable),
        (raised(LATE, keystone.ConnectTimeout("late")), True, ours.OutcomeUnknown),
        (raised(RESET, keystone.ConnectFailure("reset")), False, ours.Unavailable),
        (raised(RESET, keystone.ConnectFailure("reset")), True, ours.OutcomeUnknown),
        (raised(refused_connection(), keystone.ConnectFailure("no")), True, ours.Unavailable),
        (
            raised(requests.exceptions.ConnectTimeout("x"), keystone.ConnectTimeout("x")),
            True,
            ours.Unavailable,
        ),
        (raised(untrusted(), keystone.SSLError("no")), True, ours.Unavailable),
        (keystone.UnknownConnectionError("x", RESET), True, ours.OutcomeUnknown),
        (requests.exceptions.ChunkedEncodingError("IncompleteRead"), False, ours.Unavailable),
        (urllib3.exceptions.ProtocolError("broken"), False, ours.Unavailable),
        (keystone.DiscoveryFailure("no versions"), False, ours.Unavailable),
        (keystone.EndpointNotFound("no image"), False, ours.InvalidSpec),
        (keystone.Unauthorized("no"), False, ours.AuthRefused),
        (keystone.AuthorizationFailure("no"), False, ours.AuthRefused),
        (keystone.MissingRequiredOptions([]), False, ours.InvalidSpec),
        (keystone.ServiceUnavailable("later"), False, ours.Unavailable),
        (sdk.NotSupported("no"), False, ours.Unsupported),
        (sdk.ServiceDiscoveryException("no"), False, ours.Unavailable),
        (sdk.HttpException("no", response=response(409)), False, ours.Conflict),
        (keystone.NotFound("no", response=GONE), False, ours.SourceGone),
    ],
    ids=lambda it: type(it).__name__ if isinstance(it, Exception) else None,
)
def test_exceptions(exc: Exception, makes: bool, kind: type[ours.CinderbankError]) -> None:
    with (
        pytest.raises(ours.CinderbankError, match="cannot create volume v") as refused,
        mapped("create", "volume v", makes=makes),
    ):
        raise exc
    assert type(refused.value) is kind
    assert refused.value.__cause__ is exc


def test_a_certificate_that_is_not_trusted_says_where_the_ca_belongs() -> None:
    with pytest.raises(ours.Unavailable, match="as `cacert`") as refused, mapped("log in to", "it"):
        raise raised(untrusted(), keystone.SSLError("no"))
    assert refused.value.reason == "TLSNotTrusted"


def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(KeyError), mapped("read", "it"):
        raise KeyError("ours")


def test_an_error_of_ours_passes() -> None:
    with pytest.raises(ours.DataCorrupt), mapped("read", "it"):
        raise ours.DataCorrupt("sizes differ")
