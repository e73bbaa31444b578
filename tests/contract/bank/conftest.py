"""The stores that the bank must work on: in memory, and three S3 servers through the SDK."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.bank.store import ObjectStore
from tests.fakes.object_store import MemoryStore
from tests.rig import s3 as rig_s3
from tests.rig.rig import Rig, RigIsDown
from tests.stage.required import missing

RIG_ENV = Path(__file__).parents[3] / ".rig" / "env"


def rig_environment() -> dict[str, str]:
    """What the rig tells of itself; without one the test is skipped, or fails where none may be."""
    if not RIG_ENV.exists():
        missing("no rig is up: python3 -m tests.rig up")
    rows = (line.partition("=") for line in RIG_ENV.read_text().splitlines() if "=" in line)
    return {name: value for name, _, value in rows if not name.startswith("#")}


@cache
def _ready(server: str) -> rig_s3.Store | str:
    """The server, started if need be; else why it is not there. Asked for once in a session."""
    try:
        rig = Rig.open()
    except RigIsDown as error:
        return str(error)
    # A cluster is too much to start on demand: it comes with the OpenStack part.
    if server == rig_s3.RADOSGW and not rig.supervisor.is_running("ceph-mon"):
        return "radosgw needs the rig's part ceph"
    return rig_s3.ready_store(rig, server)


@pytest.fixture(params=rig_s3.CHOICES)
def s3_server(request: pytest.FixtureRequest) -> rig_s3.Store:
    """Each S3 server of the rig; a module that needs one only says which by a fixture of its own."""
    return ready(request.param)


def ready(server: str) -> rig_s3.Store:
    found = _ready(server)
    if isinstance(found, str):
        missing(found)
    return found


def credentials_of(server: rig_s3.Store) -> S3Credentials:
    return S3Credentials(server.keys.access_key, server.keys.secret_key)


def location_of(server: rig_s3.Store) -> S3Location:
    """A prefix of its own for each test."""
    prefix = f"test/{uuid.uuid4()}"
    return S3Location(server.endpoint, server.bucket, prefix, server.region, "path")


@pytest.fixture
def s3_credentials(s3_server: rig_s3.Store) -> S3Credentials:
    return credentials_of(s3_server)


@pytest.fixture
def s3_location(s3_server: rig_s3.Store) -> S3Location:
    return location_of(s3_server)


@contextmanager
def emptied(location: S3Location, credentials: S3Credentials) -> Iterator[S3Store]:
    """A store that is empty again at the end."""
    store = S3Store(location, credentials)
    yield store
    while keys := [row.key for _, row in zip(range(1000), store.list_keys(""), strict=False)]:
        store.delete_many(keys)
    store.close()


@pytest.fixture
def s3_store(s3_location: S3Location, s3_credentials: S3Credentials) -> Iterator[S3Store]:
    with emptied(s3_location, s3_credentials) as store:
        yield store


@pytest.fixture(params=["memory", *rig_s3.CHOICES])
def store(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    server = ready(request.param)
    with emptied(location_of(server), credentials_of(server)) as found:
        yield found
