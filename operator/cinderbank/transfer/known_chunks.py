"""What a backup that is being made need not store: an earlier attempt or its base has it already."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice

from cinderbank.bank.base import UNREADABLE, Base, open_base
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.journal import Resumption
from cinderbank.bank.keyring import BackupKeys
from cinderbank.bank.marks import BaseRef
from cinderbank.bank.scrub import known_damage
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.writer import StoredChunk
from cinderbank.domain.facts import BackupId, VolumeId

log = logging.getLogger(__name__)


def pinned_base(
    store: ObjectStore,
    pinned: Sequence[BaseRef],
    volume_id: VolumeId,
    geometry: Geometry,
    keys: BackupKeys | None,
) -> Base | None:
    """W2: the first of the backups that our intent pins which can lend; None when all is to be stored.

    Raises only outages and refused rights: a base that is deleted, damaged or of another kind, and a
    report of damage that can not be read, make a full backup.
    """
    if not pinned:
        return None
    try:
        damage = known_damage(store)
    except UNREADABLE as error:
        log.warning("nothing is reused: a report of damage can not be read: %s", error.message)
        return None
    for ref in pinned:
        base = open_base(store, ref, volume_id, geometry, damage, keys)
        if base is not None:
            return base
    log.warning("backup %s can lend nothing: all is stored anew", pinned[0].backup_id)
    return None


class KnownChunks:
    """First our own session's chunks, then the base's. NOT thread-safe."""

    def __init__(self, earlier: Resumption, base: Base | None) -> None:
        self._earlier = earlier
        self._base = base
        self._lent: Iterator[StoredChunk | None] = iter(()) if base is None else base.lent()
        self._following = 0
        """The chunk that `_lent` tells of next."""

    @property
    def base_id(self) -> BackupId | None:
        return None if self._base is None else self._base.backup_id

    def at(self, index: int) -> Sequence[StoredChunk]:
        """Ask in ascending order, not necessarily for all: both are streams."""
        known = self._earlier.at(index)
        lent = next(islice(self._lent, index - self._following, None), None)
        self._following = index + 1
        return known if lent is None else [*known, lent]

    def warn(self) -> None:
        """Say in the log what could not be used."""
        if self._earlier.ignored:
            log.warning("%d journal objects could not be used", self._earlier.ignored)
        if self._base is not None and self._base.unreadable is not None:
            log.warning(
                "backup %s is damaged; what it could not lend was stored anew: %s",
                self._base.backup_id,
                self._base.unreadable.message,
            )
