"""Status, finalizer, Secrets and Events on a real API server, with the operator's own rights."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from kubernetes.client import ApiClient, Configuration

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.events import KubeEvents
from cinderbank.adapters.kube.paths import collection_path, object_path
from cinderbank.adapters.kube.rates import ProgressRule, TokenBucket
from cinderbank.adapters.kube.records import KubeRecords, StatusWriter
from cinderbank.adapters.kube.secrets import KubeSecrets
from cinderbank.app.worlds import RENDERS
from cinderbank.domain.errors import Conflict, Forbidden, SourceGone, Unavailable
from cinderbank.domain.facts import BackupId
from cinderbank.domain.record import Condition, Memory, Phase, Report
from tests.stage.namespace import Namespace, Object
from tests.stage.site import Site, backup

KIND = "VolumeBackup"
MEMORY = Memory(backup_id=BackupId("01JD0000000000000000000000"), site="site-a")
LIMIT_SECONDS = 180.0
T = TypeVar("T")


@pytest.fixture
def namespace(site: Site) -> Iterator[Namespace]:
    found = site.namespace(f"records-{os.urandom(3).hex()}")
    found.create()
    yield found
    found.delete("namespace", found.name)


class Bench:
    """One VolumeBackup and what the operator would write to it."""

    def __init__(self, api: KubeApi, namespace: Namespace, name: str = "one") -> None:
        self.api, self.namespace, self.name = api, namespace, name
        bucket = TokenBucket(per_second=100, burst=100, clock=lambda: 0.0)
        self.writer = StatusWriter(api, bucket, ProgressRule())
        self.events = KubeEvents(api, "test")
        # a bank that is not there: an operator that runs beside this test has nothing to do with it
        self.create()

    def create(self) -> None:
        self.namespace.apply(backup(self.name, source={"volumeName": "none"}))

    def read(self) -> Object:
        found = self.api.get(object_path(KIND, self.namespace.name, self.name))
        assert found is not None
        return found

    def records(self, raw: Object | None = None) -> KubeRecords:
        return KubeRecords(
            raw or self.read(),
            api=self.api,
            writer=self.writer,
            events=self.events,
            render=RENDERS[KIND],
            now=lambda: datetime.now(UTC),
        )


def again(do: Callable[[], T]) -> T:
    """As the operator does: read anew after a Conflict (an operator may run beside this test)."""
    for _ in range(20):
        with contextlib.suppress(Conflict):
            return do()
    return do()


def removed(bench: Bench) -> KubeRecords:
    records = bench.records()
    records.remove_finalizer()
    return records


def report(phase: Phase = Phase.SNAPSHOTTING, message: str = "") -> Report:
    return Report(phase, (Condition("Ready", "False", "Working", message),))


def test_status_is_ours_and_nothing_else_is_touched(api: KubeApi, namespace: Namespace) -> None:
    bench = Bench(api, namespace)
    before = bench.read()
    bench.records().remember(MEMORY, report())
    after = bench.read()
    assert after["status"]["backupID"] == MEMORY.backup_id
    assert after["status"]["phase"] == "Snapshotting"
    assert after["spec"] == before["spec"]
    for untouched in ("labels", "annotations", "finalizers", "ownerReferences", "generation"):
        assert after["metadata"].get(untouched) == before["metadata"].get(untouched)
    managers = {
        (entry["manager"], entry["operation"], entry.get("subresource"))
        for entry in after["metadata"]["managedFields"]
    }
    assert ("cinderbank", "Apply", "status") in managers


def test_what_is_no_longer_told_goes_away(api: KubeApi, namespace: Namespace) -> None:
    bench = Bench(api, namespace)
    more = (Condition("Ready", "False", "Working", ""), Condition("Banked", "False", "NotYet", ""))
    records = bench.records()
    records.remember(MEMORY, Report(Phase.SNAPSHOTTING, more))
    records.publish(MEMORY, report())
    types = [condition["type"] for condition in bench.read()["status"]["conditions"]]
    assert types == ["Ready"]


def test_an_old_view_gets_a_conflict(api: KubeApi, namespace: Namespace) -> None:
    bench = Bench(api, namespace)
    first, second = bench.records(), bench.records()
    first.remember(MEMORY, report())
    with pytest.raises(Conflict):
        second.remember(MEMORY, report(message="from an old view"))
    with pytest.raises(Conflict):
        second.publish(MEMORY, report(message="from an old view"))
    with pytest.raises(Conflict):
        second.add_finalizer()
    first.publish(MEMORY, report(message="goes on"))  # its own view went along with its writes
    first.add_finalizer()
    first.remove_finalizer()
    first.publish(MEMORY, report(message="and on"))


def test_a_changed_spec_is_a_conflict_too(api: KubeApi, namespace: Namespace) -> None:
    bench = Bench(api, namespace)
    records = bench.records()
    namespace.run("patch", "vbk", bench.name, "--type=merge", "-p", '{"spec":{"hold":true}}')
    with pytest.raises(Conflict):
        records.remember(MEMORY, report())


def test_equal_status_is_not_written_again(api: KubeApi, namespace: Namespace) -> None:
    bench = Bench(api, namespace)
    bench.records().publish(MEMORY, report())
    version = bench.read()["metadata"]["resourceVersion"]
    bench.records().publish(MEMORY, report())
    assert bench.read()["metadata"]["resourceVersion"] == version


def test_the_finalizer_comes_and_goes_beside_others(api: KubeApi, namespace: Namespace) -> None:
    bench = Bench(api, namespace)
    namespace.run(
        "patch",
        "vbk",
        bench.name,
        "--type=merge",
        "-p",
        '{"metadata":{"finalizers":["other.io/x"]}}',
    )
    bench.records().add_finalizer()
    bench.records().add_finalizer()
    assert bench.read()["metadata"]["finalizers"] == ["other.io/x", "cinderbank.io/protect"]
    namespace.delete("vbk", bench.name)
    bench.records().remove_finalizer()
    assert bench.read()["metadata"]["finalizers"] == ["other.io/x"]
    namespace.run(
        "patch", "vbk", bench.name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )
    namespace.wait_gone("vbk", bench.name, seconds=LIMIT_SECONDS)


def test_the_last_finalizer_lets_the_object_go(api: KubeApi, namespace: Namespace) -> None:
    bench = Bench(api, namespace)
    again(lambda: bench.records().add_finalizer())
    namespace.delete("vbk", bench.name)
    records = again(lambda: removed(bench))
    records.remove_finalizer()
    assert api.get(object_path(KIND, namespace.name, bench.name)) is None


def test_nothing_is_ever_created(api: KubeApi, namespace: Namespace) -> None:
    bench = Bench(api, namespace)
    records = bench.records()
    namespace.delete("vbk", bench.name)
    namespace.wait_gone("vbk", bench.name, seconds=LIMIT_SECONDS)
    with pytest.raises(SourceGone):
        records.remember(MEMORY, report())
    with pytest.raises((SourceGone, Conflict)):
        records.add_finalizer()
    records.remove_finalizer()
    assert api.get(object_path(KIND, namespace.name, bench.name)) is None


def test_a_re_created_object_is_not_taken_for_the_first(api: KubeApi, namespace: Namespace) -> None:
    bench = Bench(api, namespace)
    raw = bench.read()
    namespace.delete("vbk", bench.name)
    namespace.wait_gone("vbk", bench.name, seconds=LIMIT_SECONDS)
    bench.create()
    fresh = bench.read()
    with pytest.raises(Conflict):
        bench.records(raw).remember(MEMORY, report())
    # the patch compares the uid too: it would refuse even a version that fits
    forged = {**raw, "metadata": {**raw["metadata"]}}
    forged["metadata"]["resourceVersion"] = fresh["metadata"]["resourceVersion"]
    for view in (raw, forged):
        with pytest.raises(Conflict):
            bench.records(view).add_finalizer()
    assert "backupID" not in bench.read().get("status", {})


def test_secrets_are_read_by_name(api: KubeApi, namespace: Namespace) -> None:
    secrets = KubeSecrets(api)
    assert secrets.find(namespace.name, "keys") is None
    namespace.secret("keys", {"a": "ä"})
    first = secrets.find(namespace.name, "keys")
    assert first is not None
    assert first.data == {"a": "ä".encode()}
    assert "ä" not in repr(first)
    namespace.secret("keys", {"a": "b"})
    second = secrets.find(namespace.name, "keys")
    assert second is not None
    assert second.resource_version != first.resource_version
    with pytest.raises(Forbidden):
        list(api.list_all(f"/api/v1/namespaces/{namespace.name}/secrets"))


def test_lists_come_in_chunks_and_whole(
    api: KubeApi, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cinderbank.adapters.kube.client.LIST_CHUNK", 3)
    namespace.apply(*[backup(f"b-{n}", source={"volumeName": "none"}) for n in range(8)])
    found = list(api.list_all(collection_path(KIND, namespace.name)))
    assert sorted(raw["metadata"]["name"] for raw in found) == [f"b-{n}" for n in range(8)]
    assert {raw["kind"] for raw in found} == {KIND}


def test_equal_events_are_one_with_a_series(api: KubeApi, namespace: Namespace) -> None:
    bench = Bench(api, namespace)
    bench.events.start()
    records = bench.records()
    for _ in range(50):
        records.event("RetryScheduled", "trying again", warning=True)
    records.event("Completed", "x" * 5000)
    bench.events.close(LIMIT_SECONDS)
    events = {
        event["reason"]: event
        for event in namespace.events(bench.name)
        if event["reportingController"] == "cinderbank.io/operator"
        and event["reportingInstance"] == "test"
    }
    assert events["RetryScheduled"]["series"]["count"] >= 2
    assert events["RetryScheduled"]["type"] == "Warning"
    assert len(events["Completed"]["note"]) == 1000
    assert events["Completed"]["regarding"]["uid"] == bench.read()["metadata"]["uid"]


def test_no_answer_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, nobody answers
        configuration = Configuration(host=f"http://127.0.0.1:{silent.getsockname()[1]}")
        lost = KubeApi(ApiClient(configuration), 5, 0.2)
        with pytest.raises(Unavailable):
            lost.get(object_path(KIND, "default", "one"))
