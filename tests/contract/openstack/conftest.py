"""The sites that the suites run against: the engine's fakes, and a project of the rig."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.openstack.site import FakeSite, RealSite, Site

ROOT = Path(__file__).resolve().parents[3]


def clouds_of_the_rig() -> Path:
    """The rig's clouds.yaml; the test is skipped, with the way out, when no rig is up."""
    named = os.environ.get("OS_CLIENT_CONFIG_FILE")
    path = Path(named) if named else ROOT / ".rig" / "clouds.yaml"
    if not path.exists():
        pytest.skip("no rig is up: python3 -m tests.rig up")
    return path


@pytest.fixture(scope="session")
def clouds_yaml() -> Path:
    return clouds_of_the_rig()


@pytest.fixture(scope="session")
def real_site(clouds_yaml: Path) -> Iterator[RealSite]:
    site = RealSite(clouds_yaml, "a")
    try:
        yield site
    finally:
        site.close()


@pytest.fixture(scope="session")
def fake_site() -> FakeSite:
    return FakeSite()


@pytest.fixture(scope="session", params=["fake", "real"])
def site(request: pytest.FixtureRequest) -> Site:
    return request.getfixturevalue(f"{request.param}_site")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """openstacksdk 4.22 warns of a parameter that only it itself passes (proxy.py, _extract_name)."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(
                pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning")
            )
