"""What is read of an object that anybody may have written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from cinderbank.app.worlds import AppWorlds
from cinderbank.domain.errors import InvalidSpec, SourceGone
from cinderbank.domain.facts import BackupId, BankFacts, VolumeId
from cinderbank.domain.selection import Named

BACKUP = "01JD0000000000000000000000"
ROW = {"bank": "far", "backupID": BACKUP, "phase": "Completed", "reason": "Copied", "message": ""}
GOT = (("far", BACKUP),)
VOLUME = "11111111-2222-4333-8444-555555555555"
GOOD = {"bankRef": {"name": "main"}, "backupID": BACKUP, "site": "a", "volumeID": VOLUME}


class Api:
    def __init__(self, found: dict[str, Any] | None) -> None:
        self.found = found
        self.paths: list[str] = []

    def get(self, path: str) -> dict[str, Any] | None:
        self.paths.append(path)
        return self.found


class OneBank:
    """A bank whose look at a backup is given."""

    def __init__(self, facts: BankFacts, accepts_plain: bool = False) -> None:
        self.facts = facts
        self.accepts_plain = accepts_plain

    def open_named(self, namespace: str, name: str) -> Any:
        return SimpleNamespace(bank=self, accepts_plain=self.accepts_plain)

    def observe(self, site: str, backup_id: BackupId) -> BankFacts:
        return self.facts


@pytest.mark.parametrize(
    ("facts", "held"),
    [
        (BankFacts(manifest=True, sealed=True), True),
        (BankFacts(manifest=True, sealed=True, not_ours="it is not"), False),
        (BankFacts(manifest=False, sealed=True), False),
        (BankFacts(manifest=True, sealed=True, tombed=True), False),
        (BankFacts(intent=True, manifest=True), False),
    ],
)
def test_what_counts_as_held_by_a_bank(
    facts: BankFacts, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = worlds(Api(None))
    monkeypatch.setattr(found, "_open_bank", OneBank(facts).open_named)
    assert found.holds_backup("team", "main", "a", BackupId(BACKUP)) is held


@pytest.mark.parametrize(
    ("facts", "held"),
    [
        (BankFacts(manifest=True, sealed=True, not_ours="plain"), True),
        (BankFacts(manifest=False, sealed=True, not_ours="plain"), False),
        (BankFacts(manifest=True, sealed=True, not_ours="x", not_ours_reason="DataCorrupt"), False),
    ],
)
def test_those_from_before_the_key_are_held_where_they_may_be_read(
    facts: BankFacts, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = worlds(Api(None))
    monkeypatch.setattr(found, "_open_bank", OneBank(facts, accepts_plain=True).open_named)
    assert found.holds_backup("team", "main", "a", BackupId(BACKUP)) is held


def test_of_one_that_can_not_be_read_nobody_says_that_it_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = InvalidSpec("another key", reason="BankKeyWrong")
    facts = BankFacts(manifest=True, sealed=True, unreadable=wrong)
    found = worlds(Api(None))
    monkeypatch.setattr(found, "_open_bank", OneBank(facts).open_named)
    with pytest.raises(InvalidSpec, match="another key"):
        found.holds_backup("team", "main", "a", BackupId(BACKUP))


def worlds(api: Api) -> AppWorlds:
    nothing: Any = None
    return AppWorlds(
        api=cast(Any, api),
        writer=nothing,
        events=nothing,
        clouds=nothing,
        banks=nothing,
        transfers=nothing,
        checks=nothing,
        collections=nothing,
        clock=nothing,
        identities=nothing,
        transfer_slots=1,
    )


def test_a_recovery_point_names_backup_and_bank() -> None:
    api = Api({"spec": GOOD})
    named = worlds(api).resolve_recovery_point("team", "db-1")
    assert named == Named(BackupId(BACKUP), "main", "a", VolumeId(VOLUME))
    assert api.paths == ["/apis/cinderbank.io/v1alpha1/namespaces/team/recoverypoints/db-1"]


def test_one_that_is_not_there() -> None:
    with pytest.raises(SourceGone, match="team/db-1 is not there") as refused:
        worlds(Api(None)).resolve_recovery_point("team", "db-1")
    assert refused.value.reason == "RecoveryPointNotFound"


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {**GOOD, "backupID": "../../x"},
        {**GOOD, "backupID": 7},
        {**GOOD, "volumeID": "v"},
        {**GOOD, "site": "../a"},
        {**GOOD, "bankRef": "main"},
        {**GOOD, "bankRef": None},
        {**GOOD, "bankRef": {"name": ["main"]}},
    ],
)
def test_one_that_says_nonsense(spec: object) -> None:
    with pytest.raises(InvalidSpec, match="RecoveryPoint team/db-1"):
        worlds(Api({"spec": spec})).resolve_recovery_point("team", "db-1")


@pytest.mark.parametrize(
    ("status", "found"),
    [
        (None, ()),
        ({"backupID": BACKUP}, ()),
        ({"backupID": BACKUP, "copies": "nonsense"}, ()),
        ({"backupID": BACKUP, "copies": [ROW, {**ROW, "bank": "half", "phase": "Copying"}]}, GOT),
        ({"backupID": "01JD0000000000000000000001", "copies": [ROW]}, ()),
    ],
)
def test_whole_copies_of_that_backup_are_told(status: object, found: object) -> None:
    assert worlds(Api({"status": status})).copies_of("team", "db", BackupId(BACKUP)) == found
