"""What the catalogue of a bank needs: the bank, read; and the RecoveryPoints, written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cinderbank.domain.catalog import PointKey, Present
from cinderbank.domain.facts import VolumeId
from cinderbank.ports.bank import BackupDescription


@dataclass(frozen=True, slots=True)
class Choice:
    """Which backups; an empty set is any."""

    limit: int
    """At most so many, the newest."""
    sites: frozenset[str] = frozenset()
    volume_ids: frozenset[VolumeId] = frozenset()
    since: datetime | None = None
    """Begun then or later."""


@dataclass(frozen=True, slots=True)
class Newest:
    keys: tuple[PointKey, ...]
    """Newest first; those whose id claims to be of the future come last."""
    backups: int
    """How many there are altogether, those passed over not counted."""
    passed: frozenset[PointKey]
    """Those of the ones to be passed over that are still there."""
    foreign_keys: int
    """Keys among the seals that are none."""


@dataclass(frozen=True, slots=True)
class Described:
    """A backup that can be read. Its texts are as somebody wrote them: hostile."""

    about: BackupDescription
    encrypted: bool


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A backup that is sealed and can not be read here."""

    reason: str
    message: str


class CatalogBank(Protocol):
    """One bank. Every method MAY raise what `ports.bank.Bank` names; all are reads."""

    def newest(self, choice: Choice, passed: Set[PointKey], now: datetime) -> Newest:
        """Seals without a tomb, but for `passed`. One LIST per 1000 seals and tombs, and memory for
        `choice.limit` of them. Raises Unsupported (CatalogTooLarge) when there are too many to list."""
        ...

    def look(self, key: PointKey) -> Described | Unreadable | None:
        """Two GETs of bounded size. None when it is no backup (a VOID seal) or was deleted
        meanwhile."""
        ...

    def damaged(self, among: Set[PointKey]) -> frozenset[PointKey]:
        """Those that a check at any site found not to be whole, or a drill to come back otherwise. Raises
        DataCorrupt when there are more proofs than a bank of ours has: then nobody knows."""
        ...

    def verified(self, among: Set[PointKey]) -> Mapping[PointKey, datetime]:
        """When a drill or a check of any site last found each of them whole; those that none has are
        not in it. One LIST for each site, and more for 1000 proofs. Raises as `damaged`."""
        ...


class RecoveryPoints(Protocol):
    """The RecoveryPoints of one BackupBank. Every method MAY raise Unavailable, AuthRefused,
    Forbidden."""

    def present(self, tags: Mapping[str, str]) -> Iterator[Present]:
        """All that carry the label of this bank; streams. `tags` decides `Present.chosen`."""
        ...

    def create(
        self,
        name: str,
        key: PointKey,
        found: Described | Unreadable,
        degraded: bool,
        verified_at: datetime | None = None,
    ) -> bool:
        """Make it and tell its status. False when an object of that name is there already."""
        ...

    def tell(
        self,
        point: Present,
        found: Described | Unreadable,
        degraded: bool,
        verified_at: datetime | None = None,
    ) -> None:
        """Write its status anew. One that has changed or gone meanwhile is left to the next time."""
        ...

    def delete(self, point: Present) -> None:
        """Delete this very object, by its uid. Idempotent."""
        ...
