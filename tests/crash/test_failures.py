"""What goes wrong in a cloud: tried again, or failed with a reason and without leftovers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cinderbank.domain.errors import Forbidden, InvalidSpec, OverQuota, SourceGone, Unavailable
from cinderbank.domain.facts import GIB
from cinderbank.domain.record import DeletionPolicy, Outcome, Phase, Timeouts
from tests.crash.simulation import BackupSimulation, Simulation, run
from tests.crash.test_backup import assert_backed_up, assert_no_leftovers
from tests.fakes.faults import Crash


def assert_failed(simulation: BackupSimulation, reason: str) -> Outcome:
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None
    assert (outcome.phase, outcome.reason, outcome.final) == (Phase.FAILED, reason, True)
    assert all(not session.sealed for session in simulation.bank.sessions.values())
    assert simulation.bank.sessions == {}
    assert not simulation.stored.record.identity.has_finalizer
    assert_no_leftovers(simulation)
    assert (reason, True) in {(event[0], event[2]) for event in simulation.stored.events}
    return outcome


def phase_of(simulation: Simulation) -> Phase:
    assert simulation.stored.report is not None
    return simulation.stored.report.phase


def conditions_of(simulation: Simulation) -> dict[str, tuple[str, str]]:
    assert simulation.stored.report is not None
    return {c.type: (c.status, c.reason) for c in simulation.stored.report.conditions}


@pytest.mark.parametrize("kind", ["volume", "image"])
def test_a_resource_that_fails_is_made_again(kind: str) -> None:
    simulation = BackupSimulation()
    simulation.cloud.turn_out(kind, "error" if kind == "volume" else "gone", times=3)
    run(simulation)
    assert_backed_up(simulation)


def test_a_snapshot_that_was_never_available_is_taken_again() -> None:
    simulation = BackupSimulation()
    simulation.cloud.turn_out("snapshot", "error", times=3)
    run(simulation)
    assert simulation.cloud.snapshots_made == 4
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.phase is Phase.COMPLETED


@pytest.mark.parametrize(
    ("kind", "status", "reason", "said"),
    [
        ("snapshot", "error", "SnapshotFailed", "driver failed"),
        ("volume", "error", "VolumeFailed", "no weighed backends"),
        ("image", "gone", "UploadToImageFailed", "Failed to upload volume to image at backend."),
    ],
)
def test_a_resource_that_keeps_failing(kind: str, status: str, reason: str, said: str) -> None:
    simulation = BackupSimulation(retry_limit=1)
    simulation.cloud.turn_out(kind, status, times=9)
    run(simulation)
    outcome = assert_failed(simulation, reason)
    assert said in outcome.message
    assert simulation.faults.effects.count(f"delete_{kind}") <= 2


def test_an_image_of_another_size_is_never_stored() -> None:
    simulation = BackupSimulation()
    simulation.cloud.image_size_bytes = GIB // 2
    run(simulation)
    outcome = assert_failed(simulation, "ImageSizeMismatch")
    assert "unpacks a disk image" in outcome.message
    assert simulation.transfers.attempts == []


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        ({"encrypted": True}, "EncryptedVolume"),
        ({"status": "error"}, "VolumeInError"),
        ({"status": "error_extending"}, "VolumeInError"),
        ({"status": "deleting"}, "VolumeNotFound"),
        ({"status": "retyping"}, "VolumeBusy"),
    ],
)
def test_a_volume_that_can_not_be_backed_up(volume: dict[str, Any], reason: str) -> None:
    simulation = BackupSimulation()
    simulation.cloud.add_volume("source", **volume)
    run(simulation)
    assert_failed(simulation, reason)
    assert simulation.cloud.snapshots_made == 0


def test_a_volume_that_is_busy_for_a_while() -> None:
    simulation = BackupSimulation()
    volume = simulation.cloud.add_volume("source", status="extending")
    run(simulation, until=lambda s: len(s.steps) > 8)
    assert conditions_of(simulation)["Ready"] == ("False", "VolumeBusy")
    volume.status, volume.size_gib = "in-use", 2
    run(simulation)
    assert_backed_up(simulation)
    assert simulation.stored.record.memory.size_bytes == 2 * GIB


def test_a_name_that_is_not_unique() -> None:
    simulation = BackupSimulation(volume_id=None, volume_name="db")
    simulation.cloud.add_volume("other")
    run(simulation)
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.reason == "VolumeNameAmbiguous"
    assert "source, other" in outcome.message
    assert conditions_of(simulation)["Accepted"] == ("False", "VolumeNameAmbiguous")
    assert simulation.faults.effects.count("add_finalizer") == 0


def test_a_name_that_is_unique() -> None:
    simulation = BackupSimulation(volume_id=None, volume_name="db")
    run(simulation)
    assert_backed_up(simulation)


def test_no_such_volume() -> None:
    simulation = BackupSimulation()
    simulation.cloud.volumes.clear()
    run(simulation)
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.reason == "VolumeNotFound"


def test_a_snapshot_that_is_lost_is_never_taken_again() -> None:
    simulation = BackupSimulation()
    run(simulation, until=lambda s: s.stored.record.memory.snapshot_taken_at is not None)
    simulation.cloud.snapshots.clear()
    simulation.cloud.volumes.pop("volume-2", None)
    run(simulation)
    assert_failed(simulation, "SnapshotLost")
    assert simulation.cloud.snapshots_made == 1


def test_what_is_lost_after_the_snapshot_is_made_again() -> None:
    simulation = BackupSimulation()
    run(simulation, until=lambda s: s.steps[-1:] == ["StartTransfer"])
    simulation.cloud.images.clear()
    run(simulation)
    assert_backed_up(simulation)


def test_over_quota_waits_and_tells_the_way_out() -> None:
    simulation = BackupSimulation()
    error = OverQuota("Cinder said: VolumeLimitExceeded", status_code=413, request_id="req-1")
    simulation.faults.fail_next("create_volume_from_snapshot", error, times=5)
    run(simulation, until=lambda s: bool(s.results) and s.results[-1].error is not None)
    last = simulation.stored.record.memory.last_error
    assert last is not None and last.reason == "QuotaExceeded" and last.request_id == "req-1"
    assert "Cinder said" in last.message and "2 times 1 GiB" in last.message
    assert conditions_of(simulation)["Reconciling"] == ("True", "QuotaExceeded")
    assert 60 <= (simulation.results[-1].requeue_after_seconds or 0) <= 72
    run(simulation)
    assert_backed_up(simulation)


def test_missing_rights_wait_for_somebody_to_grant_them() -> None:
    simulation = BackupSimulation()
    refused = Forbidden("403: volume:create is not allowed")
    simulation.faults.fail_next("create_volume_from_snapshot", refused)
    run(simulation, until=lambda s: bool(s.results) and s.results[-1].error is not None)
    assert conditions_of(simulation)["Stalled"] == ("True", "Forbidden")
    run(simulation)
    assert_backed_up(simulation)


def test_an_outage_of_the_bank_never_uses_up_a_try() -> None:
    simulation = BackupSimulation(retry_limit=0)
    simulation.transfers.fail_next("BankUnavailable", times=12)
    run(simulation)
    assert_backed_up(simulation)
    assert simulation.transfers.attempts == list(range(1, 14))
    waits = [r.requeue_after_seconds or 0 for r in simulation.results]
    assert max(waits) > 250, "the back-off grows"


def test_rights_in_the_bank_that_are_granted_while_it_waits() -> None:
    simulation = BackupSimulation(retry_limit=0)
    simulation.transfers.fail_next("BankAccessDenied", retryable=False, times=2)
    run(simulation, until=lambda s: s.steps[-1:] == ["ForgetTransfer"])
    assert conditions_of(simulation)["Stalled"] == ("True", "BankAccessDenied")
    run(simulation)
    assert_backed_up(simulation)


def test_no_free_slot_is_no_fault_and_is_asked_for_at_once_when_woken() -> None:
    simulation = BackupSimulation()
    full = Unavailable("all 4 transfer slots are in use", reason="NoTransferSlot")
    simulation.faults.fail_next("transfer.start", full, times=3)
    run(simulation, until=lambda s: bool(s.results) and s.results[-1].error is not None)
    assert conditions_of(simulation)["Reconciling"] == ("True", "NoTransferSlot")
    assert ("NoTransferSlot", full.message, False) in simulation.stored.events
    assert phase_of(simulation) is Phase.QUEUED
    assert simulation.tick().step == "StartTransfer"
    run(
        simulation,
        until=lambda s: s.results[-1].step == "StartTransfer" and s.results[-1].error is None,
    )
    assert phase_of(simulation) is Phase.TRANSFERRING
    run(simulation)
    assert_backed_up(simulation)


def test_a_transfer_that_keeps_failing() -> None:
    simulation = BackupSimulation(retry_limit=2)
    simulation.transfers.fail_next("ImageTruncated", times=9)
    run(simulation)
    outcome = assert_failed(simulation, "ImageTruncated")
    assert "attempt 3 of 3" in outcome.message
    assert simulation.transfers.attempts == [1, 2, 3]


def test_a_transfer_that_must_not_be_tried_again() -> None:
    simulation = BackupSimulation()
    simulation.transfers.fail_next("ImageHashMismatch", retryable=False)
    run(simulation)
    assert_failed(simulation, "ImageHashMismatch")
    assert simulation.transfers.attempts == [1]


def test_a_transfer_that_stands_still() -> None:
    simulation = BackupSimulation(retry_limit=0)
    simulation.transfers.stalls = True
    run(simulation)
    assert_failed(simulation, "NoProgress")


def test_restarts_of_the_operator_are_not_failures() -> None:
    simulation = BackupSimulation(retry_limit=0)
    for _ in range(6):
        run(simulation, until=lambda s: s.steps[-1:] == ["StartTransfer"])
        simulation.transfers.restart()
        simulation.steps.clear()
    run(simulation)
    assert_backed_up(simulation)


def test_a_session_that_was_swept_away() -> None:
    simulation = BackupSimulation()
    run(simulation, until=lambda s: s.steps[-1:] == ["UploadToImage"])
    simulation.bank.sessions.clear()
    run(simulation)
    assert_failed(simulation, "SessionBroken")


def test_cinder_volume_died_during_the_upload() -> None:
    """Only an administrator can free the volume: told by id, tried for ever, then all is clean."""
    simulation = BackupSimulation(timeouts=Timeouts(image=timedelta(minutes=30)))
    simulation.cloud.turn_out("image", "stuck")
    run(simulation, until=lambda s: s.stored.record.memory.outcome is not None)
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.reason == "ImageTimeout"
    run(simulation, until=lambda s: s.steps[-20:] == ["Wait"] * 20)
    assert simulation.stored.report is not None
    left = {t.id for t in simulation.stored.report.temporaries}
    cleaned = {c.type: c for c in simulation.stored.report.conditions}["CleanedUp"]
    (volume,) = [v for v in simulation.cloud.volumes.values() if v.id != "source"]
    volume.status = "available"
    assert volume.id in left and volume.id in cleaned.message
    assert "administrator" in cleaned.message
    run(simulation)
    assert_failed(simulation, "ImageTimeout")


def test_a_failing_clean_up_never_spoils_a_committed_backup() -> None:
    simulation = BackupSimulation()
    simulation.cloud.image_pinned = True
    run(simulation, until=lambda s: s.steps.count("DeleteImage") > 5)
    assert simulation.stored.report is not None
    assert simulation.stored.report.phase is Phase.CLEANING_UP
    told = conditions_of(simulation)
    assert (told["Ready"][0], told["Banked"][0]) == ("True", "True")
    assert told["CleanedUp"] == ("False", "CleanUpFailing")
    simulation.cloud.image_pinned = False
    run(simulation)
    assert_backed_up(simulation)


def test_a_snapshot_that_comes_back_is_deleted_again() -> None:
    simulation = BackupSimulation()
    run(simulation, until=lambda s: s.steps[-1:] == ["DeleteSnapshot"])
    (snapshot,) = simulation.cloud.snapshots.values()
    snapshot.next = [(simulation.cloud.after(1), "available")]
    run(simulation)
    assert simulation.faults.effects.count("delete_snapshot") == 2
    assert_backed_up(simulation)


def test_a_dead_bank_keeps_nobody_from_cleaning_the_cloud() -> None:
    simulation = BackupSimulation()
    run(simulation, until=lambda s: s.steps[-1:] == ["UploadToImage"])
    simulation.request(cancel=True)
    simulation.faults.fail_next("bank.observe", Unavailable("bank"), times=100)
    run(simulation, until=lambda s: bool(s.results) and s.results[-1].error is not None)
    assert_no_leftovers(simulation)
    assert "intent" in str(simulation.bank.sessions), "the session is still to be discarded"
    run(simulation)
    assert simulation.bank.sessions == {}


def test_a_programming_error_stops_nobody() -> None:
    simulation = BackupSimulation()
    simulation.faults.fail_next("snapshots_tagged", ZeroDivisionError("oops"))
    run(simulation, until=lambda s: bool(s.results) and s.results[-1].error is not None)
    assert conditions_of(simulation)["Stalled"] == ("True", "InternalError")
    run(simulation)
    assert_backed_up(simulation)


def test_held_data_is_kept_and_says_so() -> None:
    simulation = BackupSimulation(deletion_policy=DeletionPolicy.DELETE, hold=True)
    run(simulation)
    simulation.stored.delete()
    run(simulation, until=lambda s: s.steps[-2:] == ["Wait", "Wait"])
    assert conditions_of(simulation)["Stalled"] == ("True", "Held")
    assert not simulation.bank.sessions["01JD0000000000000000000001"].tombed
    simulation.request(hold=False)
    run(simulation)
    assert simulation.stored.gone
    assert simulation.bank.sessions["01JD0000000000000000000001"].tombed


def test_deleting_while_the_cloud_is_away() -> None:
    simulation = BackupSimulation()
    run(simulation, until=lambda s: s.steps[-1:] == ["UploadToImage"])
    simulation.stored.delete()
    gone = Unavailable("Cinder at site-a does not answer")
    simulation.faults.fail_next("volumes_tagged", gone, times=3)
    simulation.tick()
    assert conditions_of(simulation)["Stalled"] == ("True", "Unavailable")
    assert simulation.stored.record.identity.has_finalizer
    run(simulation)
    assert simulation.stored.gone


def test_blocked_at_the_edge_is_told_and_forgotten() -> None:
    simulation = BackupSimulation()
    missing = InvalidSpec("Secret shop/openstack does not exist", reason="SecretNotFound")
    first = simulation.blocked(missing)
    assert conditions_of(simulation)["Stalled"] == ("True", "SecretNotFound")
    assert conditions_of(simulation)["Accepted"] == ("False", "SecretNotFound")
    assert first.requeue_after_seconds is not None and first.requeue_after_seconds >= 300
    version = simulation.stored.version
    simulation.blocked(missing)
    assert simulation.stored.version == version, "the same trouble again writes nothing"
    simulation.clock.advance(400)
    simulation.blocked(SourceGone("BackupBank main does not exist", reason="BankNotFound"))
    assert simulation.stored.record.memory.outcome is None, "it never fails the object"
    simulation.clock.advance(400)
    run(simulation)
    assert_backed_up(simulation)


def test_blocked_at_the_edge_lets_go_of_what_never_began() -> None:
    simulation = BackupSimulation()
    simulation.tick()  # AddFinalizer
    simulation.stored.delete()
    missing = InvalidSpec("Secret shop/openstack does not exist", reason="SecretNotFound")
    for _ in range(4):
        if not simulation.stored.gone:
            simulation.blocked(missing)
    assert simulation.stored.gone


def test_blocked_at_the_edge_keeps_what_is_under_way() -> None:
    simulation = BackupSimulation()
    run(simulation, until=lambda s: s.steps[-1:] == ["CreateSnapshot"])
    simulation.stored.delete()
    simulation.blocked(Unavailable("no cloud"))
    assert not simulation.stored.gone
    assert conditions_of(simulation)["Stalled"] == ("True", "Unavailable")


def test_a_crash_is_not_an_exception() -> None:
    assert not issubclass(Crash, Exception)
