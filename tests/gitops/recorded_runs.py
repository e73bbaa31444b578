"""VolumeBackup and VolumeRestore: all that the engine tells while it runs on fakes of the cloud.

What is recorded is what each tick has published, rendered as the operator renders it. Of a whole run every
tick is recorded, and its phase says what is expected; where a human is needed, the situation does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cinderbank.api.v1alpha1.verified import status_with
from cinderbank.app.worlds import RENDERS
from cinderbank.domain.errors import Forbidden, InvalidSpec, Unavailable
from cinderbank.domain.proofs import Found, Standing
from cinderbank.domain.record import DeletionPolicy, OnDelete, Phase
from cinderbank.engine.tick import TickResult
from tests.crash.simulation import BackupSimulation, RestoreSimulation, Simulation, run
from tests.fakes.clock import START
from tests.gitops.kstatus import CURRENT, FAILED, IN_PROGRESS, TERMINATING
from tests.gitops.recorded import Recorded, an_object, unseen

BY_PHASE = {
    Phase.COMPLETED: CURRENT,
    Phase.FAILED: FAILED,
    Phase.CANCELED: FAILED,
    Phase.DELETING: TERMINATING,
}
"""What a phase comes to where nothing is out of the ordinary; all others are under way."""

DELETES = {"VolumeBackup": {"deletion_policy": DeletionPolicy.DELETE},
           "VolumeRestore": {"on_delete": OnDelete.DELETE}}  # fmt: skip
NO_SLOT = Unavailable("all 4 transfer slots are in use", reason="NoTransferSlot")
NO_SECRET = InvalidSpec("Secret shop/openstack does not exist", reason="SecretNotFound")


def record_backups() -> Iterator[Recorded]:
    yield from _both("VolumeBackup")
    simulation = BackupSimulation(volume_id=None, volume_name="nobody")
    yield from _whole(simulation, "no such volume")
    simulation = BackupSimulation(retry_limit=0)
    simulation.transfers.fail_next("ImageHashMismatch", retryable=False)
    yield from _whole(simulation, "transfer fails")

    simulation = BackupSimulation()
    simulation.cloud.image_pinned = True
    run(simulation, until=lambda s: s.steps.count("DeleteImage") > 5)
    yield _last(simulation, "committed, and what is left can not be deleted", CURRENT)

    simulation = BackupSimulation(hold=True, **DELETES["VolumeBackup"])
    run(simulation)
    simulation.stored.delete()
    run(simulation, until=lambda s: s.steps[-2:] == ["Wait", "Wait"])
    yield _last(simulation, "deleted while on hold", TERMINATING)

    simulation = BackupSimulation()
    run(simulation)
    good = _recorded("VolumeBackup", "", simulation.results[-1], CURRENT)
    for standing, unsound in (
        (Standing(START, Found.DRILL), False),
        (Standing(START, Found.DRILL, START), True),
        (Standing(damaged=True), True),
    ):
        told = status_with(good.found["status"], standing, 1, START)
        found = {**good.found, "status": told}
        yield Recorded(f"Completed, and {standing}", found, CURRENT, unsound)

    simulation = BackupSimulation()
    result = simulation.blocked(NO_SECRET)
    yield _recorded("VolumeBackup", "its Secret is missing", result, FAILED)


def record_restores() -> Iterator[Recorded]:
    yield from _both("VolumeRestore")
    restore = RestoreSimulation()
    restore.bank.sessions.clear()
    yield from _whole(restore, "no such backup")
    yield from _whole(RestoreSimulation(drill=True), "a drill")
    different = RestoreSimulation(drill=True)
    run(different, until=lambda s: s.steps[-1:] == ["ChooseReadBack"])
    for volume in different.cloud.volumes.values():
        volume.content = "other bytes"
    yield from _whole(different, "a drill that finds a difference")
    unable = RestoreSimulation(drill=True)
    unable.cloud.turn_out("image", "gone", times=19)
    yield from _whole(unable, "a drill that can not be run")


def _both(kind: str) -> Iterator[Recorded]:
    """What a backup and a restore have in common."""
    yield unseen(kind)
    whole = _new(kind)
    yield from _whole(whole, "from beginning to end")
    yield from _changed_after_its_end(whole)

    queued = _new(kind)
    queued.faults.fail_next("transfer.start", NO_SLOT, times=2)
    yield from _whole(queued, "waits for a slot")

    canceled = _new(kind)
    run(canceled, until=lambda s: s.steps[-1:] == ["StartTransfer"])
    canceled.request(cancel=True)
    yield from _whole(canceled, "canceled")

    outage = _new(kind)
    outage.faults.fail_next("volumes_tagged", Unavailable("Cinder does not answer"), times=6)
    yield from _whole(outage, "an outage of the cloud")

    refused = _new(kind)
    refused.faults.fail_next("volumes_tagged", Forbidden("403: not allowed"))
    run(refused, until=lambda s: bool(s.results) and s.results[-1].error is not None)
    yield _last(refused, "rights are missing", FAILED)
    broken = _new(kind)
    broken.faults.fail_next("volumes_tagged", ZeroDivisionError("oops"))
    run(broken, until=lambda s: bool(s.results) and s.results[-1].error is not None)
    yield _last(broken, "a bug of ours", FAILED)

    deleted = _new(kind)
    run(deleted, until=lambda s: s.steps[-1:] == ["StartTransfer"])
    deleted.results.clear()
    deleted.stored.delete()
    deleted.faults.fail_next("volumes_tagged", Unavailable("Cinder does not answer"), times=2)
    yield from _whole(deleted, "deleted while it works")
    gone = _new(kind, **DELETES[kind])
    run(gone)
    gone.results.clear()
    gone.stored.delete()
    yield from _whole(gone, "deleted with what it made")


def _new(kind: str, **request: Any) -> Simulation:
    return BackupSimulation(**request) if kind == "VolumeBackup" else RestoreSimulation(**request)


def _whole(simulation: Simulation, situation: str) -> Iterator[Recorded]:
    """Every tick until nothing is left to do, but for those that told nothing new."""
    run(simulation)
    kind, before = _kind(simulation), None
    for number, result in enumerate(simulation.results):
        report = result.report
        told = (report.phase, [(c.type, c.status, c.reason) for c in report.conditions])
        if told != before:
            expected = BY_PHASE.get(report.phase, IN_PROGRESS)
            yield _recorded(kind, f"{situation}, tick {number} ({report.phase})", result, expected)
        before = told


def _last(simulation: Simulation, situation: str, expected: str) -> Recorded:
    return _recorded(_kind(simulation), situation, simulation.results[-1], expected)


def _changed_after_its_end(simulation: Simulation) -> Iterator[Recorded]:
    """Somebody edits a Completed one: not looked at yet, and then as good as it was."""
    kind = _kind(simulation)
    before = _recorded(kind, "", simulation.results[-1], CURRENT).found["status"]
    edited = an_object(kind, before, generation=2)
    yield Recorded("edited after its end, not looked at yet", edited, IN_PROGRESS)
    after = simulation.tick()
    yield _recorded(kind, "edited after its end", after, CURRENT, generation=2, previous=before)


def _kind(simulation: Simulation) -> str:
    return "VolumeBackup" if isinstance(simulation, BackupSimulation) else "VolumeRestore"


def _recorded(
    kind: str,
    situation: str,
    result: TickResult,
    expected: str,
    *,
    generation: int = 1,
    previous: object = None,
) -> Recorded:
    memory, report = result.memory, result.report
    if memory.content_hash is not None:  # the fakes' own are no hashes that the schema takes
        memory = replace(memory, content_hash="ab" * 32)
    if memory.manifest_digest is not None:
        memory = replace(memory, manifest_digest="sha256:" + "ab" * 32)
    now = result.memory.completed_at or result.memory.started_at or START
    status = RENDERS[kind](memory, report, previous, generation, now)
    deleting = report.phase is Phase.DELETING
    found = an_object(kind, status, generation=generation, deleting=deleting)
    return Recorded(situation, found, expected)
