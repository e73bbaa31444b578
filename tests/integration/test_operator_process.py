"""The operator as a process, with the rights of deploy/, in front of a real API server."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.wrapped_keys import encoded_kek
from tests.stage.bucket import Bucket
from tests.stage.cloud import until
from tests.stage.namespace import Namespace, condition
from tests.stage.operator_process import OperatorProcess
from tests.stage.site import Site, backup, restore

pytestmark = pytest.mark.timeout(1200)

VOLUME = "0f6c2d7e-6d3e-4a52-9d6c-0a4e5b1f7c11"
MANY = 500
LIMIT_SECONDS = 180.0
"""Only what never comes is given up."""
RSS_LIMIT_MIB = 400
COMPLETED = 'cinderbank_backups{phase="Completed"}'


@pytest.fixture(scope="module")
def home(site: Site) -> Iterator[Namespace]:
    """The namespace that the operator of this file serves: it leaves the others alone."""
    found = site.namespace(f"operator-{os.urandom(3).hex()}")
    found.create()
    yield found
    found.delete("namespace", found.name)


@pytest.fixture(scope="module")
def operator(site: Site, home: Namespace) -> Iterator[OperatorProcess]:
    running = site.operator(
        {
            "CINDERBANK_NAMESPACES": home.name,
            "CINDERBANK_BLOCKED_RETRY_SECONDS": "2",
            "CINDERBANK_RESYNC_INTERVAL_SECONDS": "5",
        }
    )
    running.log = site.stage.rig.log(f"operator-{home.name}")
    running.start()
    yield running
    assert running.stop() == 0


def metric(page: str, name: str) -> float:
    """The value of one sample, its labels included in `name`; 0 when it is not there."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.M)
    return float(found[1]) if found else 0.0


def test_probes_and_metrics(operator: OperatorProcess) -> None:
    assert operator.fetch("/healthz").strip() == "ok"
    assert operator.fetch("/readyz").strip() == "ok"
    page = operator.fetch("/metrics")
    assert "cinderbank_build_info" in page
    assert 'cinderbank_backups{phase="Failed"} 0.0' in page


def test_a_backup_without_its_secret_waits_and_goes_on_when_it_is_there(
    site: Site, home: Namespace, operator: OperatorProcess
) -> None:
    home.apply(backup("waits", source={"volumeID": VOLUME}))
    blocked = home.wait(
        "vbk",
        "waits",
        lambda o: "openstack" in condition(o, "Ready").get("message", ""),
        seconds=LIMIT_SECONDS,
    )
    told = str(blocked["status"])
    assert f"{home.name}/openstack" in told
    assert "SecretNotFound" in told
    assert blocked["status"]["phase"] == "Pending"

    home.secret("openstack", {"wrong.yaml": "x"})
    home.wait(
        "vbk", "waits", lambda o: "SecretKeyMissing" in str(o["status"]), seconds=LIMIT_SECONDS
    )

    home.secret("openstack", {"clouds.yaml": site.cloud.clouds_yaml})
    home.wait("vbk", "waits", lambda o: "BankNotFound" in str(o["status"]), seconds=LIMIT_SECONDS)

    site.furnish(home, prefix=home.name)
    ended = home.wait(
        "vbk", "waits", lambda o: o["status"]["phase"] == "Failed", seconds=LIMIT_SECONDS
    )
    # the world was built at last: now it is the volume that is not there
    assert VOLUME in condition(ended, "Stalled")["message"]
    assert condition(ended, "Stalled")["status"] == "True"
    home.wait("vbk", "waits", lambda o: not o["metadata"].get("finalizers"), seconds=LIMIT_SECONDS)
    reasons = {event["reason"] for event in home.events("waits")}
    assert "SecretNotFound" in reasons
    assert (
        metric(operator.fetch("/metrics"), 'cinderbank_errors_total{reason="SecretNotFound"}') >= 1
    )


def test_a_bank_says_what_it_is(site: Site, home: Namespace, operator: OperatorProcess) -> None:
    site.furnish(home, prefix=home.name)
    ready = home.wait(
        "bank", "main", lambda o: condition(o, "Ready")["status"] == "True", seconds=LIMIT_SECONDS
    )
    status = ready["status"]
    assert status["bankID"]
    assert status["formatVersion"] == 1
    assert status["encryption"] == {"encrypted": False, "keyIDs": []}
    nothing = {"backups": 0, "storedBytes": 0, "stored": "0 B"}
    assert status["counts"] == status["siteCounts"] == nothing
    assert status["lastValidationTime"]
    assert "finalizers" not in ready["metadata"]
    name = f'cinderbank_bank_ready{{name="main",namespace="{home.name}"}}'
    assert metric(operator.fetch("/metrics"), name) == 1


