"""A restore, interrupted everywhere: one volume with the backup's bytes, no image, no pin left."""

from __future__ import annotations

import pytest

from cinderbank.domain.errors import OutcomeUnknown
from cinderbank.domain.names import RESTORE_TAG
from cinderbank.domain.record import OnDelete, Phase
from tests.crash.simulation import RestoreSimulation, Simulation, run


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


def test_an_image_that_a_clone_holds_does_not_spoil_the_restore() -> None:
    simulation = RestoreSimulation()
    simulation.cloud.image_pinned = True
    run(simulation, until=lambda s: len(s.steps) > 60)
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
