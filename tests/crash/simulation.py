"""A whole world of fakes around one object, and an operator that can be killed at any effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cinderbank.domain.errors import CinderbankError
from cinderbank.domain.facts import GIB, VolumeFacts, VolumeId
from cinderbank.domain.record import BackupRecord, RestoreRecord
from cinderbank.engine.tick import (
    BackupWorld,
    RestoreWorld,
    TickResult,
    report_blocked_backup,
    tick_backup,
    tick_restore,
)
from tests.builders import BACKUP_ID, backup_record, backup_request, restore_record
from tests.fakes.bank import FakeBank, Session
from tests.fakes.cinder import FakeCinder
from tests.fakes.claims import FakeClaims
from tests.fakes.clock import FakeClock, FakeIdentities
from tests.fakes.cloud import FakeCloud
from tests.fakes.faults import Crash, Faults
from tests.fakes.glance import FakeGlance
from tests.fakes.key_manager import FakeKeyManager
from tests.fakes.records import FakeObject
from tests.fakes.transfers import FakeTransfers

TICKS_AT_MOST = 600
OPERATOR_RESTART_SECONDS = 2.0


@dataclass
class World:
    faults: Faults = field(default_factory=Faults)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.cloud = FakeCloud(self.clock, self.faults)
        self.bank = FakeBank(self.faults)
        self.transfers = FakeTransfers(self.cloud, self.bank)
        self.claims = FakeClaims(self.cloud, self.faults)
        self.identities = FakeIdentities()
        self.steps: list[str] = []
        self.results: list[TickResult] = []
        self.crashes = 0


class BackupSimulation(World):
    def __init__(self, **request: Any) -> None:
        super().__init__()
        self.cloud.add_volume("source", status="in-use")
        record = backup_record(request=backup_request(**request))
        self.stored: FakeObject[BackupRecord] = FakeObject(record, self.faults)

    def tick(self) -> TickResult:
        world = BackupWorld(
            FakeCinder(self.cloud),
            FakeGlance(self.cloud),
            self.bank,
            self.transfers,
            self.stored.open(),
            self.clock,
            self.identities,
            "site-a",
            self.claims,
            FakeKeyManager(self.cloud),
        )
        return tick_backup(self.stored.record, world)

    def blocked(self, error: CinderbankError) -> TickResult:
        return report_blocked_backup(self.stored.record, self.stored.open(), error, self.clock)

    def request(self, **changes: Any) -> None:
        """Somebody edits the spec."""
        record = self.stored.record
        self.stored.change(replace(record, request=replace(record.request, **changes)))


OLD = VolumeFacts(
    VolumeId("old"),
    "db",
    "",
    1,
    volume_type="ssd",
    availability_zone="nova",
    metadata={"app": "shop"},
)


class RestoreSimulation(World):
    def __init__(self, source: VolumeFacts = OLD, **request: Any) -> None:
        super().__init__()
        self.bank.sessions[BACKUP_ID] = Session(
            VolumeId("old"), False, True, True, content="data", size_bytes=GIB, source=source
        )
        record = restore_record()
        record = replace(record, request=replace(record.request, **request))
        self.stored: FakeObject[RestoreRecord] = FakeObject(record, self.faults)

    def tick(self) -> TickResult:
        world = RestoreWorld(
            FakeCinder(self.cloud),
            FakeGlance(self.cloud),
            self.bank,
            self.transfers,
            self.stored.open(),
            self.clock,
            self.claims,
            FakeKeyManager(self.cloud),
        )
        return tick_restore(self.stored.record, world)

    def request(self, **changes: Any) -> None:
        """Somebody edits the spec."""
        record = self.stored.record
        self.stored.change(replace(record, request=replace(record.request, **changes)))


Simulation = BackupSimulation | RestoreSimulation


def run(
    simulation: Simulation,
    *,
    until: Callable[[Simulation], bool] | None = None,
    ticks: int = TICKS_AT_MOST,
) -> Simulation:
    """Tick until nothing is left to do (or `until`), restarting the operator after each crash."""
    for _ in range(ticks):
        if simulation.stored.gone or (until is not None and until(simulation)):
            return simulation
        try:
            result = simulation.tick()
        except Crash:
            simulation.crashes += 1
            simulation.clock.advance(OPERATOR_RESTART_SECONDS)
            simulation.transfers.restart()
            continue
        simulation.steps.append(result.step)
        simulation.results.append(result)
        if result.requeue_after_seconds is None:
            if until is None:
                return simulation
            raise AssertionError("it stopped before it was expected to")
        simulation.clock.advance(result.requeue_after_seconds)
    tail = [(r.step, r.error, r.requeue_after_seconds) for r in simulation.results[-8:]]
    raise AssertionError(f"it does not converge; the last ticks: {tail}")
