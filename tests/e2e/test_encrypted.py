"""Encrypted volumes, whose keys Barbican holds: at site a, and after a is gone, at site b."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Running, Scene
from tests.e2e.test_refusals import nothing_is_left, stalled
from tests.stage import luks
from tests.stage.barbican import running_barbican
from tests.stage.cloud import Cloud, until
from tests.stage.site import Site, Stage, backup, restore

pytestmark = pytest.mark.timeout(2400)
PIECES = luks.Pieces({0: 0xA5, 5 << 20: 0x3C, 700 << 20: 0x5A, 1023 << 20: 0x77})


@pytest.fixture(scope="module", autouse=True)
def barbican(stage: Stage, a: Running, b: Running) -> Iterator[None]:
    with running_barbican():
        yield


class Keys:
    """The key manager as the project's own user sees it."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def ids(self) -> set[str]:
        found = self._cloud.connection.key_manager.get("/secrets", params={"limit": "100"}).json()
        return {each["secret_ref"].rsplit("/", 1)[-1] for each in found["secrets"]}

    def id_of(self, volume_id: str) -> str:
        answer = self._cloud.connection.block_storage.get(f"/volumes/{volume_id}/encryption")
        return str(answer.json()["encryption_key_id"])

    def payload_of(self, volume_id: str) -> bytes:
        path = f"/secrets/{self.id_of(volume_id)}/payload"
        octets = {"Accept": "application/octet-stream"}
        answer = self._cloud.connection.key_manager.get(path, headers=octets)
        assert answer.status_code == 200, answer.text
        return bytes(answer.content)


def encrypted_bank(scene: Scene, a: Running, b: Running) -> None:
    key = base64.b64encode(os.urandom(32)).decode()
    for running, namespace in ((a, scene.at_a), (b, scene.at_b)):
        namespace.secret("bank-keys", {"current": key})
        bank = running.site.bank("main", prefix=scene.prefix)
        bank["spec"]["encryption"] = {"keySecretRef": {"name": "bank-keys"}}
        namespace.apply(bank)


def written_volume(site: Site, stage: Stage) -> tuple[str, bytes]:
    """A blank encrypted volume with PIECES in it, and its key."""
    volume_id = site.cloud.make_blank_volume("secret", 1, volume_type="luks")
    payload = Keys(site.cloud).payload_of(volume_id)
    held = stage.rig.site(site.letter)
    with luks.container(held.volume_blocks(volume_id)) as path:
        held.write_volume(volume_id, luks.write(path, payload, PIECES))
    return volume_id, payload


def test_the_key_comes_back_at_another_site(
    scene: Scene, a: Running, b: Running, stage: Stage
) -> None:
    encrypted_bank(scene, a, b)
    at_a, at_b = Keys(a.site.cloud), Keys(b.site.cloud)
    before_a, before_b = at_a.ids(), at_b.ids()
    volume_id, payload = written_volume(a.site, stage)
    assert at_a.ids() - before_a == {at_a.id_of(volume_id)}

    wanted: dict[str, Any] = {"source": {"volumeID": volume_id}, "encryptedVolumes": "EscrowKey"}
    scene.at_a.apply(backup("secret", **wanted))
    done = scene.at_a.wait_phase("vbk", "secret", "Completed", seconds=1200)["status"]
    assert done["transport"] == "Raw" and done["contentFormat"] == "luks"
    assert done["source"]["encryption"]["provider"] == "luks"
    assert at_a.ids() - before_a == {at_a.id_of(volume_id)}, "a copy of the key is left"
    assert a.site.cloud.temporaries() == []

    a.site.cloud.delete_volume(volume_id)
    until(lambda: at_a.ids() == before_a, 240, "the key to go with its volume")

    scene.at_b.apply(restore("secret", backup_id=done["backupID"]))
    there = scene.at_b.wait_phase("vrs", "secret", "Completed", seconds=1200)["status"]
    restored = there["volumeID"]
    volume = b.site.cloud.volume(restored)
    assert volume.is_encrypted and volume.volume_type == "luks"
    assert volume.size == 2, "the header of 2 MiB needs the next GiB"
    assert not any("encryption" in key for key in volume.volume_image_metadata or {})
    assert at_b.ids() - before_b == {at_b.id_of(restored)}, "our own secret is left"
    assert b.site.cloud.temporaries() == []

    assert at_b.payload_of(restored) == payload
    with luks.container(stage.rig.site("b").volume_blocks(restored)) as path:
        luks.compare(path, at_b.payload_of(restored), PIECES)
        with pytest.raises(luks.NotThatContent):
            luks.compare(path, payload, luks.Pieces({5 << 20: 0x3D}))
    said = [*_told(scene), a.operator.log.read_text(), b.operator.log.read_text()]
    for form in (payload.hex(), base64.b64encode(payload).decode()):
        assert not any(form in text for text in said), "the key was told"
    b.site.cloud.delete_volume(restored)
    until(lambda: at_b.ids() == before_b, 240, "the key to go with its volume")


def _told(scene: Scene) -> list[str]:
    kinds = "vbk,vrs,events.events.k8s.io"
    return [each.run("get", kinds, "-o", "json") for each in (scene.at_a, scene.at_b)]


def test_refused_unless_asked_for(scene: Scene, a: Running) -> None:
    volume_id = a.site.cloud.make_blank_volume("secret", 1, volume_type="luks")
    assert a.site.cloud.volume(volume_id).is_encrypted
    keys = Keys(a.site.cloud).ids()
    scene.at_a.apply(backup("plain", source={"volumeID": volume_id}))
    assert "EscrowKey" in stalled(scene.at_a, "plain", "EncryptedVolume")
    wanted: dict[str, Any] = {"source": {"volumeID": volume_id}, "encryptedVolumes": "EscrowKey"}
    scene.at_a.apply(backup("escrow", **wanted))
    assert "keySecretRef" in stalled(scene.at_a, "escrow", "EscrowNeedsEncryptedBank")
    nothing_is_left(scene, a)
    assert Keys(a.site.cloud).ids() == keys
    a.site.cloud.delete_volume(volume_id)
