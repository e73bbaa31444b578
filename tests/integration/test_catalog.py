"""RecoveryPoints with a real operator, a real API server and a real S3 server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.bank import layout
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.marks import Tomb
from cinderbank.domain.catalog import PointKey, point_name
from tests.fakes.backups import BACKUP, SITE, VOLUME, back_up, sample
from tests.fakes.many_backups import numbered, numbered_id, seal_body, seal_one
from tests.stage.namespace import Namespace, Object, Refused, condition
from tests.stage.operator_process import OperatorProcess
from tests.stage.site import Site

pytestmark = pytest.mark.timeout(1200)

LIMIT_SECONDS = 180.0
"""Only what never comes is given up."""
HOSTILE = "\x1b[2Jdb\u202e" + "x" * 300
OTHER_SITE = "site-z"


@pytest.fixture(scope="module")
def home(site: Site) -> Iterator[Namespace]:
    found = site.namespace(f"catalog-{os.urandom(3).hex()}")
    found.create()
    yield found
    found.delete("namespace", found.name)


@pytest.fixture(scope="module")
def store(site: Site, home: Namespace) -> Iterator[S3Store]:
    """A bank with a backup by the writer, three of another site, a hostile one and a broken one."""
    s3 = site.stage.environment
    keys = S3Credentials(s3["S3_ACCESS_KEY"], s3["S3_SECRET_KEY"])
    location = S3Location(s3["S3_ENDPOINT"], s3["S3_BUCKET"], home.name, s3["S3_REGION"], "path")
    found = S3Store(location, keys)
    StoredBank(found, SITE).open()
    back_up(found, sample("tz"))
    for number in (1, 2, 3):
        seal_one(found, numbered(number, OTHER_SITE))
    seal_one(found, numbered(4), volume_name=HOSTILE, tags={"argocd.argoproj.io/instance": "x"})
    seal_body(found, numbered(5), b'{"phase":"Completed"}')
    found.put(f"sites/{SITE}/seals/a/b", b"?")
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
    home.apply(a_bank(site, home))
    yield running
    assert running.stop() == 0


def a_bank(site: Site, home: Namespace, name: str = "main", **catalog: object) -> Object:
    body = site.bank(name, prefix=home.name)
    body["spec"] |= {"accessMode": "ReadOnly", "catalog": {"interval": "1s", **catalog}}
    return body


def synced(home: Namespace, bank: str = "main", **told: int) -> Object:
    """status.catalog once a sync that saw this generation tells all of `told`."""

    def fits(o: Object) -> bool:
        found = o.get("status", {}).get("catalog", {})
        seen = found.get("observedGeneration") == o["metadata"]["generation"]
        whole = "lastSyncTime" in found and "reason" not in found and not found["pending"]
        return seen and whole and all(found[name] == value for name, value in told.items())

    return home.wait("bank", bank, fits, seconds=LIMIT_SECONDS)["status"]["catalog"]


def points(home: Namespace, *selector: str) -> dict[str, Object]:
    said = home.run("get", "rp", "-o", "json", *selector)
    return {each["metadata"]["name"]: each for each in json.loads(said)["items"]}


WRITTEN = point_name("main", PointKey(SITE, BACKUP, VOLUME))
STRANGE = point_name("main", numbered(4))
BROKEN = point_name("main", numbered(5))


def test_what_the_bank_holds_is_shown_to_people(
    site: Site, home: Namespace, operator: OperatorProcess
) -> None:
    told = synced(home, recoveryPoints=6)
    assert (told["backups"], told["leftOut"], told["unreadable"]) == (6, 0, 1)
    assert (told["foreignKeys"], told["namesTaken"]) == (1, 0)
    found = points(home)
    assert len(found) == 6
    status = found[WRITTEN]["status"]
    assert (status["volumeName"], status["backupName"], status["tags"]) == (
        "db",
        "nightly",
        {"kind": "full"},
    )
    assert condition(found[WRITTEN], "Ready")["reason"] == "Mirrored"
    [owner] = found[WRITTEN]["metadata"]["ownerReferences"]
    bank = home.get("bank", "main")
    assert bank is not None and owner["uid"] == bank["metadata"]["uid"]
    wide = home.run("get", "rp", WRITTEN, "-o", "wide").splitlines()
    for word in ("BANK", "SITE", "VOLUME", "SNAPSHOT-TIME", "SIZE-GIB", "BACKUP-ID", "TAGS"):
        assert word in wide[0]
    for word in ("main", SITE, "db", BACKUP, VOLUME, '{"kind":"full"}', "True"):
        assert word in wide[1]


def test_what_is_hostile_is_inert_and_told(home: Namespace, operator: OperatorProcess) -> None:
    synced(home, recoveryPoints=6)
    found = points(home)
    strange = found[STRANGE]
    assert strange["status"]["volumeName"].startswith("\ufffd[2Jdb\ufffdxxx")
    assert len(strange["status"]["volumeName"]) == 255
    assert strange["status"]["tags"] == {"argocd.argoproj.io/instance": "x"}
    labels = strange["metadata"]["labels"]
    assert all(name.startswith("cinderbank.io/") for name in labels)
    assert "cinderbank.io/volume-name" not in labels
    assert "phase" not in found[BROKEN]["status"]
    assert condition(found[BROKEN], "Stalled")["reason"] == "DataCorrupt"


def test_it_is_found_by_labels(home: Namespace, operator: OperatorProcess) -> None:
    synced(home, recoveryPoints=6)
    assert len(points(home, "-l", f"cinderbank.io/site={OTHER_SITE}")) == 3
    assert len(points(home, "-l", f"cinderbank.io/volume-id={VOLUME}")) == 6
    assert set(points(home, "-l", f"cinderbank.io/backup-id={BACKUP}")) == {WRITTEN}
    assert WRITTEN in points(home, "-l", "cinderbank.io/volume-name=db")


def test_nobody_changes_it_and_what_is_deleted_comes_back(
    home: Namespace, operator: OperatorProcess
) -> None:
    synced(home, recoveryPoints=6)
    patch = json.dumps({"spec": {"backupID": numbered_id(9)}})
    with pytest.raises(Refused, match="mirrors the bank"):
        home.run("patch", "rp", WRITTEN, "--type", "merge", "-p", patch)
    before = points(home)[WRITTEN]["metadata"]["uid"]
    home.delete("rp", WRITTEN)
    again = home.wait(
        "rp",
        WRITTEN,
        lambda o: o["metadata"]["uid"] != before and "lookedAtTime" in o.get("status", {}),
        seconds=LIMIT_SECONDS,
    )
    assert again["spec"]["backupID"] == BACKUP


def test_a_second_bank_object_has_its_own_and_takes_them_along(
    site: Site, home: Namespace, operator: OperatorProcess
) -> None:
    """kube-controller-manager deletes what an owner leaves behind."""
    synced(home, recoveryPoints=6)
    uids = {name: each["metadata"]["uid"] for name, each in points(home).items()}
    home.apply(a_bank(site, home, "second", selector={"sites": [OTHER_SITE]}, maxEntries=2))
    told = synced(home, "second", recoveryPoints=2)
    assert told["leftOut"] == 1
    seconds = set(points(home, "-l", "cinderbank.io/bank=second"))
    assert seconds == {point_name("second", numbered(n, OTHER_SITE)) for n in (2, 3)}
    home.delete("bank", "second")
    for name in seconds:
        home.wait_gone("rp", name, seconds=LIMIT_SECONDS)
    left = {name: each["metadata"]["uid"] for name, each in points(home).items()}
    assert left == uids


def test_gone_from_the_bank_is_gone_here(
    site: Site, home: Namespace, operator: OperatorProcess, store: S3Store
) -> None:
    synced(home, recoveryPoints=6)
    store.put(layout.tomb(OTHER_SITE, numbered_id(1)), Tomb(VOLUME).dump())
    synced(home, recoveryPoints=5)
    assert point_name("main", numbered(1, OTHER_SITE)) not in points(home)
    home.apply(a_bank(site, home, maxEntries=0))
    synced(home, recoveryPoints=0)
    assert points(home) == {}
    bank = home.get("bank", "main")
    assert bank is not None and condition(bank, "Ready")["status"] == "True"
