"""Two sites with an operator each, for the whole ring; a namespace and a bank prefix for each test."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.stage.bucket import Bucket
from tests.stage.gate import Gate
from tests.stage.namespace import Namespace
from tests.stage.operator_process import OperatorProcess
from tests.stage.required import required_rig
from tests.stage.site import Site, Stage


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What kills a whole site goes last."""
    items.sort(key=lambda item: item.get_closest_marker("disaster") is not None)


@pytest.fixture(scope="session")
def stage() -> Stage:
    return Stage(required_rig())


@dataclass
class Running:
    """A site with its operator."""

    site: Site
    operator: OperatorProcess


def _running(stage: Stage, letter: str) -> Iterator[Running]:
    site = stage.site(letter)
    site.install()
    # Volumes of this cloud may become persistent volumes: test_claims.py.
    auth_url = stage.rig.site(letter).auth_url
    operator = site.operator({"CINDERBANK_CSI_AUTH_URLS": auth_url})
    operator.start()
    yield Running(site, operator)
    operator.stop()


@pytest.fixture(scope="session")
def a(stage: Stage) -> Iterator[Running]:
    yield from _running(stage, "a")


@pytest.fixture(scope="session")
def b(stage: Stage) -> Iterator[Running]:
    yield from _running(stage, "b")


@pytest.fixture
def gate(stage: Stage) -> Iterator[Gate]:
    """In front of the S3 server, for a bank that names `gate.url` as its endpoint."""
    found = Gate(stage.environment["S3_ENDPOINT"])
    yield found
    found.close()


@dataclass
class Scene:
    """One test's namespaces at both sites, on one bank prefix of its own."""

    at_a: Namespace
    at_b: Namespace
    bucket: Bucket
    prefix: str


@pytest.fixture
def scene(request: pytest.FixtureRequest, stage: Stage, a: Running, b: Running) -> Scene:
    return make_scene(stage, a, b, request.node.name)


def make_scene(stage: Stage, a: Running, b: Running, test: str) -> Scene:
    unique = f"{re.sub('[^a-z0-9]+', '-', test.lower()).strip('-')[:40]}-{os.urandom(3).hex()}"
    at_a, at_b = a.site.namespace(unique), b.site.namespace(unique)
    a.site.furnish(at_a, prefix=unique)
    b.site.furnish(at_b, prefix=unique)
    return Scene(at_a, at_b, Bucket(stage.environment), unique)
