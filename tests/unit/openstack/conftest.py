from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openstack.connection import Connection

from cinderbank.adapters.openstack.cinder import OpenStackCinder
from cinderbank.adapters.openstack.glance import OpenStackGlance
from cinderbank.adapters.openstack.session import Timeouts, connect
from tests.unit.openstack.cloud import Cloud

Connect = Callable[..., Connection]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """openstacksdk 4.22 warns of a parameter that only it itself passes (proxy.py, _extract_name)."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(
                pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning")
            )


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as cloud:
        yield cloud


@pytest.fixture
def connect_to(cloud: Cloud, tmp_path: Path) -> Iterator[Connect]:
    """connect(), with changes to the good clouds.yaml; closes what it has opened."""
    opened: list[Connection] = []

    def connected(
        *, cacert: Path | None = None, read_seconds: float = 20, **changes: object
    ) -> Connection:
        path = tmp_path / "clouds.yaml"
        path.write_text(json.dumps(cloud.clouds_yaml(**changes)))
        timeouts = Timeouts(connect_seconds=5, read_seconds=read_seconds)
        opened.append(connect(path, "here", cacert=cacert, timeouts=timeouts))
        return opened[-1]

    yield connected
    for connection in opened:
        connection.close()


@pytest.fixture
def cinder(connect_to: Connect) -> OpenStackCinder:
    return OpenStackCinder(connect_to())


@pytest.fixture
def glance(connect_to: Connect) -> OpenStackGlance:
    return OpenStackGlance(connect_to())
