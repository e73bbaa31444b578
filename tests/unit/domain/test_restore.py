"""The rules of a restore: each one a row, and then every combination of statuses and flags."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cinderbank.domain import restore_steps as r
from cinderbank.domain import steps
from cinderbank.domain.cleanup import still_there
from cinderbank.domain.facts import (
    GIB,
    BackupId,
    ChunkLook,
    LostRanges,
    QuotaLeft,
    TransferAbsent,
    TransferFailed,
    TransferProgress,
    TransferRunning,
    TransferSucceeded,
    UserMessage,
    VolumeId,
)
from cinderbank.domain.names import BACKUP_TAG, RESTORE_TAG
from cinderbank.domain.placement import Placement, Wanted, Why
from cinderbank.domain.plan import Plan, Survey
from cinderbank.domain.record import Memory, OnDelete, Outcome, Phase, Transport
from cinderbank.domain.restore import absorbed, next_step
from cinderbank.domain.selection import BackupSelector, Chosen, NoneChosen, Resolved
from tests.builders import (
    LONG_AGO,
    found_backup,
    identity,
    image,
    intent,
    restore_memory,
    restore_observed,
    restore_request,
    seen,
    volume,
)
from tests.fakes.clock import START

COMPLETED = Outcome(Phase.COMPLETED, "Restored", "", LONG_AGO)
FAILED = Outcome(Phase.FAILED, "VolumeFailed", "", LONG_AGO)
RUNNING = TransferRunning(None, moved_at=START)
SUCCEEDED = TransferSucceeded(TransferProgress(GIB, GIB), "sha512-data")
JUST_NOW = START - timedelta(seconds=3)
NEW = Memory()
HANDED_OVER = restore_memory(
    outcome=replace(COMPLETED, final=True), created_volume_id=VolumeId("new")
)
STARTED = intent("transfer", resource_id="image")
PROVEN: dict[str, Any] = {
    "memory": restore_memory(seen("image"), STARTED, image_proven="image"),
    "images": [image()],
}
CHOSEN = Chosen(BackupId("01JD0000000000000000000009"), "site-a", LONG_AGO, "looked at 3")
BY_SELECTOR = {"request": restore_request(selector=BackupSelector(volume_id=VolumeId("old")))}
DRY = {"request": restore_request(dry_run=True), "identity": identity(has_finalizer=False)}
SURVEY = Survey(QuotaLeft(1, 5), ChunkLook(256, 256, 0))
PLAN = Plan(CHOSEN.backup_id, 1, 4096, SURVEY, ())


def made(status: str = "available", **changes: Any) -> Any:
    facts = {"id": VolumeId("new"), "status": status, "metadata": {RESTORE_TAG: "uid-1"}}
    return volume(**{**facts, **changes})


def with_volume(*volumes: Any, **changes: Any) -> dict[str, Any]:
    known = restore_memory(seen("image"), seen("volume"), image_proven="image")
    return {"memory": known, "volumes": volumes, **changes}


LINUX = volume(image_metadata={"os_type": "linux"})
HAD = {"memory": restore_memory(seen("image"), seen("volume"), source=LINUX)}
RESOLVED = Resolved(CHOSEN.backup_id, "main", "site-a", LONG_AGO, "NewestThatFits", "")
QCOW2 = {"transport": Transport.QCOW2}
ASKED = {"request": restore_request(transport=Transport.QCOW2)}
AS_QCOW2 = {"memory": restore_memory(seen("image"), seen("volume"), image_proven="image", **QCOW2)}
CONTENT_REFUSED = TransferFailed("ImageContentRefused", "415", False)
NOT_CONVERTED = UserMessage("VOLUME_VOLUME_005_029", "must be the same", "new", START)
NO_HOST = UserMessage("VOLUME_VOLUME_001_003", "no host", "new", START)


def qcow2(status: str = "active", **changes: Any) -> Any:
    sizes = {"size_bytes": 1 << 20, "virtual_size_bytes": GIB} if status == "active" else {}
    return image(status, **{"disk_format": "qcow2", **sizes, **changes})


ROWS: list[tuple[str, dict[str, Any], type[steps.Step]]] = [
    ("done", {"memory": restore_memory(outcome=replace(COMPLETED, final=True))}, steps.RemoveFinalizer),
    ("done, onDelete Delete", {"memory": restore_memory(outcome=replace(COMPLETED, final=True)), "request": restore_request(on_delete=OnDelete.DELETE)}, steps.Idle),
    ("deleted, Detach", {"memory": restore_memory(outcome=replace(COMPLETED, final=True)), "identity": identity(deleting=True), "volumes": [made()]}, steps.RemoveFinalizer),
    ("deleted, Delete", {"memory": HANDED_OVER, "identity": identity(deleting=True), "volumes": [made()], "request": restore_request(on_delete=OnDelete.DELETE)}, steps.DeleteVolume),
    ("deleted, Delete, in use", {"memory": HANDED_OVER, "identity": identity(deleting=True), "volumes": [made("in-use")], "request": restore_request(on_delete=OnDelete.DELETE)}, steps.Wait),
    ("deleted, Delete, a copy of it", {"memory": HANDED_OVER, "identity": identity(deleting=True), "volumes": [made(id=VolumeId("copy"))], "request": restore_request(on_delete=OnDelete.DELETE)}, steps.RemoveFinalizer),
    ("deleted, Delete, gone", {"memory": restore_memory(outcome=replace(COMPLETED, final=True)), "identity": identity(deleting=True), "request": restore_request(on_delete=OnDelete.DELETE)}, steps.RemoveFinalizer),
    ("deleted before it began", {"memory": NEW, "identity": identity(deleting=True, has_finalizer=False)}, steps.Idle),
    ("restored, image left", {"memory": restore_memory(outcome=COMPLETED), "images": [image()], "volumes": [made()]}, steps.DeleteImage),
    ("restored, image gone", {"memory": restore_memory(outcome=COMPLETED), "volumes": [made()]}, r.UnpinReader),
    ("restored, unpinned", {"memory": restore_memory(seen("unpin"), outcome=COMPLETED), "volumes": [made()]}, steps.Finish),
    ("restored, deleted now", {"memory": restore_memory(outcome=COMPLETED), "volumes": [made()], "identity": identity(deleting=True)}, r.UnpinReader),
    ("failing, transfer runs", {"memory": restore_memory(outcome=FAILED), "transfer": RUNNING}, steps.CancelTransfer),
    ("failing, volume is a clone of the image", {"memory": restore_memory(outcome=FAILED), "images": [image()], "volumes": [made()]}, steps.DeleteVolume),
    ("failing, volume copies from the image", {"memory": restore_memory(outcome=FAILED), "images": [image()], "volumes": [made("downloading")]}, steps.DeleteImage),
    ("failing, volume still goes", {"memory": restore_memory(outcome=FAILED), "volumes": [made("downloading")]}, steps.Wait),
    ("failing, a volume may turn up", {"memory": restore_memory(intent("volume", at=JUST_NOW), outcome=FAILED)}, steps.Wait),
    ("failing, clean", {"memory": restore_memory(outcome=FAILED)}, r.UnpinReader),
    ("failing before it was pinned", {"memory": replace(NEW, outcome=FAILED)}, steps.Finish),
    ("canceled", {"request": restore_request(cancel=True)}, steps.Conclude),
    ("deleted under way", {"identity": identity(deleting=True)}, steps.Conclude),
    ("no such backup", {"memory": NEW}, steps.Conclude),
    ("too small", {"memory": NEW, "found": found_backup(size_bytes=2 * GIB), "request": restore_request(size_gib=1)}, steps.Conclude),
    ("new", {"memory": NEW, "found": found_backup(), "identity": identity(has_finalizer=False)}, steps.AddFinalizer),
    ("found", {"memory": NEW, "found": found_backup()}, r.PinBackup),
    ("type that is not here", {"memory": NEW, "found": found_backup(), "request": restore_request(wanted=Wanted(volume_type="x"))}, steps.Conclude),
    ("selector, something fits", {"memory": NEW, "selected": CHOSEN, **BY_SELECTOR}, r.Resolve),
    ("selector, something fits, no finalizer", {"memory": NEW, "selected": CHOSEN, **BY_SELECTOR, "identity": identity(has_finalizer=False)}, r.Resolve),
    ("selector, nothing fits", {"memory": NEW, "selected": NoneChosen("NoBackupFits", "x"), **BY_SELECTOR}, steps.Conclude),
    ("selector, not looked", {"memory": NEW, **BY_SELECTOR}, steps.Wait),
    ("selector, resolved", {"memory": replace(NEW, resolved=RESOLVED), "found": found_backup(), **BY_SELECTOR}, r.PinBackup),
    ("selector, resolved and deleted since", {"memory": replace(NEW, resolved=RESOLVED), **BY_SELECTOR}, steps.Conclude),
    ("dry run", {"memory": NEW, "found": found_backup(), "survey": SURVEY, **DRY}, r.PinBackup),
    ("dry run, planned", {"memory": restore_memory(plan=PLAN), **DRY}, steps.Conclude),
    ("dry run, plan lost", {"memory": restore_memory(), **DRY}, steps.Conclude),
    ("dry run, ended, onDelete Delete", {"memory": restore_memory(plan=PLAN, outcome=replace(COMPLETED, final=True)), "identity": identity(has_finalizer=False), "request": restore_request(dry_run=True, on_delete=OnDelete.DELETE)}, steps.Idle),
    ("Qcow2 asked for and full", {"memory": NEW, "found": found_backup(), "request": restore_request(transport=Transport.QCOW2)}, steps.Conclude),
    ("Qcow2 asked for, full, larger volume", {"memory": NEW, "found": found_backup(), "request": restore_request(transport=Transport.QCOW2, size_gib=2)}, r.PinBackup),
    ("Raw asked for, a disk image inside", {"memory": NEW, "found": found_backup(content_format="vmdk"), "request": restore_request(transport=Transport.RAW)}, steps.Conclude),
    ("full, a disk image inside", {"memory": NEW, "found": found_backup(content_format="vmdk")}, steps.Conclude),
    ("full, a disk image inside, larger volume", {"memory": NEW, "found": found_backup(content_format="vmdk"), "request": restore_request(size_gib=2)}, steps.Conclude),
    ("full, a disk image inside, larger volume, asked for", {"memory": NEW, "found": found_backup(content_format="vmdk"), "request": restore_request(size_gib=2, transport=Transport.QCOW2)}, r.PinBackup),
    ("full, LUKS inside", {"memory": NEW, "found": found_backup(content_format="luks")}, r.PinBackup),
    ("finalizer taken off", {"identity": identity(has_finalizer=False)}, steps.AddFinalizer),
    ("not pinned", {"memory": replace(restore_memory(), intents=())}, r.PinReader),
    ("pin without an answer", {"memory": replace(restore_memory(), intents=(intent("pin"),))}, r.PinReader),
    ("nothing yet", {}, r.CreateImage),
    ("image asked for", {"memory": restore_memory(intent("image", at=JUST_NOW))}, steps.Wait),
    ("image never came", {"memory": restore_memory(intent("image"))}, r.CreateImage),
    ("image vanished", {"memory": restore_memory(seen("image"))}, r.CreateImage),
    ("image vanished too often", {"memory": restore_memory(seen("image", tries=4))}, steps.Conclude),
    ("image queued", {"memory": restore_memory(seen("image")), "images": [image("queued")]}, r.StartTransfer),
    ("transfer runs", {"memory": restore_memory(seen("image")), "images": [image("saving")], "transfer": RUNNING}, steps.Wait),
    ("image saving, nobody sends", {"memory": restore_memory(seen("image")), "images": [image("saving")]}, steps.Wait),
    ("image saving, nobody sends for long", {"memory": restore_memory(seen("image"), intent("busy", at=START - timedelta(hours=1))), "images": [image("saving")]}, steps.DeleteImage),
    ("image killed", {"memory": restore_memory(seen("image")), "images": [image("killed")]}, steps.DeleteImage),
    ("image active, not proven", {"memory": restore_memory(seen("image")), "images": [image()]}, r.StartTransfer),
    ("image active and empty", {"memory": restore_memory(seen("image")), "images": [image(size_bytes=0)]}, steps.DeleteImage),
    ("image active and empty too often", {"memory": restore_memory(seen("image", tries=4)), "images": [image(size_bytes=0)]}, steps.Conclude),
    ("transfer succeeded", {"memory": restore_memory(seen("image"), STARTED), "images": [image()], "transfer": SUCCEEDED}, r.ProveImage),
    ("transfer succeeded, of another image", {"memory": restore_memory(seen("image"), intent("transfer", resource_id="other")), "images": [image()], "transfer": SUCCEEDED}, steps.CancelTransfer),
    ("transfer succeeded, other content", {"memory": restore_memory(seen("image"), STARTED), "images": [image()], "transfer": replace(SUCCEEDED, content_hash="x")}, steps.Conclude),
    ("transfer succeeded, image queued", {"memory": restore_memory(seen("image"), STARTED), "images": [image("queued")], "transfer": SUCCEEDED}, steps.ForgetTransfer),
    ("transfer failed", {"memory": restore_memory(seen("image")), "images": [image("queued")], "transfer": TransferFailed("X", "x", True)}, steps.ForgetTransfer),
    ("transfer failed, image active", {"memory": restore_memory(seen("image")), "images": [image()], "transfer": TransferFailed("X", "x", True)}, steps.DeleteImage),
    ("qcow2 image active, not proven", {"memory": restore_memory(seen("image"), **QCOW2), "images": [qcow2()]}, r.StartTransfer),
    ("qcow2 image active and empty", {"memory": restore_memory(seen("image"), **QCOW2), "images": [qcow2(size_bytes=0)]}, steps.DeleteImage),
    ("qcow2 image of another disk", {"memory": restore_memory(seen("image"), **QCOW2), "images": [qcow2(virtual_size_bytes=1)]}, steps.DeleteImage),
    ("qcow2 refused by Glance", {"memory": restore_memory(seen("image"), **QCOW2), "images": [qcow2("queued")], "transfer": CONTENT_REFUSED}, steps.FallBack),
    ("qcow2 refused by Glance, asked for", {"memory": restore_memory(seen("image"), **QCOW2), "images": [qcow2("queued")], "transfer": CONTENT_REFUSED, **ASKED}, steps.Conclude),
    ("raw refused by Glance", {"memory": restore_memory(seen("image")), "images": [image("queued")], "transfer": CONTENT_REFUSED}, steps.Conclude),
    ("qcow2 left from before", {"memory": restore_memory(seen("image", tries=0)), "images": [qcow2("queued")]}, steps.DeleteImage),
    ("qcow2 left from before is gone", {"memory": restore_memory(seen("image", tries=0))}, r.CreateImage),
    ("qcow2 is all that this cloud makes", {"memory": restore_memory(seen("image", tries=4)), "images": [qcow2("queued")]}, steps.Conclude),
    ("bank away, image active", {"memory": restore_memory(seen("image")), "images": [image()], "transfer": TransferFailed("BankUnavailable", "x", True)}, steps.ForgetTransfer),
    ("proven", PROVEN, r.CreateVolume),
    ("volume asked for", {**PROVEN, "memory": restore_memory(intent("volume", at=JUST_NOW), image_proven="image")}, steps.Wait),
    ("volume downloading", with_volume(made("downloading")), steps.Wait),
    ("volume downloading for ever", with_volume(made("downloading"), memory=restore_memory(seen("volume", at=START - timedelta(hours=9)))), steps.Conclude),
    ("volume failed", with_volume(made("error")), steps.DeleteVolume),
    ("volume not made of qcow2", with_volume(made("error"), messages=[NOT_CONVERTED], **AS_QCOW2), steps.FallBack),
    ("volume not made of qcow2, asked for", with_volume(made("error"), messages=[NOT_CONVERTED], **AS_QCOW2, **ASKED), steps.DeleteVolume),
    ("volume not made of qcow2, falling back", with_volume(made("error"), messages=[NOT_CONVERTED], memory=restore_memory(seen("volume", tries=0))), steps.DeleteVolume),
    ("volume found no host", with_volume(made("error"), messages=[NO_HOST], **AS_QCOW2), steps.DeleteVolume),
    ("volume failed too often", with_volume(made("error"), memory=restore_memory(seen("volume", tries=4))), steps.Conclude),
    ("volume vanished", {**PROVEN, "memory": restore_memory(seen("volume"), image_proven="image")}, r.CreateVolume),
    ("volume bootable, source not", with_volume(made(bootable=True)), r.SetBootable),
    ("volume not bootable, asked for", with_volume(made(), request=restore_request(bootable=True)), r.SetBootable),
    ("bootable can not be set", with_volume(made(bootable=True), memory=restore_memory(intent("bootable", tries=4))), steps.Conclude),
    ("volume has the image's metadata", with_volume(made(image_metadata={"image_id": "x"})), r.DeleteImageMetadata),
    ("volume has not what the old one had", with_volume(made(), **HAD), r.SetImageMetadata),
    ("volume has another value", with_volume(made(image_metadata={"os_type": "x"}), **HAD), r.SetImageMetadata),
    ("volume has both", with_volume(made(image_metadata={"os_type": "x", "image_id": "y"}), **HAD), r.DeleteImageMetadata),
    ("volume has what the old one had", with_volume(made(image_metadata={"os_type": "linux"}), **HAD), steps.Conclude),
    ("image metadata can not be set", with_volume(made(), memory=restore_memory(intent("set-image-metadata", tries=4), source=LINUX)), steps.Conclude),
    ("volume ready", with_volume(made()), steps.Conclude),
    ("volume attached at once", with_volume(made("in-use")), steps.Conclude),
]  # fmt: skip


@pytest.mark.parametrize(("observed", "step"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS])
def test_rule(observed: dict[str, Any], step: type[steps.Step]) -> None:
    assert type(next_step(restore_observed(**observed))) is step


def created(**changes: Any) -> r.CreateVolume:
    step = next_step(restore_observed(**{**PROVEN, **changes}))
    assert isinstance(step, r.CreateVolume)
    return step


LOST = LostRanges(2, 8192, ((0, 4095), (12288, 16383)))


def test_what_was_salvaged_is_remembered_and_told() -> None:
    proving = restore_observed(
        request=restore_request(salvage=True),
        memory=restore_memory(seen("image"), STARTED),
        images=[image()],
        transfer=replace(SUCCEEDED, lost=LOST),
    )
    assert next_step(proving) == r.ProveImage(image().id, LOST)
    unasked = next_step(replace(proving, request=restore_request()))
    assert isinstance(unasked, steps.Conclude)
    assert unasked.outcome.phase is Phase.FAILED
    done = next_step(
        restore_observed(memory=restore_memory(seen("image"), lost=LOST), volumes=[made()])
    )
    assert isinstance(done, steps.Conclude)
    assert done.outcome.reason == "Salvaged"
    assert "8192 bytes in 2 ranges" in done.outcome.message


@pytest.mark.parametrize("salvage", [True, False])
def test_the_transfer_is_told_whether_to_salvage(salvage: bool) -> None:
    step = next_step(
        restore_observed(
            request=restore_request(salvage=salvage),
            memory=restore_memory(seen("image")),
            images=[image("queued")],
        )
    )
    assert isinstance(step, r.StartTransfer)
    assert step.salvage is salvage


def test_the_new_volume_is_like_the_old_one() -> None:
    source = volume(
        description="shop database",
        metadata={
            "app": "shop",
            BACKUP_TAG: "01",
            "cinderbank.io/x": "y",
            "attached_mode": "rw",
            "cinder.csi.openstack.org/cluster": "old",
            "csi.storage.k8s.io/pvc/name": "data",
            "readonly": "False",
        },
    )
    step = created(
        memory=restore_memory(
            image_proven="image",
            source=source,
            size_bytes=3 * GIB,
            placement=Placement("ssd", Why.SAME_NAME, None, Why.DEFAULT),
        ),
        images=[image(size_bytes=3 * GIB)],
    )
    assert (step.name, step.description, step.size_gib) == ("db", "shop database", 3)
    assert (step.volume_type, step.availability_zone) == ("ssd", None)
    assert step.metadata == {"app": "shop", RESTORE_TAG: "uid-1"}


def test_what_was_asked_for_wins() -> None:
    asked = restore_request(
        volume_name="db-copy",
        description="",
        wanted=Wanted("nvme", "az2"),
        size_gib=9,
        metadata={"app": "drill", RESTORE_TAG: "forged"},
    )
    step = created(request=asked)
    assert (step.name, step.description, step.size_gib) == ("db-copy", "", 9)
    assert (step.volume_type, step.availability_zone) == ("nvme", "az2")
    assert step.metadata == {"app": "drill", RESTORE_TAG: "uid-1"}


def test_a_dry_run_tells_what_it_found() -> None:
    short = Survey(QuotaLeft(0, 0), ChunkLook(256, 256, 3))
    look = restore_observed(memory=NEW, found=found_backup(data_bytes=4096), survey=short, **DRY)
    pinned = next_step(look)
    assert isinstance(pinned, r.PinBackup) and pinned.plan is not None
    assert pinned.plan.bytes_to_move == 4096
    told = [warned.reason for warned in pinned.plan.warnings]
    assert told == ["VolumeTypeSubstituted", "QuotaTooSmall", "BackupDamaged"]
    done = next_step(replace(look, memory=restore_memory(plan=pinned.plan)))
    assert isinstance(done, steps.Conclude)
    assert (done.outcome.phase, done.outcome.reason) == (Phase.COMPLETED, "DryRun")
    assert "3 of 256 chunks" in done.outcome.message


def test_what_could_not_be_put_back_is_told() -> None:
    tried = (intent("set-image-metadata", tries=4), intent("bootable", tries=4))
    done = next_step(
        restore_observed(
            **with_volume(made(bootable=True), memory=restore_memory(*tried, source=LINUX))
        )
    )
    assert isinstance(done, steps.Conclude)
    assert done.outcome.phase is Phase.COMPLETED
    assert "bootable could not be set to false" in done.outcome.message
    assert "os_type" in done.outcome.message


def test_what_both_have_stays() -> None:
    """Cinder says of every volume of an image whether it has verified a signature."""
    said = {"signature_verified": "False"}
    known = restore_memory(source=volume(image_metadata=said))
    look = restore_observed(**with_volume(made(image_metadata=said), memory=known))
    assert isinstance(next_step(look), steps.Conclude)
    other = restore_observed(**with_volume(made(image_metadata={"signature_verified": "x"})))
    assert isinstance(next_step(other), r.DeleteImageMetadata)


@pytest.mark.parametrize(
    "key",
    ["cinder_encryption_key_id", "os_glance_x", "img_signature", "signature_verified", "bad,key"],
)
def test_keys_that_are_never_put_back(key: str) -> None:
    known = restore_memory(source=volume(image_metadata={key: "x"}))
    assert isinstance(
        next_step(restore_observed(**with_volume(made(), memory=known))), steps.Conclude
    )


def test_the_new_volume_is_known_from_the_first_sight() -> None:
    assert (
        absorbed(restore_observed(**with_volume(made("creating")))).memory.created_volume_id
        == "new"
    )
    assert absorbed(restore_observed(**with_volume(made("error")))).memory.created_volume_id is None


VOLUMES = ("creating", "downloading", "available", "in-use", "error", "error_deleting", "deleting")
IMAGES = ("queued", "saving", "active", "killed", "deactivated", "pending_delete", "importing")
TRANSFERS = (
    TransferAbsent(),
    RUNNING,
    SUCCEEDED,
    TransferFailed("X", "x", True),
    CONTENT_REFUSED,
)
MEMORIES = (
    NEW,
    restore_memory(),
    restore_memory(seen("image"), STARTED),
    restore_memory(seen("image"), STARTED, image_proven="image"),
    restore_memory(seen("image"), seen("volume"), image_proven="image"),
    restore_memory(seen("image", tries=9), seen("volume", tries=9)),
    restore_memory(seen("image"), STARTED, image_proven="image", **QCOW2),
    restore_memory(outcome=COMPLETED),
    restore_memory(outcome=FAILED),
    restore_memory(outcome=replace(COMPLETED, final=True)),
)


def test_every_combination_has_a_safe_step() -> None:
    for mem, volume_status, image_status, transfer, leaving in itertools.product(
        MEMORIES, (None, *VOLUMES), (None, *IMAGES), TRANSFERS, (False, True)
    ):
        look = restore_observed(
            memory=mem,
            identity=identity(deleting=leaving),
            request=restore_request(cancel=leaving),
            volumes=() if volume_status is None else (made(volume_status),),
            images=() if image_status is None else (image(image_status),),
            transfer=transfer,
            found=found_backup(),
        )
        assert_safe(look, next_step(look), leaving)


def test_no_combination_lets_a_dry_run_make_anything() -> None:
    for mem, plan, has_finalizer in itertools.product(MEMORIES, (None, PLAN), (False, True)):
        look = restore_observed(
            memory=replace(mem, plan=plan),
            identity=identity(has_finalizer=has_finalizer),
            request=restore_request(dry_run=True),
            found=found_backup(),
            survey=SURVEY,
        )
        step = next_step(look)
        assert not isinstance(step, steps.Effect) or isinstance(step, r.UnpinReader), step


def assert_safe(o: r.RestoreObserved, step: r.RestoreStep, leaving: bool) -> None:
    outcome = o.memory.outcome
    creates = (r.PinReader, r.CreateImage, r.StartTransfer, r.CreateVolume)
    if outcome is not None or leaving:
        assert not isinstance(step, creates)
    match step:
        case r.CreateImage():
            assert not still_there(o.images)
        case r.StartTransfer():
            assert isinstance(o.transfer, TransferAbsent)
        case r.CreateVolume():
            assert not o.volumes and o.memory.image_proven == step.image_id
        case steps.DeleteVolume():
            failed = o.volumes[0].status.startswith("error")
            assert failed or (outcome is not None and outcome.phase is not Phase.COMPLETED)
        case steps.DeleteImage():
            proven = o.memory.image_proven == step.resource_id
            assert outcome is not None or not proven or o.images[0].status != "active"
        case steps.Finish():
            assert outcome is not None and not still_there(o.images)
            assert outcome.phase is Phase.COMPLETED or not o.volumes
        case steps.Wait():
            assert 0 < step.seconds <= 300 and step.reason and step.message
        case _:
            pass
