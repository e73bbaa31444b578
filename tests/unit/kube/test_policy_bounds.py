"""What a slip can not do: too many volumes, too many backups at work; `House` is of test_policies."""

from __future__ import annotations

import pytest

from cinderbank.domain.policy.children import VOLUME_LABEL
from cinderbank.domain.policy.runs import MOST_AT_WORK
from tests.unit.kube.test_policies import BACKUPS, HOUR, House
from tests.unit.policy.children import volume, volume_id


def of(house: House, number: int) -> int:
    labels = (c["metadata"]["labels"][VOLUME_LABEL] for c in house.children())
    return sum(1 for each in labels if each == volume_id(number))


@pytest.mark.parametrize("policy", ["Allow", "Replace"])
def test_a_schedule_that_is_faster_than_its_backups_is_bounded(policy: str) -> None:
    house = House(schedule="* * * * *", concurrencyPolicy=policy)
    for _ in range(3 * MOST_AT_WORK):
        house.clock.advance(60)
        house.settle()
    assert len(house.children()) == 3 * MOST_AT_WORK
    assert house.condition("BackupsMade") == ("False", "TooManyAtWork")
    assert house.condition("Stalled") == ("True", "TooManyAtWork")
    told = str(house.status["conditions"])
    assert "spec.schedule" in told and "spec.concurrencyPolicy" in told
    house.end()
    house.clock.advance(60)
    house.settle()
    assert len(house.children()) == 3 * MOST_AT_WORK + 3, "it goes on by itself"
    assert house.condition("Stalled")[0] == "False"


def test_one_volume_that_hangs_leaves_the_others_alone() -> None:
    house = House(schedule="@hourly", concurrencyPolicy="Allow")
    for _ in range(MOST_AT_WORK + 2):
        house.clock.advance(HOUR)
        house.settle()
        hangs = [
            c for c in house.children() if c["metadata"]["labels"][VOLUME_LABEL] == volume_id(1)
        ]
        house.end()
        for raw in hangs:
            raw.pop("status", None)
            house.kube.put(f"{BACKUPS}/{raw['metadata']['name']}", raw)
    assert of(house, 1) == MOST_AT_WORK
    assert of(house, 2) == MOST_AT_WORK + 2


def test_a_selector_that_matches_far_more_is_told_and_what_was_protected_stays_so() -> None:
    house = House(rpo="26h", maxVolumes=4, retention={"keepLast": 1})
    house.clouds.found = [volume(n) for n in (7, 8, 9)]
    house.days(1)
    house.clouds.found = [volume(n) for n in range(12)]
    house.clock.advance(24 * HOUR)
    house.worlds._lists._listings.clear()
    house.settle()
    assert sorted(n for n in range(12) if of(house, n)) == [0, 7, 8, 9]
    house.end()
    house.settle()
    assert house.condition("Stalled") == ("True", "TooManyVolumes")
    told = str(house.status["conditions"])
    assert "12 volumes" in told and "spec.maxVolumes is 4" in told and "8 of them" in told
    assert (house.status["volumesSelected"], house.status["volumesCovered"]) == (12, 4)
    assert house.status["unprotected"]["count"] == 8
    assert of(house, 7) == 2 and "deletionTimestamp" in str(house.children()), "retention goes on"
    house.clock.advance(3 * HOUR)
    house.tick()
    assert house.condition("RPOMet") == ("False", "TooOld")
    house.change(maxVolumes=12, trigger="all of them")
    house.settle()
    assert all(of(house, n) for n in range(12))
    assert house.condition("Stalled")[0] == "False"


def test_a_thousand_volumes_are_no_slip() -> None:
    house = House()
    house.clouds.found = [volume(n) for n in range(1000)]
    house.tick()
    assert house.condition("Ready") == ("True", "OnSchedule")
    house.clouds.found.append(volume(1000))
    house.worlds._lists._listings.clear()
    house.tick()
    assert house.condition("Ready") == ("False", "TooManyVolumes")
