"""Finding the one backup that fits what people know of it, at bounded cost.

The volume's id is in a seal's key; names, tags and times are in manifests, and each costs a GET. So
keys are listed (one LIST per 1000), the newest MAX_KEYS of them are kept, and at most MAX_MANIFESTS
manifests are read, volume by volume, newest first:

| the selector names | manifests read |
|---|---|
| volume_id | of this volume, until one fits |
| volume_name | one of each volume, and of the volume of that name until one fits |
| neither | of each volume until one fits: all, where none does |

"Newest" is what was begun last; an id that claims to be of the future counts as the oldest. A volume is one
of one site: another site may use its id, by chance or not. It is known by the name in its newest readable
backup that is not later than asOf. What can not be read is passed over and counted: it hides no other
backup. When the bounds were met before it was certain that no other volume fits, nothing is chosen.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cinderbank.bank import catalog, proofs, state
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.layout import SealKey
from cinderbank.bank.scrub import Damage
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.timed_store import OutOfTime
from cinderbank.domain.errors import CinderbankError, DataCorrupt, InvalidSpec, Retryable
from cinderbank.domain.facts import ChunkLook, VolumeId
from cinderbank.domain.selection import BackupSelector, Chosen, NoneChosen, Selection
from cinderbank.ports.bank import BackupDescription

MAX_KEYS = 20_000
"""Some 300 bytes each."""

MAX_MANIFESTS = 2_000
"""One GET each: some 5 ms from a store nearby."""

MAX_VERIFIED = 20
"""Backups whose chunks are looked for when only verified ones are wanted."""

CLOCK_SKEW = timedelta(hours=1)
"""A backup's id is minted by our clock, and the cloud's clock says when its snapshot was taken."""


Volume = tuple[str, VolumeId]
"""Site and id."""


@dataclass(slots=True)
class _Tally:
    keys: int = 0
    is_cut: bool = False
    """A bound was met: what was not looked at may fit too."""
    late: str = ""
    """The bound was the time."""
    manifests: int = 0
    verified: int = 0
    skipped: int = 0
    first_problem: str = ""
    key_problem: InvalidSpec | None = None
    near: str = ""
    """The newest backup that all but fits, and what keeps it out."""


@dataclass
class Search:
    """One search; `run` is to be called once."""

    store: ObjectStore
    here: str
    """The site that asks."""
    selector: BackupSelector
    keyring: Keyring | None
    damage: Damage
    """What checks found; such a backup is not good."""
    look_for_chunks: Callable[[SealKey], ChunkLook]
    now: datetime
    _tally: _Tally = field(default_factory=_Tally)

    def run(self) -> Selection:
        """Raises what the store raises when it is the store that fails, and InvalidSpec (BankKeyMissing,
        BankKeyWrong, ...) when nothing fits and not all could be read for that."""
        fitting: dict[Volume, Chosen] = {}
        try:
            self._look(fitting)
        except OutOfTime as error:
            self._tally.is_cut, self._tally.late = True, error.message
        if len(fitting) > 1:
            return self._ambiguous(fitting)
        if not fitting:
            return self._none()
        (((site, volume_id), chosen),) = fitting.items()
        if self._tally.is_cut and None in (self.selector.volume_id, self.selector.site):
            return self._too_wide(
                f"backup {chosen.backup_id} of volume {volume_id} (site {site}) fits, but another volume's"
                f" may too: add volumeID: {volume_id} and site: {site} if that is the volume"
            )
        return chosen

    def _look(self, fitting: dict[Volume, Chosen]) -> None:
        """Volume by volume, until it is certain."""
        for volume, backups in self._by_volume().items():
            chosen = self._first_good(backups)
            if chosen is not None:
                fitting[volume] = chosen
            if len(fitting) > 1:
                return
            if self._tally.manifests >= MAX_MANIFESTS:
                self._tally.is_cut = True
                return

    def _by_volume(self) -> dict[Volume, list[SealKey]]:
        """Newest first, and so are the volumes."""
        wanted = catalog.Filter(self.selector.site, self.selector.volume_id, until=self._until())
        keys = catalog.sealed_keys(self.store, wanted)
        limit = self.now + catalog.FUTURE
        newest = heapq.nlargest(MAX_KEYS + 1, keys, key=lambda key: catalog.rank(key, limit))
        self._tally.is_cut = len(newest) > MAX_KEYS
        self._tally.keys = min(len(newest), MAX_KEYS)
        found: dict[Volume, list[SealKey]] = {}
        for key in newest[:MAX_KEYS]:
            found.setdefault((key.site, key.volume_id), []).append(key)
        return found

    def _until(self) -> datetime | None:
        if self.selector.as_of is None:
            return None
        latest = datetime.max.replace(tzinfo=UTC) - 2 * CLOCK_SKEW
        return min(self.selector.as_of.astimezone(UTC), latest) + CLOCK_SKEW

    def _first_good(self, backups: list[SealKey]) -> Chosen | None:
        """Of one volume."""
        wanted, is_named = self.selector, self.selector.volume_name is None
        for key in backups:
            if self._tally.manifests >= MAX_MANIFESTS:
                self._tally.is_cut = True
                return None
            about = self._read(key)
            if about is None:
                continue
            if not is_named and about.volume_name != wanted.volume_name:
                if self._is_later(about):
                    continue
                return None
            if self._is_later(about):
                if self._has_names(about):
                    self._nearly(about, "its snapshot is later than asOf")
                continue
            is_named = True
            if not self._has_names(about):
                continue
            problem = self._problem(key)
            if not problem:
                return Chosen(about.backup_id, about.site, about.snapshot_at, self._looked(about))
            self._nearly(about, problem)
        return None

    def _read(self, key: SealKey) -> BackupDescription | None:
        """None, and counted, when it is not a backup that can be read."""
        try:
            read = state.read_manifest(
                self.store,
                key.site,
                key.volume_id,
                key.backup_id,
                self.keyring,
                catalog.MAX_CATALOG_MANIFEST_BYTES,
            )
            if read is None:
                raise DataCorrupt(f"backup {key.backup_id} of site {key.site} has no manifest")
            # Before its names count: a planted one could say which volume is meant.
            state.refuse_plain(read[0], self.keyring)
        except CinderbankError as error:
            self._skip(error)
            read = None
        self._tally.manifests += 1
        return None if read is None else read[0].description

    def _skip(self, error: CinderbankError) -> str:
        """Counted, and its message; raised again when it is the store that fails."""
        if isinstance(error, Retryable) or error.reason.startswith("BankAccess"):
            raise error
        self._tally.skipped += 1
        self._tally.first_problem = self._tally.first_problem or error.message
        if isinstance(error, InvalidSpec):
            self._tally.key_problem = self._tally.key_problem or error
        return error.message

    def _is_later(self, about: BackupDescription) -> bool:
        return self.selector.as_of is not None and about.snapshot_at > self.selector.as_of

    def _has_names(self, about: BackupDescription) -> bool:
        wanted = self.selector
        return wanted.backup_name in (None, about.backup_name) and all(
            about.tags.get(name) == value for name, value in wanted.tags.items()
        )

    def _problem(self, key: SealKey) -> str:
        """Why it is not a good backup; empty when it is."""
        if self.damage.has_backup(key.site, key.backup_id):
            return "a check found it damaged"
        try:
            if proofs.is_different(self.store, self.here, key.site, key.backup_id, self.now):
                return "a restore drill found that other bytes come back"
            sealed = state.read_seal_of(self.store, key.site, key.backup_id, key.volume_id)
            if sealed is None or not sealed.is_ok:
                return "it is not committed, or was deleted meanwhile"
            state.sealed_manifest(
                self.store, sealed, self.keyring, catalog.MAX_CATALOG_MANIFEST_BYTES
            )
            return self._unverified(key) if self.selector.require_verified else ""
        except CinderbankError as error:
            return self._skip(error)

    def _unverified(self, key: SealKey) -> str:
        if self._tally.verified >= MAX_VERIFIED:
            self._tally.is_cut = True
            return f"{MAX_VERIFIED} others were looked at before it, and none of them is whole"
        self._tally.verified += 1
        look = self.look_for_chunks(key)
        if look.is_whole:
            return ""
        return look.problem or (
            f"of {look.total} chunks {look.looked} were looked at, and {look.missing} are lost"
        )

    def _nearly(self, about: BackupDescription, why: str) -> None:
        self._tally.near = self._tally.near or (
            f"the nearest is backup {about.backup_id} of volume {about.volume_id}"
            f" ({_shown(about.volume_name)}), of {about.snapshot_at.isoformat()}: {why}"
        )

    def _looked(self, about: BackupDescription | None = None) -> str:
        """What was done, for the user; of the chosen backup, if there is one."""
        tally = self._tally
        said = (
            ""
            if about is None
            else (
                f"backup {about.backup_id} of volume {about.volume_id} ({_shown(about.volume_name)}), of"
                f" {about.snapshot_at.isoformat()}, is the newest that fits; "
            )
        )
        said += f"{tally.manifests} of {tally.keys} backups were looked at"
        if tally.skipped:
            said += f", {tally.skipped} could not be read (the first: {tally.first_problem[:500]})"
        return said

    def _ambiguous(self, fitting: dict[Volume, Chosen]) -> NoneChosen:
        both = " and ".join(
            f"backup {chosen.backup_id} of volume {volume_id} (site {site})"
            for (site, volume_id), chosen in fitting.items()
        )
        sites, volumes = zip(*fitting, strict=True)
        tell = [name for name, of in (("volumeID", volumes), ("site", sites)) if len(set(of)) > 1]
        return NoneChosen(
            "SelectorAmbiguous",
            f"spec.source.bank.selector fits different volumes: {both}. Say which in {' or '.join(tell)} of"
            " a new VolumeRestore",
        )

    def _too_wide(self, what: str) -> NoneChosen:
        return NoneChosen(
            "SelectorTooWide",
            f"spec.source.bank.selector is too wide for this bank: {self._looked()}, which is not all, and"
            f" {what}. {self._late()}Add volumeID or site, or name the backup by backupID",
        )

    def _late(self) -> str:
        return f"It took too long: {self._tally.late}. " if self._tally.late else ""

    def _none(self) -> NoneChosen:
        tally = self._tally
        if tally.key_problem is not None:
            raise tally.key_problem
        near = tally.near or "none is near"
        if tally.is_cut:
            return self._too_wide(f"none of them fits; {near}")
        return NoneChosen(
            "NoBackupFits",
            f"no backup fits spec.source.bank.selector: {self._looked()}; {near}. Check the bank's bucket"
            " and prefix and what the selector says, and make a new VolumeRestore",
        )


def _shown(name: str) -> str:
    """A name out of a manifest, in a message."""
    return repr(name if len(name) <= 80 else f"{name[:79]}…")
