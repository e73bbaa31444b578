"""What one check knows of damage: what was reported before, what it found, what it found mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cinderbank.bank.layout import SealKey
from cinderbank.bank.manifest import SessionRef
from cinderbank.bank.scrub import AttemptRef, Damage, read_reports
from cinderbank.bank.store import ObjectStore
from cinderbank.domain.errors import CinderbankError


@dataclass(slots=True)
class Ledger:
    """NOT thread-safe. `known` is the union of the reports that could be read."""

    reports: dict[str, Damage] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    known: Damage = field(default_factory=Damage)
    _found: Damage = field(default_factory=Damage)
    _mended: Damage = field(default_factory=Damage)

    @classmethod
    def read(cls, store: ObjectStore) -> Ledger:
        """Raises what `read_reports` raises."""
        ledger = cls()
        for key, report in read_reports(store):
            if isinstance(report, CinderbankError):
                ledger.unreadable.append(report.message)
            else:
                ledger.reports[key] = report.damage
                ledger.known.add_all(report.damage)
        return ledger

    def found(self, damage: Damage) -> Damage:
        """Note damage; answers what of it no report tells yet."""
        self._found.add_all(damage)
        return damage.minus(self.known)

    def is_good(self, ref: AttemptRef, index: int) -> None:
        """This chunk was read, and it is what it must be."""
        if self.known.has_chunk(ref, index):
            self._mended.add_chunk(ref, index)

    def is_whole(self, key: SealKey) -> None:
        """Nothing of this backup is damaged."""
        if self.known.has_backup(key.site, key.backup_id):
            self._mended.backups[SessionRef(key.site, key.backup_id)] = key.volume_id

    def settle(
        self, store: ObjectStore, *, covers_all: bool, put: Callable[[Damage], None]
    ) -> list[str]:
        """Take back what is not so any more: put what is left of a report, then delete the report.

        With `covers_all` everything was looked at, so what was not found again is gone. Answers the
        keys of reports that the store refused to delete; they go on being believed.
        """
        kept: list[str] = []
        for key, damage in self.reports.items():
            gone = damage.minus(self._found) if covers_all else self._mended
            left = damage.minus(gone)
            if not damage.minus(left):
                continue
            if left:
                put(left)
            kept.extend(failure.key for failure in store.delete_many([key]))
        return kept
