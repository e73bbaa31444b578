"""The stores that the bank must work on: in memory, and the rig's S3 server through the SDK."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.bank.store import ObjectStore
from tests.fakes.object_store import MemoryStore

RIG_ENV = Path(__file__).parents[3] / ".rig" / "env"


def rig_environment() -> dict[str, str]:
    """The rig's S3 server; skips when no rig is there."""
    if not RIG_ENV.exists():
        pytest.skip("no rig is up: python3 -m tests.rig up")
    rows = (line.partition("=") for line in RIG_ENV.read_text().splitlines() if "=" in line)
    environment = {name: value for name, _, value in rows if not name.startswith("#")}
    if "S3_ENDPOINT" not in environment:
        pytest.skip("the rig that is up has no S3 server")
    return environment


@pytest.fixture
def s3_credentials() -> S3Credentials:
    rig = rig_environment()
    return S3Credentials(rig["S3_ACCESS_KEY"], rig["S3_SECRET_KEY"])


@pytest.fixture
def s3_location() -> S3Location:
    """A prefix of its own for each test."""
    rig = rig_environment()
    return S3Location(
        rig["S3_ENDPOINT"], rig["S3_BUCKET"], f"test/{uuid.uuid4()}", rig["S3_REGION"], "path"
    )


@pytest.fixture
def s3_store(s3_location: S3Location, s3_credentials: S3Credentials) -> Iterator[S3Store]:
    store = S3Store(s3_location, s3_credentials)
    yield store
    while keys := [row.key for _, row in zip(range(1000), store.list_keys(""), strict=False)]:
        store.delete_many(keys)
    store.close()


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "memory":
        return MemoryStore()
    found: ObjectStore = request.getfixturevalue("s3_store")
    return found
