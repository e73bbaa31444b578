"""Backups of claims and restores into claims, interrupted everywhere: one volume, one claim that has it,
and on every way back nothing of ours left and nothing of others touched."""

from __future__ import annotations

from typing import Any

import pytest

from cinderbank.domain.claim import NewClaim, NewPersistentVolume, ReclaimPolicy
from cinderbank.domain.errors import Conflict, OutcomeUnknown
from cinderbank.domain.facts import GIB
from cinderbank.domain.names import RESTORE_TAG, persistent_volume_name
from cinderbank.domain.record import ClaimRequest, OnDelete, Phase
from tests.builders import BACKUP_ID
from tests.crash.simulation import BackupSimulation, RestoreSimulation, Simulation, run
from tests.crash.test_failures import conditions_of
from tests.crash.test_restore import assert_nothing_left

VOLUME_ID = "0f6cb9ac-5f5e-4b63-8c0e-6cbd1d3c3a01"
PERSISTENT_VOLUME = persistent_volume_name("uid-1")
CLAIM = ClaimRequest("data")


def simulated(claim: ClaimRequest = CLAIM, **request: Any) -> RestoreSimulation:
    return RestoreSimulation(claim=claim, **request)


def effects_of_a_clean_run() -> int:
    simulation = simulated()
    run(simulation)
    return simulation.faults.begun


EFFECTS = effects_of_a_clean_run()
POINTS = [(n, when) for n in range(EFFECTS) for when in ("before", "after")]


def assert_claimed(simulation: RestoreSimulation, *, ours: bool = True) -> None:
    memory = simulation.stored.record.memory
    assert memory.outcome is not None and memory.outcome.phase is Phase.COMPLETED
    assert memory.outcome.final
    (volume,) = simulation.cloud.volumes.values()
    assert (volume.content, volume.name) == ("data", PERSISTENT_VOLUME)
    claim = simulation.claims.claims["data"]
    persistent = simulation.claims.volumes[PERSISTENT_VOLUME]
    assert (claim.phase, claim.volume_name) == ("Bound", PERSISTENT_VOLUME)
    assert (persistent.volume_handle, persistent.claim_uid) == (volume.id, claim.uid)
    assert claim.restore_uid == ("uid-1" if ours else "")
    assert list(simulation.claims.volumes) == [PERSISTENT_VOLUME]
    assert simulation.cloud.images == {}
    assert simulation.bank.pins == set()


def assert_gone(simulation: RestoreSimulation) -> None:
    assert_nothing_left(simulation)
    assert simulation.claims.claims == {}
    assert simulation.claims.volumes == {}
    assert simulation.claims.strange_deletes == []


def outcome_of(simulation: Simulation) -> tuple[Phase, str]:
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.final
    return outcome.phase, outcome.reason


# Into a claim.


def test_a_claim_is_made_and_bound() -> None:
    simulation = simulated(
        ClaimRequest("data", "fast", ("ReadWriteMany",), reclaim_policy=ReclaimPolicy.DELETE)
    )
    run(simulation)
    assert_claimed(simulation)
    persistent, claim = simulation.claims.made
    assert isinstance(persistent, NewPersistentVolume) and isinstance(claim, NewClaim)
    assert persistent.claim == claim.claim == simulation.stored.record.memory.claim
    assert (claim.claim.storage_class, claim.claim.access_modes) == ("fast", ("ReadWriteMany",))
    assert (persistent.reclaim_policy, persistent.zone) == (ReclaimPolicy.DELETE, "")
    (volume,) = simulation.cloud.volumes.values()
    assert volume.metadata == {
        "app": "shop",
        "csi.storage.k8s.io/pvc/namespace": "shop",
        "csi.storage.k8s.io/pvc/name": "data",
        "csi.storage.k8s.io/pv/name": PERSISTENT_VOLUME,
        RESTORE_TAG: "uid-1",
    }


def test_only_nodes_of_its_zone_where_the_driver_knows_the_zone() -> None:
    simulation = simulated()
    simulation.claims.zones = {"nova"}
    run(simulation)
    assert_claimed(simulation)
    assert isinstance(simulation.claims.made[0], NewPersistentVolume)
    assert simulation.claims.made[0].zone == "nova"


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_one_crash(point: tuple[int, str]) -> None:
    simulation = simulated()
    simulation.faults.crashes = {point}
    run(simulation)
    assert simulation.crashes == 1
    assert_claimed(simulation)


