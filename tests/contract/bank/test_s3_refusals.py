"""What the real server says when it refuses, and what a user then reads."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.adapters.s3_retry import Retries
from cinderbank.bank.health import validate
from cinderbank.domain.errors import AuthRefused, CinderbankError, Unavailable
from tests.fakes.backups import bank_on

IMPATIENT = Retries(tries=2, sleep=lambda seconds: None)


def put(store: S3Store) -> bool:
    return store.put("k", b"x")


ACTS = (
    lambda store: validate(bank_on(store)),
    put,
    lambda store: store.get("k", 10),
    lambda store: store.delete_many(["k"]),
    lambda store: list(store.list_keys("k")),
)


def refused(
    location: S3Location, credentials: S3Credentials, acts: Sequence[Callable[..., object]] = ACTS
) -> list[CinderbankError]:
    """What the self-test and every verb raise."""
    errors = []
    for act in acts:
        store = S3Store(location, credentials, IMPATIENT)
        with pytest.raises(CinderbankError) as caught:
            act(store)
        store.close()
        errors.append(caught.value)
        assert caught.value.__cause__ is None
        for secret in (credentials.secret_key, "X-Amz", "Signature="):
            assert secret not in caught.value.message
        assert location.bucket in caught.value.message
    return errors


def test_a_wrong_secret(s3_location: S3Location, s3_credentials: S3Credentials) -> None:
    for error in refused(s3_location, replace(s3_credentials, secret_key="wrong-secret-key")):
        assert isinstance(error, AuthRefused)
        assert error.reason == "BankCredentialsRefused"


def test_an_unknown_user(s3_location: S3Location) -> None:
    for error in refused(s3_location, S3Credentials("nobody-here", "wrong-secret-key")):
        assert error.reason == "BankCredentialsRefused"


def test_no_such_bucket(s3_location: S3Location, s3_credentials: S3Credentials) -> None:
    """Nothing of ours PUTs before it has read: SeaweedFS would make the bucket (docs/s3-servers.md)."""
    nowhere = replace(s3_location, bucket=f"not-there-{uuid.uuid4().hex[:12]}")
    for error in refused(nowhere, s3_credentials, [act for act in ACTS if act is not put]):
        assert isinstance(error, Unavailable)
        assert error.reason == "BucketNotFound"


def test_nobody_listens(s3_location: S3Location, s3_credentials: S3Credentials) -> None:
    for error in refused(replace(s3_location, endpoint_url="http://127.0.0.1:9"), s3_credentials):
        assert error.reason == "BankUnavailable"
        assert "no connection" in error.message


def test_https_asked_of_a_server_that_speaks_http(
    s3_location: S3Location, s3_credentials: S3Credentials
) -> None:
    if s3_location.endpoint_url.startswith("https"):
        pytest.skip("the rig's server speaks https")
    url = s3_location.endpoint_url.replace("http:", "https:")
    for error in refused(replace(s3_location, endpoint_url=url), s3_credentials):
        assert error.reason == "BankUnavailable"
        assert "TLS" in error.message