def test_a_bank_that_is_given_a_key_says_its_id_and_never_the_key(
    site: Site, home: Namespace, operator: OperatorProcess
) -> None:
    site.furnish(home, prefix=home.name)
    home.secret("bank-keys", {"current": "password"})
    locked = site.bank("locked", prefix=f"{home.name}-locked")
    locked["spec"]["encryption"] = {"keySecretRef": {"name": "bank-keys"}}
    home.apply(locked)
    refused = home.wait(
        "bank",
        "locked",
        lambda o: condition(o, "Ready")["reason"] == "BankKeyInvalid",
        seconds=LIMIT_SECONDS,
    )
    assert "entry current of Secret" in condition(refused, "Stalled")["message"]
    kek = KeyEncryptionKey(os.urandom(32))
    encoded = encoded_kek(kek).decode()
    home.secret("bank-keys", {"current": encoded})
    ready = home.wait(
        "bank", "locked", lambda o: condition(o, "Ready")["status"] == "True", seconds=LIMIT_SECONDS
    )
    assert ready["status"]["encryption"] == {"encrypted": True, "keyIDs": [kek.id]}
    assert encoded.strip() not in json.dumps(ready)
    assert encoded.strip() not in operator.log.read_text()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bucket": "there-is-no-such-bucket"}, "BucketNotFound"),
        ({"credentialsSecretRef": {"name": "absent"}}, "SecretNotFound"),
        ({"credentialsSecretRef": {"name": "wrong"}}, "BankCredentialsRefused"),
        ({"endpoint": "http://127.0.0.1:1"}, "BankUnavailable"),
    ],
)
def test_a_bank_that_can_not_be_used_says_why(
    site: Site, home: Namespace, operator: OperatorProcess, changes: dict[str, object], reason: str
) -> None:
    home.secret("wrong", {"access-key-id": "nobody", "secret-access-key": "has this key"})
    home.secret("bank", {"access-key-id": "x", "secret-access-key": "y"}) if not home.get(
        "secret", "bank"
    ) else None
    name = f"bank-{reason.lower()}"
    home.apply(site.bank(name, prefix=f"{home.name}-{reason.lower()}", **changes))
    refused = home.wait(
        "bank",
        name,
        lambda o: condition(o, "Ready").get("status") == "False",
        seconds=LIMIT_SECONDS,
    )
    assert condition(refused, "Ready")["reason"] == reason
    assert "has this key" not in str(refused["status"])
    home.delete("bank", name)
    home.wait_gone("bank", name, seconds=LIMIT_SECONDS)


def test_a_bank_that_became_another_one_stops(
    site: Site, home: Namespace, operator: OperatorProcess
) -> None:
    site.furnish(home, prefix=home.name)
    home.apply(site.bank("moves", prefix=f"{home.name}-moves"))
    home.wait("bank", "moves", lambda o: o["status"].get("bankID"), seconds=LIMIT_SECONDS)
    forged = '{"status":{"bankID":"11111111-2222-4333-8444-555555555555"}}'
    home.run("patch", "bank", "moves", "--subresource=status", "--type=merge", "-p", forged)
    endpoint = site.stage.environment["S3_ENDPOINT"].rstrip("/") + "/"  # any change of the spec
    home.apply(site.bank("moves", prefix=f"{home.name}-moves", endpoint=endpoint))
    stopped = home.wait(
        "bank",
        "moves",
        lambda o: condition(o, "Ready")["reason"] == "BankIdMismatch",
        seconds=LIMIT_SECONDS,
    )
    assert condition(stopped, "Stalled")["status"] == "True"
    assert stopped["status"]["bankID"].startswith("11111111")
    home.apply({**backup("refused", source={"volumeID": VOLUME}, bankRef={"name": "moves"})})
    home.secret("openstack", {"clouds.yaml": site.cloud.clouds_yaml})
    home.wait(
        "vbk", "refused", lambda o: "BankIdMismatch" in str(o.get("status")), seconds=LIMIT_SECONDS
    )
    home.delete("vbk", "refused")
    home.wait_gone("vbk", "refused", seconds=LIMIT_SECONDS)
    home.delete("bank", "moves")


