"""RPO, coverage, and how little a policy writes; `House` is of test_policies."""

from __future__ import annotations

import pytest

from cinderbank.domain.errors import InvalidSpec, Unavailable
from cinderbank.kube.known import key_of
from tests.unit.kube.test_policies import HOUR, House
from tests.unit.policy.children import volume, volume_id


def test_rpo_names_the_worst() -> None:
    house = House(rpo="30h")
    house.days(1)
    assert house.condition("RPOMet") == ("True", "YoungEnough")
    house.clock.advance(24 * HOUR)
    house.settle()
    house.end("Failed")
    house.clock.advance(7 * HOUR)
    house.tick()
    assert house.condition("RPOMet") == ("False", "TooOld")
    assert volume_id(1) in str(house.status["conditions"])


def test_it_comes_back_when_the_rpo_turns() -> None:
    house = House(rpo="24h", schedule="0 0 1 1 *")
    house.clock.advance(24 * HOUR - 100)
    after = house.tick()
    assert after is not None and 100 <= after <= 101
    assert house.condition("RPOMet") == ("True", "YoungEnough")
    house.clock.advance(after)
    house.tick()
    assert house.condition("RPOMet") == ("False", "TooOld")


def test_unprotected_volumes_are_told_by_one_policy() -> None:
    house = House(selector={"volumeIDs": [volume_id(1)]})
    house.put("other", selector={"volumeNames": ["v2"]})
    house.tick("nightly")
    assert "unprotected" not in house.status, "the other was not looked at yet"
    house.tick("other")
    house.tick("nightly")
    assert house.status["unprotected"] == {
        "count": 1,
        "volumes": [{"volumeID": volume_id(3), "name": "v3"}],
    }
    house.tick("other")
    assert "unprotected" not in house.policy("other")["status"]
    assert house.coverage.figures() == {("team", "openstack", "a"): 1}
    raw = house.policy("other")
    house.coverage.forget(key_of(raw))
    assert house.coverage.figures() != {}


def test_a_policy_that_rests_writes_nothing() -> None:
    house = House(rpo="26h", retention={"keepLast": 2})
    house.days(2)
    writes = len(house.kube.writes)
    for _ in range(20):
        house.clock.advance(600)
        house.tick()
    assert house.kube.writes[writes:] == []


def test_a_deleted_policy_deletes_nothing() -> None:
    house = House()
    house.days(2)
    raw = house.policy()
    raw["metadata"]["deletionTimestamp"] = "2026-11-22T20:00:00Z"
    writes = len(house.kube.writes)
    assert house.runs.run(key_of(raw), raw) is None
    assert house.kube.writes[writes:] == []


# --- while nobody can look -------------------------------------------------------------------------


def test_rpo_turns_false_while_the_cloud_is_away() -> None:
    house = House(rpo="26h")
    house.days(1)
    house.clouds.error = Unavailable("away")
    house.clock.advance(24 * HOUR)
    assert house.tick() == 60.0
    assert house.condition("RPOMet") == ("True", "YoungEnough")
    house.clock.advance(2 * HOUR - 30)
    after = house.tick()
    assert after is not None and 30 <= after <= 31, "it comes back when the time is over"
    house.clock.advance(after)
    house.tick()
    assert house.condition("RPOMet") == ("False", "TooOld")
    assert house.condition("Reconciling")[0] == "True"
    writes = len(house.kube.writes)
    house.clock.advance(60)
    house.tick()
    assert len(house.kube.writes) == writes, "and is not written again"
    house.clouds.error = None
    house.settle()
    house.end()
    house.tick()
    assert house.condition("RPOMet") == ("True", "YoungEnough")


def test_a_backup_that_ends_while_nobody_can_look_counts() -> None:
    house = House(rpo="26h")
    house.days(1)
    house.clock.advance(24 * HOUR)
    house.settle()
    house.clouds.error = Unavailable("away")
    house.clock.advance(HOUR)
    house.end()
    house.clock.advance(2 * HOUR)
    house.tick()
    assert house.condition("RPOMet") == ("True", "YoungEnough")


