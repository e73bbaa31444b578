"""The rules of a backup: each one a row, and then every combination of statuses and flags."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cinderbank.domain import backup_steps as b
from cinderbank.domain import steps
from cinderbank.domain.backup import absorbed, next_step
from cinderbank.domain.cleanup import still_there
from cinderbank.domain.facts import (
    GIB,
    BankFacts,
    TransferAbsent,
    TransferFailed,
    TransferProgress,
    TransferRunning,
    TransferSucceeded,
    UserMessage,
    VolumeId,
)
from cinderbank.domain.record import (
    DeletionPolicy,
    Incremental,
    LastError,
    Memory,
    Outcome,
    Phase,
    Transport,
)
from tests.builders import (
    BACKUP_ID,
    LONG_AGO,
    backup_observed,
    backup_request,
    identity,
    image,
    intent,
    memory,
    seen,
    snapshot,
    snapshotted,
    temporary_volume,
    volume,
)
from tests.fakes.clock import START

SEALED = BankFacts(manifest=True, sealed=True)
PLANTED = "the manifest is not encrypted, and this bank has a key"
PLANTED_AND_SEALED = BankFacts(True, True, sealed=True, not_ours=PLANTED)
COMPLETED = Outcome(Phase.COMPLETED, "Committed", "", LONG_AGO)
FAILED = Outcome(Phase.FAILED, "VolumeFailed", "", LONG_AGO)
RUNNING = TransferRunning(None, moved_at=START)
SUCCEEDED = TransferSucceeded(TransferProgress(GIB, GIB), "abc")
JUST_NOW = START - timedelta(seconds=3)
NEW = Memory()


def final(outcome: Outcome) -> Outcome:
    return replace(outcome, final=True)


def request(**changes: Any) -> dict[str, Any]:
    return {"request": backup_request(**changes)}


QCOW2 = {"transport": Transport.QCOW2}
VDI = {"transport": Transport.VDI}
ASKED = request(transport=Transport.QCOW2)


def qcow2(status: str = "active", **changes: Any) -> Any:
    sizes = {"size_bytes": 1 << 20, "virtual_size_bytes": GIB} if status == "active" else {}
    return image(status, **{"disk_format": "qcow2", **sizes, **changes})


ROWS: list[tuple[str, dict[str, Any], type[steps.Step]]] = [
    # ended
    ("done", {"memory": memory(outcome=final(COMPLETED)), "identity": identity(has_finalizer=False)}, steps.Idle),
    ("done, Retain", {"memory": memory(outcome=final(COMPLETED))}, steps.RemoveFinalizer),
    (
        "done, Delete",
        {"memory": memory(outcome=final(COMPLETED)), **request(deletion_policy=DeletionPolicy.DELETE)},
        steps.Idle,
    ),
    (
        "done, policy changed to Delete",
        {
            "memory": memory(outcome=final(COMPLETED)),
            "identity": identity(has_finalizer=False),
            **request(deletion_policy=DeletionPolicy.DELETE),
        },
        steps.AddFinalizer,
    ),
    (
        "deleted, Delete",
        {
            "memory": memory(outcome=final(COMPLETED)),
            "identity": identity(deleting=True),
            **request(deletion_policy=DeletionPolicy.DELETE),
        },
        b.DeleteFromBank,
    ),
    (
        "deleted, Delete, freed",
        {
            "memory": memory(seen("free"), outcome=final(COMPLETED)),
            "identity": identity(deleting=True),
            **request(deletion_policy=DeletionPolicy.DELETE),
        },
        steps.RemoveFinalizer,
    ),
    (
        "deleted, Delete, held",
        {
            "memory": memory(outcome=final(COMPLETED)),
            "identity": identity(deleting=True),
            **request(deletion_policy=DeletionPolicy.DELETE, hold=True),
        },
        steps.Wait,
    ),
    (
        "deleted, Retain",
        {"memory": memory(outcome=final(COMPLETED)), "identity": identity(deleting=True)},
        steps.RemoveFinalizer,
    ),
    (
        "failed, Delete: nothing is in the bank",
        {"memory": memory(outcome=final(FAILED)), **request(deletion_policy=DeletionPolicy.DELETE)},
        steps.RemoveFinalizer,
    ),
    # untouched
    (
        "deleted before it began",
        {"memory": NEW, "identity": identity(deleting=True, has_finalizer=False)},
        steps.Idle,
    ),
    # committed and ending
    ("sealed", {"bank": SEALED}, steps.Conclude),
    ("sealed while failing", {"bank": SEALED, "memory": memory(outcome=FAILED)}, steps.Conclude),
    ("sealed while canceled", {"bank": SEALED, **request(cancel=True)}, steps.Conclude),
    (
        "failed, somebody else's seal is left as it is",
        {"bank": PLANTED_AND_SEALED, "memory": memory(seen("session"), outcome=FAILED)},
        steps.Finish,
    ),
    (
        "failed, somebody else's manifest goes with our session",
        {
            "bank": BankFacts(True, True, not_ours=PLANTED),
            "memory": memory(seen("session"), outcome=FAILED),
        },
        b.DiscardSession,
    ),
    ("committed, transfer known", {"memory": memory(outcome=COMPLETED), "transfer": SUCCEEDED}, steps.CancelTransfer),
    ("committed, image left", {"memory": memory(outcome=COMPLETED), "images": [image()], "volumes": [temporary_volume()]}, steps.DeleteImage),
    ("committed, volume left", {"memory": memory(outcome=COMPLETED), "volumes": [temporary_volume()], "snapshots": [snapshot()]}, steps.DeleteVolume),
    ("committed, volume goes", {"memory": memory(outcome=COMPLETED), "volumes": [temporary_volume("deleting")], "snapshots": [snapshot()]}, steps.Wait),
    ("committed, snapshot left", {"memory": memory(outcome=COMPLETED), "snapshots": [snapshot()]}, steps.DeleteSnapshot),
    (
        "committed, snapshot deleted a moment ago",
        {
            "memory": memory(intent("delete-snapshot", at=JUST_NOW, resource_id="snap"), outcome=COMPLETED),
            "snapshots": [snapshot()],
        },
        steps.Wait,
    ),
    (
        "committed, snapshot came back",
        {
            "memory": memory(intent("delete-snapshot", resource_id="snap"), outcome=COMPLETED),
            "snapshots": [snapshot()],
        },
        steps.DeleteSnapshot,
    ),
    ("committed, image is pending_delete", {"memory": memory(outcome=COMPLETED), "images": [image("pending_delete")]}, steps.Finish),
    ("committed, nothing left", {"memory": memory(outcome=COMPLETED)}, steps.Finish),
    ("committed, an image may turn up", {"memory": memory(intent("image", at=JUST_NOW), outcome=COMPLETED)}, steps.Wait),
    ("committed, bank away", {"memory": memory(outcome=COMPLETED), "bank": None}, steps.Finish),
    ("failing, transfer runs", {"memory": memory(outcome=FAILED), "transfer": RUNNING}, steps.CancelTransfer),
    ("failing, cloud clean", {"memory": memory(outcome=FAILED)}, b.DiscardSession),
    ("failing, a seal may go through", {"memory": memory(intent("seal", at=JUST_NOW), outcome=FAILED)}, steps.Wait),
    ("failing, bank away", {"memory": memory(outcome=FAILED), "bank": None}, steps.GiveBack),
    ("failing, all clean", {"memory": memory(seen("discard"), outcome=FAILED), "bank": BankFacts()}, steps.Finish),
    ("failing, nothing ever", {"memory": replace(NEW, outcome=FAILED)}, steps.Finish),
    # canceled
    ("canceled", request(cancel=True), steps.Conclude),
    ("deleted under way", {"identity": identity(deleting=True)}, steps.Conclude),
    ("canceled, sealed or not unknown", {"bank": None, "memory": memory(intent("seal")), **request(cancel=True)}, steps.GiveBack),
    # source
    ("new", {"memory": NEW, "identity": identity(has_finalizer=False)}, steps.AddFinalizer),
    ("new, guarded", {"memory": NEW}, b.MintBackupId),
    ("new, minted", {"memory": replace(NEW, backup_id="01")}, b.PinSource),
    ("no volume", {"memory": NEW, "source": None}, steps.Conclude),
    ("two volumes", {"memory": NEW, "source": None, "source_ids": (VolumeId("1"), VolumeId("2"))}, steps.Conclude),
    ("encrypted", {"memory": NEW, "source": volume(encrypted=True)}, steps.Conclude),
    ("finalizer taken off", {"identity": identity(has_finalizer=False)}, steps.AddFinalizer),
    # session
    ("no session", {"memory": replace(memory(), intents=()), "bank": BankFacts()}, b.OpenSession),
    ("session swept", {"bank": BankFacts()}, steps.Conclude),
    # transport
    ("not chosen", {"memory": memory(transport=None)}, b.ChooseTransport),
    ("not chosen, no session", {"memory": replace(memory(transport=None), intents=()), "bank": BankFacts()}, b.OpenSession),
    # snapshot
    ("nothing yet", {}, b.CreateSnapshot),
    ("source available", {"source": volume(status="available")}, b.CreateSnapshot),
    ("source busy", {"source": volume(status="extending")}, steps.Wait),
    ("source busy for long", {"source": volume(status="extending"), "memory": memory(intent("busy", at=START - timedelta(hours=1)))}, steps.Conclude),
    ("source in error", {"source": volume(status="error_restoring")}, steps.Conclude),
    ("source gone", {"source": None}, steps.Conclude),
    ("snapshot asked for", {"memory": memory(intent("snapshot", at=JUST_NOW))}, steps.Wait),
    ("snapshot never came", {"memory": memory(intent("snapshot"))}, b.CreateSnapshot),
    ("snapshot creating", {"memory": memory(seen("snapshot")), "snapshots": [snapshot("creating")]}, steps.Wait),
    ("snapshot creating for long", {"memory": memory(seen("snapshot", at=START - timedelta(hours=1))), "snapshots": [snapshot("creating")]}, steps.Conclude),
    ("snapshot failed", {"memory": memory(seen("snapshot")), "snapshots": [snapshot("error")]}, steps.DeleteSnapshot),
    ("snapshot failed too often", {"memory": memory(seen("snapshot", tries=4)), "snapshots": [snapshot("error")]}, steps.Conclude),
    ("snapshot lost", {"memory": snapshotted()}, steps.Conclude),
    # volume
    ("snapshot available", {"memory": snapshotted(), "snapshots": [snapshot()]}, b.CreateVolume),
    ("volume asked for", {"memory": snapshotted(intent("volume", at=JUST_NOW)), "snapshots": [snapshot()]}, steps.Wait),
    ("volume never came", {"memory": snapshotted(intent("volume")), "snapshots": [snapshot()]}, b.CreateVolume),
    ("volume creating", {"memory": snapshotted(seen("volume")), "snapshots": [snapshot()], "volumes": [temporary_volume("creating")]}, steps.Wait),
    ("volume creating for long", {"memory": snapshotted(seen("volume", at=START - timedelta(hours=2))), "volumes": [temporary_volume("creating")]}, steps.Conclude),
    ("volume failed", {"memory": snapshotted(seen("volume")), "snapshots": [snapshot()], "volumes": [temporary_volume("error")]}, steps.DeleteVolume),
    ("volume failed too often", {"memory": snapshotted(seen("volume", tries=4)), "snapshots": [snapshot()], "volumes": [temporary_volume("error")]}, steps.Conclude),
    ("volume vanished", {"memory": snapshotted(seen("volume")), "snapshots": [snapshot()]}, b.CreateVolume),
    ("volume vanished, snapshot too", {"memory": snapshotted(seen("volume"))}, steps.Conclude),
    # image
    ("volume available", {"memory": snapshotted(seen("volume")), "volumes": [temporary_volume()]}, b.UploadToImage),
    ("volume available, snapshot gone", {"memory": snapshotted(seen("volume")), "volumes": [temporary_volume()], "snapshots": []}, b.UploadToImage),
    ("upload asked for", {"memory": snapshotted(seen("volume"), intent("image", at=JUST_NOW)), "volumes": [temporary_volume()]}, steps.Wait),
    ("upload under way, no image seen", {"memory": snapshotted(seen("volume"), intent("image")), "volumes": [temporary_volume("uploading")]}, steps.Wait),
    ("image saving", {"memory": snapshotted(seen("volume"), seen("image")), "volumes": [temporary_volume("uploading")], "images": [image("saving")]}, steps.Wait),
    ("image queued for ever", {"memory": snapshotted(seen("volume"), seen("image", at=START - timedelta(hours=7))), "volumes": [temporary_volume("uploading")], "images": [image("queued")]}, steps.Conclude),
    ("image abandoned", {"memory": snapshotted(seen("volume"), seen("image")), "volumes": [temporary_volume()], "images": [image("queued")]}, steps.DeleteImage),
    ("image killed", {"memory": snapshotted(seen("volume"), seen("image")), "volumes": [temporary_volume()], "images": [image("killed")]}, steps.DeleteImage),
    ("image deactivated", {"memory": snapshotted(seen("volume"), seen("image")), "volumes": [temporary_volume()], "images": [image("deactivated")]}, steps.Conclude),
    ("upload failed", {"memory": snapshotted(seen("volume"), seen("image")), "volumes": [temporary_volume()]}, b.UploadToImage),
    ("upload failed a moment ago", {"memory": snapshotted(seen("volume"), seen("image", at=JUST_NOW)), "volumes": [temporary_volume()]}, steps.Wait),
    ("upload failed too often", {"memory": snapshotted(seen("volume"), seen("image", tries=4)), "volumes": [temporary_volume()]}, steps.Conclude),
    ("image of another size", {"memory": snapshotted(seen("image")), "images": [image(size_bytes=GIB - 1)]}, steps.Conclude),
    ("image active, unknown of a snapshot", {"memory": memory(seen("image")), "images": [image()]}, steps.Conclude),
    # a qcow2 image that Auto has chosen
    ("qcow2 upload failed", {"memory": snapshotted(seen("volume"), seen("image"), **QCOW2), "volumes": [temporary_volume()]}, steps.FallBack),
    ("qcow2 upload asked for", {"memory": snapshotted(seen("volume"), intent("image", at=JUST_NOW), **QCOW2), "volumes": [temporary_volume()]}, steps.Wait),
    ("qcow2 upload never came", {"memory": snapshotted(seen("volume"), intent("image"), **QCOW2), "volumes": [temporary_volume()]}, b.UploadToImage),
    ("qcow2 upload failed, asked for", {"memory": snapshotted(seen("volume"), seen("image"), **QCOW2), "volumes": [temporary_volume()], **ASKED}, b.UploadToImage),
    ("qcow2 upload failed too often, asked for", {"memory": snapshotted(seen("volume"), seen("image", tries=4), **QCOW2), "volumes": [temporary_volume()], **ASKED}, steps.Conclude),
    ("qcow2 image vanished, was good before", {"memory": snapshotted(seen("volume"), seen("image"), intent("transfer"), **QCOW2), "volumes": [temporary_volume()]}, b.UploadToImage),
    ("qcow2 image killed", {"memory": snapshotted(seen("volume"), seen("image"), **QCOW2), "volumes": [temporary_volume()], "images": [qcow2("killed")]}, steps.FallBack),
    ("qcow2 image abandoned", {"memory": snapshotted(seen("volume"), seen("image"), **QCOW2), "volumes": [temporary_volume()], "images": [qcow2("queued")]}, steps.FallBack),
    ("qcow2 image active", {"memory": snapshotted(seen("image"), **QCOW2), "images": [qcow2()]}, b.StartTransfer),
    ("qcow2 image active, not looked into", {"memory": snapshotted(seen("image"), **QCOW2), "images": [qcow2(virtual_size_bytes=None)]}, b.StartTransfer),
    ("qcow2 image of another disk", {"memory": snapshotted(seen("image"), **QCOW2), "images": [qcow2(virtual_size_bytes=GIB // 2)]}, steps.FallBack),
    ("qcow2 image of another disk, asked for", {"memory": snapshotted(seen("image"), **QCOW2), "images": [qcow2(virtual_size_bytes=GIB // 2)], **ASKED}, steps.Conclude),
    ("qcow2 asked for, raw made", {"memory": snapshotted(seen("image"), **QCOW2), "images": [image()]}, b.StartTransfer),
    ("qcow2 left from before", {"memory": snapshotted(seen("volume"), seen("image", tries=0)), "volumes": [temporary_volume()], "images": [qcow2()]}, steps.DeleteImage),
    ("qcow2 left from before, at the last try", {"memory": snapshotted(seen("volume"), seen("image", tries=0)), "volumes": [temporary_volume()], "images": [qcow2()], **request(retry_limit=0)}, steps.DeleteImage),
    ("qcow2 is all that this cloud makes", {"memory": snapshotted(seen("volume"), seen("image", tries=4)), "volumes": [temporary_volume()], "images": [qcow2()]}, steps.Conclude),
    ("qcow2 left from before is gone", {"memory": snapshotted(seen("volume"), seen("image", tries=0)), "volumes": [temporary_volume()]}, b.UploadToImage),
    ("vdi upload failed", {"memory": snapshotted(seen("volume"), seen("image"), **VDI), "volumes": [temporary_volume()]}, steps.FallBack),
    ("vdi image active", {"memory": snapshotted(seen("image"), **VDI), "images": [qcow2(disk_format="vdi")]}, b.StartTransfer),
    ("vdi image of another disk", {"memory": snapshotted(seen("image"), **VDI), "images": [qcow2(disk_format="vdi", virtual_size_bytes=GIB // 2)]}, steps.FallBack),
    ("vdi left from before", {"memory": snapshotted(seen("volume"), seen("image", tries=0), **QCOW2), "volumes": [temporary_volume()], "images": [qcow2(disk_format="vdi")]}, steps.DeleteImage),
    ("transfer can not read the vdi", {"memory": snapshotted(**VDI), "transfer": TransferFailed("ImageUnsupported", "x", False)}, steps.FallBack),
    ("transfer found another disk", {"memory": snapshotted(**QCOW2), "transfer": TransferFailed("ImageSizeMismatch", "x", False)}, steps.FallBack),
    ("transfer can not read it", {"memory": snapshotted(**QCOW2), "transfer": TransferFailed("ImageUnsupported", "x", False)}, steps.FallBack),
    ("transfer can not read it, asked for", {"memory": snapshotted(**QCOW2), "transfer": TransferFailed("ImageUnsupported", "x", False), **ASKED}, steps.Conclude),
    ("transfer found another disk in a raw image", {"memory": snapshotted(), "transfer": TransferFailed("ImageSizeMismatch", "x", False)}, steps.Conclude),
    # transfer
    ("image active", {"memory": snapshotted(seen("image")), "images": [image()]}, b.StartTransfer),
    ("transfer runs", {"memory": snapshotted(seen("image")), "images": [image()], "transfer": RUNNING}, steps.Wait),
    ("transfer stands still", {"memory": snapshotted(), "transfer": TransferRunning(None, START - timedelta(hours=1))}, steps.ForgetTransfer),
    ("transfer failed", {"memory": snapshotted(), "transfer": TransferFailed("X", "x", True)}, steps.ForgetTransfer),
    ("transfer failed too often", {"memory": snapshotted(intent("transfer-errors", tries=3)), "transfer": TransferFailed("X", "x", True)}, steps.Conclude),
    ("bank away for the 99th time", {"memory": snapshotted(intent("transfer-errors", tries=3)), "transfer": TransferFailed("BankUnavailable", "x", True)}, steps.ForgetTransfer),
    ("transfer failed for good", {"memory": snapshotted(), "transfer": TransferFailed("X", "x", False)}, steps.Conclude),
    ("transfer succeeded, no manifest", {"memory": snapshotted(seen("image")), "images": [image()], "transfer": SUCCEEDED}, steps.ForgetTransfer),
    # sealing
    ("manifest", {"memory": snapshotted(), "bank": BankFacts(intent=True, manifest=True, size_bytes=GIB), "transfer": SUCCEEDED}, b.Seal),
    ("manifest, operator restarted", {"memory": snapshotted(), "bank": BankFacts(intent=True, manifest=True)}, b.Seal),
    ("manifest of another size", {"memory": snapshotted(), "bank": BankFacts(intent=True, manifest=True, size_bytes=1)}, steps.Conclude),
    # back-off
    ("backing off", {"memory": memory(next_try_at=START + timedelta(seconds=9), last_error=LastError("Unavailable", "", START, True))}, steps.Wait),
    ("backed off", {"memory": memory(next_try_at=START)}, b.CreateSnapshot),
    ("canceled while backing off", {"memory": memory(next_try_at=START + timedelta(seconds=9)), **request(cancel=True)}, steps.Conclude),
]  # fmt: skip


@pytest.mark.parametrize(("observed", "step"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS])
def test_rule(observed: dict[str, Any], step: type[steps.Step]) -> None:
    assert type(next_step(backup_observed(**observed))) is step


@pytest.mark.parametrize("choice", Incremental)
def test_a_full_backup_is_asked_for_when_the_session_is_opened(choice: Incremental) -> None:
    observed = backup_observed(
        request=backup_request(incremental=choice),
        memory=replace(memory(), intents=()),
        bank=BankFacts(),
    )
    step = next_step(observed)
    assert isinstance(step, b.OpenSession)
    assert step.incremental is (choice is Incremental.AUTO)


def test_the_base_is_remembered_from_manifest_or_seal() -> None:
    seen_once = absorbed(backup_observed(bank=BankFacts(intent=True, base_id=BACKUP_ID)))
    assert seen_once.memory.base_id == BACKUP_ID
    assert absorbed(replace(seen_once, bank=BankFacts(intent=True))).memory.base_id == BACKUP_ID


def test_what_is_known_of_the_content_is_remembered() -> None:
    bank = BankFacts(intent=True, manifest=True, content_format="luks")
    look = absorbed(backup_observed(bank=bank))
    assert look.memory.content_format == "luks"
    assert absorbed(replace(look, bank=SEALED)).memory.content_format == "luks"


@pytest.mark.parametrize(
    ("transport", "disk_format"),
    [(Transport.RAW, "raw"), (Transport.QCOW2, "qcow2"), (Transport.VDI, "vdi")],
)
def test_the_upload_asks_for_what_was_chosen(transport: Transport, disk_format: str) -> None:
    known = snapshotted(seen("volume"), transport=transport)
    step = next_step(backup_observed(memory=known, volumes=[temporary_volume()]))
    assert isinstance(step, b.UploadToImage)
    assert step.disk_format == disk_format


FALLBACKS: list[tuple[str, dict[str, Any]]] = [
    ("ConversionFailed", {"memory": snapshotted(seen("volume"), seen("image"), **QCOW2), "volumes": [temporary_volume()]}),
    ("ContentIsImage", {"memory": snapshotted(seen("image"), **QCOW2), "images": [qcow2(virtual_size_bytes=1)]}),
    ("ContentIsImage", {"memory": snapshotted(**QCOW2), "transfer": TransferFailed("ImageSizeMismatch", "x", False)}),
    ("ConversionFailed", {"memory": snapshotted(**QCOW2), "transfer": TransferFailed("ImageUnsupported", "x", False)}),
    ("ConversionFailed", {"memory": snapshotted(**QCOW2), "transfer": TransferFailed("ImageNotInOrder", "x", False)}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "observed"), FALLBACKS)
def test_a_fallback_is_told_and_the_users_choice_is_never_changed(
    reason: str, observed: dict[str, Any]
) -> None:
    step = next_step(backup_observed(**observed))
    assert isinstance(step, steps.FallBack)
    assert (step.choice.transport, step.choice.reason) == (Transport.RAW, reason)
    asked = backup_observed(**{**observed, **request(transport=Transport.QCOW2, retry_limit=0)})
    refused = next_step(asked)
    assert isinstance(refused, steps.Conclude)
    assert refused.outcome.phase is Phase.FAILED
    assert "transport Raw, or Auto" in refused.outcome.message


REASONS: list[tuple[str, dict[str, Any]]] = [
    ("SnapshotLost", {"memory": snapshotted()}),
    ("SessionBroken", {"bank": BankFacts()}),
    ("EncryptedVolume", {"memory": NEW, "source": volume(encrypted=True)}),
    ("VolumeNotFound", {"memory": NEW, "source": None}),
    (
        "ManifestSizeMismatch",
        {"memory": snapshotted(), "bank": BankFacts(True, True, size_bytes=1)},
    ),
    (
        "ManifestNotEncrypted",
        {"memory": snapshotted(), "bank": BankFacts(True, True, not_ours=PLANTED)},
    ),
    ("ManifestNotEncrypted", {"memory": snapshotted(), "bank": PLANTED_AND_SEALED}),
    ("ImageSizeMismatch", {"memory": snapshotted(), "images": [image(size_bytes=1)]}),
    ("Canceled", request(cancel=True)),
]


@pytest.mark.parametrize(("reason", "observed"), REASONS)
def test_conclusion(reason: str, observed: dict[str, Any]) -> None:
    step = next_step(backup_observed(**observed))
    assert isinstance(step, steps.Conclude)
    assert step.outcome.reason == reason
    assert not step.outcome.final
    assert len(step.outcome.message) > 30


def test_cinders_own_words_are_told() -> None:
    said = UserMessage("VOLUME_VOLUME_003_004", "Failed to upload.", "temp", START, "req-7")
    noise = UserMessage("VOLUME_VOLUME_001_003", "something else", "temp", START)
    step = next_step(
        backup_observed(
            memory=snapshotted(seen("volume"), seen("image", tries=4)),
            volumes=[temporary_volume()],
            messages=[noise, said],
        )
    )
    assert isinstance(step, steps.Conclude)
    assert '"Failed to upload."' in step.outcome.message
    assert "image_size_cap" in step.outcome.message


def test_the_snapshot_says_when_and_how_large() -> None:
    taken = snapshot(size_gib=2)
    look = absorbed(backup_observed(memory=memory(intent("snapshot")), snapshots=[taken]))
    assert look.memory.snapshot_taken_at == taken.created_at
    assert look.memory.size_bytes == 2 * GIB
    assert look.memory.source is not None and look.memory.source.size_gib == 2
    again = replace(look, snapshots=[snapshot(size_gib=5, created_at=START)])
    assert absorbed(again).memory.size_bytes == 2 * GIB, "said once"


VOLUMES = (
    "creating",
    "available",
    "uploading",
    "in-use",
    "error",
    "error_deleting",
    "deleting",
    "maintenance",
)
SNAPSHOTS = ("creating", "available", "error", "error_deleting", "deleting")
IMAGES = ("queued", "saving", "active", "killed", "deactivated", "pending_delete")
BANKS = (
    BankFacts(),
    BankFacts(intent=True),
    BankFacts(intent=True, manifest=True, size_bytes=GIB),
    BankFacts(manifest=True, sealed=True),
    None,
)
TRANSFERS = (
    TransferAbsent(),
    RUNNING,
    SUCCEEDED,
    TransferFailed("X", "x", True),
    TransferFailed("ImageSizeMismatch", "x", False),
)
MEMORIES = (
    NEW,
    memory(),
    memory(seen("snapshot")),
    snapshotted(seen("volume")),
    snapshotted(seen("volume"), intent("image", at=JUST_NOW)),
    snapshotted(seen("volume"), seen("image")),
    snapshotted(seen("volume"), seen("image", tries=9)),
    snapshotted(seen("volume"), seen("image"), **QCOW2),
    snapshotted(outcome=COMPLETED),
    snapshotted(outcome=FAILED),
    snapshotted(outcome=final(FAILED)),
)  # fmt: skip


@pytest.mark.parametrize("mem", MEMORIES, ids=range(len(MEMORIES)))
def test_every_combination_has_a_safe_step(mem: Memory) -> None:
    """Total; creates only what is not there; before the outcome is known it deletes only what failed."""
    count = 0
    for volume_status, snapshot_status, image_status, bank, transfer in itertools.product(
        (None, *VOLUMES), (None, *SNAPSHOTS), IMAGE_LISTS, BANKS, TRANSFERS
    ):
        for cancel, deleting in ((False, False), (True, True)):
            look = backup_observed(
                memory=mem,
                identity=FLAGS[deleting],
                request=REQUESTS[cancel],
                volumes=VOLUME_LISTS[volume_status],
                snapshots=SNAPSHOT_LISTS[snapshot_status],
                images=IMAGE_LISTS[image_status],
                bank=bank,
                transfer=transfer,
            )
            assert_safe(look, next_step(look))
            count += 1
    assert count > 10_000


FLAGS = {deleting: identity(deleting=deleting) for deleting in (False, True)}
REQUESTS = {cancel: backup_request(cancel=cancel) for cancel in (False, True)}
VOLUME_LISTS: dict[str | None, Any] = {
    None: (),
    **{status: (temporary_volume(status),) for status in VOLUMES},
}
SNAPSHOT_LISTS: dict[str | None, Any] = {
    None: (),
    **{status: (snapshot(status),) for status in SNAPSHOTS},
}
IMAGE_LISTS: dict[str | None, Any] = {
    None: (),
    **{status: (image(status),) for status in IMAGES},
    "qcow2": (qcow2(),),
    "of another disk": (qcow2(virtual_size_bytes=1),),
}
CREATES = (b.OpenSession, b.CreateSnapshot, b.CreateVolume, b.UploadToImage, b.StartTransfer)


def assert_safe(o: b.BackupObserved, step: b.BackupStep) -> None:  # noqa: C901  one arm per step
    outcome = o.memory.outcome
    if outcome is not None and outcome.final:
        assert isinstance(step, (steps.Idle, steps.RemoveFinalizer))
    leaving = o.request.cancel or o.identity.deleting
    if outcome is not None or leaving:
        assert not isinstance(step, (*CREATES, b.Seal))
    match step:
        case b.CreateSnapshot():
            assert not o.snapshots and o.memory.snapshot_taken_at is None
        case b.CreateVolume():
            assert not any(v.status == "available" for v in o.volumes)
        case b.UploadToImage():
            assert not [i for i in o.images if i.status != "pending_delete"]
        case b.StartTransfer():
            assert isinstance(o.transfer, TransferAbsent)
            assert GIB in (step.image.size_bytes, step.image.virtual_size_bytes)
        case steps.FallBack():
            assert o.memory.transport is Transport.QCOW2 and outcome is None and not leaving
        case b.OpenSession():
            assert o.bank is not None and not o.bank.intent and not o.bank.sealed
        case b.Seal():
            assert o.bank is not None and o.bank.manifest and not o.bank.sealed
        case b.DiscardSession():
            assert o.bank is not None and not o.bank.sealed
            assert outcome is not None and outcome.phase is not Phase.COMPLETED
            assert not (still_there(o.images) or o.volumes or o.snapshots)
        case b.DeleteFromBank():
            raise AssertionError("nobody asked for that")
        case steps.DeleteSnapshot():
            assert outcome is not None or o.snapshots[0].status.startswith("error")
            assert outcome is None or not o.volumes
        case steps.DeleteVolume():
            assert outcome is not None or o.volumes[0].status.startswith("error")
            assert outcome is None or not still_there(o.images)
        case steps.DeleteImage():
            unwanted = o.memory.transport is Transport.RAW and o.images[0].disk_format == "qcow2"
            assert outcome is not None or unwanted or o.images[0].status != "active"
        case steps.Finish():
            assert outcome is not None and not outcome.final
            assert not (still_there(o.images) or o.volumes or o.snapshots)
            assert isinstance(o.transfer, TransferAbsent)
        case steps.Wait():
            assert 0 < step.seconds <= 300 and step.reason and step.message
        case _:
            pass
