"""VolumeBackup and VolumeRestore: object -> record and world -> tick -> when to come back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from cinderbank.api.v1alpha1 import backup_status, restore_status
from cinderbank.api.v1alpha1.resource import FINALIZER
from cinderbank.api.v1alpha1.volume_backup import VolumeBackupSpec
from cinderbank.api.v1alpha1.volume_restore import VolumeRestoreSpec
from cinderbank.domain.errors import BrokenInvariant, CinderbankError
from cinderbank.domain.facts import BackupId
from cinderbank.domain.record import (
    BackupRecord,
    BackupRequest,
    DeletionPolicy,
    Identity,
    Memory,
    OnDelete,
    Phase,
    RestoreRecord,
    RestoreRequest,
)
from cinderbank.domain.selection import Named
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
from cinderbank.kube.queue import LONGEST_RETRY_SECONDS
from cinderbank.kube.reconcile import Raw, TickMeter
from cinderbank.ports.clock import Clock
from cinderbank.ports.records import Records

log = logging.getLogger(__name__)

BANK_GONE = frozenset({"BankNotFound", "BankNotReady", "BankUnavailable", "BucketNotFound"})
"""Reasons to look at another bank."""


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
    def resolve_backup(self, namespace: str, name: str) -> Named:
        """The backup of a Completed VolumeBackup."""
        ...

    def resolve_recovery_point(self, namespace: str, name: str) -> Named:
        """The backup that a RecoveryPoint mirrors."""
        ...

    def copies_of(
        self, namespace: str, name: str, backup_id: BackupId
    ) -> tuple[tuple[str, BackupId], ...]:
        """Bank and id of each whole copy that a VolumeBackup of this id has; none when there is none."""
        ...

    def is_torn_down(self, key: Key, raw: Raw) -> bool:
        """Whether its whole namespace or its CRD is being deleted, as the object is. Raises Conflict
        while it is too early to know."""
        ...


class BackOffs:
    """Lets an object go on at once when what it waited for has been mended; thread-safe.

    The engine's back-off is for a cloud or a bank that is there and says no. A Secret or a BackupBank
    that was missing says nothing about these; nor does a restart, which often is the mending.
    """

    def __init__(self) -> None:
        self._working: set[str] = set()
        self._lock = threading.Lock()

    def begins(self, key: Key, memory: Memory) -> Memory:
        """The world of this object could be built."""
        with self._lock:
            if key.uid in self._working:
                return memory
            self._working.add(key.uid)
        return replace(memory, next_try_at=None)

    def rests(self, key: Key) -> None:
        """It could not be built, or the object needs no more runs."""
        with self._lock:
            self._working.discard(key.uid)


class BackupRuns:
    """The work of kind VolumeBackup."""

    def __init__(
        self, worlds: Worlds, clock: Clock, meter: TickMeter, blocked_retry_seconds: float
    ) -> None:
        self._worlds = worlds
        self._clock = clock
        self._meter = meter
        self._blocked_retry_seconds = blocked_retry_seconds
        self._back_offs = BackOffs()

    def run(self, key: Key, raw: Raw) -> float | None:
        """Raises InvalidSpec when status holds what we would have to remember and can not read."""
        started_at = time.monotonic()
        memory = backup_status.memory_of(raw.get("status"))
        identity = identity_of(raw)
        if is_quiet(identity, memory, raw, goes_along=DeletionPolicy.DELETE):
            self._back_offs.rests(key)
            return None
        spec = VolumeBackupSpec.read(raw.get("spec"), "spec")
        record = BackupRecord(identity, self._request(key, raw, spec, identity), memory)
        records = self._worlds.records(key, raw)
        credentials = spec.cloud_credentials_ref
        needs = Needs(credentials.secret_name, credentials.cloud_name, spec.bank_ref.name)
        try:
            world = self._worlds.for_backup(key, needs, records)
        except CinderbankError as error:
            self._back_offs.rests(key)
            result = report_blocked_backup(record, records, error, self._clock)
            self._meter.tell(key, memory, result, started_at)
            return blocked_seconds(result, self._blocked_retry_seconds)
        record = replace(record, memory=self._back_offs.begins(key, memory))
        result = tick_backup(record, world)
        self._meter.tell(key, memory, result, started_at)
        return next_seconds(result)

    def _request(
        self, key: Key, raw: Raw, spec: VolumeBackupSpec, identity: Identity
    ) -> BackupRequest:
        """Who tears a namespace or a CRD down did not ask for the bank's data to go."""
        request = spec.to_request(key.name)
        deletes = identity.deleting and request.deletion_policy is DeletionPolicy.DELETE
        if deletes and self._worlds.is_torn_down(key, raw):
            log.warning("the namespace or the CRD is being deleted: the bank's data is kept")
            return replace(request, deletion_policy=DeletionPolicy.RETAIN)
        return request


