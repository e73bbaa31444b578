"""What the bank knows of backups, told on their VolumeBackups: condition Verified and its time.

The bank is the truth, as other sites write there, too. So it is asked now and then, and when a check or a
drill of this cluster has ended: one listing for all backups of a bank. Only objects that tell
something else are written. Around the work of kind BackupBank.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from cinderbank.api.v1alpha1.verified import status_with, told_of, wanted
from cinderbank.domain.errors import CinderbankError, Conflict
from cinderbank.domain.facts import BackupId
from cinderbank.domain.proofs import Backup, Standing, condition
from cinderbank.kube.known import (
    BACKUP_BANK,
    BANK_CHECK,
    VOLUME_BACKUP,
    VOLUME_RESTORE,
    Key,
    key_of,
)
from cinderbank.kube.reconcile import Raw, Work
from cinderbank.ports.clock import Clock

log = logging.getLogger(__name__)

INTERVAL = timedelta(minutes=10)
"""For what other sites find."""
RETRY = timedelta(minutes=1)
BATCH = 50
"""So many objects are written in one run."""
NEXT_BATCH_SECONDS = 1.0

NOTHING = Standing()

BankName = tuple[str, str]
"""Namespace and name of a BackupBank."""


class VerifiedWorlds(Protocol):
    """What this needs of the world."""

    def standings(self, namespace: str, bank: str, among: Set[Backup]) -> Mapping[Backup, Standing]:
        """Raises CinderbankError with a reason when the bank can not be used."""
        ...

    def find(self, kind: str, namespace: str, name: str) -> Raw | None: ...
    def write_status(self, raw: Raw, status: dict[str, Any]) -> None: ...
    def say(self, raw: Raw, reason: str, message: str, warning: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class _Told:
    """A Completed VolumeBackup, and what it tells."""

    backup: Backup
    bank: str
    told: tuple[str, datetime | None]


class VerifiedRuns:
    """The work of kind BackupBank with this beside it; `banks` is the work without. Thread-safe."""

    def __init__(
        self,
        banks: Work,
        worlds: VerifiedWorlds,
        clock: Clock,
        on_error: Callable[[str], None],
    ) -> None:
        self._banks = banks
        self._worlds = worlds
        self._clock = clock
        self._on_error = on_error
        self._lock = threading.Lock()
        self._backups: dict[BankName, dict[Key, _Told]] = {}
        self._bank_keys: dict[BankName, Key] = {}
        self._ended: set[Key] = set()
        """Checks and drills whose end was taken note of."""
        self._due_at: dict[BankName, datetime] = {}
        """Only to ask less often: after a restart each bank is asked anew."""

    # Fed by the watches and by the full list.

    def see(self, raw: Mapping[str, Any]) -> Key | None:
        """Take an object in; returns the bank that is to be asked because of it."""
        key = key_of(raw)
        with self._lock:
            if key.kind == BACKUP_BANK:
                self._bank_keys[key.namespace, key.name] = key
            elif key.kind == VOLUME_BACKUP:
                self._note(key, raw)
            elif (bank := _ended_in(raw)) is not None and key not in self._ended:
                self._ended.add(key)
                self._due_at.pop((key.namespace, bank), None)
                return self._bank_keys.get((key.namespace, bank))
        return None

    def drop(self, key: Key) -> None:
        """The object is gone."""
        with self._lock:
            self._ended.discard(key)
            if key.kind == VOLUME_BACKUP:
                self._forget(key)
            name = key.namespace, key.name
            if self._bank_keys.get(name) == key:
                del self._bank_keys[name]
                self._due_at.pop(name, None)

    def _note(self, key: Key, raw: Mapping[str, Any]) -> None:
        self._forget(key)
        found = _completed(raw)
        if found is not None:
            self._backups.setdefault((key.namespace, found.bank), {})[key] = found

    def _forget(self, key: Key) -> None:
        for name, known in list(self._backups.items()):
            if name[0] == key.namespace and known.pop(key, None) is not None and not known:
                del self._backups[name]

    # The work.

    def run(self, key: Key, raw: Raw) -> float | None:
        """Seconds until the next run. Raises what the bank's run does."""
        seconds = self._banks(key, raw)
        if "deletionTimestamp" in raw["metadata"]:
            return seconds
        ours = self._turn((key.namespace, key.name))
        return min((each for each in (seconds, ours) if each is not None), default=None)

    def _turn(self, bank: BankName) -> float | None:
        now = self._clock.now()
        with self._lock:
            known = dict(self._backups.get(bank, {}))
            due_at = self._due_at.get(bank)
            if not known:
                return None
            if due_at is not None and due_at > now:
                return (due_at - now).total_seconds()
            self._due_at[bank] = now + INTERVAL
        try:
            among = frozenset(each.backup for each in known.values())
            standings = self._worlds.standings(*bank, among)
            more = self._tell_all(known, standings)
        except CinderbankError as error:
            self._on_error(error.reason)
            log.warning("what the bank knows of backups can not be told: %s", error.message)
            return self._again(bank, RETRY)
        return self._again(bank, timedelta(seconds=NEXT_BATCH_SECONDS)) if more else None

    def _again(self, bank: BankName, rest: timedelta) -> float:
        with self._lock:
            self._due_at[bank] = self._clock.now() + rest
        return rest.total_seconds()

    def _tell_all(self, known: dict[Key, _Told], standings: Mapping[Backup, Standing]) -> bool:
        """Whether some are left."""
        late = [
            (key, standing)
            for key, each in known.items()
            if wanted(standing := standings.get(each.backup, NOTHING)) != each.told
        ]
        for key, standing in late[:BATCH]:
            try:
                self._tell(key, standing)
            except Conflict:
                continue  # somebody wrote it: the next time
        return len(late) > BATCH

    def _tell(self, key: Key, standing: Standing) -> None:
        raw = self._worlds.find(VOLUME_BACKUP, key.namespace, key.name)
        if raw is None or key_of(raw) != key or _completed(raw) is None:
            return
        status = raw["status"]
        if told_of(status) == wanted(standing):
            return
        metadata, now = raw["metadata"], self._clock.now()
        generation = status.get("observedGeneration") or metadata.get("generation", 0)
        found = condition(standing)
        self._worlds.write_status(raw, status_with(status, standing, generation, now))
        if found is not None and found.status == "False" and told_of(status)[0] != found.reason:
            log.warning("%s: %s", key, found.message)
            self._on_error(found.reason)
            self._worlds.say(raw, found.reason, found.message, True)


