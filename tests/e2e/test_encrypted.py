"""Encrypted volumes, whose keys Barbican holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Running, Scene
from tests.e2e.test_refusals import nothing_is_left, stalled
from tests.rig.openstack.barbican import services
from tests.rig.up import up
from tests.stage.site import Stage, backup

pytestmark = pytest.mark.timeout(2400)


@pytest.fixture(scope="module", autouse=True)
def barbican(stage: Stage, a: Running, b: Running) -> Iterator[None]:
    up(only=("barbican",))
    yield
    for service in services(stage.rig):
        stage.rig.supervisor.stop(service.name)
    stage.rig.mark_up()


def test_refused_unless_asked_for(scene: Scene, a: Running) -> None:
    volume_id = a.site.cloud.make_blank_volume("secret", 1, volume_type="luks")
    assert a.site.cloud.volume(volume_id).is_encrypted
    scene.at_a.apply(backup("secret", source={"volumeID": volume_id}))
    assert "key" in stalled(scene.at_a, "secret", "EncryptedVolume")
    nothing_is_left(scene, a)
    a.site.cloud.delete_volume(volume_id)
