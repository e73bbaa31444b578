"""Incremental backups and collection in an encrypted bank."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest

from cinderbank.bank import keys as bank_keys
from cinderbank.bank import layout
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.collect import collect
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.keyring import EPOCH_SECONDS
from cinderbank.domain.facts import BackupId
from cinderbank.transfer.backup import run_backup
from cinderbank.transfer.events import ProgressMeter
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    IMAGE,
    NOW,
    OTHER_BACKUP,
    SITE,
    VOLUME,
    back_up,
    backup_transfer,
    bank_on,
    sample,
)
from tests.fakes.glance_images import FakeGlance
from tests.fakes.object_store import MemoryStore
from tests.unit.bank.test_round_trip import read_all

KEK, NEW = KeyEncryptionKey(os.urandom(32)), KeyEncryptionKey(os.urandom(32))
CONTENT = sample("tzrszt", tail=100)
CHANGED = sample("trrszt", tail=100)


def transfer(bank: StoredBank, content: bytes, backup_id: BackupId) -> int:
    """A whole backup by the real transfer; bytes of the volume that were reused."""
    glance = FakeGlance()
    glance.add(IMAGE, content, "sha512")
    bank.open_session(SITE, backup_id, VOLUME)
    work = replace(backup_transfer(content), backup_id=backup_id)
    meter = ProgressMeter(len(content), lambda progress: None)
    run_backup(work, bank, glance.api(), meter, Geometry(len(content), CHUNK, 2))
    bank.seal(SITE, backup_id, VOLUME)
    return bank.observe(SITE, backup_id).reused_bytes or 0


def later(store: MemoryStore, *keks: KeyEncryptionKey) -> StoredBank:
    """In the next epoch."""
    then = NOW + timedelta(seconds=EPOCH_SECONDS + 1)
    return bank_on(store, keks=keks, now=lambda: then)


@pytest.mark.parametrize("how", ["same epoch", "next epoch", "rotated"])
def test_p7_an_unchanged_volume_stores_nothing_also_under_a_new_data_key(how: str) -> None:
    store = MemoryStore()
    transfer(bank_on(store, keks=[KEK]), CONTENT, BACKUP)
    bank = later(store, KEK) if how == "next epoch" else bank_on(store, keks=[KEK])
    if how == "rotated":
        assert bank.keys is not None
        bank_keys.rotate(bank.keys, KEK.id, NEW)
        bank = bank_on(store, keks=[NEW])
    reused = transfer(bank, CONTENT, OTHER_BACKUP)
    assert reused == len(CONTENT) - 2 * CHUNK
    assert not list(store.list_keys(layout.session_chunks_prefix(SITE, OTHER_BACKUP)))
    assert read_all(store, bank.keys, backup_id=OTHER_BACKUP) == CONTENT


def test_a_plain_backup_lends_nothing_to_an_encrypted_one() -> None:
    store = MemoryStore()
    transfer(bank_on(store), CONTENT, BACKUP)
    bank = bank_on(store, keks=[KEK], accepts_plain=True)
    assert transfer(bank, CONTENT, OTHER_BACKUP) == 0
    assert read_all(store, bank.keys, backup_id=OTHER_BACKUP) == CONTENT


def test_p8_a_base_that_was_deleted_and_collected_leaves_what_was_borrowed() -> None:
    store = MemoryStore()
    transfer(bank_on(store, keks=[KEK]), CONTENT, BACKUP)
    bank = later(store, KEK)
    assert transfer(bank, CHANGED, OTHER_BACKUP) > 0
    bank.delete(SITE, BACKUP)
    report = collect(store, SITE, bank.keys)
    assert report.refusal is None
    assert read_all(store, bank.keys, backup_id=OTHER_BACKUP) == CHANGED
    assert not bank.observe(SITE, BACKUP).manifest
    # Both data keys stay: borrowed chunks are under the first one.
    assert len(bank_keys.rows(store)) == 2


def test_p16_without_a_key_nothing_is_collected() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[KEK])
    back_up(store, CHANGED, backup_id=OTHER_BACKUP, keks=[KEK])
    bank_on(store).delete(SITE, BACKUP)
    before = dict(store.objects)
    for keys in (None, bank_on(store, keks=[NEW]).keys):
        report = collect(store, SITE, keys)
        assert report.refusal is not None
        assert report.refusal.reason in ("BankKeyMissing", "BankKeyWrong")
        assert store.objects == before
    assert collect(store, SITE, bank_on(store, keks=[KEK]).keys).refusal is None
    assert read_all(store, bank_on(store, keks=[KEK]).keys, backup_id=OTHER_BACKUP) == CHANGED
