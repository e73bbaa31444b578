"""Encrypted volumes, interrupted everywhere: the key is in the bank, and no copy of it is left in a cloud."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cinderbank.domain.errors import Forbidden, InvalidSpec, OutcomeUnknown, Unavailable
from cinderbank.domain.facts import GIB, ImageId
from cinderbank.domain.names import image_name
from cinderbank.domain.placement import Wanted
from cinderbank.domain.record import EncryptedVolumes, OnDelete, Phase, Transport
from cinderbank.ports.key_manager import Secret
from tests.builders import BACKUP_ID
from tests.crash.simulation import (
    OLD,
    TICKS_AT_MOST,
    BackupSimulation,
    RestoreSimulation,
    Simulation,
    run,
)
from tests.fakes.cloud import LUKS, LUKS_HEADER_BYTES, Image

KEY = b"\x07" * 32
SIZE = GIB + LUKS_HEADER_BYTES


def backup(**request: Any) -> BackupSimulation:
    wanted = {"encrypted_volumes": EncryptedVolumes.ESCROW_KEY, **request}
    simulation = BackupSimulation(**wanted)
    source = simulation.cloud.volumes["source"]
    source.volume_type = "luks"
    source.encryption = replace(LUKS, key_id=simulation.cloud.add_secret(KEY))
    return simulation


def restore(**request: Any) -> RestoreSimulation:
    simulation = RestoreSimulation(
        source=replace(OLD, volume_type="luks", encrypted=True, encryption=LUKS), **request
    )
    simulation.cloud.volume_types.append("luks")
    session = simulation.bank.sessions[BACKUP_ID]
    session.size_bytes = SIZE
    session.key = Secret(KEY, "symmetric", "aes", 256)
    return simulation


def points(make: Any) -> list[tuple[int, str]]:
    simulation = make()
    run(simulation)
    return [(n, when) for n in range(simulation.faults.begun) for when in ("before", "after")]


BACKUP_POINTS, RESTORE_POINTS = points(backup), points(restore)


def outcome(simulation: Simulation) -> tuple[Phase, str]:
    found = simulation.stored.record.memory.outcome
    assert found is not None and found.final
    return found.phase, found.reason


def settled(simulation: Simulation) -> None:
    simulation.clock.advance(3600)
    simulation.cloud.settle()


def assert_backed_up(simulation: BackupSimulation) -> None:
    assert outcome(simulation)[0] is Phase.COMPLETED
    settled(simulation)
    (session,) = [s for s in simulation.bank.sessions.values() if s.sealed]
    assert (session.content, session.size_bytes, session.transport) == ("data", SIZE, "Raw")
    assert session.key is not None and session.key.payload == KEY
    assert session.source is not None and session.source.encryption is not None
    assert_only_the_source(simulation)


def assert_only_the_source(simulation: BackupSimulation) -> None:
    settled(simulation)
    (volume,) = simulation.cloud.volumes.values()
    assert volume.encryption is not None
    assert list(simulation.cloud.secrets) == [volume.encryption.key_id], "a copy of the key is left"
    assert simulation.cloud.images == {} and simulation.cloud.snapshots == {}


def assert_nothing_was_made(simulation: Simulation) -> None:
    made = set(simulation.faults.tried) - {
        "publish",
        "remember",
        "add_finalizer",
        "remove_finalizer",
    }
    assert made == set()


def assert_restored(simulation: RestoreSimulation) -> None:
    assert outcome(simulation) == (Phase.COMPLETED, "Restored")
    settled(simulation)
    (volume,) = simulation.cloud.volumes.values()
    assert (volume.content, volume.volume_type, volume.size_gib) == ("data", "luks", 2)
    assert volume.encryption is not None
    assert simulation.cloud.key_of(volume) == KEY
    assert list(simulation.cloud.secrets) == [volume.encryption.key_id], "our own secret is left"
    assert simulation.cloud.images == {} and simulation.bank.pins == set()


def assert_nothing_restored(simulation: RestoreSimulation) -> None:
    settled(simulation)
    assert simulation.cloud.volumes == {} and simulation.cloud.images == {}
    assert simulation.cloud.secrets == {} and simulation.bank.pins == set()


@pytest.mark.parametrize("deletes_keys", [False, True])
def test_clean_backup(deletes_keys: bool) -> None:
    simulation = backup()
    simulation.cloud.deletes_keys = deletes_keys
    run(simulation)
    assert_backed_up(simulation)


@pytest.mark.parametrize("point", BACKUP_POINTS, ids=str)
def test_backup_with_one_crash(point: tuple[int, str]) -> None:
    simulation = backup()
    simulation.faults.crashes = {point}
    run(simulation)
    assert simulation.crashes == 1
    assert_backed_up(simulation)


def test_the_key_of_a_failed_upload_goes_too() -> None:
    simulation = backup()
    simulation.cloud.turn_out("image", "killed")
    run(simulation)
    assert_backed_up(simulation)


def test_the_volumes_own_key_is_never_deleted_whatever_an_image_of_our_name_says() -> None:
    simulation = backup()
    source = simulation.cloud.volumes["source"]
    assert source.encryption is not None
    run(simulation, until=lambda s: "StartTransfer" in s.steps)
    (image,) = simulation.cloud.images.values()
    image.encryption_key_id = source.encryption.key_id
    run(simulation)
    assert source.encryption.key_id in simulation.cloud.secrets


def plant(simulation: BackupSimulation) -> str:
    """Another volume's key, named by an image that somebody has made and called as the backup's."""
    cloud = simulation.cloud
    key_id = cloud.add_secret(b"of another volume")
    now = cloud.clock.now()
    backup_id = simulation.stored.record.memory.backup_id
    assert backup_id is not None
    image = Image(
        ImageId(cloud.new_id("image")), image_name(backup_id), "active", "data", SIZE, now, now
    )
    image.encryption_key_id, image.owns_key = key_id, True
    cloud.images[image.id] = image
    return key_id


def test_an_image_that_somebody_has_called_as_ours_destroys_no_key() -> None:
    simulation = backup()
    run(simulation, until=lambda s: "StartTransfer" in s.steps)
    key_id = plant(simulation)
    run(simulation)
    assert outcome(simulation)[0] is Phase.COMPLETED
    assert simulation.cloud.images == {}
    assert key_id in simulation.cloud.secrets and len(simulation.cloud.secrets) == 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_nor_does_one_that_was_there_when_the_answer_was_lost(when: Any) -> None:
    simulation = backup()
    run(simulation, until=lambda s: "CreateSnapshot" in s.steps)
    key_id = plant(simulation)
    simulation.clock.advance(600)
    simulation.faults.fail_next("upload_to_image", OutcomeUnknown("no answer"), when=when)
    run(simulation)
    assert simulation.cloud.images == {}
    assert key_id in simulation.cloud.secrets


@pytest.mark.parametrize(
    "stage", ["CreateSnapshot", "CreateVolume", "UploadToImage", "StartTransfer"]
)
def test_a_canceled_backup_leaves_no_key(stage: str) -> None:
    simulation = backup()
    run(simulation, until=lambda s: stage in s.steps)
    simulation.request(cancel=True)
    run(simulation)
    assert outcome(simulation)[0] is Phase.CANCELED
    assert_only_the_source(simulation)


@pytest.mark.parametrize("wanted", list(EncryptedVolumes))
def test_a_volume_that_is_retyped_while_its_backup_begins_leaves_no_key(
    wanted: EncryptedVolumes,
) -> None:
    simulation = BackupSimulation(encrypted_volumes=wanted)
    run(simulation, until=lambda s: "PinSource" in s.steps)
    source = simulation.cloud.volumes["source"]
    source.volume_type = "luks"
    source.encryption = replace(LUKS, key_id=simulation.cloud.add_secret(KEY))
    run(simulation)
    assert outcome(simulation) == (Phase.FAILED, "EncryptedVolume")
    assert_only_the_source(simulation)


def test_a_key_that_can_not_be_read_is_told_before_anything_is_made() -> None:
    simulation = backup()
    refusal = Forbidden("no rights", reason="EncryptionKeyForbidden")
    simulation.faults.fail_next("read_secret", refusal, times=3)
    run(simulation, until=lambda s: len(s.results) > 2)
    error = simulation.stored.record.memory.last_error
    assert error is not None and error.reason == "EncryptionKeyForbidden"
    assert_nothing_was_made(simulation)
    run(simulation)
    assert_backed_up(simulation)


@pytest.mark.parametrize("reason", ["EncryptionKeyForbidden", "KeyManagerNotFound"])
def test_a_key_that_only_the_transfer_can_not_read_is_waited_for(reason: str) -> None:
    """A role that was taken away, or a catalogue that changed, after the look before it began."""
    simulation = backup()
    simulation.transfers.fail_next(reason, retryable=False, times=3)
    run(simulation)
    assert simulation.steps.count("ForgetTransfer") == 3
    assert_backed_up(simulation)


@pytest.mark.parametrize(
    ("request_", "encrypted_bank", "reason"),
    [
        ({"encrypted_volumes": EncryptedVolumes.REFUSE}, True, "EncryptedVolume"),
        ({}, False, "EscrowNeedsEncryptedBank"),
        ({"transport": Transport.VDI}, True, "EncryptedNeedsRaw"),
    ],
)
def test_refused_before_anything_is_made(
    request_: dict[str, Any], encrypted_bank: bool, reason: str
) -> None:
    simulation = backup(**request_)
    simulation.bank.encrypted = encrypted_bank
    run(simulation)
    assert outcome(simulation) == (Phase.FAILED, reason)
    assert_nothing_was_made(simulation)


def test_a_provider_that_makes_no_container_is_refused() -> None:
    simulation = backup()
    source = simulation.cloud.volumes["source"]
    assert source.encryption is not None
    source.encryption = replace(source.encryption, provider="plain")
    run(simulation)
    assert outcome(simulation) == (Phase.FAILED, "EncryptionUnsupported")
    assert_nothing_was_made(simulation)


def test_a_restore_where_there_is_no_key_manager_says_so_and_can_be_canceled() -> None:
    simulation = restore()
    missing = InvalidSpec("no key manager", reason="KeyManagerNotFound")
    simulation.faults.fail_next("marked_secrets", missing, times=TICKS_AT_MOST)
    run(simulation, until=lambda s: len(s.results) > 4)
    error = simulation.stored.record.memory.last_error
    assert error is not None and error.reason == "KeyManagerNotFound"
    assert_nothing_was_made(simulation)
    simulation.request(cancel=True)
    run(simulation)
    assert outcome(simulation)[0] is Phase.CANCELED


def test_a_restore_that_failed_before_it_had_a_secret_asks_no_key_manager_to_end() -> None:
    simulation = restore()
    run(simulation, until=lambda s: "PinReader" in s.steps)
    simulation.faults.fail_next("marked_secrets", Unavailable("away"), times=TICKS_AT_MOST)
    simulation.request(cancel=True)
    run(simulation)
    assert_nothing_restored(simulation)


def test_clean_restore() -> None:
    simulation = restore()
    run(simulation)
    assert_restored(simulation)


@pytest.mark.parametrize("point", RESTORE_POINTS, ids=str)
def test_restore_with_one_crash(point: tuple[int, str]) -> None:
    simulation = restore()
    simulation.faults.crashes = {point}
    run(simulation)
    assert simulation.crashes == 1
    assert_restored(simulation)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("late_seconds", [0, 20])
def test_a_secret_whose_answer_is_lost(when: Any, late_seconds: float) -> None:
    simulation = restore()
    simulation.faults.fail_next("create_secret", OutcomeUnknown("no answer"), when=when)
    simulation.cloud.appear_late("secret", late_seconds)
    run(simulation)
    assert_restored(simulation)


@pytest.mark.parametrize(
    "stage", ["PinReader", "CreateSecret", "CreateImage", "StartTransfer", "CreateVolume"]
)
@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_restore_that_is_left_leaves_no_key(stage: str, how: str) -> None:
    simulation = restore()
    run(simulation, until=lambda s: stage in s.steps)
    if how == "cancel":
        simulation.request(cancel=True)
    else:
        simulation.stored.delete()
    run(simulation)
    assert_nothing_restored(simulation)


def test_a_secret_that_somebody_deletes_is_made_anew_with_its_image() -> None:
    simulation = restore()
    run(simulation, until=lambda s: "StartTransfer" in s.steps)
    simulation.cloud.secrets.clear()
    run(simulation)
    assert_restored(simulation)


def test_a_key_manager_that_is_away_holds_up_the_clean_up_and_nothing_else() -> None:
    simulation = restore()
    run(simulation, until=lambda s: "CreateVolume" in s.steps)
    simulation.faults.fail_next("marked_secrets", Unavailable("away"), times=4)
    run(simulation)
    assert_restored(simulation)


@pytest.mark.parametrize("stage", ["CreateImage", "StartTransfer", "CreateVolume"])
@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_key_manager_that_is_away_keeps_nothing_but_its_own_secret(stage: str, how: str) -> None:
    simulation = restore()
    run(simulation, until=lambda s: stage in s.steps)
    simulation.faults.fail_next("marked_secrets", Unavailable("away"), times=40)
    if how == "cancel":
        simulation.request(cancel=True)
    else:
        simulation.stored.delete()
    run(simulation, until=lambda s: s.results[-1].error is not None)
    settled(simulation)
    assert simulation.cloud.volumes == {} and simulation.cloud.images == {}
    assert len(simulation.cloud.secrets) == 1, "it is still to be deleted"
    run(simulation)
    assert_nothing_restored(simulation)


@pytest.mark.parametrize(
    ("wanted", "kind", "reason"),
    [
        (Wanted(volume_type="other"), replace(LUKS, cipher="aes-cbc-essiv"), "EncryptionDiffers"),
        (Wanted(volume_type="other"), replace(LUKS, provider="luks2"), "EncryptionDiffers"),
        (Wanted(volume_type="other"), replace(LUKS, key_size_bits=512), "EncryptionDiffers"),
        (Wanted(volume_type="ssd"), LUKS, "VolumeFailed"),
    ],
)
def test_a_type_that_does_not_fit_ends_it(wanted: Wanted, kind: Any, reason: str) -> None:
    simulation = restore(wanted=wanted)
    simulation.cloud.volume_types.append("other")
    simulation.cloud.encrypted_types["other"] = kind
    run(simulation)
    assert outcome(simulation) == (Phase.FAILED, reason)
    error = simulation.stored.record.memory.last_error
    assert error is not None and "spec.target.volumeType" in error.message
    assert_nothing_restored(simulation)


def test_without_a_type_of_the_old_name_one_must_be_named() -> None:
    simulation = restore()
    simulation.cloud.volume_types.remove("luks")
    run(simulation)
    assert outcome(simulation) == (Phase.FAILED, "EncryptedTypeNeeded")
    assert_nothing_was_made(simulation)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [({"transport": Transport.QCOW2}, "EncryptedNeedsRaw"), ({"size_gib": 1}, "TargetTooSmall")],
)
def test_a_restore_that_can_not_be(request_: dict[str, Any], reason: str) -> None:
    simulation = restore(**request_)
    run(simulation)
    assert outcome(simulation) == (Phase.FAILED, reason)
    assert_nothing_was_made(simulation)


def test_deleting_the_restored_volume_takes_its_key_along() -> None:
    simulation = restore(on_delete=OnDelete.DELETE)
    run(simulation)
    assert_restored(simulation)
    simulation.stored.delete()
    run(simulation)
    assert_nothing_restored(simulation)


def test_a_drill_is_refused_before_anything_is_made() -> None:
    simulation = restore(drill=True)
    run(simulation)
    assert outcome(simulation) == (Phase.FAILED, "EncryptedVolume")
    assert simulation.cloud.volumes == {} and simulation.cloud.images == {}
    assert simulation.cloud.secrets == {} and simulation.bank.verdicts == set()


@pytest.mark.parametrize("default", [False, True])
def test_a_drill_into_an_encrypted_type_proves_nothing_and_leaves_no_key(default: bool) -> None:
    """An image of its scratch volume is ciphertext: a good backup must not be told as another one."""
    wanted = Wanted() if default else Wanted(volume_type="luks")
    simulation = RestoreSimulation(drill=True, wanted=wanted)
    simulation.cloud.volume_types = ["luks", "other"] if default else ["ssd", "luks"]
    run(simulation)
    assert outcome(simulation) == (Phase.FAILED, "EncryptedVolume")
    error = simulation.stored.record.memory.last_error
    assert error is not None and '"luks"' in error.message
    assert "spec.target.volumeType" in error.message and "spec.drill.volumeType" in error.message
    assert "upload_to_image" not in simulation.faults.tried
    assert simulation.bank.verdicts == set()
    assert_nothing_restored(simulation)


@pytest.mark.parametrize("stage", ["PinReader", "CreateSecret", "CreateImage", "CreateVolume"])
def test_a_status_without_its_encryption_makes_no_volume_and_leaves_no_key(stage: str) -> None:
    """A CRD that is older than the operator prunes status.source.encryption."""
    simulation = restore()
    run(simulation, until=lambda s: stage in s.steps)
    record = simulation.stored.record
    source = record.memory.source
    assert source is not None
    pruned = replace(record.memory, source=replace(source, encryption=None))
    simulation.stored.change(replace(record, memory=pruned))
    run(simulation)
    assert outcome(simulation) == (Phase.FAILED, "StatusLost")
    assert_nothing_restored(simulation)
