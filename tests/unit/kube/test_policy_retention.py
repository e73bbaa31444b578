"""What a policy deletes, and what it proves before; `House` is of test_policies."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinderbank.domain.errors import CinderbankError, Unavailable
from cinderbank.domain.facts import BackupId
from cinderbank.domain.policy.children import (
    POLICY_LABEL,
    RUN_LABEL,
    VOLUME_LABEL,
    child_name,
    labels_of,
)
from cinderbank.kube.known import key_of
from cinderbank.kube.policy_retention import BATCH
from tests.fakes.clock import START
from tests.unit.kube.test_policies import (
    BACKUPS,
    HOUR,
    POLICIES,
    TEMPLATE,
    House,
    SimpleKey,
    remaining,
)
from tests.unit.policy.children import volume, volume_id


def test_what_goes_takes_its_data_along() -> None:
    house = House(retention={"keepLast": 2})
    house.days(3)
    assert remaining(house) == ["24", "25"]
    leaving = [c for c in house.children() if "deletionTimestamp" in c["metadata"]]
    assert len(leaving) == 3
    assert all(c["metadata"]["finalizers"] == ["cinderbank.io/protect"] for c in leaving)
    assert all(c["spec"]["deletionPolicy"] == "Delete" for c in leaving)
    assert house.condition("RetentionApplied") == ("True", "Applied")
    assert house.said.count("RetentionDeleted") == 3


def test_of_what_failed_only_the_object_goes() -> None:
    house = House(retention={"keepLast": 2, "failedLast": 1})
    house.days(2)
    house.days(3, "Failed")
    assert remaining(house) == ["23", "24", "27"]
    assert len(house.children()) == 9
    assert house.condition("RetentionApplied")[1] in ("Applied", "NewestFailed")


def test_nothing_goes_that_the_bank_can_not_replace() -> None:
    """The API server says Completed; the bank, asked before a delete, has nothing of it."""
    house = House(retention={"keepLast": 1})
    house.not_in_bank.add("main")
    house.days(4)
    assert remaining(house) == ["23", "24", "25", "26"]
    assert house.condition("RetentionApplied") == ("False", "BackupLost")
    house.not_in_bank.clear()
    house.settle()
    assert remaining(house) == ["26"]


def test_an_older_one_goes_when_the_newer_one_is_copied() -> None:
    """Its copy goes with it, so until then the other bank would have none."""
    copies = [{"bankRef": {"name": "far"}}, {"bankRef": {"name": "vault"}}]
    template = {"spec": {**TEMPLATE["spec"], "copies": copies}}
    house = House(retention={"keepLast": 1}, rpo="26h", template=template)
    house.days(2)
    assert remaining(house) == ["23", "24"]
    assert house.condition("RPOMet")[0] == "True", "a recovery point it is"
    house.copied("far")
    house.settle()
    assert remaining(house) == ["23", "24"], "one of two"
    house.copied("far", "vault")
    house.settle()
    assert remaining(house) == ["24"]


def test_what_a_check_found_damaged_replaces_nothing() -> None:
    house = House(retention={"keepLast": 1})
    house.days(1)
    newer = BackupId("01JD0000000000000000000009")
    house.damaged.add(newer)
    house.clock.advance(24 * HOUR)
    house.settle()
    house.end(backupID=newer)
    house.settle()
    assert remaining(house) == ["23", "24"]
    assert house.condition("RetentionApplied") == ("False", "BackupLost")
    house.damaged.clear()  # the check found it mended
    house.settle()
    assert remaining(house) == ["24"]


def test_one_that_is_another_policy_s_by_now_is_not_given_up() -> None:
    house = House(retention={"keepLast": 1})
    house.days(1)
    key = key_of(house.policy())
    [child, *_] = house.known.of("team", "nightly")
    other = SimpleKey("VolumeBackupPolicy", "team", "weekly", "uid-weekly")
    assert not house.worlds.give_up_child(other, child)
    held = replace(child, hold=True)
    house.kube.merge_patch(f"{BACKUPS}/{child.name}", {"spec": {"hold": True}})
    assert not house.worlds.give_up_child(key, child), "held since it was judged"
    assert not house.worlds.give_up_child(key, held), "whatever was judged"
    house.kube.merge_patch(f"{BACKUPS}/{child.name}", {"spec": {"hold": False}})
    assert house.worlds.give_up_child(key, child)


def test_dry_run_deletes_nothing_and_tells() -> None:
    house = House(retention={"keepLast": 1, "dryRun": True})
    house.days(3)
    assert remaining(house) == ["23", "24", "25"]
    assert house.condition("RetentionApplied") == ("False", "DryRun")
    told = house.status["retention"]
    assert (told["kept"], told["going"]) == (3, 6)
    assert [row["kept"] for row in told["preview"]] == [False] * 6 + [True] * 3
    assert told["preview"][-1]["why"] == ["MinGood", "Last"]


def test_retention_that_would_keep_nothing_is_refused() -> None:
    house = House(retention={"keepLast": 0})
    house.days(3)
    assert len(house.children()) == 9
    assert house.condition("RetentionApplied") == ("False", "RetentionKeepsNothing")
    assert house.condition("Ready")[0] == "True", "backups go on"


def test_only_so_many_go_in_one_run() -> None:
    house = House(retention={"keepLast": 9, "maxDeletesPerRun": 2})
    house.days(5)
    house.change(retention={"keepLast": 1})
    house.settle()
    gone = [c for c in house.children() if "deletionTimestamp" in c["metadata"]]
    assert len(gone) == 2
    assert house.condition("RetentionApplied") == ("False", "DeletesLimited")
    assert house.status["retention"]["deletedInRun"] == 2
    house.days(1)
    gone = [c for c in house.children() if "deletionTimestamp" in c["metadata"]]
    assert len(gone) == 4


def test_hold_that_the_watch_has_not_told_is_respected() -> None:
    house = House(retention={"keepLast": 9})
    house.days(3)
    house.change(retention={"keepLast": 1})
    for raw in [*house.kube.list_all(BACKUPS), *house.kube.list_all(POLICIES)]:
        house.known.see(raw)
    for raw in house.children():
        house.kube.merge_patch(f"{BACKUPS}/{raw['metadata']['name']}", {"spec": {"hold": True}})
    raw = house.policy()
    house.runs.run(key_of(raw), raw)
    assert remaining(house) == ["23", "24", "25"]


@pytest.mark.parametrize("wrong_by", [timedelta(days=365), -timedelta(days=365)])
def test_a_cloud_whose_clock_is_wrong_does_not_change_the_order(wrong_by: timedelta) -> None:
    house = House(retention={"keepLast": 1})
    house.clock.advance(24 * HOUR)
    house.settle()
    house.end(snapshotTime=(house.clock.now() + wrong_by).isoformat())
    house.days(1)
    assert remaining(house) == ["24"]
    house.clock.advance(24 * HOUR)
    house.settle()
    house.end(snapshotTime=(house.clock.now() + wrong_by).isoformat())
    house.settle()
    assert remaining(house) == ["25"]
    [point] = {each.get("recoveryPoint") for each in house.status["volumes"]}
    assert point == "2026-11-25T12:00:00Z"


@pytest.mark.parametrize("meanwhile", ["gone", "other", "changed", "leaving"])
def test_a_policy_that_is_another_by_now_deletes_nothing(meanwhile: str) -> None:
    house = House(retention={"keepLast": 2})
    house.days(2)
    house.change(retention={"keepLast": 1})
    raw = house.policy()
    if meanwhile == "gone":
        del house.kube.objects[f"{POLICIES}/nightly"]
    elif meanwhile == "changed":
        house.change(retention={"keepLast": 2})
    else:
        field = {"other": "uid", "leaving": "deletionTimestamp"}[meanwhile]
        there = house.policy()
        there["metadata"][field] = "2026-11-24T12:00:00Z"
        house.kube.objects[f"{POLICIES}/nightly"] = there
    with suppress(CinderbankError):  # a status of what is gone or another one can not be written
        house.runs.run(key_of(raw), raw)
    assert remaining(house) == ["23", "24"]
    house.kube.objects[f"{POLICIES}/nightly"] = raw
    house.settle()
    assert remaining(house) == ["24"]


class KilledHere(BaseException):
    pass


@pytest.mark.parametrize("how", [Unavailable("away"), KilledHere()])
def test_what_went_before_an_error_counts_for_the_limit(how: BaseException) -> None:
    house = House(retention={"keepLast": 9, "maxDeletesPerRun": 2})
    house.days(3)
    house.change(retention={"keepLast": 1})
    give_up = house.worlds.give_up_child
    asked = 0

    def fails_the_second_time(key: Any, child: Any) -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise how
        return give_up(key, child)

    house.worlds.give_up_child = fails_the_second_time  # type: ignore[method-assign]
    with suppress(KilledHere):
        house.tick()
    house.settle()
    leaving = [c for c in house.children() if "deletionTimestamp" in c["metadata"]]
    assert len(leaving) == 1, "and one may have gone"
    assert house.status["retention"]["deletedInRun"] == 2
    house.days(1)
    leaving = [c for c in house.children() if "deletionTimestamp" in c["metadata"]]
    assert len(leaving) == 3, "the next run has a limit of its own"


def test_what_is_not_selected_any_more_is_left_alone() -> None:
    """A policy's name that is used again for other volumes prunes no archive."""
    house = House()
    house.days(3)
    other = {"volumeIDs": [volume_id(2)]}
    house.put("nightly", selector=other, retention={"keepLast": 1, "failedLast": 0})
    house.settle()
    leaving = [c for c in house.children() if "deletionTimestamp" in c["metadata"]]
    assert {c["metadata"]["labels"][VOLUME_LABEL] for c in leaving} == {volume_id(2)}
    assert len(leaving) == 2
    assert remaining(house) == ["23", "24", "25"]
    assert house.status["retention"]["kept"] == 1


