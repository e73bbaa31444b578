"""Drills and verify schedules of a policy: the objects that it makes, keeps and gives up."""

from __future__ import annotations

from typing import Any

import pytest

from cinderbank.api.v1alpha1.bank_check import BankCheckSpec
from cinderbank.api.v1alpha1.volume_restore import VolumeRestoreSpec
from cinderbank.domain.errors import Forbidden, Unavailable
from cinderbank.domain.policy.children import NUMBER_LABEL, POLICY_LABEL
from tests.unit.kube.test_policies import API, HOUR, TEMPLATE, House
from tests.unit.policy.children import volume, volume_id

DRILLED: dict[str, Any] = {"drill": {"every": 2, "volumeType": "hdd", "maxConcurrent": 2}}
CHECKED: dict[str, Any] = {"verify": {"schedule": "0 3 * * *", "samplePercent": 10}}


def end_proofs(house: House, *, different: bool = False, unable: bool = False) -> None:
    """Every drill and every check that is at work comes to this end."""
    for raw in house.drills():
        if "outcome" in (raw.get("status") or {}):
            continue
        verified = "False" if different else "Unknown" if unable else "True"
        good = verified == "True"
        raw["status"] = {
            "phase": "Completed" if good else "Failed",
            "outcome": {"final": True},
            "conditions": [
                {"type": "Ready", "status": str(good), "reason": "VolumeTimeout"},
                {"type": "Verified", "status": verified, "reason": "x"},
            ],
        }
        house.kube.put(f"{API}/volumerestores/{raw['metadata']['name']}", raw)
    for raw in house.checks():
        intact = {"type": "Intact", "status": str(not different), "reason": "x"}
        raw["status"] = {"phase": "Completed", "conditions": [intact]}
        house.kube.put(f"{API}/bankchecks/{raw['metadata']['name']}", raw)
    house.settle()


def one_volume(**spec: Any) -> House:
    house = House(**spec)
    house.clouds.found = [volume(1)]
    return house


def test_every_second_backup_is_drilled() -> None:
    house = one_volume(**DRILLED)
    house.days(1)
    assert house.drills() == [] and house.condition("Drilled") == ("Unknown", "NoDrillYet")
    house.days(1)
    [made] = house.drills()
    backup = sorted(raw["metadata"]["name"] for raw in house.children())[-1]
    spec = VolumeRestoreSpec.read(made["spec"], "spec")
    assert spec.drill and spec.source.backup_ref is not None
    assert (spec.source.backup_ref.name, spec.target.volume_type) == (backup, "hdd")
    assert spec.target.availability_zone is None
    assert spec.cloud_credentials_ref.secret_name == "openstack"
    assert made["metadata"]["name"] == f"{backup}-drill"
    assert "ownerReferences" not in made["metadata"]
    assert not any("argoproj" in name for name in made["metadata"]["labels"])
    assert house.status["drills"] == {"working": 1, "waiting": 0, "foundDifferent": 0}
    end_proofs(house)
    assert house.condition("Drilled") == ("True", "DrillsPassed")
    house.days(1)
    assert len(house.drills()) == 1
    house.days(1)
    assert len(house.drills()) == 2


def test_backups_are_numbered() -> None:
    house = one_volume()
    house.days(3)
    labels = [raw["metadata"]["labels"] for raw in house.children()]
    assert sorted(each[NUMBER_LABEL] for each in labels) == ["1", "2", "3"]


def test_not_more_at_once_than_asked_for() -> None:
    house = House(**DRILLED)
    house.days(2)
    assert len(house.drills()) == 2
    assert house.status["drills"]["waiting"] == 1
    end_proofs(house)
    assert len(house.drills()) == 3


def test_nothing_is_made_twice_when_the_status_is_lost() -> None:
    house = House(**DRILLED, **CHECKED)
    house.days(2)
    end_proofs(house)
    before = {raw["metadata"]["uid"] for raw in [*house.drills(), *house.checks()]}
    raw = house.policy()
    del raw["status"]
    house.kube.put(f"{API}/volumebackuppolicies/nightly", raw)
    house.settle()
    end_proofs(house)
    after = {raw["metadata"]["uid"] for raw in [*house.drills(), *house.checks()]}
    assert after == before | (after - before) and len(house.drills()) == 3


def test_a_difference_is_told_and_stays() -> None:
    house = one_volume(**DRILLED)
    house.days(2)
    end_proofs(house, different=True)
    assert house.condition("Drilled") == ("False", "DrillFoundDifference")
    house.days(8)
    end_proofs(house)
    house.days(2)
    assert house.condition("Drilled") == ("False", "DrillFoundDifference")
    assert house.status["drills"]["foundDifferent"] == 1
    assert house.condition("Ready")[0] == "True", "backups go on"


def test_a_drill_that_could_not_be_run() -> None:
    house = one_volume(**DRILLED)
    house.days(2)
    end_proofs(house, unable=True)
    assert house.condition("Drilled") == ("False", "DrillFailed")
    house.days(2)
    end_proofs(house)
    assert house.condition("Drilled") == ("True", "DrillsPassed")


def test_old_drills_go() -> None:
    house = one_volume(drill={"every": 1, "successfulHistoryLimit": 2})
    for _ in range(5):
        house.days(1)
        end_proofs(house)
    assert len(house.drills()) == 2 and len(house.children()) == 5


