"""status <-> Memory without loss, conditions with true times, and nonsense that stops nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.api.v1alpha1 import backup_status, restore_status
from cinderbank.api.v1alpha1.progress import progress_of, shown_bytes, shown_seconds
from cinderbank.domain.claim import ClaimedVolume, VolumeMode
from cinderbank.domain.errors import BrokenInvariant, InvalidSpec
from cinderbank.domain.facts import (
    ChunkLook,
    ImageId,
    LostRanges,
    QuotaLeft,
    SnapshotId,
    TransferProgress,
    VolumeFacts,
    VolumeId,
)
from cinderbank.domain.placement import Placement, Warned, Why
from cinderbank.domain.plan import Plan, Survey
from cinderbank.domain.record import (
    Condition,
    Drill,
    Intent,
    LastError,
    Memory,
    Outcome,
    Phase,
    Report,
    Temporary,
    Transport,
)
from cinderbank.domain.selection import Resolved

NOW = datetime(2026, 11, 22, 20, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)

times = st.none() | st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 2))
some_times = st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 2))
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
mappings = st.dictionaries(words, words, max_size=4)
volumes = st.builds(
    VolumeFacts,
    id=ids,
    name=words,
    status=words,
    size_gib=st.integers(0, 1 << 20),
    description=words,
    volume_type=words,
    availability_zone=words,
    bootable=st.booleans(),
    encrypted=st.booleans(),
    snapshot_id=st.none() | ids,
    created_at=times,
    metadata=mappings,
    image_metadata=mappings,
)
errors = st.builds(
    LastError, reason=words, message=words, at=some_times, retryable=st.booleans(), request_id=words
)
outcomes = st.builds(
    Outcome,
    phase=st.sampled_from((Phase.COMPLETED, Phase.FAILED, Phase.CANCELED)),
    reason=words,
    message=words,
    at=some_times,
    final=st.booleans(),
)
object_names = st.sampled_from(["data", "pvc-1", "a.b-c"])
claims = st.builds(
    ClaimedVolume,
    name=object_names,
    persistent_volume=object_names,
    storage_class=st.sampled_from(["", "fast"]),
    access_modes=st.sampled_from([(), ("ReadWriteOnce",), ("ReadOnlyMany", "ReadWriteMany")]),
    volume_mode=st.sampled_from(VolumeMode),
    fs_type=st.sampled_from(["", "xfs"]),
)
run_memories = st.builds(
    Memory,
    claim=st.none() | claims,
    backup_id=st.none() | st.from_regex(r"[0-9A-HJKMNP-TV-Z]{26}", fullmatch=True),
    site=st.none() | st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True),
    started_at=times,
    source=st.none() | volumes,
    snapshot_taken_at=times,
    size_bytes=st.none() | st.integers(0, 1 << 60),
    content_hash=st.none() | st.from_regex(r"[0-9a-f]{128}", fullmatch=True),
    content_format=st.none() | st.sampled_from(("qcow2", "luks")),
    transport=st.none() | st.sampled_from((Transport.RAW, Transport.QCOW2)),
    transport_reason=st.sampled_from(("", "FirstBackup")),
    intents=st.lists(
        st.builds(Intent, step=words, at=some_times, tries=st.integers(0, 9)), max_size=4
    ).map(tuple),
    transfer_attempt=st.integers(0, 1000),
    failures=st.integers(0, 1000),
    next_try_at=times,
    last_error=st.none() | errors,
    manifest_digest=st.none() | st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
    outcome=st.none() | outcomes,
    completed_at=times,
)
backup_memories = st.builds(
    replace,
    run_memories,
    base_id=st.none() | st.from_regex(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", fullmatch=True),
)
sizes = st.integers(0, 1 << 60)
lost = st.builds(
    LostRanges,
    count=st.integers(1, 1 << 30),
    lost_bytes=sizes,
    ranges=st.lists(st.tuples(sizes, sizes), max_size=5).map(tuple),
)
backup_ids = st.from_regex(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", fullmatch=True)
counts = st.integers(0, 1 << 40)
warned = st.lists(st.builds(Warned, words, words), max_size=3).map(tuple)
resolved = st.builds(
    Resolved,
    backup_id=backup_ids,
    bank_name=st.sampled_from(("main", "a.b-c")),
    site=st.sampled_from(("a", "site-b")),
    snapshot_at=some_times,
    reason=words,
    message=words,
)
placements = st.builds(
    Placement,
    volume_type=st.none() | words,
    volume_type_why=st.sampled_from(Why),
    availability_zone=st.none() | words,
    availability_zone_why=st.sampled_from(Why),
    warnings=warned,
)
plans = st.builds(
    Plan,
    backup_id=backup_ids,
    size_gib=counts,
    bytes_to_move=counts,
    survey=st.builds(
        Survey,
        quota=st.none() | st.builds(QuotaLeft, st.none() | counts, st.none() | counts),
        chunks=st.builds(ChunkLook, counts, counts, counts, words),
    ),
    warnings=warned,
)
restore_memories = st.builds(
    replace,
    run_memories,
    image_proven=st.none() | ids,
    created_volume_id=st.none() | ids,
    flattens=st.none() | st.booleans(),
    lost=st.none() | lost,
    resolved=st.none() | resolved,
    placement=st.none() | placements,
    plan=st.none() | plans,
    drill=st.none()
    | st.builds(
        Drill,
        transport=st.sampled_from((Transport.RAW, Transport.QCOW2, Transport.VDI)),
        reason=words,
        compared=st.booleans(),
        different=st.none() | lost,
    ),
)


def report(phase: Phase = Phase.PENDING, *conditions: Condition, **more: Any) -> Report:
    return Report(phase, conditions, **more)


@given(backup_memories)
def test_a_backup_s_memory_survives_its_status(memory: Memory) -> None:
    status = backup_status.status_of(memory, report(), None, 1, NOW)
    assert backup_status.memory_of(json.loads(json.dumps(status.dump()))) == memory


@given(restore_memories)
def test_a_restore_s_memory_survives_its_status(memory: Memory) -> None:
    status = restore_status.status_of(memory, report(), None, 1, NOW)
    assert restore_status.memory_of(json.loads(json.dumps(status.dump()))) == memory


def test_what_nobody_has_written_is_an_empty_memory() -> None:
    unseen = {"phase": "Pending", "conditions": [{"type": "Ready", "status": "Unknown"}]}
    for status in (None, {}, unseen):
        assert backup_status.memory_of(status) == Memory()
        assert restore_status.memory_of(status) == Memory()


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "rubbish"},
        {"conditions": 7},
        {"conditions": [{"type": 1}]},
        {"progress": []},
        {"temporaries": [{"kind": "volume", "id": "/etc"}]},
        {"observedGeneration": "x"},
        {"failures": None},
        {"ofANewerRelease": {"a": 1}},
    ],
)
def test_nonsense_in_what_we_only_tell_stops_nothing(status: dict[str, Any]) -> None:
    assert backup_status.memory_of(status) == Memory()
    assert backup_status.status_of(Memory(), report(), status, 1, NOW).phase is Phase.PENDING


@pytest.mark.parametrize(
    "status",
    [
        "x",
        7,
        {"backupID": "../../other"},
        {"site": "UP"},
        {"startTime": "yesterday"},
        {"startTime": "2026-01-01T00:00:00"},
        {"outcome": {"phase": "Pending"}},
        {"intents": [{"step": "CreateSnapshot"}]},
        {"failures": -1},
        {"source": {"volumeID": "a/b", "sizeGiB": 1}},
        {"sizeBytes": 1.5},
        {"contentHash": "ZZ"},
    ],
)
def test_what_we_must_remember_and_can_not_read_is_said(status: object) -> None:
    """Guessing would orphan what exists in the cloud."""
    with pytest.raises(InvalidSpec, match=r"^status"):
        backup_status.memory_of(status)


def test_a_forged_volume_id_is_no_path() -> None:
    with pytest.raises(InvalidSpec, match=r"^status\.volumeID"):
        restore_status.memory_of({"volumeID": "x/../../y"})


READY = Condition("Ready", "False", "InProgress", "copying")


def test_a_condition_s_time_is_that_of_its_status() -> None:
    first = backup_status.status_of(Memory(), report(Phase.QUEUED, READY), None, 1, NOW).dump()
    assert first["conditions"][0]["lastTransitionTime"] == "2026-11-22T20:00:00Z"

    reworded = replace(READY, reason="Waiting", message="for a slot")
    second = backup_status.status_of(
        Memory(), report(Phase.QUEUED, reworded), first, 2, LATER
    ).dump()
    assert second["conditions"][0]["lastTransitionTime"] == "2026-11-22T20:00:00Z"
    assert second["conditions"][0]["observedGeneration"] == 2

    done = replace(READY, status="True", reason="Completed")
    third = backup_status.status_of(
        Memory(), report(Phase.COMPLETED, done), second, 2, LATER
    ).dump()
    assert third["conditions"][0]["lastTransitionTime"] == "2026-11-22T21:00:00Z"


def test_a_long_message_does_not_get_the_status_refused() -> None:
    long = "x" * 100_000
    memory = Memory(last_error=LastError("R", long, NOW, True))
    status = backup_status.status_of(
        memory, report(Phase.QUEUED, replace(READY, message=long)), None, 1, NOW
    ).dump()
    assert len(status["lastError"]["message"]) == 32768
    assert len(status["conditions"][0]["message"]) == 32768


def test_a_memory_that_no_schema_holds_is_our_bug() -> None:
    with pytest.raises(BrokenInvariant, match="does not fit"):
        backup_status.status_of(Memory(site="NO SITE"), report(), None, 1, NOW)


def test_temporaries_are_told() -> None:
    found = (
        Temporary("snapshot", SnapshotId("s1"), "n"),
        Temporary("volume", VolumeId("v1"), ""),
        Temporary("image", ImageId("i1"), "n"),
    )
    status = backup_status.status_of(Memory(), report(temporaries=found), None, 1, NOW).dump()
    assert status["temporaries"][0] == {"kind": "snapshot", "id": "s1", "name": "n"}
    assert len(status["temporaries"]) == 3


HALF = TransferProgress(1000, 410, rate_bytes_per_second=212 * 2**20, eta_seconds=200)


def test_progress_stays_to_be_seen_when_the_transfer_has_ended() -> None:
    moving = backup_status.status_of(
        Memory(), report(Phase.TRANSFERRING, progress=HALF), None, 1, NOW
    ).dump()
    assert moving["progress"]["summary"] == "41 %  212 MiB/s  ETA 3m"

    failed = backup_status.status_of(Memory(), report(Phase.FAILED), moving, 1, NOW).dump()
    assert failed["progress"]["summary"] == "41 %"
    assert failed["progress"]["rateBytesPerSecond"] == 0
    assert "etaSeconds" not in failed["progress"]

    done = backup_status.status_of(Memory(), report(Phase.COMPLETED), moving, 1, NOW).dump()
    assert done["progress"]["summary"] == "100 %"
    assert done["progress"]["bytesProcessed"] == 1000


@pytest.mark.parametrize(
    ("progress", "summary"),
    [
        (TransferProgress(0, 0), "0 %"),
        (TransferProgress(1000, 999), "99 %"),
        (TransferProgress(1000, 1000, rate_bytes_per_second=5.0), "100 %"),
        (TransferProgress(1000, 2000), "100 %"),
        (TransferProgress(1000, -5), "0 %"),
        (TransferProgress(1000, 10, rate_bytes_per_second=float("inf")), "1 %"),
        (TransferProgress(1000, 10, rate_bytes_per_second=float("nan")), "1 %"),
        (TransferProgress(1000, 10, rate_bytes_per_second=1536.0), "1 %  1.5 KiB/s"),
        (
            TransferProgress(1000, 10, rate_bytes_per_second=1536.0, eta_seconds=float("inf")),
            "1 %  1.5 KiB/s",
        ),
    ],
)
def test_progress_in_one_line(progress: TransferProgress, summary: str) -> None:
    assert progress_of(progress).summary == summary


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (10 * 2**20, "10 MiB"), (2**50, "1024 TiB")],
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert shown_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m"), (3900, "1h5m"), (183_600, "2d3h")]
)
def test_seconds_for_people(seconds: int, text: str) -> None:
    assert shown_seconds(seconds) == text