def test_a_stranger_with_our_label_is_left_alone() -> None:
    house = House(retention={"keepLast": 1})
    labels = labels_of("nightly", volume_id(1), START - timedelta(days=9))
    mine = {"kind": "VolumeBackup", "metadata": {"namespace": "team", "name": "mine"}, "spec": {}}
    mine["metadata"]["labels"] = labels  # type: ignore[index]
    house.kube.put(f"{BACKUPS}/mine", mine)
    house.end()
    house.days(3)
    assert "mine" in house.kube.names(BACKUPS)
    assert house.children()[0]["metadata"]["labels"][POLICY_LABEL] == "nightly"


def test_a_child_whose_labels_were_taken_off_is_none_any_more() -> None:
    house = House(trigger="now")
    house.settle()
    [one, *others] = house.children()
    one["metadata"]["labels"] = {}
    house.kube.put(f"{BACKUPS}/{one['metadata']['name']}", one)
    house.tick()
    assert len(house.known.of("team", "nightly")) == len(others)


# --- the proof, and what it costs ----------------------------------------------------------------


@pytest.mark.parametrize("volumes", [BATCH, 3 * BATCH + 5])
def test_the_proof_grows_with_what_goes(volumes: int) -> None:
    """One proof for each delete, and one list of the API server for BATCH of them."""
    house = House(retention={"keepLast": 9})
    house.clouds.found = [volume(n) for n in range(volumes)]
    house.days(3)
    house.asked.clear()
    house.kube.lists.clear()
    house.change(retention={"keepLast": 1})
    house.settle()
    gone = [c for c in house.children() if "deletionTimestamp" in c["metadata"]]
    assert len(gone) == len(house.asked) == 2 * volumes
    assert set(Counter(house.asked).values()) == {2}, (
        "the newest of each volume, for each that went"
    )
    narrow = [labels for _, labels in house.kube.lists if labels]
    assert len(narrow) == -(-len(gone) // BATCH)
    assert all(labels.count("-4000-") <= BATCH for labels in narrow)


def test_what_the_bank_has_lost_does_not_keep_the_others_from_going() -> None:
    """More volumes than a look deletes, the oldest of all, are not in the bank."""
    house = House(retention={"keepLast": 9})
    house.clouds.found = [volume(n) for n in range(3 * BATCH)]
    house.days(2)
    newest = [c for c in house.children() if c["metadata"]["labels"][RUN_LABEL][6:8] == "24"]
    lost = newest[: 2 * BATCH - 1]
    for number, raw in enumerate(lost):
        raw["status"]["backupID"] = f"01JD00000000000000000000{number:02d}"
        house.kube.put(f"{BACKUPS}/{raw['metadata']['name']}", raw)
        house.not_held.add(raw["status"]["backupID"])
    house.change(retention={"keepLast": 1})
    house.settle()
    gone = [c for c in house.children() if "deletionTimestamp" in c["metadata"]]
    assert len(gone) == BATCH + 1
    lost_volumes = {c["metadata"]["labels"][VOLUME_LABEL] for c in lost}
    assert not lost_volumes & {c["metadata"]["labels"][VOLUME_LABEL] for c in gone}
    assert house.condition("RetentionApplied") == ("False", "BackupLost")


def test_a_limit_that_lost_ones_would_use_up_is_for_those_that_can_go() -> None:
    house = House(retention={"keepLast": 9, "maxDeletesPerRun": 2})
    house.days(2)
    for raw in house.children():
        if raw["metadata"]["labels"][VOLUME_LABEL] == volume_id(1):
            raw["status"]["backupID"] = "01JD0000000000000000000009"
            house.kube.put(f"{BACKUPS}/{raw['metadata']['name']}", raw)
    house.not_held.add("01JD0000000000000000000009")
    house.change(retention={"keepLast": 1, "maxDeletesPerRun": 1})
    house.settle()
    gone = [c for c in house.children() if "deletionTimestamp" in c["metadata"]]
    assert [c["metadata"]["labels"][VOLUME_LABEL] for c in gone] == [volume_id(2)]


@pytest.mark.parametrize("retention", [None, {"keepLast": 2, "failedLast": 3}])
def test_failed_ones_go_without_any_rule_and_while_the_bank_is_away(retention: Any) -> None:
    """They pile up just when the bank can not be asked, and nothing of them is in it."""
    house = House(retention=retention)
    house.days(1)
    house.bank_error = Unavailable("away")
    house.days(6, "Failed")
    assert remaining(house) == ["23", "27", "28", "29"]
    assert house.errors == []
    failed = [c for c in house.children() if c["status"]["phase"] == "Failed"]
    assert len(failed) == 9


def test_a_volume_that_has_only_failed_keeps_its_newest() -> None:
    house = House(retention={"keepLast": 1, "failedLast": 0})
    house.days(4, "Failed")
    assert remaining(house) == ["26"]


def test_without_rules_all_good_ones_stay() -> None:
    house = House()
    house.days(5)
    assert remaining(house) == ["23", "24", "25", "26", "27"]
    assert house.condition("RetentionApplied") == ("True", "Applied")
    assert house.status["retention"]["preview"][0]["why"] == ["NoRule"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("GLFW"), min_size=1, max_size=5), min_size=1, max_size=6),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([None, 0, 1, 5]),
)
def test_what_the_bank_holds_never_falls_below_the_promise(
    volumes: list[list[str]], keep_last: int, min_good: int, most: int | None
) -> None:
    """Each volume's backups, day by day: Good, Lost in the bank though Completed, Failed, at Work."""
    house = House(retention={"keepLast": keep_last, "minGood": min_good, "failedLast": 1})
    if most is not None:
        house.change(retention={"maxDeletesPerRun": most})
    house.change(suspend=True)
    for number, states in enumerate(volumes):
        for day, state in enumerate(states):
            house.put_child(number, START + timedelta(days=day), state)
    house.clouds.found = [volume(n) for n in range(len(volumes))]
    with pytest.MonkeyPatch.context() as fewer:
        fewer.setattr("cinderbank.kube.policy_retention.BATCH", 2)
        house.settle(200)
    left = {
        raw["metadata"]["name"]
        for raw in house.children()
        if "deletionTimestamp" not in raw["metadata"]
    }
    gone = 0
    for number, states in enumerate(volumes):
        names = [
            child_name("nightly", volume_id(number), START + timedelta(days=day))
            for day in range(len(states))
        ]
        good = [name for name, state in zip(names, states, strict=True) if state == "G"]
        assert set(good[-min_good:]) <= left
        assert {n for n, state in zip(names, states, strict=True) if state == "W"} <= left
        finished = [state for state in states if state != "W"]
        if finished and finished[-1] != "G":
            assert set(good) <= left, "what the last one should have replaced stays"
        elif most is None and "L" not in states:
            assert set(good) & left == set(good[-max(keep_last, min_good) :])
        gone += len(set(names) - left)
    assert most is None or gone <= most