def test_a_bank_that_was_emptied_stops_until_it_is_back(
    site: Site, home: Namespace, operator: OperatorProcess
) -> None:
    site.furnish(home, prefix=home.name)
    bucket = Bucket(site.stage.environment)
    body = site.bank("emptied", prefix=f"{home.name}-emptied")
    body["spec"]["validation"] = {"interval": "1s"}
    home.apply(body)
    bank_id = home.wait(
        "bank", "emptied", lambda o: o["status"].get("bankID"), seconds=LIMIT_SECONDS
    )["status"]["bankID"]
    key = f"{home.name}-emptied/bank.json"
    header = bucket.read(key)

    def stops_with(words: str) -> None:
        stopped = home.wait(
            "bank",
            "emptied",
            lambda o: words in condition(o, "Ready").get("message", ""),
            seconds=LIMIT_SECONDS,
        )
        assert condition(stopped, "Ready")["reason"] == "BankIdMismatch"
        assert condition(stopped, "Stalled")["status"] == "True"
        assert stopped["status"]["bankID"] == bank_id, "which one it was is not forgotten"

    bucket.client.remove_object(bucket.name, key)
    stops_with(f"holds no bank, but {bank_id} was there before")
    assert not [each for each in bucket.keys(f"{home.name}-emptied") if each == "bank.json"]
    other = header.replace(bank_id.encode(), b"11111111-2222-4333-8444-555555555555")
    bucket.client.put_object(bucket.name, key, io.BytesIO(other), len(other))
    stops_with("holds bank 11111111-2222-4333-8444-555555555555")
    bucket.client.put_object(bucket.name, key, io.BytesIO(header), len(header))
    home.wait(
        "bank",
        "emptied",
        lambda o: condition(o, "Ready")["status"] == "True",
        seconds=LIMIT_SECONDS,
    )
    home.delete("bank", "emptied")


def test_a_restore_of_a_backup_that_is_not_there_waits_and_can_be_deleted(
    site: Site, home: Namespace, operator: OperatorProcess
) -> None:
    body = restore("from-object", backup_id="01JD0000000000000000000000")
    body["spec"]["source"] = {"backupRef": {"name": "nobody"}}
    home.apply(body)
    home.wait(
        "vrs",
        "from-object",
        lambda o: "BackupNotFound" in str(o.get("status")),
        seconds=LIMIT_SECONDS,
    )
    home.delete("vrs", "from-object")
    home.wait_gone("vrs", "from-object", seconds=LIMIT_SECONDS)


def test_a_re_created_object_begins_anew(home: Namespace, operator: OperatorProcess) -> None:
    def seen(uid: str) -> bool:
        found = home.get("vbk", "again")
        return bool(
            found
            and found["metadata"]["uid"] == uid
            and "absent" in condition(found, "Ready").get("message", "")
        )

    uids = set()
    for _ in range(3):
        spec = {"cloudCredentialsRef": {"secretName": "absent", "cloudName": "x"}}
        home.apply(backup("again", source={"volumeID": VOLUME}, **spec))
        found = home.get("vbk", "again")
        assert found is not None
        uid = found["metadata"]["uid"]
        home.wait("vbk", "again", lambda o, uid=uid: seen(uid), seconds=LIMIT_SECONDS)  # type: ignore[misc]
        uids.add(uid)
        home.delete("vbk", "again")
        home.wait_gone("vbk", "again", seconds=LIMIT_SECONDS)
    assert len(uids) == 3


def test_users_objects_carry_nothing_of_ours(
    site: Site, home: Namespace, operator: OperatorProcess
) -> None:
    spec = {"cloudCredentialsRef": {"secretName": "absent", "cloudName": "x"}}
    home.apply(backup("clean", source={"volumeID": VOLUME}, **spec))
    home.wait("vbk", "clean", lambda o: "absent" in str(o.get("status")), seconds=LIMIT_SECONDS)
    for kind, name in (("vbk", "clean"), ("bank", "main")):
        found = home.get(kind, name)
        if found is None:
            continue
        assert not found["metadata"].get("annotations")
        assert not found["metadata"].get("labels")
        assert not found["metadata"].get("finalizers")
        assert found["metadata"]["generation"] == found["status"]["observedGeneration"]


def rss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024


@pytest.fixture
def crowd(site: Site, home: Namespace) -> Iterator[Namespace]:
    """MANY backups that have ended; and no operator of this file serves them."""
    found = site.namespace(f"{home.name}-crowd")
    found.create()
    names = [f"done-{number}" for number in range(MANY)]
    ended = {
        "phase": "Completed",
        "reason": "Committed",
        "message": "",
        "time": "2026-11-22T20:00:00Z",
        "final": True,
    }
    status = {
        "phase": "Completed",
        "observedGeneration": 1,
        "backupID": "01JD0000000000000000000000",
        "outcome": ended,
    }
    try:
        for first in range(0, MANY, 100):
            some = names[first : first + 100]
            found.apply(*[backup(name, source={"volumeID": VOLUME}) for name in some])
        for name in names:
            path = f"/apis/cinderbank.io/v1alpha1/namespaces/{found.name}/volumebackups/{name}"
            site.cluster.request("PATCH", f"{path}/status", {"status": status})
        yield found
    finally:
        found.delete("namespace", found.name)


