"""Which RecoveryPoints a BackupBank should have, and what is to be done about those that are there: pure.

A name is made of the bank's name and of everything that tells one backup from another, so that two
BackupBanks of one namespace never want the same object, and a bank that holds one id twice (only a
hostile or a copied one does) can not hide one backup behind another.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from hashlib import blake2b

from cinderbank.domain.facts import BackupId, VolumeId

_BANK_CHARACTERS = 27
_DIGEST_BYTES = 5
NONE_VERIFIED: Mapping[PointKey, datetime] = {}


@dataclass(frozen=True, slots=True)
class PointKey:
    """One backup in a bank, by all that its seal's key says."""

    site: str
    backup_id: BackupId
    volume_id: VolumeId


def point_name(bank: str, key: PointKey) -> str:
    """metadata.name of the mirror of `key`: at most 63 characters, lower case, the same for ever.

    Ids are upper case and names of objects are not; lowering an id never makes two of them one.
    """
    told = "/".join((bank, key.site, key.volume_id, key.backup_id))
    digest = base64.b32encode(blake2b(told.encode(), digest_size=_DIGEST_BYTES).digest())
    first = bank[:_BANK_CHARACTERS].rstrip("-.")
    return f"{first}-{key.backup_id.lower()}-{digest.decode().lower()}"


class PointState(Enum):
    UNSEEN = auto()
    """Made, and its status was never written."""
    READABLE = auto()
    DEGRADED = auto()
    UNREADABLE = auto()


@dataclass(frozen=True, slots=True)
class Present:
    """A RecoveryPoint that the API server has, with the labels of this bank."""

    name: str
    uid: str
    ours: bool
    """It belongs to this very BackupBank. What does not is never changed and never deleted."""
    key: PointKey | None
    state: PointState
    looked_at: datetime | None = None
    deleting: bool = False
    """Somebody deleted it, or we did, and a finalizer keeps it."""
    verified_at: datetime | None = None
    """As it tells."""
    chosen: bool = True
    """Its tags are those of the selector; one that can not be read always is."""


@dataclass(frozen=True, slots=True)
class Plan:
    delete: tuple[Present, ...]
    create: tuple[tuple[str, PointKey], ...]
    """Newest first."""
    look_again: tuple[tuple[Present, PointKey], ...]
    """Without a status, or what a check found about it has changed."""
    unreadable: tuple[tuple[Present, PointKey], ...]
    """Those that were looked at longest ago first."""
    taken: int
    """Backups whose name an object has that is not ours."""
    kept: int
    """Mirrors that are as they should be."""


def plan(
    bank: str,
    newest: Iterable[PointKey],
    present: Iterable[Present],
    damaged: Set[PointKey],
    verified: Mapping[PointKey, datetime] = NONE_VERIFIED,
) -> Plan:
    """`newest` are the backups to be mirrored, newest first. Carried out whole, the next plan over the
    same bank is empty but for `unreadable`."""
    wanted: dict[str, PointKey] = {}
    for key in newest:
        wanted.setdefault(point_name(bank, key), key)
    left = dict(wanted)
    delete: list[Present] = []
    again: list[tuple[Present, PointKey]] = []
    unreadable: list[tuple[Present, PointKey]] = []
    taken = kept = 0
    for each in present:
        found = wanted.get(each.name)
        if not each.ours:
            taken += left.pop(each.name, None) is not None
        elif each.deleting:
            left.pop(each.name, None)  # nothing more to do to it; made anew when it has gone
        elif found is None or each.key != found:
            delete.append(each)  # when it names another backup it is made anew
        else:
            left.pop(each.name, None)
            if not each.chosen:
                delete.append(each)
            elif each.state is PointState.UNREADABLE:
                unreadable.append((each, found))
            elif (each.state, each.verified_at) == (
                _state_of(found, damaged),
                None if found in damaged else verified.get(found),
            ):
                kept += 1
            else:
                again.append((each, found))
    unreadable.sort(key=lambda pair: (_looked_at(pair[0]), pair[0].name))
    return Plan(tuple(delete), tuple(left.items()), tuple(again), tuple(unreadable), taken, kept)


def _state_of(key: PointKey, damaged: Set[PointKey]) -> PointState:
    return PointState.DEGRADED if key in damaged else PointState.READABLE


def _looked_at(each: Present) -> float:
    return 0.0 if each.looked_at is None else each.looked_at.timestamp()
