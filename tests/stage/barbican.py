"""Barbican at both sites, for as long as a module of tests needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.rig.openstack.barbican import services
from tests.rig.up import up


@contextmanager
def running_barbican() -> Iterator[None]:
    """Beside a rig that is up."""
    rig = up(only=("barbican",))
    yield
    for service in services(rig):
        rig.supervisor.stop(service.name)
    rig.mark_up()
