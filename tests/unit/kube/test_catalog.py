"""The sync of RecoveryPoints: real bank code over a store in memory, objects as an API server keeps them."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from cinderbank.adapters.kube.recovery_points import KubeRecoveryPoints
from cinderbank.api.v1alpha1.backup_bank import BackupBankSpec
from cinderbank.api.v1alpha1.bank_status import BackupBankStatus
from cinderbank.bank import layout
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.manifest import SessionRef
from cinderbank.bank.marks import BankHeader, Seal, Tomb
from cinderbank.bank.scrub import Damage, Report
from cinderbank.bank.stored_catalog import StoredCatalog
from cinderbank.domain.catalog import point_name
from cinderbank.domain.errors import Conflict, InvalidSpec, SourceGone, Unavailable
from cinderbank.domain.facts import VolumeId
from cinderbank.kube import catalog as module
from cinderbank.kube.catalog import BUSY_SECONDS, SLICE, Catalogue, CatalogWorld
from cinderbank.kube.known import BACKUP_BANK, Key
from tests.fakes.backups import NOW, SITE, VOLUME
from tests.fakes.clock import FakeClock
from tests.fakes.kube_objects import KubeObjects
from tests.fakes.many_backups import BANK_ID, numbered, numbered_id, seal_body, seal_one
from tests.fakes.object_store import MemoryStore

KEY = Key(BACKUP_BANK, "team", "main", "uid-1")
OTHER_VOLUME = VolumeId("21111111-2222-4333-8444-555555555555")


class House:
    """One BackupBank, the bank behind it and the objects beside it."""

    def __init__(self, key: Key = KEY, api: KubeObjects | None = None, **catalog: Any) -> None:
        self.key = key
        self.store = MemoryStore()
        self.store.put(layout.BANK, BankHeader(BANK_ID, NOW.isoformat()).dump())
        self.api = api or KubeObjects()
        self.clock = FakeClock(NOW + timedelta(hours=1))
        self.status: dict[str, Any] = {}
        self.said: list[str] = []
        self.errors: list[str] = []
        self.generation = 1
        self.wish(**catalog)
        self.catalogue = Catalogue(
            lambda key: self.world(),
            lambda raw, status: self.status.update(status),
            lambda raw, reason, message, warning: self.said.append(reason),
            self.clock,
            self.errors.append,
        )

    def world(self) -> CatalogWorld:
        now = self.clock.now
        bank = StoredBank(self.store, "site-z", read_only=True, now=now)
        points = KubeRecoveryPoints(self.api, "team", self.key.name, self.key.uid, now)
        return CatalogWorld(StoredCatalog(bank), points)

    def wish(self, **catalog: Any) -> None:
        s3 = {
            "endpoint": "https://s3",
            "bucket": "backups",
            "credentialsSecretRef": {"name": "keys"},
        }
        raw = {"site": "site-z", "s3": s3, "catalog": catalog}
        self.spec = BackupBankSpec.read(raw, "spec")

    def run(self) -> float | None:
        raw = {"metadata": {"generation": self.generation}}
        return self.catalogue.run(self.key, raw, self.spec, self.before())

    def before(self) -> BackupBankStatus:
        return BackupBankStatus.read(self.status, "status")

    def due(self) -> float | None:
        return self.catalogue.due_seconds(self.spec, self.before(), self.generation)

    def sync(self) -> dict[str, Any]:
        """Slices until nothing is left; what is told then, without times."""
        self.clock.advance(3600)
        for _ in range(100):
            self.run()
            if self.due() != 0.0:
                break
        return self.told()

    def told(self) -> dict[str, Any]:
        told = dict(self.status["catalog"])
        return {name: value for name, value in told.items() if value and not name.endswith("Time")}

    def names(self) -> set[str]:
        return set(self.api.objects)


def wanted(*numbers: int, bank: str = "main") -> set[str]:
    return {point_name(bank, numbered(n)) for n in numbers}


def test_the_newest_are_mirrored_and_a_second_sync_reads_nothing() -> None:
    house = House(maxEntries=3)
    for number in range(5):
        seal_one(house.store, numbered(number))
    assert house.sync() == {
        "observedGeneration": 1,
        "backups": 5,
        "recoveryPoints": 3,
        "leftOut": 2,
    }
    assert house.names() == wanted(2, 3, 4)
    made = house.api.objects[point_name("main", numbered(4))]
    assert made["spec"] == {
        "bankRef": {"name": "main"},
        "backupID": numbered_id(4),
        "site": SITE,
        "volumeID": VOLUME,
    }
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("BackupBank", "main", "uid-1")
    assert made["metadata"]["labels"]["cinderbank.io/volume-id"] == VOLUME
    assert made["status"]["snapshotTime"] == "2026-11-22T20:00:04Z"
    house.store.requests.clear()
    house.api.requests.clear()
    house.sync()
    assert {verb for verb, _ in house.store.requests} == {"LIST", "GET"}
    assert [key for verb, key in house.store.requests if verb == "GET"] == [layout.BANK]
    assert [verb for verb, _ in house.api.requests] == ["LIST"]


def test_gone_from_the_bank_is_gone_here_and_what_was_deleted_here_comes_back() -> None:
    house = House()
    for number in (1, 2, 3):
        seal_one(house.store, numbered(number))
    house.sync()
    house.store.put(layout.tomb(SITE, numbered_id(2)), Tomb(VOLUME).dump())
    house.store.delete_many([layout.seal(SITE, numbered_id(3), VOLUME)])
    del house.api.objects[point_name("main", numbered(1))]
    assert house.sync()["recoveryPoints"] == 1
    assert house.names() == wanted(1)


def test_two_bank_objects_over_one_bank_have_their_own() -> None:
    api = KubeObjects()
    one = House(api=api)
    two = House(Key(BACKUP_BANK, "team", "second", "uid-2"), api)
    two.store = one.store
    seal_one(one.store, numbered(1))
    for house in (one, two, one, two):
        house.sync()
    assert set(api.objects) == wanted(1) | wanted(1, bank="second")
    assert [verb for verb, _ in api.requests if verb in ("POST", "DELETE")] == ["POST", "POST"]
    two.wish(maxEntries=0)
    two.generation = 2
    assert two.sync()["leftOut"] == 1
    assert set(api.objects) == wanted(1)


def test_what_is_not_ours_is_never_touched() -> None:
    house = House()
    seal_one(house.store, numbered(1))
    seal_one(house.store, numbered(2))
    labels = {"cinderbank.io/bank": "main"}
    other = {"kind": "BackupBank", "name": "main", "uid": "the-bank-that-was-before"}
    name = point_name("main", numbered(1))
    for taken in (name, "of-nobody"):
        metadata = {"name": taken, "labels": labels, "ownerReferences": [other]}
        house.api.put({"metadata": metadata, "spec": {"x": "y"}})
    house.api.put({"metadata": {"name": point_name("main", numbered(2))}, "spec": {}})
    untouched = {key: str(value) for key, value in house.api.objects.items()}
    told = house.sync()
    assert told["namesTaken"] == 2
    assert {key: str(value) for key, value in house.api.objects.items()} == untouched
    del house.api.objects[name]
    assert house.sync()["recoveryPoints"] == 1
    assert house.api.objects[name]["spec"]["backupID"] == numbered_id(1)


def test_one_that_names_another_backup_is_made_anew() -> None:
    house = House()
    seal_one(house.store, numbered(1))
    house.sync()
    name = point_name("main", numbered(1))
    house.api.objects[name]["spec"]["site"] = "evil"
    house.sync()
    assert house.api.objects[name]["spec"]["site"] == SITE


def test_one_without_a_status_gets_it() -> None:
    """Killed between the two requests that make it."""
    house = House()
    seal_one(house.store, numbered(1))
    house.sync()
    name = point_name("main", numbered(1))
    del house.api.objects[name]["status"]
    house.sync()
    assert house.api.objects[name]["status"]["volumeName"] == "db"


def test_a_large_bank_goes_in_slices_the_newest_first() -> None:
    house = House()
    count = 2 * SLICE + 10
    for number in range(count):
        seal_one(house.store, numbered(number))
    house.clock.advance(3600)
    assert house.run() == 1.0
    assert house.told()["pending"] == SLICE + 10
    assert "lastSyncTime" not in house.status["catalog"]
    assert house.names() == wanted(*range(count - SLICE, count))
    house.run()
    assert house.run() == pytest.approx(600, abs=1)
    assert house.told()["recoveryPoints"] == count
    assert house.status["catalog"]["lastSyncTime"]


def test_ten_thousand_backups_cost_what_is_mirrored_of_them() -> None:
    house = House(maxEntries=250)
    sealed = Seal("OK", f"sha256:{'0' * 64}", 4096, 0).dump()
    for number in range(9_750):
        house.store.put(layout.seal(SITE, numbered_id(number), VOLUME), sealed)
    for number in range(9_750, 10_000):
        seal_one(house.store, numbered(number))
    house.store.requests.clear()
    told = house.sync()
    assert (told["backups"], told["recoveryPoints"], told["leftOut"]) == (10_000, 250, 9_750)
    verbs = Counter(verb for verb, key in house.store.requests if key != layout.BANK)
    slices = 2
    assert verbs == {
        "GET": 2 * 250,
        "LIST": slices * 6,
    }  # sites, seals, tombs, reports, sites, proofs
    assert Counter(verb for verb, _ in house.api.requests) == {
        "LIST": slices,
        "POST": 250,
        "PATCH": 250,
    }


def test_one_id_at_two_sites_and_of_two_volumes_hides_nothing() -> None:
    """Ids are random: only a copied or a hostile bank has one twice."""
    house = House()
    honest = numbered(1, "site-m")
    copies = [numbered(1, "site-a"), numbered(1, "site-m", OTHER_VOLUME), numbered(1, "site-z")]
    seal_one(house.store, honest)
    manifest = layout.manifest(honest.site, honest.volume_id, honest.backup_id)
    for key in copies:
        seal_body(house.store, key, house.store.objects[manifest])
    told = house.sync()
    assert (told["recoveryPoints"], told["unreadable"]) == (4, 3)
    ready = house.api.objects[point_name("main", honest)]["status"]["conditions"][0]
    assert ready["status"] == "True"


def test_a_slow_bank_ends_its_slice_early_and_goes_on() -> None:
    house = House()
    for number in range(5):
        seal_one(house.store, numbered(number))
    house.store.before_request = lambda count, verb, key: house.clock.advance(
        30 if verb == "GET" else 0
    )
    house.run()
    assert house.told()["pending"] == 4
    assert house.due() == 0.0


def test_tags_choose_and_what_they_leave_out_is_read_once() -> None:
    house = House(maxEntries=2, selector={"tags": {"app": "db"}})
    for number in range(9):
        tags = {"app": "db" if number % 3 == 0 else "web", "other": "x"}
        seal_one(house.store, numbered(number), tags=tags)
    told = house.sync()
    assert house.names() == wanted(3, 6)
    assert (told["recoveryPoints"], told["leftOut"]) == (2, 3)
    house.store.requests.clear()
    house.sync()
    assert [key for verb, key in house.store.requests if verb == "GET"] == [layout.BANK]
    house.wish(maxEntries=2, selector={"tags": {"app": "web"}})
    house.generation = 2
    assert house.due() == 0.0
    house.sync()
    assert house.names() == wanted(7, 8)


def test_more_to_pass_over_than_is_remembered_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_PASSED", 5)
    house = House(selector={"tags": {"app": "db"}})
    for number in range(SLICE + 20):
        seal_one(house.store, numbered(number), tags={"app": "web" if number else "db"})
    told = house.sync()
    assert house.due() != 0.0
    assert "pending" not in told
    assert told["leftOut"] == 20
    assert "recoveryPoints" not in told  # the one that would fit is behind too many others


def test_a_void_seal_makes_room_for_an_older_backup() -> None:
    house = House(maxEntries=2)
    seal_one(house.store, numbered(1))
    seal_one(house.store, numbered(2))
    void = Seal("VOID", f"sha256:{'0' * 64}", 0, 0).dump()
    house.store.put(layout.seal(SITE, numbered_id(3), VOLUME), void)
    told = house.sync()
    assert house.names() == wanted(1, 2)
    assert told == {"observedGeneration": 1, "backups": 2, "recoveryPoints": 2}


def test_what_can_not_be_read_is_told_and_read_again_until_it_can() -> None:
    house = House()
    for number in range(60):
        seal_body(house.store, numbered(number), b"{")
    seal_one(house.store, numbered(100))
    told = house.sync()
    assert (told["recoveryPoints"], told["unreadable"]) == (61, 60)
    assert house.errors == ["DataCorrupt"] * 60
    point = house.api.objects[point_name("main", numbered(1))]
    assert point["status"]["conditions"][0]["reason"] == "DataCorrupt"
    for number in range(60):
        seal_one(house.store, numbered(number))
    house.clock.advance(3600)
    house.run()
    assert house.told()["unreadable"] == 10
    assert house.due() == 0.0
    house.run()
    assert "unreadable" not in house.told()
    assert point["status"]["conditions"][0]["status"] == "True"


def test_those_that_stay_unreadable_cost_a_bounded_number_of_requests() -> None:
    house = House()
    for number in range(80):
        seal_body(house.store, numbered(number), b"{")
    house.sync()
    looked: set[str] = set()
    for _ in range(2):
        house.store.requests.clear()
        house.sync()
        gets = [key for verb, key in house.store.requests if verb == "GET" and "seals" in key]
        assert len(gets) == module.UNREADABLE_AT_ONCE
        looked |= set(gets)
    assert len(looked) == 80


def test_damage_that_a_check_found_and_that_was_mended() -> None:
    house = House()
    seal_one(house.store, numbered(1))
    house.sync()
    ready = house.api.objects[point_name("main", numbered(1))]["status"]["conditions"][0]
    assert ready["status"] == "True"
    damage = Damage(backups={SessionRef(SITE, numbered_id(1)): VOLUME})
    report = layout.scrub(SITE, numbered_id(50))
    house.store.put(report, Report(NOW, "full", damage).dump())
    told = []
    for _ in range(2):
        house.sync()
        point = house.api.objects[point_name("main", numbered(1))]
        told.append(point["status"]["conditions"][0]["reason"])
        house.store.delete_many([report])
    assert told == ["DamageFound", "Mirrored"]


def test_an_outage_is_told_once_and_changes_nothing() -> None:
    house = House()
    seal_one(house.store, numbered(1))
    house.sync()
    for _ in range(2):
        house.clock.advance(3600)
        house.store.fail_next("LIST")
        assert house.run() == pytest.approx(60, abs=1)
        assert house.told()["reason"] == "BankUnavailable"
        assert house.told()["recoveryPoints"] == 1
        house.clock.advance(60)
    assert house.names() == wanted(1)
    assert house.said == ["BankUnavailable"]
    assert "reason" not in house.sync()


def test_a_bug_of_ours_is_an_outage_of_the_catalogue_only() -> None:
    house = House()
    house.store.fail_next("LIST", ZeroDivisionError())
    house.run()
    assert house.told()["reason"] == "CatalogFailed"
    assert "ZeroDivisionError" in house.told()["message"]


def test_when_it_is_due() -> None:
    house = House(interval="5m")
    assert house.due() == 0.0
    house.sync()
    assert house.due() == pytest.approx(300, abs=1)
    house.generation = 2
    assert house.due() == 0.0
    house.wish(suspend=True)
    assert house.due() is None


def test_a_finalizer_of_somebody_elses_leaves_nothing_pending() -> None:
    house = House(maxEntries=1)
    for number in (1, 2):
        seal_one(house.store, numbered(number))
        house.sync()
    [name] = house.names()
    house.api.objects[name]["metadata"]["deletionTimestamp"] = "2026-11-22T20:00:00Z"
    house.wish(maxEntries=0)
    house.generation = 2
    house.api.requests.clear()
    assert "pending" not in house.sync()
    assert [verb for verb, _ in house.api.requests] == ["LIST"]
    house.wish(maxEntries=1)
    house.generation = 3
    assert "pending" not in house.sync(), "its name is not free yet"
    del house.api.objects[name]
    assert house.sync()["recoveryPoints"] == 1


def test_a_bank_that_is_too_slow_to_list_gives_the_turn_back() -> None:
    house = House()
    seal_one(house.store, numbered(1))
    house.store.after_request = lambda count, verb, key: house.clock.advance(
        20 if verb == "LIST" else 0
    )
    assert house.run() == pytest.approx(60 - 40, abs=1)
    assert house.told()["reason"] == "BankTooSlow"
    assert len([verb for verb, _ in house.store.requests if verb == "LIST"]) == 2
    assert house.names() == set()
    house.store.after_request = lambda count, verb, key: None
    assert house.sync()["recoveryPoints"] == 1


def test_unreadable_ones_are_tried_again_as_long_as_the_slice_lasts() -> None:
    house = House()
    for number in range(5):
        seal_body(house.store, numbered(number), b"{")
    house.sync()
    house.store.requests.clear()
    house.store.after_request = lambda count, verb, key: house.clock.advance(
        15 if key.endswith("/manifest") else 0
    )
    house.clock.advance(3600)
    house.run()
    read = [key for verb, key in house.store.requests if key.endswith("/manifest")]
    assert len(read) == 2
    assert house.told()["unreadable"] == 5


def test_one_slice_at_once() -> None:
    house = House()
    seal_one(house.store, numbered(1))
    second: list[float | None] = []

    def nested(count: int, verb: str, key: str) -> None:
        house.store.before_request = lambda count, verb, key: None
        second.append(house.run())

    house.store.before_request = nested
    house.run()
    assert second == [BUSY_SECONDS]
    assert house.told()["recoveryPoints"] == 1


def test_a_bank_that_goes_is_forgotten() -> None:
    house = House(selector={"tags": {"app": "db"}})
    seal_one(house.store, numbered(1), tags={})
    house.sync()
    house.catalogue.forget(KEY)
    house.store.requests.clear()
    house.sync()
    assert layout.seal(SITE, numbered_id(1), VOLUME) in {key for _, key in house.store.requests}


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
def test_an_object_that_changes_meanwhile_is_left_to_the_next_sync(field: str) -> None:
    house = House()
    seal_body(house.store, numbered(1), b"{")
    house.sync()
    seal_one(house.store, numbered(1))
    [raw] = house.api.objects.values()
    changed = {**raw, "metadata": {**raw["metadata"], field: "another"}}
    house.api.get = lambda path: changed  # type: ignore[method-assign]
    before = dict(raw["status"])
    house.sync()
    assert raw["status"] == before


def test_one_that_the_api_server_refuses_does_not_stop_the_others() -> None:
    house = House()
    seal_one(house.store, numbered(1))
    seal_one(house.store, numbered(2), volume_name="poison")
    real = house.api.apply

    def apply(path: str, body: Any, field_manager: str) -> Any:
        if body["status"].get("volumeName") == "poison":
            raise InvalidSpec("status.volumeName: Invalid value")
        return real(path, body, field_manager)

    house.api.apply = apply  # type: ignore[method-assign]
    assert house.sync()["recoveryPoints"] == 2
    refused, good = (
        house.api.objects[point_name("main", numbered(n))]["status"]["conditions"][0]
        for n in (2, 1)
    )
    assert (refused["reason"], good["reason"]) == ("DataCorrupt", "Mirrored")
    assert "Invalid value" in refused["message"]


def test_refusals_of_the_api_server_are_told() -> None:
    house = House()
    seal_one(house.store, numbered(1))

    def refuse(*arguments: object) -> Any:
        raise Unavailable("away", reason="KubernetesUnavailable")

    house.api.create = refuse  # type: ignore[method-assign]
    house.run()
    assert house.told()["reason"] == "KubernetesUnavailable"


def test_a_list_whose_beginning_the_api_server_has_forgotten_is_begun_again() -> None:
    house = House()
    seal_one(house.store, numbered(1))

    def expired(*arguments: object) -> Any:
        raise SourceGone("410: the continue parameter is too old", status_code=410)

    house.api.list_all = expired  # type: ignore[method-assign]
    assert house.run() == pytest.approx(60, abs=1)
    assert house.told()["reason"] == "KubernetesUnavailable"
    assert not house.names()


def test_a_lost_race_for_the_status_of_the_bank_is_raised() -> None:
    house = House()

    def lose(raw: Any, status: Any) -> None:
        raise Conflict("changed meanwhile")

    house.catalogue._write_status = lose
    with pytest.raises(Conflict):
        house.run()


def test_when_a_backup_was_last_found_whole_is_mirrored() -> None:
    house = House()
    key = numbered(1)
    seal_one(house.store, key)
    house.sync()
    name = point_name("main", key)

    def told() -> tuple[str | None, str]:
        status = house.api.objects[name]["status"]
        ready = next(each for each in status["conditions"] if each["type"] == "Ready")
        return status.get("verifiedTime"), ready["status"]

    assert told() == (None, "True")
    drilled = StoredBank(house.store, "site-b", now=lambda: NOW)
    drilled.note_drill(key.site, key.backup_id, is_whole=True)
    house.sync()
    assert told() == (f"{NOW:%Y-%m-%dT%H:%M:%SZ}", "True")
    house.store.requests.clear()
    house.sync()
    assert not [each for verb, each in house.store.requests if verb == "GET" and "manifest" in each]
    by_its_writer = StoredBank(house.store, key.site, now=lambda: NOW)
    by_its_writer.note_drill(key.site, key.backup_id, is_whole=False)
    house.sync()
    assert told() == (None, "False")
