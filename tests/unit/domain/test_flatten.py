"""A restored volume that is a clone of its image: freed of it, or handed over all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cinderbank.domain import flatten_steps as f
from cinderbank.domain import steps
from cinderbank.domain.claim import PersistentVolumeFacts
from cinderbank.domain.claim_steps import ClaimLook
from cinderbank.domain.facts import SnapshotFacts, SnapshotId, VolumeEncryption, VolumeId
from cinderbank.domain.names import RESTORE_TAG
from cinderbank.domain.record import Intent, OnDelete, Outcome, Phase, Transport
from cinderbank.domain.restore import absorbed, next_step
from tests.builders import (
    LONG_AGO,
    START,
    identity,
    image,
    intent,
    restore_memory,
    restore_observed,
    restore_request,
    seen,
    volume,
)

JUST_NOW = START - timedelta(seconds=2)
FLATTEN_STEPS = (f.ReleaseImage, f.SnapshotClone, f.CopyClone, f.FlattenCopy, f.KeepClone)
MADE = (seen("image"), intent("volume", resource_id="clone", seen=True))
COMPLETED = Outcome(Phase.COMPLETED, "Restored", "", START)
FAILED = Outcome(Phase.FAILED, "X", "", START)


def clone(status: str = "available", **changes: Any) -> Any:
    facts = {"id": VolumeId("clone"), "status": status, "metadata": {RESTORE_TAG: "uid-1"}}
    return volume(**{**facts, **changes})


def copy(status: str = "available") -> Any:
    return clone(status, id=VolumeId("copy"), snapshot_id=SnapshotId("s"))


def snapshot(status: str = "available", of: str = "clone") -> SnapshotFacts:
    name = "cinderbank-restore-uid-1-snapshot"
    return SnapshotFacts(SnapshotId("s"), name, status, VolumeId(of), 1)


def released(**changes: Any) -> Intent:
    return replace(intent("release-image", resource_id="image"), **changes)


def held(*intents: Intent, flattens: bool | None = True, **changes: Any) -> dict[str, Any]:
    known = restore_memory(*MADE, *intents, flattens=flattens, image_proven="image")
    return {"memory": known, "volumes": [clone()], "images": [image()], **changes}


def asked_for_flatten(tries: int, answered: bool = True) -> Intent:
    return Intent("flatten", LONG_AGO, tries=tries, seen=answered)


def handed_over(*intents: Intent, to: str, flattens: bool) -> Any:
    return restore_memory(
        *MADE, *intents, created_volume_id=VolumeId(to), flattens=flattens, outcome=COMPLETED
    )


BOTH = {"volumes": [clone(), copy()], "snapshots": [snapshot()]}
OURS = intent("snapshot", resource_id="s", seen=True)
COPIED = (OURS, intent("copy", resource_id="copy", seen=True))
FOREIGN = clone(id=VolumeId("foreign"), snapshot_id=SnapshotId("other"))
LUKS = volume(encrypted=True, encryption=VolumeEncryption("luks", "aes-xts-plain64", 256))
LONG_RELEASED = released(at=START - timedelta(hours=7))
ROWS: list[tuple[str, dict[str, Any], type[steps.Step]]] = [
    ("not known", held(flattens=None), f.ReleaseImage),
    ("not known, as qcow2", held(flattens=None, memory=restore_memory(*MADE, transport=Transport.QCOW2)), steps.Conclude),
    ("not known, the image is gone", held(flattens=None, images=[]), steps.Conclude),
    ("not known, Glance has answered", held(released(), flattens=None), steps.Conclude),
    ("not known, Glance answers never", held(intent("release-image", tries=6), flattens=None), steps.Conclude),
    ("not known, attached", held(flattens=None, volumes=[clone("in-use")]), steps.Conclude),
    ("not known, somebody's volume of another snapshot", held(flattens=None, volumes=[clone(), FOREIGN]), f.ReleaseImage),
    ("held", held(released()), f.SnapshotClone),
    ("held, attached", held(volumes=[clone("in-use")]), f.KeepClone),
    ("held, for too long", held(LONG_RELEASED), f.KeepClone),
    ("held, a snapshot of another volume", held(snapshots=[snapshot(of="other")]), f.SnapshotClone),
    ("snapshot asked for", held(intent("snapshot", at=JUST_NOW)), steps.Wait),
    ("snapshot never came", held(intent("snapshot")), f.SnapshotClone),
    ("snapshot vanished", held(OURS), f.KeepClone),
    ("snapshot creating", held(OURS, snapshots=[snapshot("creating")]), steps.Wait),
    ("snapshot failed", held(OURS, snapshots=[snapshot("error")]), f.KeepClone),
    ("snapshot available", held(OURS, snapshots=[snapshot()]), f.CopyClone),
    ("copy asked for", held(OURS, intent("copy", at=JUST_NOW), snapshots=[snapshot()]), steps.Wait),
    ("copy vanished", held(*COPIED, snapshots=[snapshot()]), f.KeepClone),
    ("copy creating", held(*COPIED, volumes=[clone(), copy("creating")], snapshots=[snapshot()]), steps.Wait),
    ("copy failed", held(*COPIED, volumes=[clone(), copy("error")], snapshots=[snapshot()]), f.KeepClone),
    ("copy in another zone", held(*COPIED, volumes=[clone(), replace(copy(), availability_zone="az2")], snapshots=[snapshot()]), f.KeepClone),
    ("copy available", held(*COPIED, **BOTH), f.FlattenCopy),
    ("copy available, clone attached", held(*COPIED, volumes=[clone("in-use"), copy()], snapshots=[snapshot()]), f.KeepClone),
    ("snapshot goes", held(*COPIED, asked_for_flatten(1), volumes=[clone(), copy()], snapshots=[snapshot("deleting")]), steps.Wait),
    ("snapshot goes for too long", held(*COPIED, LONG_RELEASED, volumes=[clone(), copy()], snapshots=[snapshot("deleting")]), f.KeepClone),
    ("snapshot fails to go", held(*COPIED, volumes=[clone(), copy()], snapshots=[snapshot("error_deleting")]), f.KeepClone),
    ("snapshot comes back", held(*COPIED, asked_for_flatten(1), **BOTH), f.FlattenCopy),
    ("snapshot comes back always", held(*COPIED, asked_for_flatten(3), **BOTH), f.KeepClone),
    ("Cinder is away", held(*COPIED, asked_for_flatten(3, answered=False), **BOTH), f.FlattenCopy),
    ("snapshot gone", held(*COPIED, volumes=[clone(), copy()]), steps.Conclude),
    ("kept", held(*COPIED, flattens=False, **BOTH), steps.Conclude),
    ("status lost, copy and snapshot there", held(flattens=None, **BOTH), f.ReleaseImage),
    ("status lost, held again", held(**BOTH), f.FlattenCopy),
    ("restored into the copy, clone left", held(memory=handed_over(*COPIED, to="copy", flattens=True), volumes=[clone(), copy()]), steps.DeleteVolume),
    ("restored into the copy, clone and snapshot left", held(memory=handed_over(*COPIED, to="copy", flattens=True), **BOTH), steps.DeleteSnapshot),
    ("restored into the copy", held(memory=handed_over(*COPIED, to="copy", flattens=True), volumes=[copy()]), steps.DeleteImage),
    ("restored into the clone, copy left", held(memory=handed_over(*COPIED, to="clone", flattens=False), **BOTH), steps.DeleteVolume),
    ("restored into the clone, snapshot left", held(memory=handed_over(*COPIED, to="clone", flattens=False), snapshots=[snapshot()]), steps.DeleteSnapshot),
    ("restored into the clone, somebody's copy", held(memory=handed_over(OURS, intent("copy"), to="clone", flattens=False), volumes=[clone(), FOREIGN]), steps.DeleteImage),
    ("kept, deleted with its volume", held(memory=handed_over(to="clone", flattens=False), identity=identity(deleting=True), request=restore_request(on_delete=OnDelete.DELETE)), steps.DeleteVolume),
    ("kept, deleted without its volume", held(memory=handed_over(to="clone", flattens=False), identity=identity(deleting=True)), steps.DeleteImage),
    ("canceled while the snapshot goes", held(memory=restore_memory(outcome=FAILED), volumes=[clone(), copy()], snapshots=[snapshot("deleting")]), steps.Wait),
]  # fmt: skip


@pytest.mark.parametrize(("observed", "step"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS])
def test_rule(observed: dict[str, Any], step: type[steps.Step]) -> None:
    assert type(next_step(absorbed(restore_observed(**observed)))) is step


def test_canceled_the_copy_goes_first_then_the_snapshot() -> None:
    """Cinder deletes no volume that has a snapshot, and an old one no snapshot that has a child."""
    ended = held(memory=restore_memory(*COPIED, outcome=FAILED))
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
    look = restore_observed(**held(OURS, volumes=[known], snapshots=[snapshot()]))
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
    half = absorbed(restore_observed(**held(*COPIED, **BOTH)))
    assert half.memory.created_volume_id == "clone"
    freed = absorbed(restore_observed(**held(*COPIED, volumes=[clone(), copy()])))
    assert freed.memory.created_volume_id == "copy"
    kept = absorbed(restore_observed(**held(*COPIED, flattens=False, **BOTH)))
    assert kept.memory.created_volume_id == "clone"
    done = next_step(kept)
    assert isinstance(done, steps.Conclude)
    assert "Glance keeps the temporary image image until" in done.outcome.message


def test_a_clone_that_its_claim_has_already_stays() -> None:
    """Begun by an operator that knew nothing of this: the persistent volume names the clone."""
    known = PersistentVolumeFacts("restored-uid-1", "pv-uid", volume_handle="clone")
    look = restore_observed(
        **held(released(), claims=ClaimLook(persistent_volume=known)),
    )
    assert not isinstance(next_step(look), FLATTEN_STEPS)
    assert isinstance(next_step(replace(look, claims=ClaimLook())), f.SnapshotClone)
