"""BankCheck with a real operator, a real API server and a real S3 server."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.bank import layout, scrub
from tests.fakes.backups import BACKUP, CHUNK, OTHER_BACKUP, SITE, back_up, sample
from tests.stage.namespace import GROUP, Namespace, Object, Refused, condition
from tests.stage.operator_process import OperatorProcess
from tests.stage.site import Site

pytestmark = pytest.mark.timeout(1200)

LIMIT_SECONDS = 180.0
"""Only what never comes is given up."""

CONTENT = sample("tzrsrt", tail=100)


@pytest.fixture(scope="module")
def home(site: Site) -> Iterator[Namespace]:
    found = site.namespace(f"checks-{os.urandom(3).hex()}")
    found.create()
    yield found
    found.delete("namespace", found.name)


@pytest.fixture(scope="module")
def store(site: Site, home: Namespace) -> Iterator[S3Store]:
    """The bank of this file, with two backups in it."""
    s3 = site.stage.environment
    keys = S3Credentials(s3["S3_ACCESS_KEY"], s3["S3_SECRET_KEY"])
    location = S3Location(s3["S3_ENDPOINT"], s3["S3_BUCKET"], home.name, s3["S3_REGION"], "path")
    found = S3Store(location, keys)
    back_up(found, CONTENT)
    back_up(found, CONTENT, backup_id=OTHER_BACKUP)
    yield found
    found.delete_many([row.key for row in found.list_keys("")])
    found.close()


@pytest.fixture(scope="module")
def operator(site: Site, home: Namespace, store: S3Store) -> Iterator[OperatorProcess]:
    running = site.operator(
        {
            "CINDERBANK_NAMESPACES": home.name,
            "CINDERBANK_BLOCKED_RETRY_SECONDS": "2",
            "CINDERBANK_RESYNC_INTERVAL_SECONDS": "5",
        }
    )
    running.log = site.stage.rig.log(f"operator-{home.name}")
    running.start()
    s3 = site.stage.environment
    keys = {"access-key-id": s3["S3_ACCESS_KEY"], "secret-access-key": s3["S3_SECRET_KEY"]}
    home.secret("bank", keys)
    home.apply(site.bank("main", prefix=home.name))
    yield running
    assert running.stop() == 0


def a_check(name: str, **spec: object) -> Object:
    body = {"bankRef": {"name": "main"}, **spec}
    return {"apiVersion": GROUP, "kind": "BankCheck", "metadata": {"name": name}, "spec": body}


def ended(home: Namespace, name: str) -> Object:
    return home.wait(
        "bchk",
        name,
        lambda o: o["status"].get("phase") in ("Completed", "Failed"),
        seconds=LIMIT_SECONDS,
    )["status"]


def intact(status: Object) -> str:
    return condition({"status": status}, "Intact")["status"]


def test_a_bank_that_is_whole(home: Namespace, operator: OperatorProcess, store: S3Store) -> None:
    home.apply(a_check("whole", level="Full"))
    status = ended(home, "whole")
    assert (status["phase"], intact(status)) == ("Completed", "True")
    assert status["progress"]["ok"] == 2
    assert status["progress"]["chunksRead"] == status["progress"]["chunks"] == 12
    assert not list(store.list_keys(layout.SCRUBS))


def test_damage_is_told_noted_and_taken_back(
    home: Namespace, operator: OperatorProcess, store: S3Store
) -> None:
    key = layout.chunk(SITE, BACKUP, 1, 2)
    good = store.get(key, 1 << 20)
    assert good is not None
    store.put(key, good[:-1] + bytes([good[-1] ^ 1]))
    home.apply(a_check("damage", level="Full"))
    status = ended(home, "damage")
    assert intact(status) == "False"
    [row] = status["damaged"]
    assert (row["backupID"], row["lost"]) == (BACKUP, [f"{2 * CHUNK}-{3 * CHUNK - 1}"])
    assert scrub.known_damage(store).has_backup(SITE, BACKUP)
    assert "DamageFound" in {event["reason"] for event in home.events("damage")}
    store.put(key, good)
    home.apply(a_check("again", level="Existence", backupID=BACKUP))
    assert intact(ended(home, "again")) == "True"
    assert not list(store.list_keys(layout.SCRUBS))


def test_a_backup_that_is_not_there_fails(home: Namespace, operator: OperatorProcess) -> None:
    home.apply(a_check("nobody", backupID="01KAPZ5J3VQ6Z0C4M8T2R7W9XG"))
    status = ended(home, "nobody")
    assert status["phase"] == "Failed"
    assert condition({"status": status}, "Stalled")["reason"] == "BackupNotFound"


def test_what_a_check_may_not_be(home: Namespace, operator: OperatorProcess) -> None:
    for spec in ({"level": "Sample"}, {"samplePercent": 5}, {"level": "Deep"}):
        with pytest.raises(Refused, match=r"samplePercent|level"):
            home.apply(a_check("wrong", **spec))
    home.apply(a_check("sampled", level="Sample", samplePercent=50))
    assert ended(home, "sampled")["seed"] >= 0
    with pytest.raises(Refused, match="can not be changed"):
        home.apply(a_check("sampled", level="Sample", samplePercent=60))


def test_a_bank_that_is_not_there_is_waited_for(home: Namespace, operator: OperatorProcess) -> None:
    home.apply({**a_check("early"), "spec": {"bankRef": {"name": "later"}}})
    home.wait("bchk", "early", lambda o: "BankNotFound" in str(o["status"]), seconds=LIMIT_SECONDS)
    home.delete("bchk", "early")
    home.wait_gone("bchk", "early", seconds=LIMIT_SECONDS)
