"""A backup, interrupted everywhere: it converges, with one snapshot, one sealed backup, no leftovers."""

from __future__ import annotations

import pytest

from cinderbank.domain.errors import Conflict, OutcomeUnknown, Unavailable
from cinderbank.domain.facts import BackupId
from cinderbank.domain.record import DeletionPolicy, Phase
from tests.crash.simulation import BackupSimulation, Simulation, World, run
from tests.fakes.faults import Crash

BACKUP = BackupId("01JD0000000000000000000001")


def effects_of_a_clean_run() -> int:
    simulation = BackupSimulation()
    run(simulation)
    return simulation.faults.begun


EFFECTS = effects_of_a_clean_run()
POINTS = [(n, when) for n in range(EFFECTS) for when in ("before", "after")]


def assert_no_leftovers(world: World) -> None:
    world.clock.advance(3600)
    world.cloud.settle()
    assert list(world.cloud.volumes) == ["source"]
    assert world.cloud.snapshots == {}
    assert world.cloud.images == {}
    assert world.cloud.untagged_deletes == []


def assert_backed_up(simulation: BackupSimulation) -> None:
    memory = simulation.stored.record.memory
    assert memory.outcome is not None and memory.outcome.phase is Phase.COMPLETED
    assert memory.outcome.final
    assert simulation.cloud.snapshots_made == 1
    sealed = [s for s in simulation.bank.sessions.values() if s.sealed and not s.tombed]
    assert [s.content for s in sealed] == ["data"]
    assert not sealed[0].intent
    assert not simulation.stored.record.identity.has_finalizer
    assert_no_leftovers(simulation)


def test_clean_run() -> None:
    simulation = BackupSimulation()
    run(simulation)
    assert_backed_up(simulation)
    assert simulation.stored.record.memory.content_hash == "sha512-data"
    phases = [report.phase for report in simulation.stored.reports]
    order = list(dict.fromkeys(phases))
    assert order == [
        Phase.PENDING,
        Phase.SNAPSHOTTING,
        Phase.CLONING,
        Phase.IMAGING,
        Phase.TRANSFERRING,
        Phase.COMMITTING,
        Phase.CLEANING_UP,
        Phase.COMPLETED,
    ]
    assert phases == sorted(phases, key=order.index), "a phase went backwards"


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_one_crash(point: tuple[int, str]) -> None:
    simulation = BackupSimulation()
    simulation.faults.crashes = {point}
    run(simulation)
    assert simulation.crashes == 1
    assert_backed_up(simulation)


@pytest.mark.parametrize("first", range(len(POINTS)), ids=lambda n: str(POINTS[n]))
def test_two_crashes(first: int) -> None:
    for number, when in POINTS[first + 1 :]:
        simulation = BackupSimulation()
        simulation.faults.crashes = {POINTS[first], (number + 1, when)}
        run(simulation)
        assert_backed_up(simulation)