def _completed(raw: Mapping[str, Any]) -> _Told | None:
    """Reads leniently: anybody may have written what stands in an object."""
    status, spec = _mapping(raw.get("status")), _mapping(raw.get("spec"))
    outcome = _mapping(status.get("outcome"))
    bank = _mapping(spec.get("bankRef")).get("name")
    backup_id, site = status.get("backupID"), status.get("site")
    if outcome.get("final") is not True or outcome.get("phase") != "Completed":
        return None
    if not (isinstance(bank, str) and isinstance(backup_id, str) and isinstance(site, str)):
        return None
    return _Told((site, BackupId(backup_id)), bank, told_of(status))


def _ended_in(raw: Mapping[str, Any]) -> str | None:
    """The bank of a check or of a drill that has ended."""
    status, spec = _mapping(raw.get("status")), _mapping(raw.get("spec"))
    name: object = None
    if raw["kind"] == BANK_CHECK and status.get("phase") in ("Completed", "Failed"):
        name = _mapping(spec.get("bankRef")).get("name")
    ended = _mapping(status.get("outcome")).get("final") is True
    if raw["kind"] == VOLUME_RESTORE and spec.get("drill") is True and ended:
        name = _mapping(status.get("resolved")).get("bank")
    return name if isinstance(name, str) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
