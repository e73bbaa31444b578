"""What is known of every object of ours: enough to count, to wake and to notice what vanished.

Fed by the watches and by the full list; never the truth for a decision (a tick reads its object
anew). Thread-safe.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cinderbank.domain.record import Phase

VOLUME_BACKUP = "VolumeBackup"
VOLUME_RESTORE = "VolumeRestore"
VOLUME_BACKUP_POLICY = "VolumeBackupPolicy"
BACKUP_BANK = "BackupBank"
BANK_CHECK = "BankCheck"
RECOVERY_POINT = "RecoveryPoint"
KINDS = (BACKUP_BANK, VOLUME_BACKUP, VOLUME_RESTORE, BANK_CHECK, VOLUME_BACKUP_POLICY)
"""In the order in which they are listed: what a policy has made is known before the policy."""


@dataclass(frozen=True, slots=True)
class Key:
    """One object; the uid tells a re-created one of the same name from the first."""

    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name} ({self.uid})"


@dataclass(frozen=True, slots=True)
class CopyKey:
    """The copy of one VolumeBackup in one bank."""

    object: Key
    bank: str

    def __str__(self) -> str:
        return f"the copy of {self.object} in bank {self.bank}"


def object_of(key: Key | CopyKey) -> Key:
    """The object that is worked on when this key has news."""
    return key.object if isinstance(key, CopyKey) else key


@dataclass(frozen=True, slots=True)
class Known:
    generation: int
    deleting: bool
    phase: str
    ready: bool
    finished: bool
    """Ended, cleaned up, and nothing was asked of it since: it needs no run."""
    references: frozenset[tuple[str, str]]
    """(kind, name) of the objects of the same namespace that it needs."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at an object changes for the queue."""

    key: Key
    must_run: bool
    wakes: tuple[Key, ...]
    """Objects that may wait for this one."""


class KnownObjects:
    def __init__(self) -> None:
        self._objects: dict[Key, Known] = {}
        self._lock = threading.Lock()

    def see(self, raw: Mapping[str, Any]) -> Seen:
        """Take an object in. Our own status writes come back as events and are no reason to run."""
        key, known = key_of(raw), known_of(raw)
        with self._lock:
            before = self._objects.get(key)
            self._objects[key] = known
            changed = before is None or _asked(before) != _asked(known)
            must_run = changed and not known.finished
            changed = changed or (before is not None and before.ready != known.ready)
            wakes = self._dependents(key) if changed else ()
        return Seen(key, must_run, wakes)

    def is_finished(self, key: Key) -> bool:
        with self._lock:
            known = self._objects.get(key)
            return known is not None and known.finished

    def drop(self, key: Key) -> tuple[Key, ...]:
        """The object is gone; returns who may have needed it."""
        with self._lock:
            if self._objects.pop(key, None) is None:
                return ()
            return self._dependents(key)

    def missing(self, listed: Iterable[Key], kind: str, known_before: frozenset[Key]) -> list[Key]:
        """Keys of `kind` that were known before a full list began and are not in it."""
        present = set(listed)
        with self._lock:
            return [
                key
                for key in self._objects
                if key.kind == kind and key in known_before and key not in present
            ]

    def keys(self) -> frozenset[Key]:
        with self._lock:
            return frozenset(self._objects)

    def phases(self, kind: str) -> Counter[str]:
        """How many objects of a kind are in which phase; an object not yet seen by us is Pending."""
        with self._lock:
            found = Counter(
                known.phase or "Pending" for key, known in self._objects.items() if key.kind == kind
            )
        # a phase with none is a 0, not a gap: an alert on it must be able to end
        return Counter({**dict.fromkeys(map(str, Phase), 0), **found})

    def banks(self) -> dict[tuple[str, str], bool]:
        """(namespace, name) of each BackupBank, and whether it is Ready."""
        with self._lock:
            return {
                (key.namespace, key.name): known.ready
                for key, known in self._objects.items()
                if key.kind == BACKUP_BANK
            }

    def _dependents(self, on: Key) -> tuple[Key, ...]:
        wanted = (on.kind, on.name)
        return tuple(
            key
            for key, known in self._objects.items()
            if key.namespace == on.namespace and wanted in known.references
        )


def _asked(known: Known) -> tuple[int, bool]:
    """What others change in an object; the rest is our own writing."""
    return known.generation, known.deleting


def key_of(raw: Mapping[str, Any]) -> Key:
    metadata = raw["metadata"]
    return Key(raw["kind"], metadata["namespace"], metadata["name"], metadata["uid"])


def known_of(raw: Mapping[str, Any]) -> Known:
    """Reads leniently: anybody may have written what stands in an object."""
    metadata = raw["metadata"]
    status = _mapping(raw.get("status"))
    phase = status.get("phase")
    return Known(
        generation=metadata.get("generation", 0),
        deleting="deletionTimestamp" in metadata,
        phase=phase if isinstance(phase, str) else "",
        ready=_is_ready(status),
        finished=_has_ended(raw["kind"], status)
        and not _waits_for_copies(_mapping(raw.get("spec")), status)
        and status.get("observedGeneration") == metadata.get("generation", 0)
        and "deletionTimestamp" not in metadata,
        references=frozenset(_references(_mapping(raw.get("spec")))),
    )


def _has_ended(kind: str, status: Mapping[str, Any]) -> bool:
    if kind == BANK_CHECK:
        return status.get("phase") in ("Completed", "Failed")
    return _mapping(status.get("outcome")).get("final") is True


def _waits_for_copies(spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Whether copies of a backup that is one are not all there."""
    if _mapping(status.get("outcome")).get("phase") != "Completed":
        return False
    rows = status.get("copies")
    done = {
        each.get("bank")
        for each in map(_mapping, rows if isinstance(rows, list) else ())
        if each.get("phase") == "Completed"
    }
    return any(name not in done for name in _copy_banks(spec))


def _copy_banks(spec: Mapping[str, Any]) -> Iterable[str]:
    rows = spec.get("copies")
    for each in rows if isinstance(rows, list) else ():
        name = _mapping(_mapping(each).get("bankRef")).get("name")
        if isinstance(name, str):
            yield name


def _is_ready(status: Mapping[str, Any]) -> bool:
    conditions = status.get("conditions")
    return any(
        isinstance(each, Mapping) and each.get("type") == "Ready" and each.get("status") == "True"
        for each in (conditions if isinstance(conditions, list) else ())
    )


def _references(spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    source = _mapping(spec.get("source"))
    in_bank = _mapping(source.get("bank"))
    for kind, reference in (
        (BACKUP_BANK, spec.get("bankRef")),
        (BACKUP_BANK, in_bank.get("bankRef")),
        (VOLUME_BACKUP, source.get("backupRef")),
        (RECOVERY_POINT, source.get("recoveryPointRef")),
    ):
        name = _mapping(reference).get("name")
        if isinstance(name, str):
            yield kind, name
    for name in _copy_banks(spec):
        yield BACKUP_BANK, name


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
