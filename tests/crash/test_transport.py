"""Raw, qcow2 or VDI, under Auto: chosen once, fallen back from step by step, whatever is interrupted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from cinderbank.domain.facts import GIB, TransferFailed, VolumeFacts, VolumeId
from cinderbank.domain.record import Memory, Phase, Transport
from tests.builders import BACKUP_ID
from tests.crash.simulation import BackupSimulation, RestoreSimulation, Simulation, run
from tests.crash.test_backup import assert_no_leftovers
from tests.fakes.bank import Session

EARLIER = "01JC0000000000000000000001"
VMDK = "vmdk of 512 MiB: data"


def memory_of(simulation: Simulation) -> Memory:
    memory: Memory = simulation.stored.record.memory
    return memory


def assert_sealed(simulation: BackupSimulation, transport: str, reason: str) -> None:
    """One snapshot, one sealed backup with the volume's own bytes, nothing left."""
    memory = memory_of(simulation)
    assert memory.outcome is not None and memory.outcome.phase is Phase.COMPLETED
    assert (memory.transport, memory.transport_reason) == (transport, reason)
    made = {key: it for key, it in simulation.bank.sessions.items() if key != EARLIER}
    (session,) = made.values()
    assert session.sealed and session.transport == transport
    assert session.content == simulation.cloud.volumes["source"].content
    assert simulation.cloud.snapshots_made == 1
    assert_no_leftovers(simulation)


def reasons(simulation: Simulation) -> list[str]:
    return [event[0] for event in simulation.stored.events]


# What a backup chooses.


def with_earlier(simulation: BackupSimulation, *, used: float, content: str = "data") -> None:
    volume_id = VolumeId("source")
    simulation.bank.sessions[EARLIER] = Session(
        volume_id,
        False,
        True,
        True,
        content=content,
        size_bytes=GIB,
        source=VolumeFacts(volume_id, "db", "", 1),
        data_bytes=int(GIB * used),
    )


@pytest.mark.parametrize(
    ("used", "content", "transport", "reason"),
    [
        (0.2, "data", "Vdi", "MostlyEmpty"),
        (0.89, "data", "Vdi", "MostlyEmpty"),
        (0.95, "data", "Raw", "MostlyUsed"),
        (0.2, VMDK, "Raw", "ContentIsImage"),
    ],
)
def test_auto_goes_by_the_last_backup(
    used: float, content: str, transport: str, reason: str
) -> None:
    simulation = BackupSimulation()
    with_earlier(simulation, used=used, content=content)
    run(simulation)
    assert_sealed(simulation, transport, reason)
    assert reasons(simulation).count(reason) == 1


def test_auto_looks_only_once_and_only_at_usable_backups() -> None:
    simulation = BackupSimulation()
    with_earlier(simulation, used=0.9)
    simulation.bank.sessions[EARLIER].tombed = True
    run(simulation, until=lambda s: s.steps[-1:] == ["ChooseTransport"])
    simulation.bank.sessions[EARLIER].tombed = False
    run(simulation)
    assert_sealed(simulation, "Vdi", "FirstBackup")


@pytest.mark.parametrize("asked", [Transport.RAW, Transport.QCOW2, Transport.VDI])
def test_what_was_asked_for(asked: Transport) -> None:
    simulation = BackupSimulation(transport=asked)
    with_earlier(simulation, used=0.1 if asked is Transport.RAW else 0.9)
    run(simulation)
    assert_sealed(simulation, asked, "Requested")


# Where a backup falls back.


def refuses_the_formats(simulation: BackupSimulation) -> None:
    simulation.cloud.disk_formats = ("raw",)


def refuses_vdi(simulation: BackupSimulation) -> None:
    simulation.cloud.disk_formats = ("raw", "qcow2")


def refuses_vdi_and_converts_nothing(simulation: BackupSimulation) -> None:
    refuses_vdi(simulation)
    converts_nothing(simulation)


def converts_nothing(simulation: BackupSimulation) -> None:
    simulation.cloud.converts = False


def holds_an_image(simulation: BackupSimulation) -> None:
    simulation.cloud.volumes["source"].content = VMDK


def holds_an_image_and_glance_looks_into_none(simulation: BackupSimulation) -> None:
    holds_an_image(simulation)
    simulation.cloud.inspects = False


