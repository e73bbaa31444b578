"""From an object to a tick: what rests, what is let go, and whose back-off counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cinderbank.adapters.prometheus import Metrics
from cinderbank.api.v1alpha1 import backup_status, restore_status
from cinderbank.domain.errors import BrokenInvariant, Unavailable
from cinderbank.domain.facts import BackupId
from cinderbank.domain.record import Memory, Outcome, Phase, Report
from cinderbank.domain.selection import Resolved
from cinderbank.engine.tick import BackupWorld, RestoreWorld, TickResult
from cinderbank.kube.known import Key, key_of
from cinderbank.kube.queue import LONGEST_RETRY_SECONDS
from cinderbank.kube.reconcile import Raw, Reconciler, TickMeter
from cinderbank.kube.runs import (
    BackOffs,
    BackupRuns,
    Needs,
    RestoreRuns,
    blocked_seconds,
    next_seconds,
)
from cinderbank.ports.records import Records

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
ENDED = Memory(
    backup_id=BackupId("01JD0000000000000000000000"),
    site="site-a",
    outcome=Outcome(Phase.COMPLETED, "Committed", "", NOW, final=True),
    completed_at=NOW,
)


class Clock:
    def now(self) -> datetime:
        return NOW


class KeptRecords:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def remember(self, memory: Memory, report: Report) -> None:
        self.calls.append("remember")

    def publish(self, memory: Memory, report: Report) -> None:
        self.calls.append("publish")

    def add_finalizer(self) -> None:
        self.calls.append("add_finalizer")

    def remove_finalizer(self) -> None:
        self.calls.append("remove_finalizer")

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        self.calls.append(f"event {reason}")


class BlockedWorlds:
    """No Secret, no bank: whatever happens needs neither."""

    def __init__(self, torn_down: bool = False) -> None:
        self.kept = KeptRecords()
        self.torn_down = torn_down
        self.asked: list[str] = []
        """Objects that were asked which backup they are of."""
        self.needed: list[Needs] = []

    def records(self, key: Key, raw: Raw) -> Records:
        return self.kept

    def for_backup(self, key: Key, needs: Needs, records: Records) -> BackupWorld:
        raise Unavailable("no bank", reason="BankNotReady")

    def for_restore(self, key: Key, needs: Needs, records: Records) -> RestoreWorld:
        self.needed.append(needs)
        raise Unavailable("no bank", reason="BankNotReady")

    def resolve_backup(self, namespace: str, name: str) -> tuple[BackupId, str]:
        self.asked.append(name)
        raise Unavailable("no backup", reason="BackupNotCompleted")

    def resolve_recovery_point(self, namespace: str, name: str) -> tuple[BackupId, str]:
        self.asked.append(name)
        return BackupId("01JD0000000000000000000000"), "second"

    def is_torn_down(self, key: Key) -> bool:
        return self.torn_down


def raw(
    *,
    memory: Memory = ENDED,
    policy: str = "Delete",
    deleting: bool = False,
    finalizer: bool = True,
    generation: int = 1,
) -> Raw:
    report = Report(Phase.COMPLETED, ())
    metadata: dict[str, Any] = {
        "namespace": "team",
        "name": "nightly",
        "uid": "u-1",
        "generation": generation,
        "resourceVersion": "1",
    }
    if deleting:
        metadata["deletionTimestamp"] = "2026-11-22T20:00:00Z"
    if finalizer:
        metadata["finalizers"] = ["cinderbank.io/protect"]
    spec = {
        "source": {"volumeName": "db"},
        "cloudCredentialsRef": {"secretName": "openstack", "cloudName": "openstack"},
        "bankRef": {"name": "main"},
        "deletionPolicy": policy,
    }
    status = backup_status.status_of(memory, report, None, 1, NOW).dump()
    return {"kind": "VolumeBackup", "metadata": metadata, "spec": spec, "status": status}


def run(worlds: BlockedWorlds, found: Raw) -> float | None:
    runs = BackupRuns(worlds, Clock(), TickMeter(Metrics()), blocked_retry_seconds=60)
    return runs.run(key_of(found), found)


def test_an_ended_backup_costs_nothing() -> None:
    worlds = BlockedWorlds()
    assert run(worlds, raw()) is None
    assert worlds.kept.calls == []


def test_an_ended_backup_that_retains_its_data_is_let_go() -> None:
    """Who deletes it must not wait for an operator."""
    worlds = BlockedWorlds()
    run(worlds, raw(policy="Retain"))
    assert "remove_finalizer" in worlds.kept.calls
    worlds = BlockedWorlds()
    assert run(worlds, raw(policy="Retain", finalizer=False)) is None
    assert worlds.kept.calls == []


def test_a_changed_spec_is_looked_at_even_then() -> None:
    worlds = BlockedWorlds()
    run(worlds, raw(generation=2))
    assert worlds.kept.calls


def test_delete_waits_for_the_bank() -> None:
    worlds = BlockedWorlds()
    seconds = run(worlds, raw(deleting=True))
    assert "remove_finalizer" not in worlds.kept.calls
    assert seconds is not None
    assert seconds <= 60


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_a_namespace_that_is_torn_down_lets_go_and_keeps_the_data(policy: str) -> None:
    worlds = BlockedWorlds(torn_down=True)
    run(worlds, raw(deleting=True, policy=policy))
    assert "remove_finalizer" in worlds.kept.calls


def test_what_is_deleted_and_not_ours_is_left_alone() -> None:
    worlds = BlockedWorlds()
    assert run(worlds, raw(deleting=True, finalizer=False)) is None
    assert worlds.kept.calls == []


RESOLVED = Resolved(
    BackupId("01JD0000000000000000000000"), "second", "site-a", NOW, "Named", "spec.source names it"
)


def restore(memory: Memory, source: dict[str, Any], **spec: Any) -> Raw:
    found = raw()
    cloud = found["spec"]["cloudCredentialsRef"]
    status = restore_status.status_of(memory, Report(Phase.PENDING, ()), None, 1, NOW).dump()
    spec = {"source": source, "cloudCredentialsRef": cloud, **spec}
    return {**found, "kind": "VolumeRestore", "spec": spec, "status": status}


def run_restore(worlds: BlockedWorlds, found: Raw) -> float | None:
    runs = RestoreRuns(worlds, Clock(), TickMeter(Metrics()), blocked_retry_seconds=60)
    return runs.run(key_of(found), found)


@pytest.mark.parametrize(
    "source",
    [
        {"backupRef": {"name": "gone"}},
        {"recoveryPointRef": {"name": "gone"}},
        {"bank": {"bankRef": {"name": "main"}, "selector": {"volumeName": "db"}}},
    ],
)
def test_what_was_resolved_is_never_asked_again(source: dict[str, Any]) -> None:
    worlds = BlockedWorlds()
    memory = Memory(backup_id=RESOLVED.backup_id, resolved=RESOLVED)
    assert run_restore(worlds, restore(memory, source)) is not None
    assert worlds.asked == []
    assert [needs.bank_name for needs in worlds.needed] == ["second"]


def test_a_recovery_point_says_which_backup() -> None:
    worlds = BlockedWorlds()
    run_restore(worlds, restore(Memory(), {"recoveryPointRef": {"name": "db-1"}}))
    assert worlds.asked == ["db-1"]
    assert [needs.bank_name for needs in worlds.needed] == ["second"]


def test_a_source_that_is_not_there_is_waited_for() -> None:
    worlds = BlockedWorlds()
    assert run_restore(worlds, restore(Memory(), {"backupRef": {"name": "later"}})) is not None
    assert worlds.needed == []
    assert "event Failed" not in worlds.kept.calls


def test_an_ended_dry_run_costs_nothing_whatever_on_delete_says() -> None:
    ended = replace(ENDED, resolved=RESOLVED)
    found = restore(ended, {"backupRef": {"name": "db"}}, dryRun=True, onDelete="Delete")
    found["metadata"]["finalizers"] = []
    worlds = BlockedWorlds()
    assert run_restore(worlds, found) is None
    assert worlds.kept.calls == []


def test_a_back_off_ends_when_what_was_missing_is_there() -> None:
    back_offs = BackOffs()
    key = Key("VolumeBackup", "team", "nightly", "u-1")
    waiting = Memory(next_try_at=NOW + timedelta(minutes=5), failures=3)
    assert back_offs.begins(key, waiting).next_try_at is None  # first sight
    assert back_offs.begins(key, waiting) == waiting  # the cloud said no: that counts
    back_offs.rests(key)
    mended = back_offs.begins(key, waiting)
    assert (mended.next_try_at, mended.failures) == (None, 3)


def result(seconds: float | None, error: Exception | None = None) -> TickResult:
    return TickResult(Memory(), Report(Phase.PENDING, ()), seconds, "", error)  # type: ignore[arg-type]


def test_when_it_runs_next() -> None:
    assert next_seconds(result(3)) == 3
    assert next_seconds(result(None)) is None
    assert next_seconds(result(1, BrokenInvariant("x"))) == LONGEST_RETRY_SECONDS
    assert blocked_seconds(result(None), 60) == 60
    assert blocked_seconds(result(300), 60) == 60
    assert blocked_seconds(result(0.0), 60) == 0


def test_a_key_of_an_object_that_is_another_one_now_is_dropped() -> None:
    gone: list[Key] = []
    found = raw()

    class Objects:
        def find(self, kind: str, namespace: str, name: str) -> Raw | None:
            return found

    class Nothing:
        def __enter__(self) -> None: ...
        def __exit__(self, *error: object) -> None: ...

    reconciler = Reconciler(
        Objects(),
        {"VolumeBackup": lambda key, raw: 7.0},
        on_gone=gone.append,
        about=lambda key: Nothing(),  # type: ignore[arg-type,return-value]
    )
    first, second = key_of(found), Key("VolumeBackup", "team", "nightly", "u-0")
    assert reconciler.run(first) == 7.0
    assert reconciler.run(second) is None
    assert gone == [second]