@pytest.mark.parametrize(
    "verb",
    [
        "open_session",
        "create_snapshot",
        "create_volume_from_snapshot",
        "upload_to_image",
        "seal",
        "delete_image",
        "delete_volume",
        "delete_snapshot",
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("late_seconds", [0, 20])
def test_lost_answer(verb: str, when: str, late_seconds: float) -> None:
    simulation = BackupSimulation()
    simulation.faults.fail_next(verb, OutcomeUnknown("no answer"), when=when)
    for kind in ("snapshot", "volume", "image"):
        simulation.cloud.appear_late(kind, late_seconds)
    run(simulation)
    assert_backed_up(simulation)


@pytest.mark.parametrize(
    "verb",
    ["volumes_tagged", "snapshots_tagged", "images_named", "bank.observe", "find_volume"],
)
def test_outage_of_a_read(verb: str) -> None:
    simulation = BackupSimulation()
    simulation.faults.fail_next(verb, Unavailable("503"), times=8)
    run(simulation)
    assert_backed_up(simulation)


def test_two_operators_never_both_create() -> None:
    """The slower of the two has an old view: its intent is refused, so it creates nothing."""
    simulation = BackupSimulation()
    run(simulation, until=lambda s: s.steps[-1:] == ["ChooseTransport"])
    old = simulation.stored.record
    stale = simulation.stored.open()
    simulation.tick()
    made = simulation.cloud.snapshots_made
    assert made == 1
    with pytest.raises(Conflict):
        stale.remember(old.memory, simulation.stored.reports[-1])
    run(simulation)
    assert_backed_up(simulation)


STAGES = ("OpenSession", "CreateSnapshot", "CreateVolume", "UploadToImage", "StartTransfer")


def interrupt(simulation: BackupSimulation, how: str) -> None:
    if how == "cancel":
        simulation.request(cancel=True)
    else:
        simulation.stored.delete()


def assert_canceled(simulation: BackupSimulation, how: str) -> None:
    assert all(not s.sealed for s in simulation.bank.sessions.values())
    assert simulation.bank.sessions == {}, "the unsealed session is left in the bank"
    assert_no_leftovers(simulation)
    if how == "delete":
        assert simulation.stored.gone
    else:
        outcome = simulation.stored.record.memory.outcome
        assert outcome is not None and outcome.phase is Phase.CANCELED and outcome.final
        assert not simulation.stored.record.identity.has_finalizer


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_leaving_at_every_stage_with_a_crash_everywhere(stage: str, how: str) -> None:
    def began(simulation: Simulation) -> bool:
        return simulation.steps[-1:] == [stage]

    clean = BackupSimulation()
    run(clean, until=began)
    before = clean.faults.begun
    interrupt(clean, how)
    run(clean)
    assert_canceled(clean, how)
    for number in range(before, clean.faults.begun):
        for when in ("before", "after"):
            simulation = BackupSimulation()
            run(simulation, until=began)
            interrupt(simulation, how)
            simulation.faults.crashes = {(number, when)}
            run(simulation)
            assert_canceled(simulation, how)


@pytest.mark.parametrize(
    "verb", ["create_snapshot", "create_volume_from_snapshot", "upload_to_image"]
)
@pytest.mark.parametrize("how", ["cancel", "delete"])
@pytest.mark.parametrize("late_seconds", [0, 25])
def test_leaving_while_a_create_has_no_answer(verb: str, how: str, late_seconds: float) -> None:
    """The resource turns up after the cancel: it is caught, not leaked."""
    simulation = BackupSimulation()
    for kind in ("snapshot", "volume", "image"):
        simulation.cloud.appear_late(kind, late_seconds)
    simulation.faults.fail_next(verb, OutcomeUnknown("no answer"), when="after")
    run(simulation, until=lambda s: verb in s.faults.effects)
    interrupt(simulation, how)
    run(simulation)
    assert_canceled(simulation, how)


@pytest.mark.parametrize(
    "verb", ["create_snapshot", "create_volume_from_snapshot", "upload_to_image"]
)
def test_leaving_after_a_crash_in_a_create(verb: str) -> None:
    simulation = BackupSimulation()
    simulation.faults.fail_next(verb, Crash("killed"), when="after")
    run(simulation, until=lambda s: s.crashes == 1)
    simulation.stored.delete()
    run(simulation)
    assert_canceled(simulation, "delete")


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_delete_policy_takes_the_data_along(point: tuple[int, str]) -> None:
    simulation = BackupSimulation(deletion_policy=DeletionPolicy.DELETE)
    run(simulation)
    assert simulation.stored.record.identity.has_finalizer
    simulation.faults.crashes = {(simulation.faults.begun + point[0] % 6, point[1])}
    simulation.stored.delete()
    run(simulation)
    assert simulation.stored.gone
    session = simulation.bank.sessions[BACKUP]
    assert session.tombed and not session.sealed
    assert_no_leftovers(simulation)


def test_deleting_a_committed_backup_that_is_still_cleaned_up_keeps_its_data() -> None:
    simulation = BackupSimulation()
    run(simulation, until=lambda s: s.steps[-1:] == ["Seal"])
    simulation.stored.delete()
    run(simulation)
    assert simulation.stored.gone
    assert simulation.bank.sessions[BACKUP].sealed
    assert_no_leftovers(simulation)


def test_a_cancel_after_the_seal_comes_too_late() -> None:
    simulation = BackupSimulation()
    simulation.faults.fail_next("seal", OutcomeUnknown("no answer"), when="after")
    run(simulation, until=lambda s: "seal" in s.faults.effects)
    simulation.request(cancel=True)
    run(simulation)
    assert_backed_up(simulation)


def test_terminal_states_never_change() -> None:
    simulation = BackupSimulation()
    run(simulation)
    memory, report = simulation.stored.record.memory, simulation.stored.report
    simulation.cloud.volumes.clear()
    simulation.bank.sessions.clear()
    simulation.request(cancel=True)
    result = simulation.tick()
    assert (result.step, result.requeue_after_seconds) == ("Idle", None)
    blocked = simulation.blocked(Unavailable("the bank is gone"))
    assert blocked.requeue_after_seconds is None
    assert (simulation.stored.record.memory, simulation.stored.report) == (memory, report)
