"""A backup with copies: the first bank is lost with its bucket, and site B restores from the second."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from minio.deleteobjects import DeleteObject

from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.wrapped_keys import encoded_kek
from tests.e2e.conftest import Running, Scene, make_scene
from tests.stage.bucket import Bucket
from tests.stage.cloud import Content
from tests.stage.namespace import Object, condition
from tests.stage.site import Stage, backup, restore

pytestmark = pytest.mark.timeout(2400)


@dataclass
class Banks:
    """At site A: `first` in a bucket of its own, `main` (which site B has too), `vault` with a key."""

    scene: Scene
    bucket: str

    @property
    def client(self) -> Any:
        return self.scene.bucket.client

    def lose_the_first(self) -> None:
        rows = self.client.list_objects(self.bucket, recursive=True)
        list(self.client.remove_objects(self.bucket, (DeleteObject(r.object_name) for r in rows)))
        self.client.remove_bucket(self.bucket)


@pytest.fixture(scope="module")
def banks(stage: Stage, a: Running, b: Running) -> Iterator[Banks]:
    scene = make_scene(stage, a, b, "copies")
    found = Banks(scene, f"first-{os.urandom(6).hex()}")
    found.client.make_bucket(found.bucket)
    first = a.site.bank("first", prefix="backups", bucket=found.bucket)
    vault = a.site.bank("vault", prefix=f"{scene.prefix}-vault")
    vault["spec"]["encryption"] = {"keySecretRef": {"name": "vault-key"}}
    key = encoded_kek(KeyEncryptionKey(os.urandom(32))).decode()
    for site, namespace in ((a.site, scene.at_a), (b.site, scene.at_b)):
        namespace.secret("vault-key", {"key": key})
        at_site = {**vault, "spec": {**vault["spec"], "site": f"site-{site.letter}"}}
        namespace.apply(at_site)
    scene.at_a.apply(first)
    yield found
    if found.client.bucket_exists(found.bucket):
        found.lose_the_first()


def is_copied(found: Object) -> bool:
    """Also that the backup never says anything else than it did."""
    assert found["status"]["phase"] in ("Completed",)
    return condition(found, "Copied").get("status") == "True"


def test_the_second_bank_is_enough(banks: Banks, a: Running, b: Running) -> None:
    scene = banks.scene
    volume_id = a.site.cloud.make_volume("copied", Content(size_gib=1, used_mib=48, seed=7))
    source = {"volumeID": volume_id}
    asked = {"source": source, "bankRef": {"name": "first"}, "incremental": "Full"}
    kept = backup("kept", copies=[{"bankRef": {"name": "main"}}], **asked)
    scene.at_a.apply(
        kept, backup("goes", deletionPolicy="Delete", copies=kept["spec"]["copies"], **asked)
    )
    for name in ("kept", "goes"):
        scene.at_a.wait_phase("vbk", name, "Completed", seconds=900)
        scene.at_a.wait("vbk", name, is_copied, seconds=900)

    # Deleting one takes its copy along; the other one has borrowed from it or lent to it, and is whole.
    gone = scene.at_a.get("vbk", "goes")
    assert gone is not None
    scene.at_a.delete("vbk", "goes")
    scene.at_a.wait_gone("vbk", "goes", seconds=900)
    sealed = [key for key in scene.bucket.keys(scene.prefix) if "/seals/" in key]
    assert len(sealed) == 1
    assert gone["status"]["backupID"] not in sealed[0]

    # A copy can be added to a backup that is over, also into a bank with keys.
    kept["spec"]["copies"].append({"bankRef": {"name": "vault"}})
    scene.at_a.apply(kept)
    done = scene.at_a.wait(
        "vbk", "kept", lambda o: len(o["status"]["copies"]) == 2 and is_copied(o), seconds=900
    )
    assert done["status"]["observedGeneration"] == done["metadata"]["generation"]
    assert {each["bank"]: each["phase"] for each in done["status"]["copies"]} == {
        "main": "Completed",
        "vault": "Completed",
    }

    banks.lose_the_first()
    ids = {each["bank"]: each["backupID"] for each in done["status"]["copies"]}
    assert set(ids.values()) == {done["status"]["backupID"]}
    from_vault = restore("from-vault", backup_id=ids["vault"])
    from_vault["spec"]["source"]["bank"]["bankRef"]["name"] = "vault"
    scene.at_b.apply(restore("from-main", backup_id=ids["main"]), from_vault)
    wanted = a.site.volume_sha256(volume_id)
    for name in ("from-main", "from-vault"):
        back = scene.at_b.wait_phase("vrs", name, "Completed", seconds=900)
        restored = back["status"]["volumeID"]
        assert b.site.volume_sha256(restored) == wanted
        b.site.cloud.delete_volume(restored)
    a.site.cloud.delete_volume(volume_id)
    assert a.site.cloud.temporaries() == []


def test_a_copy_that_can_not_be_made_never_spoils_the_backup(banks: Banks, a: Running) -> None:
    """Its bank comes later; until then the backup is Completed, and the copy says what is missing."""
    scene = banks.scene
    volume_id = a.site.cloud.make_volume("waits", Content(size_gib=1, used_mib=1, seed=8))
    scene.at_a.apply(
        backup("waits", source={"volumeID": volume_id}, copies=[{"bankRef": {"name": "later"}}])
    )
    scene.at_a.wait_phase("vbk", "waits", "Completed", seconds=900)
    told = scene.at_a.wait(
        "vbk",
        "waits",
        lambda o: condition(o, "Copied").get("reason") == "BankNotFound",
        seconds=300,
    )
    assert condition(told, "Ready")["status"] == "True"
    assert told["status"]["copies"][0]["phase"] == "Stalled"
    scene.at_a.apply(a.site.bank("later", prefix=f"{scene.prefix}-later"))
    scene.at_a.wait("vbk", "waits", is_copied, seconds=300)
    keys = Bucket(a.site.stage.environment).keys(f"{scene.prefix}-later")
    assert [key for key in keys if told["status"]["backupID"] in key and "/seals/" in key]
    a.site.cloud.delete_volume(volume_id)
