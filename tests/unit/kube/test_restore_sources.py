"""What names a backup names its site, and that is the one that is asked."""

from __future__ import annotations

from typing import Any

import pytest

from cinderbank.adapters.prometheus import Metrics
from cinderbank.api.v1alpha1.volume_restore import VolumeRestoreSpec
from cinderbank.app.sources import of_recovery_point, of_volume_backup
from cinderbank.domain.errors import InvalidSpec, Unavailable
from cinderbank.domain.selection import Named
from cinderbank.engine.tick import BackupWorld, RestoreWorld
from cinderbank.kube.known import Key, key_of
from cinderbank.kube.reconcile import Raw, TickMeter
from cinderbank.kube.runs import Needs, RestoreRuns
from cinderbank.ports.records import Records
from tests.crash.simulation import RestoreSimulation
from tests.fakes.backups import BACKUP, VOLUME
from tests.fakes.cinder import FakeCinder
from tests.fakes.glance import FakeGlance
from tests.fakes.key_manager import FakeKeyManager

POINT = {
    "bankRef": {"name": "main"},
    "backupID": BACKUP,
    "site": "site-a",
    "volumeID": VOLUME,
}
NAMED = Named(BACKUP, "main", "site-a", VOLUME)


def test_a_recovery_point_names_site_and_volume() -> None:
    assert of_recovery_point({"spec": POINT}, "team/point") == NAMED


@pytest.mark.parametrize("field", ["backupID", "site", "volumeID", "bankRef"])
@pytest.mark.parametrize("value", [None, 7, "../evil", {}])
def test_what_a_recovery_point_says_is_checked(field: str, value: object) -> None:
    with pytest.raises(InvalidSpec) as refused:
        of_recovery_point({"spec": {**POINT, field: value}}, "team/point")
    assert "team/point" in refused.value.message


def test_a_volume_backup_names_its_site() -> None:
    spec = {"bankRef": {"name": "main"}}
    status = {"phase": "Completed", "backupID": BACKUP, "site": "site-a"}
    found = of_volume_backup({"spec": spec, "status": status}, "team/nightly")
    assert found == Named(BACKUP, "main", "site-a")
    with pytest.raises(InvalidSpec, match=r"status\.site"):
        of_volume_backup({"spec": spec, "status": {**status, "site": "a/b"}}, "team/nightly")
    with pytest.raises(Unavailable) as early:
        of_volume_backup({"spec": spec, "status": {"backupID": BACKUP}}, "team/nightly")
    assert early.value.reason == "BackupNotCompleted"


class Worlds:
    """One RecoveryPoint, and the fakes of a restore."""

    def __init__(self) -> None:
        self.simulation = RestoreSimulation()

    def records(self, key: Key, raw: Raw) -> Records:
        return self.simulation.stored.open()

    def for_backup(self, key: Key, needs: Needs, records: Records) -> BackupWorld:
        raise NotImplementedError

    def for_restore(self, key: Key, needs: Needs, records: Records) -> RestoreWorld:
        world = self.simulation
        return RestoreWorld(
            FakeCinder(world.cloud),
            FakeGlance(world.cloud),
            world.bank,
            world.transfers,
            records,
            world.clock,
            world.claims,
            FakeKeyManager(world.cloud),
        )

    def resolve_backup(self, namespace: str, name: str) -> Named:
        raise NotImplementedError

    def resolve_recovery_point(self, namespace: str, name: str) -> Named:
        return NAMED

    def is_torn_down(self, key: Key) -> bool:
        return False


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ({"recoveryPointRef": {"name": "point"}}, (BACKUP, "site-a", VOLUME)),
        (
            {"bank": {"bankRef": {"name": "main"}, "backupID": BACKUP, "site": "site-b"}},
            (BACKUP, "site-b", None),
        ),
        ({"bank": {"bankRef": {"name": "main"}, "backupID": BACKUP}}, (BACKUP, None, None)),
    ],
)
def test_the_bank_is_asked_for_that_sites_backup(
    source: dict[str, Any], asked: tuple[str, str | None, str | None]
) -> None:
    worlds = Worlds()
    spec = {
        "source": source,
        "cloudCredentialsRef": {"secretName": "openstack", "cloudName": "openstack"},
    }
    VolumeRestoreSpec.read(spec, "spec")
    metadata = {"namespace": "team", "name": "r", "uid": "u-1", "resourceVersion": "1"}
    raw = {"kind": "VolumeRestore", "metadata": metadata, "spec": spec}
    clock = worlds.simulation.clock
    RestoreRuns(worlds, clock, TickMeter(Metrics()), 60).run(key_of(raw), raw)
    assert worlds.simulation.bank.asked == [asked]
