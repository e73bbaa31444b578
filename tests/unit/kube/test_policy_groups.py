"""A policy over a Cinder group, as far as it shows without a backup: tests/crash/test_groups.py has the runs."""

from __future__ import annotations

from typing import Any

import pytest

from cinderbank.domain.errors import Unavailable
from tests.fakes.groups import GROUP_ID
from tests.unit.kube.test_policies import HOUR, House
from tests.unit.policy.children import volume

GROUP: dict[str, Any] = {"selector": None, "group": {"groupID": GROUP_ID}}


def house_with_backups_at_work(**spec: Any) -> House:
    """The run of the first noon rests until its backups have ended."""
    house = House(**{**GROUP, **spec})
    groups = house.clouds.groups
    for each in house.clouds.found:
        groups.cloud.add_volume(each.id)
    house.clock.advance(24 * HOUR)
    for _ in range(9):
        house.tick()
        for snapshot in groups.snapshots.values():
            snapshot.status, snapshot.next = "available", []
    assert len(house.children()) == 3
    assert house.status["run"]["group"]["closed"]
    return house


# Members that the list of volumes does not have yet.


def test_a_group_that_was_made_just_now_is_looked_at_again() -> None:
    house = House(**GROUP)
    house.clouds.found = []
    assert house.tick() == 60.0
    assert house.condition("Ready") == ("False", "VolumesNotListed")
    assert house.condition("Reconciling")[0] == "True"
    assert house.condition("Stalled")[0] == "False"
    house.clouds.found = [volume(1), volume(2)]
    house.worlds._lists._listings.clear()
    assert house.tick() == 60.0
    assert house.condition("Ready") == ("True", "OnSchedule")
    house.clouds.found = [volume(1), volume(2), volume(3)]
    house.worlds._lists._listings.clear()
    assert house.tick() == 600.0


def test_a_group_without_volumes() -> None:
    house = House(**GROUP)
    house.clouds.groups.members_now = []
    assert house.tick() == 600.0
    assert house.condition("Ready") == ("False", "GroupEmpty")
    assert house.condition("Stalled") == ("True", "GroupEmpty")


# maxVolumes


def test_max_volumes_is_not_of_a_group() -> None:
    house = house_with_backups_at_work(maxVolumes=1, rpo="26h")
    assert house.condition("Ready") == ("True", "OnSchedule")
    assert house.status["unprotected"]["count"] == 0


# While a run rests.


def test_rpo_is_judged_on_time_while_a_run_rests() -> None:
    house = house_with_backups_at_work(rpo="26h")
    assert house.tick() == 60.0
    house.clock.advance(2 * HOUR - 20.0)
    assert house.condition("RPOMet") == ("True", "YoungEnough")
    assert house.tick() == 20.5
    house.clock.advance(20.5)
    assert house.tick() == 60.0
    assert house.condition("RPOMet") == ("False", "TooOld")


def test_checks_are_made_on_time_while_a_run_rests() -> None:
    house = house_with_backups_at_work(verify={"schedule": "0 14 * * *"})
    assert house.tick() == 60.0
    house.clock.advance(2 * HOUR - 20.0)
    assert house.tick() == 20.5
    house.clock.advance(20.5)
    house.tick()
    assert len(house.checks()) == 1


# A policy that can not work.


def test_what_a_run_can_not_do_meanwhile_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    house = house_with_backups_at_work()
    house.end()
    house.change(schedule="61 * * * *")
    house.clouds.error = Unavailable("the cloud is away")
    house.tick()
    assert house.condition("Ready") == ("False", "InvalidSchedule")
    assert "team/nightly: its run can not go on: the cloud is away" in caplog.text
    assert house.errors[-2:] == ["Unavailable", "InvalidSchedule"]
    assert house.status["run"]["group"]["message"] == "the cloud is away"
