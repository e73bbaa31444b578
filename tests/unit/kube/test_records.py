"""When a status is written, and with which guards; against an API that only remembers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from cinderbank.adapters.kube.events import KubeEvents, Subject
from cinderbank.adapters.kube.rates import ProgressRule, TokenBucket
from cinderbank.adapters.kube.records import KubeRecords, StatusWriter
from cinderbank.domain.errors import SourceGone, Unavailable
from cinderbank.domain.facts import TransferProgress
from cinderbank.domain.record import Memory, Phase, Report


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.now += seconds


class Api:
    """Answers as the API server does; keeps what it was sent."""

    def __init__(self) -> None:
        self.version = 1
        self.applied: list[tuple[str, dict[str, Any]]] = []
        self.patched: list[tuple[str, list[dict[str, Any]]]] = []
        self.created: list[dict[str, Any]] = []
        self.merged: list[dict[str, Any]] = []
        self.error: Exception | None = None

    def _answer(self, name: str, status: object, finalizers: list[str]) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.version += 1
        return target(status=status, version=str(self.version), finalizers=finalizers)

    def apply(self, path: str, body: Mapping[str, Any], field_manager: str) -> dict[str, Any]:
        self.applied.append((path, dict(body)))
        return self._answer(path, body["status"], [])

    def json_patch(
        self, path: str, operations: list[dict[str, Any]], field_manager: str
    ) -> dict[str, Any]:
        self.patched.append((path, operations))
        return self._answer(path, {}, ["cinderbank.io/protect"])

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.created.append(dict(body))
        return dict(body)

    def merge_patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.merged.append(dict(body))
        return dict(body)


def target(
    status: object = None, version: str = "1", finalizers: list[str] | None = None
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "namespace": "team",
        "name": "nightly",
        "uid": "u-1",
        "resourceVersion": version,
        "generation": 3,
    }
    if finalizers:
        metadata["finalizers"] = finalizers
    return {"kind": "VolumeBackup", "metadata": metadata, "status": status or {}}


def render(
    memory: Memory, report: Report, previous: object, generation: int, now: datetime
) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": report.phase.value, "observedGeneration": generation}
    if memory.backup_id:
        status["backupID"] = memory.backup_id
    if report.progress is not None:
        done = report.progress
        status["progress"] = {
            "percent": 100 * done.bytes_processed // done.bytes_total,
            "bytesProcessed": done.bytes_processed,
        }
    return status


def report(percent: float | None = None, phase: Phase = Phase.TRANSFERRING) -> Report:
    progress = None if percent is None else TransferProgress(1000, int(percent * 10))
    return Report(phase, (), progress)


class Bench:
    """One object whose ticks publish one after the other."""

    def __init__(self, per_second: float = 5, burst: int = 20) -> None:
        self.api, self.clock = Api(), Clock()
        self.outcomes: list[str] = []
        bucket = TokenBucket(per_second=per_second, burst=burst, clock=self.clock)
        self.writer = StatusWriter(
            self.api,  # type: ignore[arg-type]
            bucket,
            ProgressRule(),
            count=self.outcomes.append,
            clock=self.clock,
            sleep=self.clock.sleep,
        )
        self.events = KubeEvents(self.api, "pod", clock=self.clock)  # type: ignore[arg-type]
        self.raw = target()

    def records(self, raw: dict[str, Any] | None = None) -> KubeRecords:
        return KubeRecords(
            raw or self.raw,
            api=self.api,  # type: ignore[arg-type]
            writer=self.writer,
            events=self.events,
            render=render,
            now=lambda: datetime(2026, 11, 22, tzinfo=UTC),
        )

    def publish(self, what: Report) -> bool:
        """One tick; whether it wrote."""
        before = len(self.api.applied)
        self.records().publish(Memory(), what)
        written = len(self.api.applied) > before
        if written:
            self.raw = target(status=self.api.applied[-1][1]["status"], version="9")
        return written


def test_what_did_not_change_is_not_written() -> None:
    bench = Bench()
    assert bench.publish(report())
    assert not bench.publish(report())
    assert bench.outcomes == ["written", "unchanged"]


def test_a_new_phase_is_written_at_once() -> None:
    bench = Bench()
    assert bench.publish(report(1))
    assert bench.publish(report(1, Phase.COMMITTING))


@pytest.mark.parametrize(
    ("seconds", "percent", "written"),
    [(1, 50, False), (9.9, 50, False), (10, 1.2, False), (10, 2, True), (30, 1.2, True)],
)
def test_progress_alone_waits(seconds: float, percent: float, written: bool) -> None:
    bench = Bench()
    assert bench.publish(report(1))
    bench.clock.now += seconds
    assert bench.publish(report(percent)) is written


def test_an_hour_of_progress_costs_few_writes() -> None:
    bench = Bench()
    writes = 0
    for second in range(3600):
        bench.clock.now += 1
        writes += bench.publish(report(second / 36))
    assert 100 <= writes <= 180  # each percent, and a sign of life every 30 s


def test_progress_of_many_objects_keeps_to_the_budget() -> None:
    bench = Bench(per_second=5, burst=20)
    bench.clock.now += 100
    raws = []
    for number in range(200):
        raw = target(status=render(Memory(), report(1), None, 3, datetime.now(UTC)))
        raw["metadata"]["uid"] = f"u-{number}"
        raws.append(raw)
    for raw in raws:
        bench.records(raw).publish(Memory(), report(50))
    assert len(bench.api.applied) == 20
    assert bench.clock.slept == 0


def test_changes_wait_for_the_budget_and_intents_do_not() -> None:
    bench = Bench(per_second=1, burst=2)
    for phase in (Phase.PENDING, Phase.QUEUED, Phase.SNAPSHOTTING, Phase.CLONING):
        assert bench.publish(report(phase=phase))
    assert bench.clock.slept == pytest.approx(2)
    slept = bench.clock.slept
    bench.records().remember(Memory(), report())
    assert bench.clock.slept == slept


def test_a_status_goes_to_the_subresource_of_this_very_object_and_version() -> None:
    bench = Bench()
    bench.raw = target(version="17")
    records = bench.records()
    records.remember(Memory(), report())
    records.publish(Memory(), report(phase=Phase.COMMITTING))
    for path, body in bench.api.applied:
        assert path.endswith("/namespaces/team/volumebackups/nightly/status")
        assert set(body) == {"apiVersion", "kind", "metadata", "status"}
        assert not {"labels", "annotations", "finalizers"} & set(body["metadata"])
    versions = [body["metadata"]["resourceVersion"] for _, body in bench.api.applied]
    assert versions == ["17", "2"]  # the second is the answer to the first


def test_the_finalizer_is_patched_with_tests() -> None:
    bench = Bench()
    records = bench.records()
    records.add_finalizer()
    records.add_finalizer()
    ((path, operations),) = bench.api.patched
    assert path.endswith("/volumebackups/nightly")
    tested = {o["path"]: o["value"] for o in operations if o["op"] == "test"}
    assert tested == {"/metadata/uid": "u-1", "/metadata/resourceVersion": "1"}
    assert operations[-1] == {
        "op": "add",
        "path": "/metadata/finalizers",
        "value": ["cinderbank.io/protect"],
    }


def test_other_finalizers_are_left_alone() -> None:
    bench = Bench()
    bench.records(target(finalizers=["other/x"])).add_finalizer()
    assert bench.api.patched[0][1][-1] == {
        "op": "add",
        "path": "/metadata/finalizers/-",
        "value": "cinderbank.io/protect",
    }
    bench.records(target(finalizers=["other/x", "cinderbank.io/protect"])).remove_finalizer()
    assert bench.api.patched[1][1][-2:] == [
        {"op": "test", "path": "/metadata/finalizers/1", "value": "cinderbank.io/protect"},
        {"op": "remove", "path": "/metadata/finalizers/1"},
    ]


def test_removing_a_finalizer_of_what_is_gone_is_fine() -> None:
    bench = Bench()
    bench.api.error = SourceGone("gone")
    bench.records(target(finalizers=["cinderbank.io/protect"])).remove_finalizer()
    bench.records().remove_finalizer()
    assert len(bench.api.patched) == 1


SUBJECT = Subject("VolumeBackup", "team", "nightly", "u-1")


def test_equal_events_become_a_series() -> None:
    bench = Bench()
    for _ in range(200):
        bench.clock.now += 1
        bench.events.write(SUBJECT, "RetryScheduled", "again", "Warning")
    assert len(bench.api.created) == 1
    counts = [body["series"]["count"] for body in bench.api.merged]
    assert counts[0] == 2
    assert counts == sorted(counts)
    assert len(counts) <= 5


def test_events_are_bounded_and_never_raise() -> None:
    bench = Bench()
    for number in range(500):
        bench.events.write(SUBJECT, "Noise", str(number), "Normal")
    assert len(bench.api.created) == 50
    bench.api.error = Unavailable("down")
    bench.events.start()
    for number in range(5000):
        bench.events.say(SUBJECT, "Down", str(number))
    bench.events.close(5)


def test_an_events_note_fits_and_holds_no_secret() -> None:
    bench = Bench()
    events = KubeEvents(
        bench.api,  # type: ignore[arg-type]
        "pod",
        clean=lambda text: text.replace("hunter2", "***"),
        clock=bench.clock,
    )
    events.start()
    events.say(SUBJECT, "Long", "hunter2" + "ü" * 2000, warning=True)
    events.close(5)
    (body,) = bench.api.created
    assert len(body["note"].encode()) <= 1024
    assert "hunter2" not in body["note"]
    assert (body["type"], body["reason"]) == ("Warning", "Long")


def test_progress_of_a_copy_alone_waits_too() -> None:
    bench = Bench()

    def offered(percent: int, phase: str = "Copying") -> bool:
        copy = {"bank": "far", "phase": phase, "progress": {"percent": percent}}
        status = {"phase": "Completed", "progress": {"percent": 100}, "copies": [copy]}
        answer = bench.writer.write_if_worth_it(current, status)
        current.update(answer or {})
        return answer is not None

    current = target(status={"phase": "Completed", "progress": {"percent": 100}})
    assert offered(0), "a copy has begun"
    bench.clock.now += 1
    assert not offered(5)
    bench.clock.now += 10
    assert offered(6)
    bench.clock.now += 1
    assert offered(6, "Completed"), "that is no progress"
