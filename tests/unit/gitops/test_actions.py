"""Buttons in Argo CD: shown when they make sense, and each changes one field and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cinderbank.api.v1alpha1.backup_bank import BackupBankSpec
from cinderbank.api.v1alpha1.bank_check import BankCheckSpec
from tests.gitops import argocd
from tests.gitops.every_kind import recorded
from tests.gitops.recorded import an_object
from tests.gitops.recorded_banks import SPEC

WITH_ACTIONS = sorted(
    key.removeprefix(f"{argocd.ACTIONS}cinderbank.io_")
    for key in argocd.config_map()
    if key.startswith(argocd.ACTIONS)
)
RUNS = ("VolumeBackup", "VolumeRestore")
TERMINAL = ("Completed", "Failed", "Canceled")


def changed(before: Any, after: Any, path: str = "") -> dict[str, Any]:
    """Field -> new value, of all that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: dict[str, Any] = {}
        for name in before.keys() | after.keys():
            found |= changed(before.get(name), after.get(name), f"{path}.{name}")
        return found
    return {} if before == after else {path: after}


@pytest.mark.parametrize("kind", WITH_ACTIONS)
def test_every_button_has_a_script_and_every_script_a_button(kind: str) -> None:
    shown = argocd.discovered(an_object(kind, {}, spec={}))
    scripts = [each["name"] for each in argocd.actions_of(kind)["definitions"]]
    assert sorted(shown) == sorted(scripts)
    for button in shown.values():
        assert set(button) == {"disabled", "displayName", "iconClass"}


@pytest.mark.parametrize("kind", RUNS)
def test_cancel_is_for_what_works(kind: str) -> None:
    for each in recorded(kind):
        working = each.found["status"].get("phase") not in (*TERMINAL, "Deleting")
        button = argocd.discovered(each.found)["cancel"]
        assert button["disabled"] is not working, each.situation
        after = argocd.act(each.found, "cancel")
        assert changed(each.found, after) == {".spec.cancel": True}
        assert argocd.discovered(after)["cancel"]["disabled"] is True


def test_hold_and_release() -> None:
    for each in recorded("VolumeBackup"):
        held = argocd.act(each.found, "hold")
        assert changed(each.found, held) == {".spec.hold": True}
        buttons = argocd.discovered(held)
        assert (buttons["hold"]["disabled"], buttons["release"]["disabled"]) == (True, False)
        released = argocd.act(held, "release")
        assert changed(held, released) == {".spec.hold": False}
        buttons = argocd.discovered(released)
        assert (buttons["hold"]["disabled"], buttons["release"]["disabled"]) == (False, True)


def test_trigger_suspend_and_resume() -> None:
    for each in recorded("VolumeBackupPolicy"):
        leaves = "deletionTimestamp" in each.found["metadata"]
        suspended = each.found["spec"].get("suspend") is True
        buttons = argocd.discovered(each.found)
        assert {name: button["disabled"] for name, button in buttons.items()} == {
            "trigger": leaves,
            "suspend": leaves or suspended,
            "resume": leaves or not suspended,
        }, each.situation
        [(field, text)] = changed(each.found, argocd.act(each.found, "trigger")).items()
        assert field == ".spec.trigger"
        assert re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", text)
        after = argocd.act(each.found, "resume" if suspended else "suspend")
        assert changed(each.found, after) == {".spec.suspend": not suspended}


def test_check_makes_a_bank_check() -> None:
    bank = an_object("BackupBank", {}, spec=SPEC)
    BackupBankSpec.read(bank["spec"], "spec")
    bank["metadata"]["name"] = "b" * 48
    assert argocd.discovered(bank)["check"]["disabled"] is False
    [impacted] = argocd.act(bank, "check")
    assert impacted["operation"] == "create"
    made = impacted["resource"]
    assert (made["apiVersion"], made["kind"]) == ("cinderbank.io/v1alpha1", "BankCheck")
    assert made["metadata"]["namespace"] == bank["metadata"]["namespace"]
    assert re.fullmatch("b{48}-[0-9]{14}", made["metadata"]["name"])
    assert len(made["metadata"]["name"]) <= 63
    assert made["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "cinderbank.io/v1alpha1",
            "kind": "BackupBank",
            "name": "b" * 48,
            "uid": bank["metadata"]["uid"],
        }
    ]
    assert BankCheckSpec.read(made["spec"], "spec").bank_ref.name == "b" * 48
    bank["metadata"]["name"] = "b" * 49
    assert argocd.discovered(bank)["check"]["disabled"] is True