@pytest.mark.parametrize("verb", ["create_persistent_volume", "create_claim"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_lost_answer(verb: str, when: str) -> None:
    simulation = simulated()
    simulation.faults.fail_next(verb, OutcomeUnknown("no answer"), when=when)
    run(simulation)
    assert_claimed(simulation)
    assert len(simulation.claims.made) == 2


@pytest.mark.parametrize("stage", ["CreateVolume", "CreatePersistentVolume", "CreateClaim"])
@pytest.mark.parametrize(
    ("how", "policy"), [("cancel", ReclaimPolicy.RETAIN), ("delete", ReclaimPolicy.DELETE)]
)
def test_leaving_at_every_stage_with_a_crash_everywhere(
    stage: str, how: str, policy: ReclaimPolicy
) -> None:
    def left() -> RestoreSimulation:
        simulation = simulated(ClaimRequest("data", reclaim_policy=policy))
        run(simulation, until=lambda s: s.steps[-1:] == [stage])
        if how == "cancel":
            simulation.request(cancel=True)
        else:
            simulation.stored.delete()
        return simulation

    clean = left()
    before = clean.faults.begun
    run(clean)
    assert_gone(clean)
    for number in range(before, clean.faults.begun):
        for when in ("before", "after"):
            simulation = left()
            simulation.faults.crashes = {(number, when)}  # type: ignore[arg-type]
            run(simulation)
            assert_gone(simulation)
            assert simulation.stored.gone == (how == "delete")


@pytest.mark.parametrize("policy", list(ReclaimPolicy))
@pytest.mark.parametrize("on_delete", list(OnDelete))
def test_deleting_a_completed_restore(on_delete: OnDelete, policy: ReclaimPolicy) -> None:
    simulation = simulated(ClaimRequest("data", reclaim_policy=policy), on_delete=on_delete)
    run(simulation)
    simulation.stored.delete()
    run(simulation)
    assert simulation.stored.gone
    if on_delete is OnDelete.DELETE:
        assert_gone(simulation)
    else:
        assert_claimed(simulation)


def test_what_was_made_and_is_gone_is_made_again() -> None:
    simulation = simulated()
    run(simulation, until=lambda s: s.steps[-1:] == ["CreatePersistentVolume"])
    simulation.claims.volumes.clear()
    run(simulation)
    assert_claimed(simulation)


# A claim that is there already.


def test_an_unbound_claim_that_fits_is_used_and_kept() -> None:
    simulation = simulated(on_delete=OnDelete.DELETE)
    simulation.claims.add_claim("data", storage_class="fast", requested_bytes=GIB)
    run(simulation)
    assert_claimed(simulation, ours=False)
    assert simulation.stored.record.memory.claim is not None
    assert simulation.stored.record.memory.claim.storage_class == "fast"

    simulation.stored.delete()
    run(simulation, until=lambda s: s.steps[-1] == "Wait")
    assert not simulation.stored.gone
    assert conditions_of(simulation)["Stalled"] == ("True", "Held")
    assert_claimed(simulation, ours=False)

    simulation.claims.delete_claim("data", simulation.claims.claims["data"].uid)
    simulation.claims.strange_deletes.clear()  # by its owner
    run(simulation)
    assert_gone(simulation)


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        ({"phase": "Bound", "volume_name": "pvc-1"}, "ClaimBound"),
        ({"volume_name": "pvc-1"}, "ClaimBound"),
        ({"storage_class": "slow"}, "ClaimIncompatible"),
        ({"access_modes": ("ReadWriteMany",)}, "ClaimIncompatible"),
        ({"requested_bytes": GIB + 1}, "ClaimIncompatible"),
        ({"wants_other_data": True}, "ClaimIncompatible"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_claim_that_can_not_have_it(there: dict[str, Any], reason: str, late: bool) -> None:
    """At best nothing was made; one that turns up while the data moves is left alone all the same."""
    simulation = simulated(ClaimRequest("data", "", ("ReadWriteOnce",)))
    if late:
        run(simulation, until=lambda s: s.steps[-1:] == ["StartTransfer"])
    claim = simulation.claims.add_claim("data", **there)
    run(simulation)
    assert outcome_of(simulation) == (Phase.FAILED, reason)
    assert simulation.claims.claims == {"data": claim}
    assert simulation.claims.volumes == {} and simulation.claims.strange_deletes == []
    assert_nothing_left(simulation)
    assert late or "create_image" not in simulation.faults.effects


def test_a_claim_that_goes_away_is_waited_for() -> None:
    simulation = simulated()
    simulation.claims.add_claim("data", deleting=True, volume_name="pvc-1")
    run(simulation, until=lambda s: bool(s.results) and s.results[-1].error is not None)
    assert conditions_of(simulation)["Reconciling"] == ("True", "ClaimDeleting")
    simulation.claims.claims.clear()
    run(simulation)
    assert_claimed(simulation)


@pytest.mark.parametrize("late", [False, True])
def test_a_persistent_volume_of_somebody_else_is_left_alone(late: bool) -> None:
    simulation = simulated()
    if late:
        run(simulation, until=lambda s: s.steps[-1:] == ["StartTransfer"])
    simulation.claims.add_bound_claim("other", VOLUME_ID)
    strange = simulation.claims.volumes.pop("pvc-other")
    simulation.claims.volumes[PERSISTENT_VOLUME] = strange
    simulation.claims.claims.clear()
    run(simulation)
    assert outcome_of(simulation) == (Phase.FAILED, "PersistentVolumeTaken")
    assert simulation.claims.volumes == {PERSISTENT_VOLUME: strange}
    assert_nothing_left(simulation)
    assert late or "create_image" not in simulation.faults.effects


def test_a_claim_that_is_deleted_before_it_is_bound() -> None:
    simulation = simulated()
    run(simulation, until=lambda s: s.steps[-1:] == ["CreateClaim"])
    simulation.claims.find_claim("data")
    simulation.clock.advance(60)
    bound = simulation.claims.find_claim("data")
    assert bound is not None and bound.phase == "Bound"
    simulation.claims.delete_claim("data", bound.uid)
    run(simulation)
    assert outcome_of(simulation) == (Phase.FAILED, "ClaimLost")
    assert_gone(simulation)


def test_a_cloud_that_is_not_the_drivers_makes_no_persistent_volume() -> None:
    simulation = simulated()
    simulation.claims.allowed = False
    run(simulation, until=lambda s: bool(s.results) and s.results[-1].error is not None)
    assert conditions_of(simulation)["Stalled"] == ("True", "ClaimsNotAllowed")
    assert simulation.faults.effects.count("create_image") == 0
    simulation.claims.allowed = True
    run(simulation)
    assert_claimed(simulation)


# Of a claim.


def claimed_backup() -> BackupSimulation:
    simulation = BackupSimulation(volume_id=None, claim_name="db", tags={"app": "shop"})
    simulation.cloud.add_volume(VOLUME_ID, status="in-use")
    return simulation


def assert_of_the_claim(simulation: BackupSimulation) -> None:
    assert outcome_of(simulation) == (Phase.COMPLETED, "Committed")
    memory = simulation.stored.record.memory
    assert memory.source is not None and memory.source.id == VOLUME_ID
    (session,) = simulation.bank.sessions.values()
    assert session.tags == {
        "app": "shop",
        "cinderbank.io/pvc-namespace": "shop",
        "cinderbank.io/pvc-name": "db",
        "cinderbank.io/pvc-storage-class": "fast",
        "cinderbank.io/pvc-access-modes": "ReadWriteOnce",
        "cinderbank.io/pvc-volume-mode": "Filesystem",
        "cinderbank.io/pvc-fs-type": "xfs",
    }


def test_a_claim_is_backed_up_and_comes_back_as_it_was() -> None:
    simulation = claimed_backup()
    simulation.claims.add_bound_claim("db", VOLUME_ID, storage_class="fast")
    run(simulation)
    assert_of_the_claim(simulation)

    back = simulated()
    (session,) = simulation.bank.sessions.values()
    back.bank.sessions[BACKUP_ID].tags = session.tags
    run(back)
    assert_claimed(back)
    plan = back.stored.record.memory.claim
    assert plan is not None
    assert (plan.storage_class, plan.fs_type, plan.name) == ("fast", "xfs", "data")


def test_what_the_claim_says_is_pinned_with_the_volume() -> None:
    simulation = claimed_backup()
    simulation.claims.add_bound_claim("db", VOLUME_ID, storage_class="fast")
    run(simulation, until=lambda s: s.steps[-1:] == ["PinSource"])
    simulation.claims.claims.clear()
    simulation.claims.volumes.clear()
    run(simulation)
    assert_of_the_claim(simulation)


def test_a_claim_that_is_bound_later_is_waited_for() -> None:
    simulation = claimed_backup()

    def failing(s: Simulation) -> bool:
        return bool(s.results) and s.results[-1].error is not None

    run(simulation, until=failing)
    assert conditions_of(simulation)["Accepted"] == ("False", "ClaimNotFound")
    simulation.claims.add_claim("db", storage_class="fast")
    simulation.results.clear()
    simulation.clock.advance(3600)
    run(simulation, until=failing)
    assert conditions_of(simulation)["Accepted"] == ("False", "ClaimNotBound")
    simulation.claims.add_bound_claim("db", VOLUME_ID, storage_class="fast")
    run(simulation)
    assert_of_the_claim(simulation)


def test_an_outage_of_kubernetes_is_waited_for() -> None:
    simulation = claimed_backup()
    simulation.claims.add_bound_claim("db", VOLUME_ID, storage_class="fast")
    simulation.faults.fail_next("find_persistent_volume", Conflict("busy"), times=3)
    run(simulation)
    assert_of_the_claim(simulation)
