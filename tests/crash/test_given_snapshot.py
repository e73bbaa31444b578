"""A backup of a snapshot that is somebody else's, interrupted everywhere: it stays, whatever becomes of the backup."""

from __future__ import annotations

import pytest

from cinderbank.domain.facts import SnapshotId
from cinderbank.domain.record import Phase
from tests.crash.simulation import BackupSimulation, run
from tests.crash.test_backup import assert_no_leftovers
from tests.fakes.cloud import Snapshot

GIVEN = SnapshotId("given")


def simulated(status: str = "available") -> BackupSimulation:
    simulation = BackupSimulation(volume_id=None, snapshot_id=GIVEN)
    cloud = simulation.cloud
    now, source = simulation.clock.now(), cloud.volumes["source"]
    cloud.snapshots[GIVEN] = Snapshot(
        GIVEN, "before the upgrade", status, source.id, 1, "old data", now, now, {}
    )
    simulation.clock.advance(3600)
    return simulation


def effects_of_a_clean_run() -> int:
    simulation = simulated()
    run(simulation)
    return simulation.faults.begun


POINTS = [(n, when) for n in range(effects_of_a_clean_run()) for when in ("before", "after")]


def outcome_of(simulation: BackupSimulation) -> tuple[Phase, str]:
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.final
    return outcome.phase, outcome.reason


def assert_untouched(simulation: BackupSimulation) -> None:
    """The snapshot is as it was; nothing else is left."""
    given = simulation.cloud.snapshots.pop(GIVEN)
    assert (given.status, given.name, given.metadata) == ("available", "before the upgrade", {})
    assert simulation.cloud.snapshots_made == 0
    assert "delete_snapshot" not in simulation.faults.tried
    assert_no_leftovers(simulation)


def assert_backed_up(simulation: BackupSimulation) -> None:
    memory = simulation.stored.record.memory
    assert outcome_of(simulation)[0] is Phase.COMPLETED
    assert memory.snapshot_taken_at == simulation.cloud.snapshots[GIVEN].created_at
    assert memory.source is not None and memory.source.id == "source"
    [sealed] = [s for s in simulation.bank.sessions.values() if s.sealed]
    assert (sealed.content, sealed.snapshot_at) == ("old data", memory.snapshot_taken_at)
    assert_untouched(simulation)


def test_it_is_backed_up_as_it_is() -> None:
    simulation = simulated()
    run(simulation)
    assert_backed_up(simulation)


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_one_crash(point: tuple[int, str]) -> None:
    simulation = simulated()
    simulation.faults.crashes = {point}  # type: ignore[arg-type]
    run(simulation)
    assert simulation.crashes == 1
    assert_backed_up(simulation)


@pytest.mark.parametrize("effects", range(0, len(POINTS) // 2, 2))
def test_deleted_at_any_moment(effects: int) -> None:
    simulation = simulated()
    run(simulation, until=lambda s: s.faults.begun >= effects)
    simulation.stored.delete()
    run(simulation)
    assert simulation.stored.gone
    assert_untouched(simulation)


def test_a_volume_that_failed_is_made_anew_of_the_same_one() -> None:
    simulation = simulated()
    simulation.cloud.turn_out("volume", "error", times=2)
    run(simulation)
    assert_backed_up(simulation)


def test_one_that_is_not_there() -> None:
    simulation = simulated()
    del simulation.cloud.snapshots[GIVEN]
    run(simulation)
    assert outcome_of(simulation) == (Phase.FAILED, "SnapshotNotFound")
    assert_no_leftovers(simulation)


def test_one_that_goes_too_early() -> None:
    simulation = simulated()
    run(simulation, until=lambda s: "open_session" in s.faults.effects)
    del simulation.cloud.snapshots[GIVEN]
    run(simulation)
    assert outcome_of(simulation) == (Phase.FAILED, "SnapshotLost")
    assert_no_leftovers(simulation)


@pytest.mark.parametrize("status", ["error", "error_deleting", "deleting"])
def test_one_that_can_not_be_trusted(status: str) -> None:
    simulation = simulated(status)
    run(simulation)
    assert outcome_of(simulation) == (Phase.FAILED, "SnapshotInError")


def test_one_that_is_not_ready_is_waited_for() -> None:
    simulation = simulated("creating")
    run(simulation, until=lambda s: s.steps[-5:] == ["Wait"] * 5)
    simulation.cloud.snapshots[GIVEN].status = "available"
    run(simulation)
    assert_backed_up(simulation)


def test_but_not_for_ever() -> None:
    simulation = simulated("creating")
    run(simulation)
    assert outcome_of(simulation) == (Phase.FAILED, "SnapshotTimeout")
    simulation.cloud.snapshots[GIVEN].status = "available"
    assert_untouched(simulation)


def test_of_an_encrypted_volume() -> None:
    simulation = simulated()
    simulation.cloud.volumes["source"].encrypted = True
    run(simulation)
    assert outcome_of(simulation) == (Phase.FAILED, "EncryptedVolume")
    assert_untouched(simulation)
