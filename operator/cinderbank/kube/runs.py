"""VolumeBackup and VolumeRestore: object -> record and world -> tick -> when to come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cinderbank.api.v1alpha1 import backup_status, restore_status
from cinderbank.api.v1alpha1.volume_backup import VolumeBackupSpec
from cinderbank.api.v1alpha1.volume_restore import VolumeRestoreSpec
from cinderbank.domain.errors import CinderbankError
from cinderbank.domain.facts import BackupId
from cinderbank.domain.record import BackupRecord, Identity, Memory, RestoreRecord
from cinderbank.engine.tick import (
    BackupWorld,
    RestoreWorld,
    TickResult,
    report_blocked_backup,
    report_blocked_restore,
    tick_backup,
    tick_restore,
)
from cinderbank.kube.known import Key
from cinderbank.kube.reconcile import Raw, TickMeter
from cinderbank.ports.clock import Clock
from cinderbank.ports.records import Records

FINALIZER = "cinderbank.io/protect"


@dataclass(frozen=True, slots=True)
class Needs:
    """Names of what a run needs, all in its own namespace."""

    secret_name: str
    cloud_name: str
    bank_name: str


class Worlds(Protocol):
    """Builds what a tick works with. Raises CinderbankError with a reason when something is missing."""

    def records(self, key: Key, raw: Raw) -> Records: ...
    def for_backup(self, key: Key, needs: Needs, records: Records) -> BackupWorld: ...
    def for_restore(self, key: Key, needs: Needs, records: Records) -> RestoreWorld: ...
    def resolve_backup(self, namespace: str, name: str) -> tuple[BackupId, str]:
        """The id and the bank's name of a Completed VolumeBackup."""
        ...


class BackupRuns:
    """The work of kind VolumeBackup."""

    def __init__(
        self, worlds: Worlds, clock: Clock, meter: TickMeter, blocked_retry_seconds: float
    ) -> None:
        self._worlds = worlds
        self._clock = clock
        self._meter = meter
        self._blocked_retry_seconds = blocked_retry_seconds

    def run(self, key: Key, raw: Raw) -> float | None:
        """Raises InvalidSpec when status holds what we would have to remember and can not read."""
        started_at = time.monotonic()
        memory = backup_status.memory_of(raw.get("status"))
        identity = identity_of(raw)
        if is_quiet(identity, memory, raw):
            return None
        spec = VolumeBackupSpec.read(raw.get("spec"), "spec")
        record = BackupRecord(identity, spec.to_request(key.name), memory)
        records = self._worlds.records(key, raw)
        credentials = spec.cloud_credentials_ref
        needs = Needs(credentials.secret_name, credentials.cloud_name, spec.bank_ref.name)
        try:
            world = self._worlds.for_backup(key, needs, records)
        except CinderbankError as error:
            result = report_blocked_backup(record, records, error, self._clock)
            self._meter.tell(key, memory, result, started_at)
            return blocked_seconds(result, self._blocked_retry_seconds)
        result = tick_backup(record, world)
        self._meter.tell(key, memory, result, started_at)
        return result.requeue_after_seconds


class RestoreRuns:
    """The work of kind VolumeRestore."""

    def __init__(
        self, worlds: Worlds, clock: Clock, meter: TickMeter, blocked_retry_seconds: float
    ) -> None:
        self._worlds = worlds
        self._clock = clock
        self._meter = meter
        self._blocked_retry_seconds = blocked_retry_seconds

    def run(self, key: Key, raw: Raw) -> float | None:
        """As BackupRuns.run."""
        started_at = time.monotonic()
        memory = restore_status.memory_of(raw.get("status"))
        identity = identity_of(raw)
        if is_quiet(identity, memory, raw):
            return None
        spec = VolumeRestoreSpec.read(raw.get("spec"), "spec")
        records = self._worlds.records(key, raw)
        backup_id = memory.backup_id or BackupId("")
        try:
            backup_id, bank_name = self._source(key.namespace, spec)
            credentials = spec.cloud_credentials_ref
            needs = Needs(credentials.secret_name, credentials.cloud_name, bank_name)
            world = self._worlds.for_restore(key, needs, records)
        except CinderbankError as error:
            blocked = RestoreRecord(identity, spec.to_request(backup_id), memory)
            result = report_blocked_restore(blocked, records, error, self._clock)
            self._meter.tell(key, memory, result, started_at)
            return blocked_seconds(result, self._blocked_retry_seconds)
        result = tick_restore(RestoreRecord(identity, spec.to_request(backup_id), memory), world)
        self._meter.tell(key, memory, result, started_at)
        return result.requeue_after_seconds

    def _source(self, namespace: str, spec: VolumeRestoreSpec) -> tuple[BackupId, str]:
        if spec.source.bank is not None:
            return BackupId(spec.source.bank.backup_id), spec.source.bank.bank_ref.name
        assert spec.source.backup_ref is not None  # exactly one is set, says the CRD
        return self._worlds.resolve_backup(namespace, spec.source.backup_ref.name)


Run = Callable[[Key, Raw], float | None]


def identity_of(raw: Mapping[str, Any]) -> Identity:
    metadata = raw["metadata"]
    return Identity(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        deleting="deletionTimestamp" in metadata,
        has_finalizer=FINALIZER in (metadata.get("finalizers") or ()),
    )


def is_quiet(identity: Identity, memory: Memory, raw: Mapping[str, Any]) -> bool:
    """Finished, and nothing was asked of it since: thousands of such objects must cost nothing."""
    if identity.deleting:
        return not identity.has_finalizer
    if memory.outcome is None or not memory.outcome.final:
        return False
    observed = raw["status"].get("observedGeneration")
    return bool(observed == identity.generation)


def blocked_seconds(result: TickResult, slow: float) -> float:
    """The engine's own wish when it is sooner."""
    return min(result.requeue_after_seconds or slow, slow)
