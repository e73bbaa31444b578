"""The backup is deleted while it is restored, and a collection runs: the right volume, or a clear end.

At every stage, and with the operator killed before and after every effect that comes then.
"""

from __future__ import annotations

import pytest

from cinderbank.domain.record import Phase
from tests.builders import BACKUP_ID
from tests.crash.simulation import RestoreSimulation, Simulation, run
from tests.crash.test_restore import assert_nothing_left, assert_restored

BEFORE = ("", "AddFinalizer", "PinBackup")
"""Nobody has told the bank yet that he reads."""
PINNED = ("PinReader", "CreateImage")
READING = ("StartTransfer", "ProveImage", "CreateVolume")
FILLED = READING[1:]
"""The image holds all of it: the bank is not needed any more."""


def delete(simulation: RestoreSimulation) -> None:
    """As the bank's owner does it, and then a collection."""
    simulation.bank.sessions[BACKUP_ID].tombed = True
    simulation.bank.collect()


def deleted_after(stage: str) -> RestoreSimulation:
    def reached(simulation: Simulation) -> bool:
        return not stage or simulation.steps[-1:] == [stage]

    simulation = RestoreSimulation()
    run(simulation, until=reached)
    delete(simulation)
    return simulation


def ended_well(simulation: RestoreSimulation) -> bool:
    """Whether it was restored; else it says that the backup is not there, and left nothing."""
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.final
    if outcome.phase is Phase.COMPLETED:
        assert_restored(simulation)
        return True
    assert (outcome.phase, outcome.reason) == (Phase.FAILED, "BackupNotFound")
    assert_nothing_left(simulation)
    return False


@pytest.mark.parametrize("stage", [*BEFORE, *PINNED, *READING])
def test_deleted_at_every_stage(stage: str) -> None:
    simulation = deleted_after(stage)
    run(simulation)
    assert ended_well(simulation) == (stage in READING)
    simulation.bank.collect()
    assert simulation.bank.sessions == {}, "and nothing keeps what was deleted"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("stage", [*BEFORE, *PINNED, *READING])
def test_deleted_at_every_stage_with_a_crash_everywhere(stage: str, when: str) -> None:
    clean = deleted_after(stage)
    begun = clean.faults.begun
    run(clean)
    for number in range(begun, clean.faults.begun):
        simulation = deleted_after(stage)
        simulation.faults.crashes = {(number, when)}
        run(simulation)
        assert simulation.crashes == 1
        restored = ended_well(simulation)
        # An attempt that was killed begins anew, and then the backup is not there any more.
        assert restored or stage not in FILLED
        simulation.bank.collect()
        assert simulation.bank.sessions == {}
