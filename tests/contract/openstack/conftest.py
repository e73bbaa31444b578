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


FAKE_DIFFERS = {
    "test_a_volume_in_use_is_snapshot_as_well[fake]": "it deletes a volume that has snapshots",
    "test_a_volume_becomes_a_private_image[fake]": "it forgets disk_format",
    "test_a_new_image_is_queued_and_has_no_sizes[fake]": "it forgets disk_format",
    "test_what_is_gone_cannot_be_changed[fake]": "KeyError, where the port says SourceGone",
}
"""Where tests/fakes does not keep the port yet; take the line out when it does (the run says XPASS)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """openstacksdk 4.22 warns of a parameter that only it itself passes (proxy.py, _extract_name)."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(
                pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning")
            )
            if item.name in FAKE_DIFFERS:
                item.add_marker(pytest.mark.xfail(reason=FAKE_DIFFERS[item.name]))
