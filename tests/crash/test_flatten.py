"""A restore at a site where Cinder clones the image and Glance can not delete it before the clone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cinderbank.domain.errors import Forbidden, OutcomeUnknown, OverQuota, Retryable, Unavailable
from cinderbank.domain.names import RESTORE_TAG, restore_snapshot_name
from cinderbank.domain.record import OnDelete, Phase
from tests.crash.simulation import RestoreSimulation, Simulation, run
from tests.crash.test_restore import assert_nothing_left, assert_restored
from tests.fakes.cinder import FakeCinder


def on_ceph(*, flattens: bool = True, **request: Any) -> RestoreSimulation:
    simulation = RestoreSimulation(**request)
    simulation.cloud.clones_images = True
    simulation.cloud.busy_with_children = not flattens
    return simulation


def assert_freed(simulation: RestoreSimulation) -> None:
    assert_restored(simulation)
    (volume,) = simulation.cloud.volumes.values()
    assert volume.parent == ""
    assert simulation.cloud.snapshots == {}


def assert_kept(simulation: RestoreSimulation) -> None:
    """The clone is the user's; Glance's image is all that is left, and goes with it."""
    run(simulation, until=lambda s: s.steps.count("DeleteImage") > 2)
    report, memory = simulation.stored.report, simulation.stored.record.memory
    assert memory.outcome is not None and memory.outcome.phase is Phase.COMPLETED
    (volume,) = simulation.cloud.volumes.values()
    assert (volume.id, volume.content) == (memory.created_volume_id, "data")
    assert simulation.cloud.snapshots == {}
    (image,) = simulation.cloud.images.values()
    assert volume.parent == image.id
    assert report is not None and image.id in memory.outcome.message
    assert "CloneKept" in [reason for reason, _, _ in simulation.stored.events]
    volume.parent = ""  # as `rbd flatten` does
    run(simulation)
    assert_restored(simulation)


def effects() -> int:
    simulation = on_ceph()
    run(simulation)
    assert_freed(simulation)
    return simulation.faults.begun


POINTS = [(n, when) for n in range(effects()) for when in ("before", "after")]


def test_clean_run() -> None:
    simulation = on_ceph()
    run(simulation)
    assert_freed(simulation)
    made = [step for step in simulation.steps if step not in ("Wait", "AddFinalizer")]
    assert made[made.index("ReleaseImage") :][:5] == [
        "ReleaseImage",
        "SnapshotClone",
        "CopyClone",
        "FlattenCopy",
        "SetBootable",
    ]
    phases = list(dict.fromkeys(report.phase for report in simulation.stored.reports))
    assert phases[-3:] == [Phase.CREATING_VOLUME, Phase.CLEANING_UP, Phase.COMPLETED]


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_one_crash(point: tuple[int, str]) -> None:
    simulation = on_ceph()
    simulation.faults.crashes = {point}
    run(simulation)
    assert simulation.crashes == 1
    assert_freed(simulation)


@pytest.mark.parametrize("first", range(len(POINTS)), ids=lambda n: str(POINTS[n]))
def test_two_crashes(first: int) -> None:
    for number, when in POINTS[first + 1 :]:
        simulation = on_ceph()
        simulation.faults.crashes = {POINTS[first], (number + 1, when)}
        run(simulation)
        assert_freed(simulation)


@pytest.mark.parametrize("verb", ["create_snapshot", "create_volume_from_snapshot"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("late_seconds", [0, 20])
def test_lost_answer(verb: str, when: str, late_seconds: float) -> None:
    simulation = on_ceph()
    run(simulation, until=lambda s: s.steps[-1:] == ["ReleaseImage"])
    simulation.faults.fail_next(verb, OutcomeUnknown("no answer"), when=when)
    for kind in ("volume", "snapshot"):
        simulation.cloud.appear_late(kind, late_seconds)
    run(simulation)
    assert_freed(simulation)


@pytest.mark.parametrize(
    "verb",
    [
        "delete_image",
        "create_snapshot",
        "create_volume_from_snapshot",
        "delete_snapshot",
        "delete_volume",
    ],
)
def test_an_outage_is_waited_out(verb: str) -> None:
    simulation = on_ceph()
    simulation.faults.fail_next(verb, Unavailable("503"), times=5)
    run(simulation)
    assert_freed(simulation)


@pytest.mark.parametrize("stage", ["ReleaseImage", "SnapshotClone", "CopyClone", "FlattenCopy"])
@pytest.mark.parametrize("how", ["cancel", "delete"])
@pytest.mark.parametrize("flattens", [True, False])
def test_leaving_at_every_stage_with_a_crash_everywhere(
    stage: str, how: str, flattens: bool
) -> None:
    def leave(simulation: RestoreSimulation) -> None:
        run(simulation, until=lambda s: s.steps[-1:] == [stage])
        if how == "cancel":
            simulation.request(cancel=True)
        else:
            simulation.stored.delete()

    def left(simulation: Simulation) -> None:
        run(simulation)
        assert isinstance(simulation, RestoreSimulation)
        assert_nothing_left(simulation)
        assert simulation.cloud.snapshots == {}
        assert simulation.stored.gone == (how == "delete")

    clean = on_ceph(flattens=flattens)
    leave(clean)
    before = clean.faults.begun
    left(clean)
    for number in range(before, clean.faults.begun):
        for when in ("before", "after"):
            simulation = on_ceph(flattens=flattens)
            leave(simulation)
            simulation.faults.crashes = {(number, when)}
            left(simulation)


def test_a_cinder_that_does_not_flatten() -> None:
    assert_kept(on_ceph(flattens=False))


@pytest.mark.parametrize("error", [OverQuota("413"), Forbidden("403"), Retryable("400")])
@pytest.mark.parametrize("verb", ["create_snapshot", "create_volume_from_snapshot"])
def test_what_the_project_may_not_do(verb: str, error: Exception) -> None:
    simulation = on_ceph()
    simulation.faults.fail_next(verb, error)
    assert_kept(simulation)


@pytest.mark.parametrize("kind", ["snapshot", "volume"])
def test_what_fails_on_the_way(kind: str) -> None:
    simulation = on_ceph()
    run(simulation, until=lambda s: s.steps[-1:] == ["ReleaseImage"])
    simulation.cloud.turn_out(kind, "error")
    assert_kept(simulation)


def test_a_volume_that_is_attached_at_once_stays_what_it_is() -> None:
    simulation = on_ceph()
    run(simulation, until=lambda s: s.steps[-1:] == ["ReleaseImage"])
    (volume,) = simulation.cloud.volumes.values()
    volume.status = "in-use"
    run(simulation, until=lambda s: s.steps.count("DeleteImage") > 2)
    assert simulation.cloud.snapshots == {}
    assert "CloneKept" in [reason for reason, _, _ in simulation.stored.events]
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.phase is Phase.COMPLETED


def test_an_image_that_is_protected_is_no_reason_to_wait() -> None:
    simulation = RestoreSimulation(retry_limit=2)
    simulation.faults.fail_next("delete_image", Forbidden("protected"), times=8)
    run(simulation)
    assert_restored(simulation)
    assert simulation.steps.count("ReleaseImage") == 1


def test_after_it_was_handed_over_nobody_elses_is_touched() -> None:
    """Scripts that copy a volume give the copy its metadata, our tag among it."""
    simulation = on_ceph()
    simulation.faults.fail_next("create_volume_from_snapshot", OverQuota("413"))
    run(simulation, until=lambda s: s.steps.count("DeleteImage") > 1)
    cinder, cloud = FakeCinder(simulation.cloud), simulation.cloud
    (clone,) = cloud.volumes.values()
    snapshot = cinder.create_snapshot(
        clone.id, name="nightly", description="", metadata=clone.metadata
    )
    simulation.clock.advance(60)
    made = cinder.create_volume_from_snapshot(
        snapshot, name="mine", description="", metadata=clone.metadata
    )
    run(simulation, until=lambda s: s.steps.count("DeleteImage") > 5)
    clone.parent = ""
    run(simulation)
    assert set(cloud.volumes) == {clone.id, made.id}
    assert set(cloud.snapshots) == {snapshot.id}


def test_a_tagged_volume_of_another_snapshot_is_not_taken_for_the_copy() -> None:
    simulation = on_ceph()
    cloud, tag = simulation.cloud, {RESTORE_TAG: "uid-1"}
    run(simulation, until=lambda s: s.steps[-1:] == ["ReleaseImage"])
    other = cloud.add_volume("other", content="other bytes")
    named = restore_snapshot_name("uid-1")
    cinder = FakeCinder(cloud)
    snapshot = cinder.create_snapshot(other.id, name=named, description="", metadata=tag)
    simulation.clock.advance(60)
    forged = cinder.create_volume_from_snapshot(snapshot, name="x", description="", metadata=tag)
    run(simulation)
    memory = simulation.stored.record.memory
    assert memory.created_volume_id not in (None, forged.id)
    assert cloud.volumes[memory.created_volume_id].content == "data"
    assert {other.id, forged.id, memory.created_volume_id} == set(cloud.volumes)
    assert snapshot.id in cloud.snapshots


@pytest.mark.parametrize("status", ["error_deleting", "deleting"])
def test_a_snapshot_that_does_not_go_spoils_nothing(status: str) -> None:
    simulation = on_ceph()
    run(simulation, until=lambda s: s.steps[-1:] == ["FlattenCopy"])
    (snapshot,) = simulation.cloud.snapshots.values()
    snapshot.status, snapshot.next = status, []
    run(simulation, until=lambda s: s.stored.record.memory.outcome is not None, ticks=3000)
    memory = simulation.stored.record.memory
    assert memory.outcome is not None and memory.outcome.phase is Phase.COMPLETED
    assert memory.created_volume_id is not None
    assert simulation.cloud.volumes[memory.created_volume_id].content == "data"
    snapshot.status = "available"
    assert_kept(simulation)


def test_a_status_that_can_not_keep_it() -> None:
    """A CRD older than the operator: the API server drops status.flattens."""
    simulation = on_ceph()

    def forget(s: Simulation) -> bool:
        record = s.stored.record
        s.stored.change(replace(record, memory=replace(record.memory, flattens=None)))
        return s.steps.count("DeleteImage") > 2

    run(simulation, until=forget)
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.phase is Phase.COMPLETED
    assert simulation.cloud.snapshots == {}


def test_a_kept_clone_goes_with_its_object() -> None:
    simulation = on_ceph(on_delete=OnDelete.DELETE)
    simulation.faults.fail_next("create_snapshot", OverQuota("413"))
    run(simulation, until=lambda s: s.steps.count("DeleteImage") > 2)
    simulation.stored.delete()
    run(simulation)
    assert simulation.stored.gone
    assert_nothing_left(simulation)
