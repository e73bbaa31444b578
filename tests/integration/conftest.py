"""Site a with deploy/ applied, and the API server as the operator's ServiceAccount meets it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cinderbank.adapters.kube.client import KubeApi
from tests.stage.required import required_rig
from tests.stage.site import Site, Stage


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage(required_rig())


@pytest.fixture(scope="module")
def site(stage: Stage) -> Site:
    """Installed anew for each module: one of them takes the CRDs away."""
    found = stage.site("a")
    found.install()
    return found


@pytest.fixture(scope="module")
def api(site: Site) -> Iterator[KubeApi]:
    with site.operator_api() as found:
        yield found
