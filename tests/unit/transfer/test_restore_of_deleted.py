"""A backup is deleted and collected while it is restored, in front of every single request of the restore.

The real bank and the real transfer: either every byte is right, or it says that the backup is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from cinderbank.bank import layout
from cinderbank.bank.collect import CollectRules, collect
from cinderbank.domain.errors import DataCorrupt, SourceGone
from cinderbank.ports.transfers import RestoreTransfer
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.restore import Restored, run_restore
from tests.fakes.backups import (
    BACKUP,
    IMAGE,
    READER,
    SITE,
    VOLUME,
    back_up,
    bank_on,
    content_hash_of,
    sample,
)
from tests.fakes.glance_images import FakeGlance, Image
from tests.fakes.object_store import MemoryStore

CONTENT = sample("tzrsz" * 3, tail=1000)


def delete_and_collect(store: MemoryStore) -> None:
    """As its owner does it, at the site that wrote it."""
    bank = bank_on(store, SITE)
    while not bank.delete(SITE, BACKUP):
        pass
    report = collect(store, SITE, rules=CollectRules(max_delete_percent=100))
    assert report.refusal is None


@dataclass
class Trial:
    """One restore; the backup goes in front of its request number `at`."""

    at: int
    read_only: bool = False
    salvage: bool = False
    store: MemoryStore = field(default_factory=MemoryStore)
    glance: FakeGlance = field(default_factory=FakeGlance)
    fired_at: str = ""
    restored: bool = False

    def run(self) -> None:
        back_up(self.store, CONTENT)
        self.glance.images[IMAGE] = Image()
        first = len(self.store.requests)

        def go(count: int, verb: str, key: str) -> None:
            if count - first == self.at and not self.fired_at:
                self.fired_at = f"{verb} {key}"
                delete_and_collect(self.store)

        self.store.before_request = go
        bank = bank_on(self.store, "site-b", read_only=self.read_only)
        transfer = RestoreTransfer(SITE, BACKUP, 1, IMAGE, len(CONTENT), self.salvage)
        meter = ProgressMeter(len(CONTENT), lambda progress: None)
        try:
            bank.pin(SITE, BACKUP, READER)
            # One worker: only index parts, which another thread reads, come in between.
            done = run_restore(transfer, bank, self.glance.api(), meter, lambda seconds: None)
        except SourceGone as gone:
            assert gone.reason == "BackupNotFound"
            assert BACKUP in gone.message
        else:
            assert done == Restored(content_hash_of(CONTENT))
            assert self.glance.images[IMAGE].data == CONTENT
            self.restored = True
        bank.unpin(BACKUP, READER)

    def is_over(self) -> bool:
        """Whether it ended before its moment came."""
        return not self.fired_at


def trials(**how: bool) -> list[Trial]:
    found: list[Trial] = []
    for at in range(1000):
        trial = Trial(at, **how)
        trial.run()
        if trial.is_over():
            assert trial.restored
            return found
        found.append(trial)
    raise AssertionError("it does not end")


def test_a_pinned_restore_ends_right_once_it_has_begun_to_read() -> None:
    found = trials()
    for trial in found:
        if "/chunks/" in trial.fired_at:
            assert trial.restored, trial.fired_at
    assert {trial.restored for trial in found} == {True, False}
    # How many differs: index parts are read by another thread than chunks.
    assert any("/chunks/" in trial.fired_at for trial in found)


@pytest.mark.parametrize("salvage", [False, True])
def test_without_a_pin_it_says_that_the_backup_is_gone(salvage: bool) -> None:
    """A ReadOnly bank. What was freed is no damage: it is not told as such, and never salvaged as zeros."""
    found = trials(read_only=True, salvage=salvage)
    for trial in found:
        if "/chunks/" in trial.fired_at:
            assert not trial.restored, trial.fired_at
            assert trial.glance.images[IMAGE].status == ("active" if salvage else "queued")


def test_what_was_deleted_is_gone_when_nobody_reads_any_more() -> None:
    for trial in trials():
        trial.store.before_request = lambda count, verb, key: None
        collect(trial.store, SITE, rules=CollectRules(max_delete_percent=100))
        assert set(trial.store.objects) == {layout.BANK, layout.tomb(SITE, BACKUP)}


def test_what_is_damaged_and_not_deleted_is_damaged() -> None:
    trial = Trial(at=-1)
    trial.run()
    del trial.store.objects[layout.manifest(SITE, VOLUME, BACKUP)]
    with pytest.raises(DataCorrupt):
        bank_on(trial.store, "site-b").find(BACKUP)
