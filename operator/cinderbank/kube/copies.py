"""Copies of a VolumeBackup in other banks: worked on once the backup itself is Completed.

Around the work of kind VolumeBackup: an object without copies never comes here. Each copy is a child
process of its own; what it says, and when it is tried again, stands in status.copies.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from cinderbank.api.v1alpha1.backup_status import memory_of
from cinderbank.api.v1alpha1.copies import PlainCopy, read_copies, status_with, to_domain
from cinderbank.api.v1alpha1.volume_backup import VolumeBackupSpec
from cinderbank.domain import copies
from cinderbank.domain.copies import Copy, CopyPhase
from cinderbank.domain.errors import CinderbankError, Retryable
from cinderbank.domain.facts import (
    TransferAbsent,
    TransferFacts,
    TransferFailed,
    TransferRunning,
    TransferSucceeded,
)
from cinderbank.domain.failure import NO_TRANSFER_SLOT
from cinderbank.domain.record import DeletionPolicy, Memory, Phase
from cinderbank.kube.known import Key
from cinderbank.kube.reconcile import Raw, Work
from cinderbank.kube.runs import identity_of
from cinderbank.ports.clock import Clock, Identities
from cinderbank.ports.transfers import CopyTransfer

log = logging.getLogger(__name__)

SESSION_BROKEN = "SessionBroken"
NO_PROGRESS = "NoProgress"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one copy is to be."""

    key: Key
    source: str
    """Name of the BackupBank that has the backup."""
    transfer: CopyTransfer
    no_progress: timedelta


class CopyWorlds(Protocol):
    """What copies need of the world. Raises CinderbankError with a reason when a bank can not be used."""

    def observe_copy(self, key: Key, bank_name: str) -> TransferFacts: ...
    def start_copy(self, key: Key, source: str, target: str, transfer: CopyTransfer) -> None:
        """`source` and `target` are names of BackupBanks. As `ports.transfers.Transfers.start`."""
        ...

    def forget_copy(self, key: Key, bank_name: str) -> None:
        """End what runs; idempotent."""
        ...

    def delete_copy(self, namespace: str, bank_name: str, site: str, copy: Copy) -> bool:
        """Take it out of its bank, whole or half; False when it is to be called again. Idempotent."""
        ...

    def is_torn_down(self, key: Key) -> bool: ...
    def write_status(self, raw: Raw, status: dict[str, Any]) -> None: ...
    def say(self, raw: Raw, reason: str, message: str, warning: bool) -> None: ...


