"""kill -9 of the operator, five times in one backup and five times in one restore."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Running, Scene
from tests.stage.cloud import Cloud, Content, is_ours
from tests.stage.namespace import TERMINAL, Namespace, phase_of
from tests.stage.operator_process import OperatorProcess
from tests.stage.site import backup, restore

pytestmark = pytest.mark.timeout(1200)
KILLS = 5


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


def kill_at_random(operator: OperatorProcess, chance: random.Random) -> Iterator[float]:
    """Kills it five times, each a random moment after it was ready again; yields the moments."""
    for _ in range(KILLS):
        moment = chance.uniform(0.2, 7.0)
        time.sleep(moment)  # the moment is what the test is about
        operator.kill()
        operator.start()
        yield moment


def run_through_kills(
    namespace: Namespace, kind: str, name: str, operator: OperatorProcess
) -> list[str]:
    """The phase in which each kill met it."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    met = []
    for moment in kill_at_random(operator, random.Random(seed)):
        phase = phase_of(namespace.get(kind, name) or {})
        met.append(f"{moment:.1f}s:{phase}")
        if phase in TERMINAL:
            break
    print(kind, "killed at", met)
    return met


def test_backup_and_restore_go_on_after_kill_9(scene: Scene, a: Running, b: Running) -> None:
    content = Content(size_gib=1, used_mib=300, seed=7)
    volume_id = a.site.cloud.make_volume("killed", content)
    watch = Watch(a.site.cloud)
    watch.start()
    scene.at_a.apply(backup("killed", source={"volumeID": volume_id}))
    met = run_through_kills(scene.at_a, "vbk", "killed", a.operator)
    done = scene.at_a.wait_phase("vbk", "killed", "Completed", seconds=600)
    watch.ended.set()
    watch.join()
    assert len(met) >= 3, "the backup was over before it was killed often enough"
    assert len(watch.snapshot_ids) == 1
    assert a.site.cloud.temporaries() == []

    scene.at_b.apply(restore("killed", backup_id=done["status"]["backupID"]))
    run_through_kills(scene.at_b, "vrs", "killed", b.operator)
    back = scene.at_b.wait_phase("vrs", "killed", "Completed", seconds=600)
    restored = back["status"]["volumeID"]
    assert b.site.cloud.temporaries() == []
    named = [v.id for v in b.site.cloud.connection.block_storage.volumes() if v.name == "killed"]
    assert named == [restored]
    assert b.site.volume_sha256(restored) == a.site.volume_sha256(volume_id)
    a.site.cloud.delete_volume(volume_id)
    b.site.cloud.delete_volume(restored)