def holds_a_vhd(simulation: BackupSimulation) -> None:
    simulation.cloud.volumes["source"].content = "vhd of 512 MiB: data"


def makes_a_strange_image(simulation: BackupSimulation) -> None:
    simulation.transfers.fail_with(
        lambda image: image.disk_format != "raw",
        TransferFailed("ImageUnsupported", "its data is elsewhere", False),
    )


BACKUP_FALLBACKS: list[tuple[Callable[[BackupSimulation], None], str, str]] = [
    (refuses_vdi, "Qcow2", "ImageFormatRefused"),
    (refuses_the_formats, "Raw", "ImageFormatRefused"),
    (refuses_vdi_and_converts_nothing, "Raw", "ConversionFailed"),
    (converts_nothing, "Raw", "ConversionFailed"),
    (holds_an_image, "Raw", "ContentIsImage"),
    (holds_an_image_and_glance_looks_into_none, "Raw", "ContentIsImage"),
    (holds_a_vhd, "Raw", "ConversionFailed"),
    (makes_a_strange_image, "Raw", "ConversionFailed"),
]
BACKUP_IDS = [prepare.__name__ for prepare, _, _ in BACKUP_FALLBACKS]


def backup_with(prepare: Callable[[BackupSimulation], None], **request: Any) -> BackupSimulation:
    # Not one failure is left: that a fall-back counts as none is thereby proven.
    simulation = BackupSimulation(retry_limit=0, **request)
    prepare(simulation)
    return simulation


def begun_before(simulation: Simulation, verb: str) -> int:
    """The number of effects that were begun before `verb` for the first time."""
    run(simulation, until=lambda s: verb in s.faults.tried)
    return simulation.faults.tried.index(verb)


def near(number: int) -> range:
    """The effects in which the second crash is; an operator may well die twice in a row."""
    return range(number + 1, number + 5)


@pytest.mark.parametrize(("prepare", "transport", "reason"), BACKUP_FALLBACKS, ids=BACKUP_IDS)
def test_a_backup_falls_back_without_a_new_snapshot(
    prepare: Callable[[BackupSimulation], None], transport: str, reason: str
) -> None:
    simulation = backup_with(prepare)
    run(simulation)
    assert_sealed(simulation, transport, reason)
    twice = prepare is refuses_the_formats
    assert reasons(simulation).count(reason) == (2 if twice else 1)
    assert simulation.faults.effects.count("create_volume_from_snapshot") == 1
    phases = list(dict.fromkeys(report.phase for report in simulation.stored.reports))
    assert phases == sorted(phases, key=list(Phase).index), "a phase went backwards"


@pytest.mark.parametrize(("prepare", "transport", "reason"), BACKUP_FALLBACKS, ids=BACKUP_IDS)
def test_a_backup_that_falls_back_with_one_crash(
    prepare: Callable[[BackupSimulation], None], transport: str, reason: str
) -> None:
    clean = backup_with(prepare)
    run(clean)
    for number, when in itertools.product(range(clean.faults.begun), ("before", "after")):
        simulation = backup_with(prepare)
        simulation.faults.crashes = {(number, when)}  # type: ignore[arg-type]
        run(simulation)
        assert simulation.crashes == 1
        assert_sealed(simulation, transport, reason)


@pytest.mark.parametrize("first", ("before", "after"))
@pytest.mark.parametrize(("prepare", "transport", "reason"), BACKUP_FALLBACKS, ids=BACKUP_IDS)
def test_a_backup_that_falls_back_with_two_crashes(
    prepare: Callable[[BackupSimulation], None], transport: str, reason: str, first: str
) -> None:
    """Both between the upload that fails and the seal, and near to each other."""
    clean = backup_with(prepare)
    begin = begun_before(clean, "upload_to_image")
    end = begun_before(clean, "seal")
    for number in range(begin, end):
        for other, when in itertools.product(near(number), ("before", "after")):
            simulation = backup_with(prepare)
            simulation.faults.crashes = {(number, first), (other, when)}  # type: ignore[arg-type]
            run(simulation)
            assert_sealed(simulation, transport, reason)


