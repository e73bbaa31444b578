"""A restore drill, interrupted everywhere: nothing of it is left, whatever was found, and the bank knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cinderbank.domain.errors import (
    CinderbankError,
    DataCorrupt,
    Forbidden,
    InvalidSpec,
    OutcomeUnknown,
    OverQuota,
    Unavailable,
)
from cinderbank.domain.facts import TransferFailed
from cinderbank.domain.names import DRILL_TAG, RESTORE_TAG, drill_volume_name
from cinderbank.domain.record import Condition, OnDelete, Outcome, Phase, Transport
from cinderbank.engine.drill import MOST_TRIES
from tests.builders import BACKUP_ID
from tests.crash.simulation import OLD, RestoreSimulation, Simulation, run
from tests.fakes.cloud import Volume


def drill(**request: Any) -> RestoreSimulation:
    simulation = RestoreSimulation(drill=True, **request)
    simulation.bank.sessions[BACKUP_ID].data_bytes = 256 << 20
    # A copy that somebody made of the scratch volume with its metadata, and a volume of the same name.
    tags = {RESTORE_TAG: "uid-1", DRILL_TAG: BACKUP_ID}
    simulation.cloud.add_volume("copy", name="my copy", content="mine", metadata=tags)
    simulation.cloud.add_volume("namesake", name=drill_volume_name("uid-1"), content="mine")
    return simulation


def effects_of_a_clean_run() -> int:
    simulation = drill()
    run(simulation)
    return simulation.faults.begun


EFFECTS = effects_of_a_clean_run()
POINTS = [(n, when) for n in range(EFFECTS) for when in ("before", "after")]


def outcome_of(simulation: RestoreSimulation) -> Outcome:
    outcome = simulation.stored.record.memory.outcome
    assert outcome is not None and outcome.final
    return outcome


def assert_nothing_left(simulation: RestoreSimulation) -> None:
    simulation.clock.advance(3600)
    simulation.cloud.settle()
    assert set(simulation.cloud.volumes) == {"copy", "namesake"}, "a user's volume, or a leak"
    assert simulation.cloud.images == {}
    assert simulation.cloud.untagged_deletes == []
    assert simulation.bank.pins == set()
    assert not simulation.stored.record.identity.has_finalizer


def assert_verified(simulation: RestoreSimulation) -> None:
    assert_nothing_left(simulation)
    assert (outcome_of(simulation).phase, outcome_of(simulation).reason) == (
        Phase.COMPLETED,
        "Verified",
    )
    assert simulation.bank.verdicts == {(BACKUP_ID, True)}
    assert simulation.stored.record.memory.created_volume_id is None


def verified(simulation: RestoreSimulation) -> Condition:
    conditions = simulation.stored.reports[-1].conditions
    return next(each for each in conditions if each.type == "Verified")


def damage_the_scratch_volume(simulation: RestoreSimulation) -> None:
    """Cinder restores other bytes."""
    for volume in simulation.cloud.volumes.values():
        if volume.name == drill_volume_name("uid-1") and volume.id != "namesake":
            volume.content = "dat@"


def scratch_is_made(simulation: Simulation) -> bool:
    return any(each.name == drill_volume_name("uid-1") for each in scratch(simulation))


def scratch(simulation: Simulation) -> list[Volume]:
    own = ("copy", "namesake")
    return [each for each in simulation.cloud.volumes.values() if each.id not in own]


def test_clean_run() -> None:
    simulation = drill()
    run(simulation)
    assert_verified(simulation)
    assert verified(simulation).status == "True"
    phases = [report.phase for report in simulation.stored.reports]
    order = list(dict.fromkeys(phases))
    assert order == [
        Phase.PENDING,
        Phase.TRANSFERRING,
        Phase.CREATING_VOLUME,
        Phase.IMAGING,
        Phase.COMPARING,
        Phase.CLEANING_UP,
        Phase.COMPLETED,
    ]
    assert phases == sorted(phases, key=order.index), "a phase went backwards"
    drilled = simulation.stored.record.memory.drill
    assert drilled is not None and drilled.transport is Transport.VDI


def test_the_scratch_volume_says_what_it_is() -> None:
    simulation = drill()
    run(simulation, until=scratch_is_made)
    (volume,) = scratch(simulation)
    assert volume.metadata == {RESTORE_TAG: "uid-1", DRILL_TAG: BACKUP_ID}
    assert "scratch" in volume.description and volume.name == drill_volume_name("uid-1")


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_one_crash(point: tuple[int, str]) -> None:
    simulation = drill()
    simulation.faults.crashes = {point}
    run(simulation)
    assert simulation.crashes == 1
    assert_verified(simulation)


@pytest.mark.parametrize("first", range(len(POINTS)), ids=lambda n: str(POINTS[n]))
def test_two_crashes(first: int) -> None:
    for number, when in POINTS[first + 1 :: 5]:
        simulation = drill()
        simulation.faults.crashes = {POINTS[first], (number + 1, when)}
        run(simulation)
        assert_verified(simulation)


@pytest.mark.parametrize(
    "verb", ["create_volume_from_image", "upload_to_image", "note_drill", "delete_volume"]
)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("late_seconds", [0, 20])
def test_lost_answer(verb: str, when: str, late_seconds: float) -> None:
    simulation = drill()
    simulation.faults.fail_next(verb, OutcomeUnknown("no answer"), when=when)
    for kind in ("volume", "image"):
        simulation.cloud.appear_late(kind, late_seconds)
    run(simulation)
    assert_verified(simulation)


STAGES = [
    "PinReader",
    "StartTransfer",
    "CreateVolume",
    "UploadScratch",
    "StartComparison",
    "Compared",
]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_leaving_at_every_stage_with_a_crash_everywhere(stage: str, how: str) -> None:
    def began(simulation: Simulation) -> bool:
        return simulation.steps[-1:] == [stage]

    def leave(simulation: RestoreSimulation) -> None:
        if how == "cancel":
            simulation.request(cancel=True)
        else:
            simulation.stored.delete()

    clean = drill()
    run(clean, until=began)
    before = clean.faults.begun
    leave(clean)
    run(clean)
    assert_nothing_left(clean)
    for number in range(before, clean.faults.begun):
        for when in ("before", "after"):
            simulation = drill()
            run(simulation, until=began)
            leave(simulation)
            simulation.faults.crashes = {(number, when)}
            run(simulation)
            assert_nothing_left(simulation)
            assert simulation.stored.gone == (how == "delete")


def drill_that_finds_a_difference() -> RestoreSimulation:
    simulation = drill()
    run(simulation, until=lambda s: s.steps[-1:] == ["ChooseReadBack"])
    damage_the_scratch_volume(simulation)
    return simulation


def assert_different(simulation: RestoreSimulation) -> None:
    assert_nothing_left(simulation)
    outcome = outcome_of(simulation)
    assert (outcome.phase, outcome.reason) == (Phase.FAILED, "DrillFoundDifference")
    assert "512 bytes" in outcome.message and "1024-1535" in outcome.message
    assert simulation.bank.verdicts == {(BACKUP_ID, False)}
    drilled = simulation.stored.record.memory.drill
    assert drilled is not None and drilled.transport is Transport.RAW, "a raw image has to show it"
    assert drilled.compared and drilled.different is not None
    assert (verified(simulation).status, verified(simulation).reason) == (
        "False",
        "DrillFoundDifference",
    )


def test_a_difference_is_told_and_never_verified() -> None:
    simulation = drill_that_finds_a_difference()
    run(simulation)
    assert_different(simulation)
    assert simulation.steps.count("StartComparison") == 2


def test_a_difference_with_a_crash_everywhere() -> None:
    clean = drill_that_finds_a_difference()
    before = clean.faults.begun
    run(clean)
    for number in range(before, clean.faults.begun):
        for when in ("before", "after"):
            simulation = drill_that_finds_a_difference()
            simulation.faults.crashes = {(number, when)}
            run(simulation)
            assert_different(simulation)


def test_a_difference_of_a_converted_image_alone_is_not_believed() -> None:
    simulation = drill()
    run(simulation, until=lambda s: s.steps[-1:] == ["StartComparison"])
    (image,) = [each for each in simulation.cloud.images.values() if "drill" in each.name]
    assert image.disk_format == "vdi"
    image.content = "unpacked"
    run(simulation)
    assert_verified(simulation)


def no_room(simulation: RestoreSimulation) -> None:
    simulation.faults.fail_next("create_volume_from_image", OverQuota("no room"), times=3)


def no_type(simulation: RestoreSimulation) -> None:
    simulation.cloud.turn_out("volume", "error", times=9)


def no_image(simulation: RestoreSimulation) -> None:
    simulation.cloud.turn_out("image", "gone", times=19)


def no_bytes(simulation: RestoreSimulation) -> None:
    failure = TransferFailed("ImageUnsupported", "an image of a kind that is not read", False)
    simulation.transfers.fail_with(lambda image: "drill" in image.name, failure)


@pytest.mark.parametrize("trouble", [no_type, no_image, no_bytes])
def test_a_drill_that_can_not_be_run_says_nothing_about_the_backup(
    trouble: Callable[[RestoreSimulation], None],
) -> None:
    simulation = drill()
    trouble(simulation)
    run(simulation)
    assert_nothing_left(simulation)
    assert outcome_of(simulation).phase is Phase.FAILED
    assert outcome_of(simulation).reason not in ("DrillFoundDifference", "Verified")
    assert simulation.bank.verdicts == set()
    assert (verified(simulation).status, verified(simulation).reason) == (
        "Unknown",
        outcome_of(simulation).reason,
    )


def test_a_quota_is_waited_for() -> None:
    simulation = drill()
    no_room(simulation)
    run(simulation)
    assert_verified(simulation)


def test_a_cloud_that_converts_nothing_is_read_back_raw() -> None:
    simulation = drill(transport=Transport.RAW)
    simulation.cloud.disk_formats = ("raw",)
    run(simulation)
    assert_verified(simulation)


@pytest.mark.parametrize("formats", [("raw", "qcow2"), ("raw", "qcow2", "vdi")])
def test_a_fall_back_while_reading_back(formats: tuple[str, ...]) -> None:
    simulation = drill()
    simulation.cloud.disk_formats = formats
    simulation.transfers.fail_with(
        lambda image: "drill" in image.name and image.disk_format != "raw",
        TransferFailed("ImageNotInOrder", "not in order", False),
    )
    run(simulation)
    assert_verified(simulation)
    drilled = simulation.stored.record.memory.drill
    assert drilled is not None and drilled.transport is Transport.RAW


def test_a_volume_that_vanishes_is_made_again() -> None:
    simulation = drill()
    run(simulation, until=lambda s: s.steps[-1:] == ["ChooseReadBack"])
    (volume,) = scratch(simulation)
    del simulation.cloud.volumes[volume.id]
    run(simulation)
    assert_verified(simulation)


def test_an_image_that_vanishes_is_made_again() -> None:
    simulation = drill()
    run(simulation, until=lambda s: s.steps[-1:] == ["StartComparison"])
    for image in list(simulation.cloud.images.values()):
        if "drill" in image.name:
            del simulation.cloud.images[image.id]
    run(simulation)
    assert_verified(simulation)


def test_a_bank_that_can_not_be_written_is_drilled_all_the_same() -> None:
    simulation = drill()
    simulation.bank.is_read_only = True
    run(simulation)
    assert_nothing_left(simulation)
    assert outcome_of(simulation).reason == "Verified" and simulation.bank.verdicts == set()
    assert "VerdictNotNoted" in [event[0] for event in simulation.stored.events]


def test_keys_that_may_not_write() -> None:
    simulation = drill()
    simulation.faults.fail_next("note_drill", Forbidden("no", reason="BankAccessDenied"))
    run(simulation)
    assert_nothing_left(simulation)
    assert outcome_of(simulation).reason == "Verified"


def test_a_difference_waits_until_it_can_be_noted() -> None:
    simulation = drill_that_finds_a_difference()
    simulation.faults.fail_next("note_drill", Forbidden("no", reason="BankAccessDenied"), times=3)
    run(simulation)
    assert_different(simulation)
    errors = [each.error.reason for each in simulation.results if each.error is not None]
    assert errors.count("BankAccessDenied") == 3


@pytest.mark.parametrize(
    "error",
    [
        Forbidden("keys say no", reason="BankAccessDenied"),
        DataCorrupt("keys say no"),
        InvalidSpec("keys say no", reason="BankIdMismatch"),
    ],
    ids=lambda error: error.reason,
)
def test_a_difference_that_can_never_be_noted_ends_and_is_told(error: CinderbankError) -> None:
    simulation = drill_that_finds_a_difference()
    simulation.faults.fail_next("note_drill", error, times=MOST_TRIES)
    run(simulation, ticks=4000)
    assert_nothing_left(simulation)
    outcome = outcome_of(simulation)
    assert (outcome.phase, outcome.reason) == (Phase.FAILED, "DrillFoundDifference")
    assert "1024-1535" in outcome.message and "bank does not know" in outcome.message
    assert "keys say no" in outcome.message
    drilled = simulation.stored.record.memory.drill
    assert drilled is not None and drilled.different is not None
    assert simulation.bank.verdicts == set()
    assert "VerdictNotNoted" in [event[0] for event in simulation.stored.events]


def test_a_difference_waits_for_a_bank_that_is_away_as_long_as_it_takes() -> None:
    simulation = drill_that_finds_a_difference()
    simulation.faults.fail_next("note_drill", Unavailable("away"), times=MOST_TRIES + 5)
    run(simulation, ticks=4000)
    assert_different(simulation)


def test_a_bank_whose_listing_never_ends_holds_no_drill_for_ever() -> None:
    simulation = drill()
    simulation.faults.fail_next("note_drill", Unavailable("too many keys"), times=MOST_TRIES)
    run(simulation, ticks=4000)
    assert_nothing_left(simulation)
    assert outcome_of(simulation).reason == "Verified" and simulation.bank.verdicts == set()
    assert "VerdictNotNoted" in [event[0] for event in simulation.stored.events]


def test_a_bank_that_is_away_at_the_end_is_told_later() -> None:
    simulation = drill()
    simulation.faults.fail_next("note_drill", Unavailable("away"), times=7)
    run(simulation)
    assert_verified(simulation)


@pytest.mark.parametrize("on_delete", list(OnDelete))
def test_deleting_an_ended_drill_deletes_nothing(on_delete: OnDelete) -> None:
    """Whatever came past the CRD's rules."""
    simulation = drill(on_delete=on_delete)
    run(simulation)
    simulation.stored.delete()
    run(simulation)
    assert simulation.stored.gone
    assert_nothing_left(simulation)


def test_content_that_looks_like_an_image_is_read_back_as_it_is() -> None:
    simulation = RestoreSimulation(OLD, drill=True, transport=Transport.QCOW2)
    session = simulation.bank.sessions[BACKUP_ID]
    simulation.bank.sessions[BACKUP_ID] = replace(
        session, content="qcow2 of 1024 MiB: inner", data_bytes=1 << 20
    )
    run(simulation)
    drilled = simulation.stored.record.memory.drill
    assert drilled is not None and (drilled.transport, drilled.reason) == (
        Transport.RAW,
        "ContentIsImage",
    )
    assert outcome_of(simulation).reason == "Verified"
