"""What the engine relies on of a key manager, of the fake and of a real Barbican."""

from __future__ import annotations

import os
from collections.abc import Iterator
from uuid import uuid4

import pytest

from cinderbank.adapters.openstack.key_manager import OpenStackKeyManager
from cinderbank.domain.errors import SourceGone
from cinderbank.ports.key_manager import KeyManager, Secret
from tests.contract.openstack.site import RealSite
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.faults import Faults
from tests.fakes.key_manager import FakeKeyManager
from tests.stage.barbican import running_barbican

KEY = Secret(os.urandom(32), "symmetric", "aes", 256)


@pytest.fixture(scope="module")
def real_keys(real_site: RealSite) -> Iterator[KeyManager]:
    with running_barbican():
        yield OpenStackKeyManager(real_site.connection)


@pytest.fixture(scope="module")
def fake_keys() -> KeyManager:
    return FakeKeyManager(FakeCloud(FakeClock(), Faults()))


@pytest.fixture(scope="module", params=["fake", "real"])
def keys(request: pytest.FixtureRequest) -> KeyManager:
    found: KeyManager = request.getfixturevalue(f"{request.param}_keys")
    return found


@pytest.fixture
def mark() -> str:
    return f"cinderbank-restore-{uuid4()}"


def test_what_is_made_is_found_by_its_mark_and_read(keys: KeyManager, mark: str) -> None:
    assert keys.marked_secrets(mark) == []
    made = [keys.create_secret(mark, KEY) for _ in range(2)]
    other = keys.create_secret(f"{mark}-of-another", KEY)
    assert {each.id for each in keys.marked_secrets(mark)} == {each.id for each in made}
    assert keys.read_secret(made[0].id) == KEY
    for each in (*made, other):
        keys.delete_secret(each.id)
    assert keys.marked_secrets(mark) == []


def test_gone_is_gone_at_once_and_deleting_again_is_fine(keys: KeyManager, mark: str) -> None:
    made = keys.create_secret(mark, KEY)
    keys.delete_secret(made.id)
    keys.delete_secret(made.id)
    with pytest.raises(SourceGone) as gone:
        keys.read_secret(made.id)
    assert gone.value.reason == "EncryptionKeyNotFound"


def test_any_bytes_come_back(keys: KeyManager, mark: str) -> None:
    for payload in (b"\0", bytes(range(256)), os.urandom(10_000)):
        made = keys.create_secret(mark, Secret(payload, "opaque", "", 0))
        try:
            assert keys.read_secret(made.id).payload == payload
        finally:
            keys.delete_secret(made.id)
