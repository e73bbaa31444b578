"""kill -9 of the operator, at six moments of one backup and at five of one restore.

Each moment is seen, not hoped for: the gate in front of the S3 server holds the request that the moment
is about, so that nothing goes on before the operator is dead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from tests.e2e.conftest import Running, Scene
from tests.stage.cloud import Cloud, Content, is_ours, until
from tests.stage.gate import LIMIT_SECONDS, Gate, Hold
from tests.stage.namespace import TERMINAL, Namespace, phase_of
from tests.stage.operator_process import OperatorProcess
from tests.stage.site import backup, restore

pytestmark = pytest.mark.timeout(2400)

Moment = Hold | Callable[[], object]
"""A request at the gate, or what is looked for again and again until it is so."""


class Watch(threading.Thread):
    """Collects the ids of every snapshot of ours that ever is in the cloud."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(daemon=True)
        self.cloud = cloud
        self.snapshot_ids: set[str] = set()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.3):
            found = self.cloud.connection.block_storage.snapshots()
            self.snapshot_ids |= {s.id for s in found if is_ours(s.name)}


@pytest.fixture
def watch(a: Running) -> Iterator[Watch]:
    found = Watch(a.site.cloud)
    found.start()
    yield found
    found.ended.set()
    found.join()


def kill_at(
    moments: Mapping[str, Moment],
    gate: Gate,
    operator: OperatorProcess,
    begin: Callable[[], None],
    phase: Callable[[], str],
) -> None:
    """Begins it, kills the operator at each of these moments, in their order, and starts it again."""
    with ExitStack() as all_at_once:
        held = {
            name: all_at_once.enter_context(gate.holding(moment))
            for name, moment in moments.items()
            if isinstance(moment, Hold)
        }
        begin()
        for name, moment in moments.items():
            if isinstance(moment, Hold):
                moment.wait()
            else:
                until(moment, LIMIT_SECONDS, name)
            met = phase()
            assert met not in TERMINAL, f"it was over before {name}"
            operator.kill_and_wait_for_its_children()
            print(f"killed: {name} ({met})")
            if name in held:
                gate.end(held[name])
            operator.start()


def phase_in(namespace: Namespace, kind: str, name: str) -> Callable[[], str]:
    return lambda: phase_of(namespace.get(kind, name) or {})


def test_backup_and_restore_go_on_after_kill_9(
    scene: Scene, a: Running, b: Running, gate: Gate, watch: Watch
) -> None:
    content = Content(size_gib=1, used_mib=300, seed=7)
    volume_id = a.site.cloud.make_volume("killed", content)
    scene.at_a.apply(a.site.bank("main", prefix=scene.prefix, endpoint=gate.url))
    phase = phase_in(scene.at_a, "vbk", "killed")
    moments: dict[str, Moment] = {
        "the snapshot is there": lambda: watch.snapshot_ids,
        "the image is made": lambda: phase() in ("Imaging", "Queued", "Transferring"),
        "some chunks are stored": Hold("PUT", "/chunks/", passing=20),
        "the manifest is sent": Hold("PUT", "/manifest$"),
        "the seal is sent": Hold("PUT", "/seals/"),
        "the intent is deleted": Hold("DELETE", "/intents/"),
    }
    body = backup("killed", source={"volumeID": volume_id})
    kill_at(moments, gate, a.operator, lambda: scene.at_a.apply(body), phase)
    done = scene.at_a.wait_phase("vbk", "killed", "Completed", seconds=LIMIT_SECONDS)
    assert len(watch.snapshot_ids) == 1
    assert a.site.cloud.temporaries() == []

    scene.at_b.apply(b.site.bank("main", prefix=scene.prefix, endpoint=gate.url))
    last = max(key.rpartition("/")[2] for key in gate.done("PUT", "/chunks/"))
    moments = {
        "the reader is pinned": Hold("PUT", "/intents/"),
        "some chunks are read": Hold("GET", "/chunks/", passing=5),
        "more chunks are read": Hold("GET", "/chunks/", passing=60),
        "the last chunk is read": Hold("GET", f"/{last}$"),
        "the reader is unpinned": Hold("DELETE", "/intents/"),
    }
    body = restore("killed", backup_id=done["status"]["backupID"])
    phase = phase_in(scene.at_b, "vrs", "killed")
    kill_at(moments, gate, b.operator, lambda: scene.at_b.apply(body), phase)
    back = scene.at_b.wait_phase("vrs", "killed", "Completed", seconds=LIMIT_SECONDS)
    restored = back["status"]["volumeID"]
    assert b.site.cloud.temporaries() == []
    named = [v.id for v in b.site.cloud.connection.block_storage.volumes() if v.name == "killed"]
    assert named == [restored]
    assert b.site.volume_sha256(restored) == a.site.volume_sha256(volume_id)
    a.site.cloud.delete_volume(volume_id)
    b.site.cloud.delete_volume(restored)