def test_suspended_policies_begin_nothing() -> None:
    house = one_volume(**DRILLED, **CHECKED)
    house.days(1)
    house.change(suspend=True)
    made = len(house.checks())
    house.clock.advance(72 * HOUR)
    house.settle()
    assert (len(house.drills()), len(house.checks())) == (0, made)


def test_checks_of_each_bank_by_a_schedule() -> None:
    copied = {**TEMPLATE["spec"], "copies": [{"bankRef": {"name": "far"}}]}
    house = House(**CHECKED, template={"spec": copied})
    house.settle()
    assert house.checks() == [] and house.condition("Checked") == ("Unknown", "NoCheckYet")
    for seed in range(3):
        house.clock.advance(24 * HOUR)
        house.settle()
        newest = [raw for raw in house.checks() if "status" not in raw]
        specs = [BankCheckSpec.read(raw["spec"], "spec") for raw in newest]
        assert {spec.bank_ref.name for spec in specs} == {"main", "far"}
        assert {(s.level.value, s.sample_percent, s.seed) for s in specs} == {("Sample", 10, seed)}
        assert all(raw["metadata"]["labels"][POLICY_LABEL] == "nightly" for raw in newest)
        end_proofs(house)
    assert house.condition("Checked") == ("True", "AllWhole")
    assert house.status["verify"]["runs"] == 3


def test_a_check_that_is_at_work_is_not_overtaken() -> None:
    house = one_volume(**CHECKED)
    house.settle()
    for _ in range(3):
        house.clock.advance(24 * HOUR)
        house.settle()
    assert len(house.checks()) == 1
    assert "ChecksLeftOut" in house.said


def test_damage_is_told_and_old_checks_go() -> None:
    house = one_volume(verify={**CHECKED["verify"], "failedHistoryLimit": 1})
    house.settle()
    for _ in range(4):
        house.clock.advance(24 * HOUR)
        house.settle()
        end_proofs(house, different=True)
    assert house.condition("Checked") == ("False", "DamageFound")
    assert len(house.checks()) == 1


def test_what_was_found_stays_told_while_the_cloud_is_away() -> None:
    house = one_volume(**DRILLED, **CHECKED)
    house.days(2)
    end_proofs(house, different=True)
    house.clouds.error = Unavailable("the cloud does not answer")
    house.clock.advance(HOUR)
    house.settle()
    assert house.condition("Ready")[0] == "False"
    assert house.condition("Drilled") == ("False", "DrillFoundDifference")
    assert house.condition("Checked") == ("False", "DamageFound")


def test_banks_are_checked_while_the_cloud_is_away() -> None:
    house = one_volume(**CHECKED)
    house.settle()
    house.clouds.error = Unavailable("the cloud does not answer")
    for _ in range(3):
        house.clock.advance(24 * HOUR)
        house.settle()
        end_proofs(house)
    assert len(house.checks()) == 3
    assert house.condition("Checked") == ("True", "AllWhole")
    assert house.status["verify"]["runs"] == 3


def test_what_can_not_be_made_stops_no_backup() -> None:
    house = one_volume(**DRILLED, verify={"schedule": "61 * * * *", "samplePercent": 1})
    house.days(1)
    house.kube.refused["volumerestores"] = Forbidden("no rights to make VolumeRestores")
    house.days(1)
    assert house.condition("Drilled") == ("False", "Forbidden")
    assert house.condition("Checked") == ("False", "InvalidSchedule")
    told = next(c["message"] for c in house.status["conditions"] if c["type"] == "Checked")
    assert "spec.verify.schedule is '61 * * * *'" in told
    assert house.condition("Ready")[0] == "True" and len(house.children()) == 2


def test_a_name_that_somebody_else_has() -> None:
    house = one_volume(**DRILLED)
    house.days(1)
    house.clock.advance(24 * HOUR)
    house.settle()
    name = sorted(raw["metadata"]["name"] for raw in house.children())[-1] + "-drill"
    house.kube.put(
        f"{API}/volumerestores/{name}",
        {
            "kind": "VolumeRestore",
            "metadata": {"name": name, "namespace": "team", "uid": "x"},
            "spec": {},
        },
    )
    house.end()
    house.settle()
    assert house.condition("Drilled") == ("False", "ChildNameTaken")
    assert volume_id(1) not in house.drills()[0]["spec"]


def test_a_drill_whose_field_is_pruned_is_deleted_and_says_which_crd_is_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would be a real restore, and each one would leave a volume."""
    house = one_volume(**DRILLED)
    made: list[dict[str, Any]] = []
    create = house.kube.create

    def pruning(path: str, body: dict[str, Any]) -> dict[str, Any]:
        if body["kind"] == "VolumeRestore":
            body = {**body, "spec": {k: v for k, v in body["spec"].items() if k != "drill"}}
            made.append(body)
        return create(path, body)

    monkeypatch.setattr(house.kube, "create", pruning)
    house.days(2)
    assert made and house.drills() == []
    assert house.condition("Drilled") == ("False", "CRDOutdated")
    left = made[-1]
    house.kube.put(f"{API}/volumerestores/{left['metadata']['name']}", left)
    house.tick()
    assert house.drills() == [], "what an interruption has left is deleted, too"
    assert house.condition("Drilled") == ("False", "CRDOutdated")
    monkeypatch.undo()
    house.days(1)
    assert len(house.drills()) == 1
    assert house.condition("Drilled")[1] != "CRDOutdated"