@pytest.mark.parametrize("asked", [Transport.QCOW2, Transport.VDI])
@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (refuses_the_formats, "ImageFormatRefused"),
        (converts_nothing, "UploadToImageFailed"),
        (holds_an_image, "ImageSizeMismatch"),
        (holds_an_image_and_glance_looks_into_none, "ImageSizeMismatch"),
        (holds_a_vhd, "UploadToImageFailed"),
        (makes_a_strange_image, "ImageUnsupported"),
    ],
    ids=lambda it: getattr(it, "__name__", it),
)
def test_what_was_asked_for_is_never_changed_in_silence(
    prepare: Callable[[BackupSimulation], None], reason: str, asked: Transport
) -> None:
    simulation = backup_with(prepare, transport=asked)
    run(simulation)
    memory = memory_of(simulation)
    assert memory.outcome is not None
    assert (memory.outcome.phase, memory.outcome.reason) == (Phase.FAILED, reason)
    assert "transport Raw, or Auto" in memory.outcome.message
    assert simulation.bank.sessions == {}
    assert_no_leftovers(simulation)


def test_on_nfs_an_image_inside_is_refused_also_as_raw() -> None:
    simulation = backup_with(holds_an_image)
    simulation.cloud.backend = "nfs"
    run(simulation)
    memory = memory_of(simulation)
    assert memory.outcome is not None
    assert (memory.outcome.phase, memory.outcome.reason) == (Phase.FAILED, "ImageSizeMismatch")
    assert memory.transport is Transport.RAW
    assert "unpacks a disk image" in memory.outcome.message
    assert simulation.bank.sessions == {}
    assert_no_leftovers(simulation)


def test_what_glance_refuses_in_every_way_fails_as_any_upload_does() -> None:
    simulation = backup_with(lambda s: None)
    simulation.cloud.volumes["source"].content = "qcow2-backed of 512 MiB: data"
    run(simulation)
    memory = memory_of(simulation)
    assert memory.outcome is not None
    assert (memory.outcome.phase, memory.outcome.reason) == (Phase.FAILED, "UploadToImageFailed")
    assert memory.transport is Transport.RAW
    assert_no_leftovers(simulation)


def test_an_image_that_is_lost_after_it_was_good_is_made_again_as_it_was() -> None:
    simulation = BackupSimulation()
    run(simulation, until=lambda s: s.steps[-1:] == ["StartTransfer"])
    simulation.cloud.images.clear()
    run(simulation)
    assert_sealed(simulation, "Vdi", "FirstBackup")


# Restores.


