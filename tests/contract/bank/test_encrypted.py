"""An encrypted bank's whole life, on every store."""

from __future__ import annotations

import os

import pytest

from cinderbank.bank import keys as bank_keys
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.wrapped_keys import list_keys
from cinderbank.domain.errors import InvalidSpec
from tests.fakes.backups import BACKUP, OTHER_BACKUP, SITE, back_up, bank_on, sample

OLD, NEW = KeyEncryptionKey(os.urandom(32)), KeyEncryptionKey(os.urandom(32))
CONTENT = sample("tzrs", tail=100)


def restored(store: ObjectStore, kek: KeyEncryptionKey, backup_id: str) -> bytes:
    reader = BackupReader.open(store, SITE, backup_id, bank_on(store, keks=[kek]).keys)
    envelope = reader.envelope()
    return b"".join(
        bytes(reader.geometry.chunk_length(entry.index))
        if entry.is_hole
        else bytes(reader.read_chunk(entry, envelope))
        for entry in reader.entries()
    )


def test_p4_backup_rotation_restore(store: ObjectStore) -> None:
    bank = back_up(store, CONTENT, keks=[OLD])
    assert restored(store, OLD, BACKUP) == CONTENT
    assert bank.keys is not None
    bank_keys.rotate(bank.keys, OLD.id, NEW)
    back_up(store, CONTENT, backup_id=OTHER_BACKUP, keks=[NEW])
    for backup_id in (BACKUP, OTHER_BACKUP):
        assert restored(store, NEW, backup_id) == CONTENT
        with pytest.raises(InvalidSpec) as raised:
            restored(store, OLD, backup_id)
        assert raised.value.reason == "BankKeyWrong"
    assert list_keys(store).kek_ids == {NEW.id}
