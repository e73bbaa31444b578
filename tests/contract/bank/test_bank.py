"""A backup's whole life, on every store."""

from __future__ import annotations

import pytest

from cinderbank.bank import layout
from cinderbank.bank.counts import SealSizes, count
from cinderbank.bank.health import validate
from cinderbank.bank.store import ObjectStore
from cinderbank.domain.errors import InvalidSpec, SourceGone
from cinderbank.domain.facts import StoreCapabilities
from tests.fakes.backups import (
    BACKUP,
    OTHER_BACKUP,
    READER,
    SITE,
    VOLUME,
    back_up,
    bank_on,
    describe,
    sample,
    write_chunks,
)
from tests.unit.bank.test_round_trip import read_all

CONTENT = sample("tzrs" * 4, tail=77)


def test_the_life_of_a_backup(store: ObjectStore) -> None:
    bank = bank_on(store)
    assert not any(vars_of(bank.observe(SITE, BACKUP)))
    bank.open_session(SITE, BACKUP, VOLUME)
    bank.open_session(SITE, BACKUP, VOLUME)
    assert vars_of(bank.observe(SITE, BACKUP)) == (True, False, False, False)
    write_chunks(store, CONTENT, bank_id=bank.open().bank_id)
    assert vars_of(bank.observe(SITE, BACKUP)) == (True, True, False, False)
    assert bank.find(BACKUP) is None
    digest = bank.seal(SITE, BACKUP, VOLUME)
    assert bank.seal(SITE, BACKUP, VOLUME) == digest
    facts = bank.observe(SITE, BACKUP)
    assert vars_of(facts) == (False, True, True, False)
    assert (facts.manifest_digest, facts.size_bytes) == (digest, len(CONTENT))
    other_site = bank_on(store, "site-b")
    found = other_site.find(BACKUP)
    assert found is not None
    assert found == describe(CONTENT, found.stored_bytes)
    other_site.pin(SITE, BACKUP, READER)
    assert read_all(store) == CONTENT  # type: ignore[arg-type]
    other_site.unpin(BACKUP, READER)
    assert bank.delete(SITE, BACKUP)
    assert vars_of(bank.observe(SITE, BACKUP)) == (False, False, False, True)
    left = {row.key for row in store.list_keys("")}
    assert left == {layout.BANK, layout.tomb(SITE, BACKUP)}


def vars_of(facts: object) -> tuple[bool, bool, bool, bool]:
    return facts.intent, facts.manifest, facts.sealed, facts.tombed  # type: ignore[attr-defined]


def test_discarding(store: ObjectStore) -> None:
    bank = bank_on(store)
    bank.open_session(SITE, BACKUP, VOLUME)
    write_chunks(store, CONTENT, bank_id=bank.open().bank_id)
    assert bank.discard(SITE, BACKUP)
    with pytest.raises(SourceGone):
        bank.seal(SITE, BACKUP, VOLUME)
    assert {row.key for row in store.list_keys("")} == {layout.BANK, layout.tomb(SITE, BACKUP)}


def test_the_self_test(store: ObjectStore) -> None:
    back_up(store, CONTENT)
    back_up(store, CONTENT, backup_id=OTHER_BACKUP)
    health = validate(bank_on(store, "site-b"))
    assert health.capabilities == StoreCapabilities(True, True, True, True, True)
    assert (health.problems, health.format_version) == ((), 1)
    counted = count(store, SITE, SealSizes())
    assert (counted.all_sites, counted.our_site) == (counted.our_site, counted.all_sites)
    assert (counted.all_sites.backups, counted.all_sites.newest) == (2, OTHER_BACKUP)
    assert validate(bank_on(store, read_only=True)).capabilities is None


def test_an_empty_place_is_no_bank_for_a_reader(store: ObjectStore) -> None:
    with pytest.raises(InvalidSpec):
        validate(bank_on(store, read_only=True))
