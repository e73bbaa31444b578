"""A backup's id alone names no backup when another site has the same one: nothing is guessed."""

from __future__ import annotations

import pytest

from cinderbank.bank import bank as banks
from cinderbank.bank import layout
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.marks import Seal
from cinderbank.domain.errors import DataCorrupt, InvalidSpec, SourceGone, Unavailable
from cinderbank.domain.facts import VolumeId
from tests.fakes.backups import BACKUP, NOW, SITE, VOLUME, back_up, bank_on, sample
from tests.fakes.clock import FakeClock
from tests.fakes.object_store import MemoryStore

KEK = KeyEncryptionKey(bytes(range(32)))
EVIL = "a-site-before-all-others"
OTHER = VolumeId("21111111-2222-4333-8444-555555555555")


@pytest.fixture
def store() -> MemoryStore:
    """The same id at two sites."""
    store = MemoryStore()
    back_up(store, sample("tz"))
    back_up(store, sample("rs"), site=EVIL)
    return store


def test_with_its_site_it_is_that_sites(store: MemoryStore) -> None:
    for site in (SITE, EVIL):
        found = bank_on(store).find(BACKUP, site)
        assert found is not None and found.site == site
    assert bank_on(store).find(BACKUP, "site-c") is None


def test_without_a_site_it_is_ambiguous(store: MemoryStore) -> None:
    with pytest.raises(SourceGone) as refused:
        bank_on(store).find(BACKUP)
    assert refused.value.reason == "BackupAmbiguous"
    assert SITE in refused.value.message
    assert EVIL in refused.value.message
    assert "spec.source.bank.site" in refused.value.message
    bank_on(store, EVIL).delete(EVIL, BACKUP)
    found = bank_on(store).find(BACKUP)
    assert found is not None and found.site == SITE


def test_what_can_not_be_read_at_one_site_stops_no_other(store: MemoryStore) -> None:
    store.objects[layout.manifest(EVIL, VOLUME, BACKUP)] = b"{"
    found = bank_on(store).find(BACKUP, SITE)
    assert found is not None and found.site == SITE
    with pytest.raises(DataCorrupt):
        bank_on(store).find(BACKUP, EVIL)
    # Who plants it chooses whether it can be read: that decides nothing.
    with pytest.raises(SourceGone, match=EVIL):
        bank_on(store).find(BACKUP)
    store.objects[layout.seal(EVIL, BACKUP, VOLUME)] = b"{"
    with pytest.raises(SourceGone, match=EVIL):
        bank_on(store).find(BACKUP)
    void = Seal("VOID", "sha256:" + "0" * 64, 0, 0)
    store.objects[layout.seal(EVIL, BACKUP, VOLUME)] = void.dump()
    assert bank_on(store).find(BACKUP) is not None


def test_a_plain_one_beside_the_encrypted_one() -> None:
    store = MemoryStore()
    back_up(store, sample("tz"), keks=(KEK,))
    plain = MemoryStore()
    back_up(plain, sample("tz"), site=EVIL)
    store.objects |= {key: body for key, body in plain.objects.items() if EVIL in key}
    found = bank_on(store, keks=(KEK,)).find(BACKUP, SITE)
    assert found is not None and found.site == SITE
    with pytest.raises(InvalidSpec) as refused:
        bank_on(store, keks=(KEK,)).find(BACKUP, EVIL)
    assert refused.value.reason == "BankPlainBackup"


def test_another_volume_is_another_backup(store: MemoryStore) -> None:
    assert bank_on(store).find(BACKUP, SITE, VOLUME) is not None
    assert bank_on(store).find(BACKUP, SITE, OTHER) is None


def test_an_outage_is_no_answer(store: MemoryStore) -> None:
    bank = bank_on(store)
    bank.open()
    store.fail_next("LIST")
    with pytest.raises(Unavailable):
        bank.find(BACKUP)


def test_so_many_sites_are_asked_within_the_time_and_no_more(store: MemoryStore) -> None:
    clock = FakeClock(NOW)
    bank = bank_on(store, now=clock.now)
    bank.open()
    for number in range(200):
        store.put(f"sites/s{number:03d}/seals/foreign", b"")
    store.requests.clear()
    store.after_request = lambda count, verb, key: clock.advance(1)
    with pytest.raises(Unavailable) as late:
        bank.find(BACKUP)
    assert late.value.reason == "BankTooSlow"
    assert len(store.requests) <= banks.LOOK_SECONDS
    found = bank.find(BACKUP, SITE)
    assert found is not None