def restore_of(content: str = "data", *, data_bytes: int = GIB // 4, **request: Any) -> Any:
    simulation = RestoreSimulation(retry_limit=0, **request)
    session = simulation.bank.sessions[BACKUP_ID]
    session.content, session.data_bytes = content, data_bytes
    return simulation


def assert_volume(simulation: RestoreSimulation, transport: str, reason: str) -> None:
    """One volume with the backup's bytes, as the old one was, and nothing left."""
    memory = memory_of(simulation)
    assert memory.outcome is not None and memory.outcome.phase is Phase.COMPLETED
    assert (memory.transport, memory.transport_reason) == (transport, reason)
    simulation.clock.advance(3600)
    simulation.cloud.settle()
    (volume,) = simulation.cloud.volumes.values()
    assert volume.content == simulation.bank.sessions[BACKUP_ID].content
    assert (volume.name, volume.volume_type, volume.bootable) == ("db", "ssd", False)
    assert volume.image_metadata == {}
    assert simulation.cloud.images == {}
    assert simulation.bank.pins == set()


def assert_refused(simulation: RestoreSimulation, reason: str, way_out: str) -> None:
    memory = memory_of(simulation)
    assert memory.outcome is not None
    assert (memory.outcome.phase, memory.outcome.reason) == (Phase.FAILED, reason)
    assert way_out in memory.outcome.message
    simulation.clock.advance(3600)
    simulation.cloud.settle()
    assert simulation.cloud.volumes == {} and simulation.cloud.images == {}
    assert simulation.bank.pins == set()


@pytest.mark.parametrize("content", ["data", "luks of 512 MiB: data"])
def test_auto_restores_as_qcow2(content: str) -> None:
    simulation = restore_of(content)
    run(simulation)
    assert_volume(simulation, "Qcow2", "OnlyUsedData")


@pytest.mark.parametrize("content", ["data", "luks of 512 MiB: data"])
def test_a_full_backup_goes_as_raw(content: str) -> None:
    simulation = restore_of(content, data_bytes=GIB)
    run(simulation)
    assert_volume(simulation, "Raw", "NearlyFull")


def test_a_full_backup_of_a_disk_image_needs_a_larger_volume() -> None:
    simulation = restore_of(VMDK, data_bytes=GIB, transport=Transport.QCOW2)
    run(simulation)
    assert_refused(simulation, "TargetTooSmall", "sizeGiB: 2")
    assert "create_image" not in simulation.faults.effects
    simulation = restore_of(VMDK, data_bytes=GIB, size_gib=2, transport=Transport.QCOW2)
    run(simulation)
    assert_volume(simulation, "Qcow2", "Requested")


@pytest.mark.parametrize("transport", [Transport.AUTO, Transport.RAW])
def test_a_disk_image_is_restored_only_when_qcow2_was_asked_for(transport: Transport) -> None:
    """What a back end makes of it can not be seen from here: on NFS it would be other bytes."""
    simulation = restore_of(VMDK, transport=transport)
    run(simulation)
    assert_refused(simulation, "ContentIsImage", "spec.transport: Qcow2")
    assert "create_image" not in simulation.faults.effects


def no_format(simulation: RestoreSimulation) -> None:
    simulation.cloud.disk_formats = ("raw",)


def no_data(simulation: RestoreSimulation) -> None:
    simulation.cloud.refused_contents = ("qcow2",)


def no_conversion(simulation: RestoreSimulation) -> None:
    simulation.cloud.converts = False


RESTORE_FALLBACKS: list[tuple[Callable[[RestoreSimulation], None], str]] = [
    (no_format, "ImageFormatRefused"),
    (no_data, "ImageFormatRefused"),
    (no_conversion, "ConversionFailed"),
]
RESTORE_IDS = [prepare.__name__ for prepare, _ in RESTORE_FALLBACKS]


def restore_with(prepare: Callable[[RestoreSimulation], None], **more: Any) -> RestoreSimulation:
    simulation: RestoreSimulation = restore_of(**more)
    prepare(simulation)
    return simulation


@pytest.mark.parametrize(("prepare", "reason"), RESTORE_FALLBACKS, ids=RESTORE_IDS)
def test_a_restore_that_falls_back_with_one_crash(
    prepare: Callable[[RestoreSimulation], None], reason: str
) -> None:
    clean = restore_with(prepare)
    run(clean)
    assert_volume(clean, "Raw", reason)
    assert reasons(clean).count(reason) == 1
    for number, when in itertools.product(range(clean.faults.begun), ("before", "after")):
        simulation = restore_with(prepare)
        simulation.faults.crashes = {(number, when)}  # type: ignore[arg-type]
        run(simulation)
        assert simulation.crashes == 1
        assert_volume(simulation, "Raw", reason)


@pytest.mark.parametrize("first", ("before", "after"))
@pytest.mark.parametrize(("prepare", "reason"), RESTORE_FALLBACKS, ids=RESTORE_IDS)
def test_a_restore_that_falls_back_with_two_crashes(
    prepare: Callable[[RestoreSimulation], None], reason: str, first: str
) -> None:
    clean = restore_with(prepare)
    begin = begun_before(clean, "create_image")
    end = begun_before(clean, "set_bootable")
    for number in range(begin, end):
        for other, when in itertools.product(near(number), ("before", "after")):
            simulation = restore_with(prepare)
            simulation.faults.crashes = {(number, first), (other, when)}  # type: ignore[arg-type]
            run(simulation)
            assert_volume(simulation, "Raw", reason)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (no_format, "ImageFormatRefused"),
        (no_data, "ImageContentRefused"),
        (no_conversion, "VolumeFailed"),
    ],
    ids=RESTORE_IDS,
)
def test_qcow2_that_was_asked_for_or_is_needed_fails_with_the_way_out(
    prepare: Callable[[RestoreSimulation], None], reason: str
) -> None:
    simulation = restore_with(prepare, transport=Transport.QCOW2)
    run(simulation)
    assert_refused(simulation, reason, "transport Raw, or Auto")