def test_500_objects_at_start_stay_within_bounds(site: Site, crowd: Namespace) -> None:
    """Finished objects cost a look at the list, and neither a tick nor a write of their own.

    One that has work to do comes last: what was queued before it has had its turn when it is done.
    """
    before = versions(crowd)
    running = site.operator({"CINDERBANK_NAMESPACES": crowd.name})
    running.log = site.stage.rig.log(f"operator-{crowd.name}")
    try:
        running.start()
        until(lambda: metric(running.fetch("/metrics"), COMPLETED) == MANY, LIMIT_SECONDS, "500")
        spec = {"cloudCredentialsRef": {"secretName": "absent", "cloudName": "x"}}
        crowd.apply(backup("works", source={"volumeID": VOLUME}, **spec))
        crowd.wait(
            "vbk", "works", lambda o: "absent" in str(o.get("status")), seconds=LIMIT_SECONDS
        )
        until(lambda: ticks(running.fetch("/metrics")), LIMIT_SECONDS, "its tick in the metrics")
        page = running.fetch("/metrics")
        assert ticks(page) < MANY / 10, "those of the one that works, tried again"
        assert running.process is not None
        rss = rss_mib(running.process.pid)
        print(f"{rss:.0f} MiB RSS, {metric(page, 'process_cpu_seconds_total'):.1f} CPU seconds")
        assert rss < RSS_LIMIT_MIB
        assert running.stop() == 0
        after = versions(crowd)
        assert after.pop("works")
        assert after == before
    finally:
        running.kill()


def ticks(page: str) -> float:
    """Of all backups, whatever their result."""
    found = re.findall(r'^cinderbank_ticks_total{kind="VolumeBackup".*} (\S+)$', page, re.M)
    return sum(map(float, found))


def versions(namespace: Namespace) -> dict[str, str]:
    """The resourceVersion of every backup: any write changes it."""
    items = json.loads(namespace.run("get", "vbk", "-o", "json"))["items"]
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in items}


def test_what_is_deleted_while_nobody_watches_is_forgotten(
    home: Namespace, operator: OperatorProcess
) -> None:
    """The full list finds it, also when the watch did tell: the count is what is there."""
    spec = {"cloudCredentialsRef": {"secretName": "absent", "cloudName": "x"}}
    home.apply(backup("short", source={"volumeID": VOLUME}, **spec))
    home.wait("vbk", "short", lambda o: "absent" in str(o.get("status")), seconds=LIMIT_SECONDS)

    def counts_what_is_there() -> bool:
        page = operator.fetch("/metrics")
        known = re.findall(r"^cinderbank_backups\{.*\} (\S+)$", page, re.M)
        return sum(map(float, known)) == len(versions(home))

    until(counts_what_is_there, LIMIT_SECONDS, "the count of backups")
    home.delete("vbk", "short")
    home.wait_gone("vbk", "short", seconds=LIMIT_SECONDS)
    until(counts_what_is_there, LIMIT_SECONDS, "the count of backups without it")


def test_a_start_without_a_cluster_says_so(tmp_path: Path) -> None:
    lost = OperatorProcess(tmp_path / "none.kubeconfig", tmp_path / "log")
    with pytest.raises(RuntimeError) as ended:
        lost.start()
    assert "KUBECONFIG" in str(ended.value)
    assert "Traceback" not in str(ended.value)


def test_no_secret_is_in_the_log(site: Site, operator: OperatorProcess) -> None:
    text = operator.log.read_text()
    assert site.stage.environment["S3_SECRET_KEY"] not in text
    auth = site.cloud.entry["auth"]
    for word in ("password", "application_credential_secret"):
        if auth.get(word):
            assert auth[word] not in text


def test_a_namespace_that_is_torn_down_lets_its_objects_go(
    site: Site, home: Namespace, operator: OperatorProcess
) -> None:
    """deletionPolicy Delete is asked for by who deletes the object, not by who deletes the namespace."""
    torn = site.namespace(f"{home.name}-torn")
    torn.create()
    running = site.operator({"CINDERBANK_NAMESPACES": torn.name})
    running.log = site.stage.rig.log(f"operator-{torn.name}")
    running.start()
    try:
        spec = {"cloudCredentialsRef": {"secretName": "absent", "cloudName": "x"}}
        torn.apply(backup("one", source={"volumeID": VOLUME}, deletionPolicy="Delete", **spec))
        torn.wait("vbk", "one", lambda o: "absent" in str(o.get("status")), seconds=LIMIT_SECONDS)
        torn.delete("namespace", torn.name)
        torn.wait_gone("namespace", torn.name, seconds=LIMIT_SECONDS)
    finally:
        assert running.stop() == 0