@pytest.mark.parametrize("mistake", [{"schedule": "61 * * * *"}, {"timeZone": "Mars/One"}])
def test_rpo_goes_on_under_a_mistake_of_the_spec(mistake: dict[str, str]) -> None:
    house = House(rpo="26h")
    house.days(1)
    house.change(**mistake)
    house.tick()
    assert house.condition("RPOMet") == ("True", "YoungEnough")
    house.clock.advance(27 * HOUR)
    house.tick()
    assert house.condition("RPOMet") == ("False", "TooOld")
    assert house.condition("Stalled")[0] == "True"


def test_a_new_volume_has_its_time_also_while_nobody_can_look() -> None:
    house = House(rpo="26h")
    house.days(2)
    made_at = house.clock.now()
    house.clouds.found = [*house.clouds.found, volume(4, created_at=made_at)]
    house.clock.advance(120)
    house.worlds._lists._listings.clear()
    house.tick()
    assert house.status["volumes"][0]["volumeID"] == volume_id(4)
    house.clouds.error = Unavailable("away")
    house.clock.advance(HOUR)
    house.tick()
    assert house.condition("RPOMet") == ("True", "YoungEnough")
    house.clock.advance(26 * HOUR)
    house.tick()
    assert house.condition("RPOMet") == ("False", "TooOld")


def test_a_policy_that_never_could_look_is_late_in_time() -> None:
    house = House(rpo="26h")
    house.clouds.error = InvalidSpec("no Secret", reason="SecretNotFound")
    house.tick()
    assert "RPOMet" not in str(house.status["conditions"])
    house.clock.advance(26 * HOUR - 10)
    after = house.tick()
    assert after is not None and after < 11
    house.clock.advance(20)
    house.tick()
    assert house.condition("RPOMet") == ("False", "TooOld")


# --- nothing selected ------------------------------------------------------------------------------


def test_nothing_selected_is_no_success() -> None:
    house = House(rpo="26h", retention={"keepLast": 2})
    house.days(2)
    before = house.status
    house.change(selector={"volumeNames": ["gone-*"]})
    house.clock.advance(24 * HOUR)
    house.settle()
    assert house.condition("Stalled") == ("True", "NothingSelected")
    assert house.condition("RPOMet") == ("False", "NothingSelected")
    for field in ("lastSuccessTime", "lastRunTime"):
        assert house.status[field] == before[field]
    assert (house.status["missedRuns"], house.said[-1]) == (1, "RunMissed")
    assert len(house.children()) == 6, "and nothing goes"
    house.clouds.error = Unavailable("away")
    house.tick()
    assert house.condition("RPOMet") == ("False", "NothingSelected")


def test_a_trigger_waits_for_something_to_back_up() -> None:
    house = House(selector={"volumeNames": ["gone-*"]}, trigger="now", suspend=True)
    house.settle()
    assert "lastTrigger" not in house.status
    assert house.condition("Stalled") == ("True", "NothingSelected")
    writes = len(house.kube.writes)
    house.clock.advance(600)
    house.settle()
    assert len(house.kube.writes) == writes
    house.change(selector={"volumeNames": ["v*"]})
    house.settle()
    assert len(house.children()) == 3
    assert house.status["lastTrigger"] == "now"


def test_a_run_whose_volumes_went_away_before_it_made_any_is_missed() -> None:
    house = House()
    house.tick()
    house.clock.advance(24 * HOUR)
    house.kube.failing["create"] = Unavailable("away")
    house.tick()
    assert "run" in house.status
    del house.kube.failing["create"]
    house.change(selector={"volumeNames": ["gone-*"]})
    house.settle()
    assert "run" not in house.status
    assert house.status["missedRuns"] == 1
