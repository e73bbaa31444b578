"""How much is in a bank: right figures, and a bounded number of requests for them."""

from __future__ import annotations

import pytest

from cinderbank.bank import counts, layout
from cinderbank.bank.counts import SealSizes, count
from cinderbank.bank.marks import SEAL_VOID, Seal
from cinderbank.domain.errors import Unavailable
from cinderbank.domain.facts import BackupCount, BackupId
from tests.fakes.backups import BACKUP, NOW, OTHER_BACKUP, SITE, VOLUME, back_up, bank_on, sample
from tests.fakes.object_store import MemoryStore
from tests.unit.bank.test_catalog import DIGEST, add, backup_id, tomb

SEAL_BYTES = 100
"""What each backup of `test_catalog.add` has stored."""


def seals_read(store: MemoryStore, since: int = 0) -> int:
    return sum(verb == "GET" and "/seals/" in key for verb, key in store.requests[since:])


def test_an_empty_bank() -> None:
    found = count(MemoryStore(), SITE, SealSizes())
    assert found.all_sites == found.our_site == BackupCount(0, 0)


def test_of_all_sites_and_of_ours() -> None:
    store = MemoryStore()
    for number in (1, 2):
        add(store, "site-a", number)
    add(store, "site-b", 7)
    tomb(store, "site-a", 2)
    add(store, "site-a", 3, Seal(SEAL_VOID, DIGEST, 0, 0))
    store.objects["sites/site-a/seals/readme.txt"] = b"?"
    found = count(store, "site-a", SealSizes())
    assert found.foreign == 1
    assert found.all_sites == BackupCount(2, 2 * SEAL_BYTES, backup_id(7), None)
    assert found.our_site == BackupCount(1, SEAL_BYTES, backup_id(1), None)


def test_the_newest_one_tells_of_when_it_is() -> None:
    store = MemoryStore()
    for backup in (BACKUP, OTHER_BACKUP):
        back_up(store, sample("tr"), backup_id=backup)
    sizes = SealSizes()
    found = count(store, SITE, sizes)
    assert (found.our_site.newest, found.our_site.newest_snapshot_at) == (OTHER_BACKUP, NOW)
    bank_on(store).delete(SITE, OTHER_BACKUP)
    assert count(store, SITE, sizes).our_site.newest == BACKUP
    store.flip(layout.manifest(SITE, VOLUME, BACKUP), 100)
    assert count(store, SITE, SealSizes()).our_site.newest_snapshot_at is None


def test_a_seal_is_read_once_and_the_manifest_of_the_newest() -> None:
    store, sizes = MemoryStore(), SealSizes()
    back_up(store, sample("tr"))
    first = count(store, SITE, sizes)
    before = len(store.requests)
    assert count(store, SITE, sizes) == first
    assert {verb for verb, _ in store.requests[before:]} == {"LIST"}


def test_a_bank_of_many_is_counted_at_once_and_weighed_bit_by_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counts, "SEALS_AT_ONCE", 10)
    store, sizes = MemoryStore(), SealSizes()
    for number in range(25):
        add(store, SITE, number)
    weighed = []
    for _ in range(4):
        before = len(store.requests)
        found = count(store, SITE, sizes)
        assert found.all_sites.backups == 25
        # The newest one's, for its manifest, is read besides: it has none here.
        assert seals_read(store, before) <= 10 + 1
        weighed.append(found.all_sites.stored_bytes)
    assert weighed == [None, None, 25 * SEAL_BYTES, 25 * SEAL_BYTES]
    tomb(store, SITE, 24)
    assert count(store, SITE, sizes).all_sites.stored_bytes == 24 * SEAL_BYTES
    assert len(sizes.known) == 24, "what is not there any more is forgotten"


def test_a_bank_that_does_not_end_is_not_listed_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counts, "MOST_SEALS", 20)
    store = MemoryStore()
    for number in range(25):
        add(store, SITE, number)
    found = count(store, SITE, SealSizes())
    assert found.all_sites == BackupCount(20, None, None, None)


def test_a_damaged_seal_is_a_backup_and_an_outage_is_none() -> None:
    store, sizes = MemoryStore(), SealSizes()
    add(store, SITE, 1)
    store.objects[layout.seal(SITE, BackupId(backup_id(3)), VOLUME)] = b"not a seal"
    assert count(store, SITE, sizes).all_sites.backups == 2
    add(store, SITE, 5)
    store.fail_next("GET")
    with pytest.raises(Unavailable):
        count(store, SITE, sizes)
