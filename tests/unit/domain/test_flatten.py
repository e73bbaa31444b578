"""A restored volume that is a clone of its image: freed of it, or handed over all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cinderbank.domain import flatten_steps as f
from cinderbank.domain import steps
from cinderbank.domain.facts import SnapshotFacts, SnapshotId, VolumeEncryption, VolumeId
from cinderbank.domain.names import RESTORE_TAG
from cinderbank.domain.record import Intent, Outcome, Phase, Transport
from cinderbank.domain.restore import absorbed, next_step
from tests.builders import (
    LONG_AGO,
    START,
    image,
    intent,
    restore_memory,
    restore_observed,
    restore_request,
    seen,
    volume,
)

JUST_NOW = START - timedelta(seconds=2)
MADE = (seen("image"), seen("volume"))
COMPLETED = Outcome(Phase.COMPLETED, "Restored", "", START)
FAILED = Outcome(Phase.FAILED, "X", "", START)


def clone(status: str = "available", **changes: Any) -> Any:
    facts = {"id": VolumeId("clone"), "status": status, "metadata": {RESTORE_TAG: "uid-1"}}
    return volume(**{**facts, **changes})


def copy(status: str = "available") -> Any:
    return clone(status, id=VolumeId("copy"), snapshot_id=SnapshotId("s"))


def snapshot(status: str = "available") -> SnapshotFacts:
    return SnapshotFacts(SnapshotId("s"), "cinderbank-restore-uid-1-snapshot", status, VolumeId("clone"), 1)  # fmt: skip


def held(*intents: Intent, flattens: bool | None = True, **changes: Any) -> dict[str, Any]:
    known = restore_memory(*MADE, *intents, flattens=flattens, image_proven="image")
    return {"memory": known, "volumes": [clone()], "images": [image()], **changes}


def deleting_snapshot(tries: int, taken: bool = True) -> Intent:
    return Intent("delete-snapshot", LONG_AGO, tries=tries, resource_id="s", seen=taken)


BOTH = {"volumes": [clone(), copy()], "snapshots": [snapshot()]}
LUKS = volume(encrypted=True, encryption=VolumeEncryption("luks", "aes-xts-plain64", 256))
ROWS: list[tuple[str, dict[str, Any], type[steps.Step]]] = [
    ("not known", held(flattens=None), f.ReleaseImage),
    ("not known, as qcow2", held(flattens=None, memory=restore_memory(*MADE, transport=Transport.QCOW2)), steps.Conclude),
    ("not known, the image is gone", held(flattens=None, images=[]), steps.Conclude),
    ("not known, the image can not be deleted", held(intent("release-image", resource_id="image"), flattens=None), steps.Conclude),
    ("not known, attached", held(flattens=None, volumes=[clone("in-use")]), steps.Conclude),
    ("held", held(), f.SnapshotClone),
    ("held, attached", held(volumes=[clone("in-use")]), steps.Conclude),
    ("snapshot asked for", held(intent("snapshot", at=JUST_NOW)), steps.Wait),
    ("snapshot never came", held(intent("snapshot")), f.SnapshotClone),
    ("snapshot vanished", held(seen("snapshot")), f.KeepClone),
    ("snapshot creating", held(seen("snapshot", at=JUST_NOW), snapshots=[snapshot("creating")]), steps.Wait),
    ("snapshot creating for ever", held(seen("snapshot", at=START - timedelta(hours=9)), snapshots=[snapshot("creating")]), f.KeepClone),
    ("snapshot failed", held(seen("snapshot"), snapshots=[snapshot("error")]), f.KeepClone),
    ("snapshot available", held(seen("snapshot"), snapshots=[snapshot()]), f.CopyClone),
    ("copy asked for", held(seen("snapshot"), intent("copy", at=JUST_NOW), snapshots=[snapshot()]), steps.Wait),
    ("copy vanished", held(seen("snapshot"), seen("copy"), snapshots=[snapshot()]), f.KeepClone),
    ("copy creating", held(seen("copy"), volumes=[clone(), copy("creating")], snapshots=[snapshot()]), steps.Wait),
    ("copy failed", held(seen("copy"), volumes=[clone(), copy("error")], snapshots=[snapshot()]), f.KeepClone),
    ("copy available", held(seen("copy"), **BOTH), steps.DeleteSnapshot),
    ("snapshot goes", held(seen("copy"), deleting_snapshot(1), volumes=[clone(), copy()], snapshots=[snapshot("deleting")]), steps.Wait),
    ("snapshot comes back", held(seen("copy"), deleting_snapshot(1), **BOTH), steps.DeleteSnapshot),
    ("snapshot comes back always", held(seen("copy"), deleting_snapshot(3), **BOTH), f.KeepClone),
    ("Cinder is away", held(seen("copy"), deleting_snapshot(9, taken=False), **BOTH), steps.Wait),
    ("snapshot gone", held(seen("copy"), volumes=[clone(), copy()]), steps.DeleteVolume),
    ("clone goes", held(seen("copy"), volumes=[clone("deleting"), copy()]), steps.Wait),
    ("clone gone", held(seen("copy"), volumes=[copy()]), steps.Conclude),
    ("kept", held(seen("copy"), flattens=False, **BOTH), steps.Conclude),
    ("status lost, copy there", held(flattens=None, **BOTH), steps.DeleteSnapshot),
    ("restored, copy left", held(flattens=False, memory=restore_memory(intent("copy", resource_id="copy"), created_volume_id=VolumeId("clone"), outcome=COMPLETED), **BOTH), steps.DeleteVolume),
    ("restored, somebody's copy", held(flattens=False, memory=restore_memory(created_volume_id=VolumeId("clone"), outcome=COMPLETED), volumes=[clone(), copy()]), steps.DeleteImage),
    ("restored, snapshot left", held(memory=restore_memory(created_volume_id=VolumeId("clone"), outcome=COMPLETED), snapshots=[snapshot()]), steps.DeleteSnapshot),
    ("restored into the copy", held(memory=restore_memory(intent("copy", resource_id="copy"), created_volume_id=VolumeId("copy"), outcome=COMPLETED), volumes=[copy()]), steps.DeleteImage),
    ("canceled while the snapshot goes", held(memory=restore_memory(outcome=FAILED), volumes=[clone(), copy()], snapshots=[snapshot("deleting")]), steps.Wait),
]  # fmt: skip


@pytest.mark.parametrize(("observed", "step"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS])
def test_rule(observed: dict[str, Any], step: type[steps.Step]) -> None:
    assert type(next_step(absorbed(restore_observed(**observed)))) is step


def test_canceled_the_copy_goes_first_then_the_snapshot() -> None:
    """Cinder deletes no volume that has a snapshot, and an old one no snapshot that has a child."""
    ended = held(memory=restore_memory(outcome=FAILED))
    first = next_step(restore_observed(**{**ended, **BOTH}))
    assert isinstance(first, steps.DeleteVolume) and first.resource_id == "copy"
    second = next_step(restore_observed(**{**ended, "snapshots": [snapshot()]}))
    assert isinstance(second, steps.DeleteSnapshot)
    third = next_step(restore_observed(**ended))
    assert isinstance(third, steps.DeleteVolume) and third.resource_id == "clone"


def test_neither_encrypted_volumes_nor_drills_are_freed() -> None:
    known = replace(restore_memory(*MADE, image_proven="image"), source=LUKS)
    encrypted = restore_observed(**held(memory=known))
    assert not isinstance(next_step(encrypted), f.ReleaseImage)
    drill = restore_observed(**held(flattens=None, request=restore_request(drill=True)))
    assert not isinstance(next_step(drill), f.ReleaseImage)


def test_the_copy_is_like_the_clone() -> None:
    known = clone(name="db", description="shop")
    look = restore_observed(**held(seen("snapshot"), volumes=[known], snapshots=[snapshot()]))
    step = next_step(look)
    assert isinstance(step, f.CopyClone)
    assert (step.name, step.description, step.metadata) == ("db", "shop", {RESTORE_TAG: "uid-1"})
    snap = next_step(restore_observed(**held(volumes=[known])))
    assert isinstance(snap, f.SnapshotClone)
    assert (snap.name, snap.metadata) == (
        "cinderbank-restore-uid-1-snapshot",
        {RESTORE_TAG: "uid-1"},
    )


def test_the_volume_that_is_handed_over_is_the_one_that_status_names() -> None:
    freed = absorbed(restore_observed(**held(seen("copy"), volumes=[copy()])))
    assert freed.memory.created_volume_id == "copy"
    kept = absorbed(restore_observed(**held(seen("copy"), flattens=False, **BOTH)))
    assert kept.memory.created_volume_id == "clone"
    done = next_step(kept)
    assert isinstance(done, steps.Conclude)
    assert "Glance keeps the temporary image image until" in done.outcome.message
