"""A restore, interrupted everywhere: one volume with the backup's bytes, no image, no pin left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cinderbank.domain.errors import Forbidden, InvalidSpec, OutcomeUnknown, Unsupported
from cinderbank.domain.facts import BackupId, ChunkLook, QuotaLeft
from cinderbank.domain.names import RESTORE_TAG
from cinderbank.domain.placement import Wanted
from cinderbank.domain.record import OnDelete, Phase
from cinderbank.domain.selection import BackupSelector
from tests.builders import BACKUP_ID
from tests.crash.simulation import OLD, RestoreSimulation, Simulation, run


def effects_of_a_clean_run() -> int:
    simulation = RestoreSimulation()
    run(simulation)
    return simulation.faults.begun


EFFECTS = effects_of_a_clean_run()
POINTS = [(n, when) for n in range(EFFECTS) for when in ("before", "after")]


def assert_restored(simulation: RestoreSimulation) -> None:
    memory = simulation.stored.record.memory
    assert memory.outcome is not None and memory.outcome.phase is Phase.COMPLETED
    assert memory.outcome.final
    simulation.clock.advance(3600)
    simulation.cloud.settle()
    (volume,) = simulation.cloud.volumes.values()
    assert (volume.id, volume.content, volume.status) == (
        memory.created_volume_id,
        "data",
        "available",
    )
    assert (volume.name, volume.volume_type, volume.bootable) == ("db", "ssd", False)
    assert volume.metadata == {"app": "shop", RESTORE_TAG: "uid-1"}
    assert volume.image_metadata == {}
    assert simulation.cloud.images == {}
    assert simulation.bank.pins == set()
    assert not simulation.stored.record.identity.has_finalizer


def assert_nothing_left(simulation: RestoreSimulation) -> None:
    simulation.clock.advance(3600)
    simulation.cloud.settle()
    assert simulation.cloud.volumes == {}
    assert simulation.cloud.images == {}
    assert simulation.bank.pins == set()
    assert all(session.sealed for session in simulation.bank.sessions.values())


def test_clean_run() -> None:
    simulation = RestoreSimulation()
    run(simulation)
    assert_restored(simulation)
    phases = [report.phase for report in simulation.stored.reports]
    order = list(dict.fromkeys(phases))
    assert order == [
        Phase.PENDING,
        Phase.TRANSFERRING,
        Phase.CREATING_VOLUME,
        Phase.CLEANING_UP,
        Phase.COMPLETED,
    ]
    assert phases == sorted(phases, key=order.index), "a phase went backwards"


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_one_crash(point: tuple[int, str]) -> None:
    simulation = RestoreSimulation()
    simulation.faults.crashes = {point}
    run(simulation)
    assert simulation.crashes == 1
    assert_restored(simulation)


@pytest.mark.parametrize("first", range(len(POINTS)), ids=lambda n: str(POINTS[n]))
def test_two_crashes(first: int) -> None:
    for number, when in POINTS[first + 1 :]:
        simulation = RestoreSimulation()
        simulation.faults.crashes = {POINTS[first], (number + 1, when)}
        run(simulation)
        assert_restored(simulation)


@pytest.mark.parametrize(
    "verb", ["pin", "create_image", "create_volume_from_image", "delete_image"]
)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("late_seconds", [0, 20])
def test_lost_answer(verb: str, when: str, late_seconds: float) -> None:
    simulation = RestoreSimulation()
    simulation.faults.fail_next(verb, OutcomeUnknown("no answer"), when=when)
    for kind in ("volume", "image"):
        simulation.cloud.appear_late(kind, late_seconds)
    run(simulation)
    assert_restored(simulation)


@pytest.mark.parametrize("stage", ["PinReader", "CreateImage", "StartTransfer", "CreateVolume"])
@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_leaving_at_every_stage_with_a_crash_everywhere(stage: str, how: str) -> None:
    def began(simulation: Simulation) -> bool:
        return simulation.steps[-1:] == [stage]

    def leave(simulation: RestoreSimulation) -> None:
        if how == "cancel":
            simulation.request(cancel=True)
        else:
            simulation.stored.delete()

    clean = RestoreSimulation()
    run(clean, until=began)
    before = clean.faults.begun
    leave(clean)
    run(clean)
    assert_nothing_left(clean)
    for number in range(before, clean.faults.begun):
        for when in ("before", "after"):
            simulation = RestoreSimulation()
            run(simulation, until=began)
            leave(simulation)
            simulation.faults.crashes = {(number, when)}
            run(simulation)
            assert_nothing_left(simulation)
            assert simulation.stored.gone == (how == "delete")


@pytest.mark.parametrize("on_delete", list(OnDelete))
def test_deleting_a_completed_restore(on_delete: OnDelete) -> None:
    simulation = RestoreSimulation(on_delete=on_delete)
    run(simulation)
    simulation.stored.delete()
    run(simulation)
    assert simulation.stored.gone
    simulation.clock.advance(60)
    simulation.cloud.settle()
    assert len(simulation.cloud.volumes) == (1 if on_delete is OnDelete.DETACH else 0)


BOOTABLE = replace(
    OLD,
    description="root disk",
    bootable=True,
    image_metadata={"image_id": "old", "os_distro": "debian", "hw_disk_bus": "scsi"},
)


def assert_like_the_old_one(simulation: RestoreSimulation) -> None:
    memory = simulation.stored.record.memory
    assert memory.outcome is not None and memory.outcome.reason == "Restored"
    (volume,) = simulation.cloud.volumes.values()
    assert volume.bootable
    assert volume.description == "root disk"
    assert volume.image_metadata == BOOTABLE.image_metadata


def test_a_bootable_volume_with_a_crash_everywhere() -> None:
    clean = RestoreSimulation(BOOTABLE)
    run(clean)
    assert_like_the_old_one(clean)
    assert clean.steps.count("DeleteImageMetadata") == clean.steps.count("SetImageMetadata") == 1
    assert "SetBootable" not in clean.steps
    for number in range(clean.faults.begun):
        for when in ("before", "after"):
            simulation = RestoreSimulation(BOOTABLE)
            simulation.faults.crashes = {(number, when)}
            run(simulation)
            assert simulation.crashes == 1
            assert_like_the_old_one(simulation)


def test_a_data_volume_costs_no_effect_that_it_does_not_need() -> None:
    simulation = RestoreSimulation()
    run(simulation)
    assert simulation.steps.count("SetBootable") == 1
    assert simulation.steps.count("DeleteImageMetadata") == 1
    assert "SetImageMetadata" not in simulation.steps


@pytest.mark.parametrize("error", [InvalidSpec("400"), Forbidden("403"), Unsupported("405")])
@pytest.mark.parametrize("verb", ["set_bootable", "delete_image_metadata", "set_image_metadata"])
def test_what_can_not_be_put_back_never_spoils_the_bytes(verb: str, error: Exception) -> None:
    source = replace(BOOTABLE, bootable=False)
    simulation = RestoreSimulation(source, retry_limit=2)
    simulation.faults.fail_next(verb, error, times=99)
    run(simulation)
    memory = simulation.stored.record.memory
    assert memory.outcome is not None and memory.outcome.phase is Phase.COMPLETED
    assert "could not be" in memory.outcome.message
    assert simulation.faults.tried.count(verb) == 3
    (volume,) = simulation.cloud.volumes.values()
    assert volume.content == "data"
    assert simulation.cloud.images == {}


NEWER = BackupId("01JD0000000000000000000009")
OLDEST = BackupId("01JD0000000000000000000000")


def by_volume(**request: Any) -> RestoreSimulation:
    """Of the newest backup of a volume that has two."""
    selector = BackupSelector(volume_id=OLD.id)
    simulation = RestoreSimulation(
        backup_id=BackupId(""), selector=selector, bank_name="main", **request
    )
    found = simulation.bank.sessions[BACKUP_ID]
    simulation.bank.sessions[OLDEST] = replace(found, content="too old")
    return simulation


def a_newer_one_comes(simulation: RestoreSimulation) -> None:
    found = simulation.bank.sessions[BACKUP_ID]
    simulation.bank.sessions[NEWER] = replace(found, content="too new")


def test_what_was_resolved_stays_whatever_comes_later_and_wherever_it_crashes() -> None:
    def resolved(simulation: Simulation) -> bool:
        return simulation.stored.record.memory.resolved is not None

    clean = by_volume()
    run(clean, until=resolved)
    assert clean.faults.effects == ["publish"], "nothing is done before it is pinned"
    before = clean.faults.begun
    a_newer_one_comes(clean)
    run(clean)
    assert_restored(clean)
    for number in range(before, clean.faults.begun):
        for when in ("before", "after"):
            simulation = by_volume()
            run(simulation, until=resolved)
            a_newer_one_comes(simulation)
            simulation.faults.crashes = {(number, when)}
            run(simulation)
            assert simulation.crashes == 1
            memory = simulation.stored.record.memory
            assert memory.resolved is not None and memory.backup_id == BACKUP_ID
            assert memory.resolved.bank_name == "main"
            assert_restored(simulation)


def test_what_was_resolved_is_asked_for_at_its_site_alone() -> None:
    simulation = by_volume()
    run(simulation)
    assert_restored(simulation)
    assert set(simulation.bank.asked) == {(BACKUP_ID, "site-a", None)}


def test_a_backup_of_another_site_is_not_taken() -> None:
    simulation = RestoreSimulation(site="site-b")
    run(simulation)
    memory = simulation.stored.record.memory
    assert memory.outcome is not None and memory.outcome.reason == "BackupNotFound"
    assert "of site site-b" in memory.outcome.message
    assert simulation.cloud.volumes == {}


def test_a_crash_before_it_is_pinned_may_find_another_one() -> None:
    simulation = by_volume()
    simulation.faults.crashes = {(0, "before")}
    run(simulation, until=lambda s: s.crashes == 1)
    a_newer_one_comes(simulation)
    run(simulation)
    assert simulation.stored.record.memory.backup_id == NEWER


def test_a_resolved_backup_that_is_deleted_meanwhile_is_not_replaced() -> None:
    simulation = by_volume()
    run(simulation, until=lambda s: s.stored.record.memory.resolved is not None)
    simulation.bank.sessions[BACKUP_ID].tombed = True
    run(simulation)
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.reason == "BackupNotFound"
    assert BACKUP_ID in outcome.message
    assert_nothing_left(simulation)


def test_nothing_that_fits() -> None:
    simulation = by_volume()
    simulation.bank.sessions.clear()
    run(simulation)
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.reason == "NoBackupFits"
    assert simulation.stored.record.memory.backup_id is None
    assert not simulation.stored.record.identity.has_finalizer


@pytest.mark.parametrize("on_delete", list(OnDelete))
def test_a_dry_run_makes_nothing_wherever_it_crashes(on_delete: OnDelete) -> None:
    clean = by_volume(dry_run=True, on_delete=on_delete)
    run(clean)
    assert set(clean.faults.effects) == {"publish"}
    for number in range(clean.faults.begun):
        for when in ("before", "after"):
            simulation = by_volume(dry_run=True, on_delete=on_delete)
            simulation.cloud.quota_left = QuotaLeft(0, 0)
            simulation.bank.chunks = ChunkLook(256, 256, 2)
            simulation.faults.crashes = {(number, when)}
            run(simulation)
            assert set(simulation.faults.effects) == {"publish"}
            memory = simulation.stored.record.memory
            assert memory.outcome is not None
            assert (memory.outcome.phase, memory.outcome.reason) == (Phase.COMPLETED, "DryRun")
            assert memory.outcome.final
            assert memory.plan is not None and memory.plan.backup_id == BACKUP_ID
            assert [each.reason for each in memory.plan.warnings] == [
                "QuotaTooSmall",
                "BackupDamaged",
            ]
            assert simulation.bank.pins == set()
            simulation.stored.delete()
            assert simulation.stored.gone, "no finalizer was ever on"


def test_a_type_or_zone_that_is_not_here() -> None:
    simulation = RestoreSimulation(wanted=Wanted(volume_type="gold"))
    run(simulation)
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.reason == "VolumeTypeNotFound"
    assert "it has ssd, hdd" in outcome.message
    assert_nothing_left(simulation)
    assert "create_image" not in simulation.faults.effects

    simulation = RestoreSimulation(replace(OLD, volume_type="gold", availability_zone="az9"))
    run(simulation)
    (volume,) = simulation.cloud.volumes.values()
    assert (volume.volume_type, volume.availability_zone) == ("ssd", "nova")
    told = [reason for reason, _, warning in simulation.stored.events if warning]
    assert told == ["VolumeTypeSubstituted", "AvailabilityZoneSubstituted"]


def test_an_image_that_nobody_can_delete_does_not_spoil_the_restore() -> None:
    simulation = RestoreSimulation()
    simulation.cloud.image_pinned = True
    run(simulation, until=lambda s: s.steps.count("DeleteImage") > 3)
    report = simulation.stored.report
    assert report is not None and report.phase is Phase.CLEANING_UP
    conditions = {c.type: c for c in report.conditions}
    assert conditions["Ready"].status == "True"
    assert conditions["Reconciling"].status == "False"
    assert conditions["CleanedUp"].status == "False"
    simulation.cloud.image_pinned = False
    run(simulation)
    assert_restored(simulation)


def test_a_volume_that_fails_is_made_again_and_then_it_is_enough() -> None:
    simulation = RestoreSimulation(retry_limit=2)
    simulation.cloud.turn_out("volume", "error", times=2)
    run(simulation)
    assert_restored(simulation)

    simulation = RestoreSimulation(retry_limit=2)
    simulation.cloud.turn_out("volume", "error", times=3)
    run(simulation)
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.phase is Phase.FAILED
    assert outcome.reason == "VolumeFailed"
    assert "no weighed backends" in outcome.message
    assert_nothing_left(simulation)


def test_a_backup_that_is_not_there() -> None:
    simulation = RestoreSimulation()
    simulation.bank.sessions.clear()
    run(simulation)
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.reason == "BackupNotFound"
    assert not simulation.stored.record.identity.has_finalizer


def test_content_that_is_not_the_backups_never_becomes_a_volume() -> None:
    simulation = RestoreSimulation()
    run(simulation, until=lambda s: s.steps[-1:] == ["StartTransfer"])
    for session in simulation.bank.sessions.values():
        session.content = "other"
    run(simulation)
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.reason == "ContentHashMismatch"
    assert_nothing_left(simulation)