class RestoreRuns:
    """The work of kind VolumeRestore."""

    def __init__(
        self, worlds: Worlds, clock: Clock, meter: TickMeter, blocked_retry_seconds: float
    ) -> None:
        self._worlds = worlds
        self._clock = clock
        self._meter = meter
        self._blocked_retry_seconds = blocked_retry_seconds
        self._back_offs = BackOffs()

    def run(self, key: Key, raw: Raw) -> float | None:
        """As BackupRuns.run."""
        started_at = time.monotonic()
        memory = restore_status.memory_of(raw.get("status"))
        identity = identity_of(raw)
        if is_quiet(identity, memory, raw, goes_along=OnDelete.DELETE):
            self._back_offs.rests(key)
            return None
        spec = VolumeRestoreSpec.read(raw.get("spec"), "spec")
        records = self._worlds.records(key, raw)
        named = Named(memory.backup_id or BackupId(""), "")
        try:
            named = self._source(key.namespace, spec, memory)
            credentials = spec.cloud_credentials_ref
            needs = Needs(credentials.secret_name, credentials.cloud_name, named.bank_name)
            world = self._worlds.for_restore(key, needs, records)
        except CinderbankError as error:
            self._back_offs.rests(key)
            self._tell_copies(key.namespace, spec, named.backup_id, error)
            request = self._request(key, raw, spec, identity, named)
            blocked = RestoreRecord(identity, request, memory)
            result = report_blocked_restore(blocked, records, error, self._clock)
            self._meter.tell(key, memory, result, started_at)
            return blocked_seconds(result, self._blocked_retry_seconds)
        request = self._request(key, raw, spec, identity, named)
        record = RestoreRecord(identity, request, self._back_offs.begins(key, memory))
        result = tick_restore(record, world)
        self._meter.tell(key, memory, result, started_at)
        return next_seconds(result)

    def _request(
        self, key: Key, raw: Raw, spec: VolumeRestoreSpec, identity: Identity, named: Named
    ) -> RestoreRequest:
        """As for backups: the restored volume stays."""
        request = spec.to_request(named.backup_id, named.bank_name)
        request = replace(request, site=named.site, volume_id=named.volume_id)
        deletes = identity.deleting and request.on_delete is OnDelete.DELETE
        if deletes and self._worlds.is_torn_down(key, raw):
            log.warning("the namespace or the CRD is being deleted: the restored volume is kept")
            return replace(request, on_delete=OnDelete.DETACH)
        return request

    def _tell_copies(
        self, namespace: str, spec: VolumeRestoreSpec, backup_id: BackupId, error: CinderbankError
    ) -> None:
        """Who restores by the object of a backup whose bank is gone need not know of its copies."""
        reference = spec.source.backup_ref
        if reference is None or error.reason not in BANK_GONE:
            return
        found = self._worlds.copies_of(namespace, reference.name, backup_id)
        if found:
            told = ", ".join(f"{copy_id} in bank {bank}" for bank, copy_id in found)
            error.message += f". There is a copy: make a VolumeRestore with source.bank of {told}"

    def _source(self, namespace: str, spec: VolumeRestoreSpec, memory: Memory) -> Named:
        resolved = memory.resolved
        if resolved is not None:  # for good, whatever became of the object that named it
            return Named(resolved.backup_id, resolved.bank_name, resolved.site)
        source = spec.source
        if source.bank is not None:
            return source.bank.to_domain()
        if source.recovery_point_ref is not None:
            return self._worlds.resolve_recovery_point(namespace, source.recovery_point_ref.name)
        assert source.backup_ref is not None  # exactly one is set, says the CRD
        return self._worlds.resolve_backup(namespace, source.backup_ref.name)


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


def is_quiet(
    identity: Identity,
    memory: Memory,
    raw: Mapping[str, Any],
    goes_along: DeletionPolicy | OnDelete,
) -> bool:
    """Finished, let go, and nothing was asked of it since: thousands of such objects must cost nothing.

    `goes_along`: the policy by which deleting the object deletes what it made; then, and only then,
    our finalizer stays on (domain.deletion).
    """
    if identity.deleting:
        return not identity.has_finalizer
    if memory.outcome is None or not memory.outcome.final:
        return False
    spec = raw.get("spec") or {}
    policy = spec.get("deletionPolicy") or spec.get("onDelete")
    ends_with_nothing = spec.get("dryRun") or spec.get("drill")
    made = memory.outcome.phase is Phase.COMPLETED and not ends_with_nothing
    keeps = made and policy == goes_along
    observed = raw["status"].get("observedGeneration")
    return bool(observed == identity.generation and keeps == identity.has_finalizer)


def next_seconds(result: TickResult) -> float | None:
    """The engine's wish; a bug of ours gets the longest pause, as no haste mends it."""
    if isinstance(result.error, BrokenInvariant):
        return LONGEST_RETRY_SECONDS
    return result.requeue_after_seconds


def blocked_seconds(result: TickResult, slow: float) -> float:
    """At most `slow`: a Secret is not watched. What the engine wants sooner is done sooner."""
    wish = next_seconds(result)
    return slow if wish is None else min(wish, slow)