class CopyRuns:
    """The work of kind VolumeBackup with its copies; `backups` is the work without."""

    def __init__(
        self,
        backups: Work,
        worlds: CopyWorlds,
        clock: Clock,
        identities: Identities,
        slow_seconds: float,
    ) -> None:
        self._backups = backups
        self._worlds = worlds
        self._clock = clock
        self._identities = identities
        self._slow_seconds = slow_seconds

    def run(self, key: Key, raw: Raw) -> float | None:
        """Seconds until the next run, of the backup or of a copy. Raises what the backup's run does."""
        status = _mapping(raw.get("status"))
        asked = bool(_mapping(raw.get("spec")).get("copies"))
        if not asked and "copies" not in status:
            return self._backups(key, raw)
        if "deletionTimestamp" in raw["metadata"]:
            return self._leave(key, raw)
        seconds = self._backups(key, raw)
        memory = memory_of(raw.get("status"))
        if not _is_copied(memory):
            return seconds
        return _sooner(seconds, self._copy(key, raw, memory))

    def _copy(self, key: Key, raw: Raw, memory: Memory) -> float | None:
        assert memory.backup_id is not None  # a Completed one has it
        spec = VolumeBackupSpec.read(raw.get("spec"), "spec")
        now = self._clock.now()
        known = [to_domain(each) for each in read_copies(raw.get("status"))]
        targets = {each.bank_ref.name: each for each in spec.copies}
        for gone in known:
            if gone.bank not in targets:
                self._worlds.forget_copy(key, gone.bank)
        before = copies.aligned(list(targets), known, memory.backup_id, now)
        after = []
        for each in before:
            transfer = CopyTransfer(
                site=memory.site or "",
                backup_id=memory.backup_id,
                copy_id=each.backup_id,
                size_bytes=memory.size_bytes or 0,
                allow_plain=targets[each.bank].plain_copy is PlainCopy.ALLOWED,
            )
            asked = _Asked(key, spec.bank_ref.name, transfer, spec.timeouts.to_domain().no_progress)
            after.append(self._step(asked, each, now))
        self._write(raw, after, now)
        self._say_what_changed(raw, before, after)
        return copies.rest_seconds(after, now, self._slow_seconds)

    def _step(self, asked: _Asked, copy: Copy, now: datetime) -> Copy:
        if copy.phase is CopyPhase.COMPLETED:
            return copy
        key, bank = asked.key, copy.bank
        match self._worlds.observe_copy(key, bank):
            case TransferRunning(progress=progress, moved_at=moved_at):
                if moved_at is None or now - moved_at < asked.no_progress:
                    return copies.running(copy, progress, now)
                self._worlds.forget_copy(key, bank)
                told = f"moved nothing for {asked.no_progress}; it is started anew"
                return copies.failed(copy, NO_PROGRESS, told, retryable=True, now=now, seed=key.uid)
            case TransferSucceeded(progress=progress):
                self._worlds.forget_copy(key, bank)
                return copies.completed(copy, progress, now)
            case TransferFailed(reason=reason, message=message, retryable=retryable):
                self._worlds.forget_copy(key, bank)
                if reason == SESSION_BROKEN:
                    return copies.anew(copy, self._identities.mint_backup_id(), now)
                return copies.failed(
                    copy, reason, message, retryable=retryable, now=now, seed=key.uid
                )
            case TransferAbsent():
                return self._start(asked, copy, now) if copies.is_due(copy, now) else copy

    def _start(self, asked: _Asked, copy: Copy, now: datetime) -> Copy:
        try:
            self._worlds.start_copy(asked.key, asked.source, copy.bank, asked.transfer)
        except CinderbankError as error:
            if error.reason == NO_TRANSFER_SLOT:
                return copies.queued(copy, error.reason, error.message, now)
            retryable = isinstance(error, Retryable)
            return copies.blocked(copy, error.reason, error.message, retryable=retryable, now=now)
        return copies.started(copy, now)

    def _leave(self, key: Key, raw: Raw) -> float | None:
        """The object goes: its copies first, when what it made is to go with it."""
        memory, identity = memory_of(raw.get("status")), identity_of(raw)
        known = [to_domain(each) for each in read_copies(raw.get("status"))]
        for each in known:
            self._worlds.forget_copy(key, each.bank)
        spec = VolumeBackupSpec.read(raw.get("spec"), "spec")
        goes_along = spec.deletion_policy is DeletionPolicy.DELETE and not spec.hold
        if not (identity.has_finalizer and _is_copied(memory) and goes_along):
            return self._backups(key, raw)
        if self._worlds.is_torn_down(key):
            return self._backups(key, raw)  # which keeps the bank's data then, and says so
        now = self._clock.now()
        since = datetime.fromisoformat(raw["metadata"]["deletionTimestamp"])
        after = [self._delete(key, memory, each, since, now) for each in known]
        if self._write(raw, after, now):
            self._say_what_changed(raw, known, after)
            return 0.1  # the object is another one now: read it again
        waiting = [each for each in after if each.phase not in (CopyPhase.DELETED, CopyPhase.LEFT)]
        if not waiting:
            return self._backups(key, raw)
        return copies.rest_seconds(waiting, now, self._slow_seconds)

    def _delete(self, key: Key, memory: Memory, copy: Copy, since: datetime, now: datetime) -> Copy:
        if copy.phase in (CopyPhase.DELETED, CopyPhase.LEFT):
            return copy
        if copy.phase is CopyPhase.DELETING and not copies.is_due(copy, now):
            return copy
        try:
            done = self._worlds.delete_copy(key.namespace, copy.bank, memory.site or "", copy)
        except CinderbankError as error:
            if copy.attempts == 0 and copy.completed_at is None:
                return copies.gone(copy, now)  # nothing of it was ever begun
            return copies.not_deleted(
                copy, error.reason, error.message, since=since, now=now, seed=key.uid
            )
        return copies.gone(copy, now) if done else copies.deleting(copy, now)

    def _write(self, raw: Raw, after: Sequence[Copy], now: datetime) -> bool:
        """Whether more than progress has changed."""
        status = dict(_mapping(raw.get("status")))
        generation = raw["metadata"].get("generation", 0)
        found = status_with(status, after, generation, now)
        self._worlds.write_status(raw, found)
        return _phases(found) != _phases(status)

    def _say_what_changed(self, raw: Raw, before: Sequence[Copy], after: Sequence[Copy]) -> None:
        for old, new in zip(before, after, strict=True):
            if (old.phase, old.reason) == (new.phase, new.reason) or new.phase in SILENT:
                continue
            warning = new.phase not in (CopyPhase.COMPLETED, CopyPhase.DELETED)
            told = f"copy in bank {new.bank}: {new.message}"
            self._worlds.say(raw, new.reason, told, warning)
            log.log(logging.WARNING if warning else logging.INFO, "%s", told)


SILENT = frozenset({CopyPhase.PENDING, CopyPhase.COPYING})


def _is_copied(memory: Memory) -> bool:
    """Whether the backup is one, and over."""
    outcome = memory.outcome
    done = outcome is not None and outcome.final and outcome.phase is Phase.COMPLETED
    return done and memory.backup_id is not None


def _phases(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(each.phase, each.reason) for each in read_copies(status)]


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
