"""Whole encrypted banks: what somebody who can write to the bucket can do, which is nothing unseen."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from typing import Any

import pytest

from cinderbank.bank import keys as bank_keys
from cinderbank.bank import layout
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.keyring import Keyring
from cinderbank.domain.errors import CinderbankError, DataCorrupt, Unsupported
from cinderbank.domain.facts import BackupId
from tests.fakes.backups import BACKUP, OTHER_BACKUP, SITE, VOLUME, back_up, bank_on, sample
from tests.fakes.object_store import MemoryStore
from tests.unit.bank.test_round_trip import read_all

KEK = KeyEncryptionKey(os.urandom(32))
CONTENT = sample("tsztr", tail=50)
CHANGED = sample("ttzrr", tail=50)
SECRET_WORDS = (
    b"nightly",
    b"owner",
    b"hw_disk_bus",
    b"ssd",
    b"all work",
    b"gr\\u00f6",
    b"site-a/db",
)


def ring(store: MemoryStore) -> Keyring:
    found = bank_on(store, keks=[KEK]).keys
    assert found is not None
    return found


def two_backups() -> MemoryStore:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[KEK])
    back_up(store, CHANGED, backup_id=OTHER_BACKUP, keks=[KEK])
    return store


def assert_right_or_refused(store: MemoryStore, content: bytes = CONTENT) -> bool:
    with contextlib.suppress(CinderbankError):
        assert read_all(store, ring(store)) == content
        return True
    return False


def test_p2_any_damage_to_any_object_is_detected_or_harmless() -> None:
    whole = MemoryStore()
    back_up(whole, CONTENT, part_entries=2, keks=[KEK])
    store = MemoryStore()
    for key, body in whole.objects.items():
        for bit in range(0, len(body) * 8, max(1, len(body) * 8 // 150)):
            store.objects = dict(whole.objects)
            store.flip(key, bit)
            assert_right_or_refused(store)
        for end in {0, 1, len(body) // 2, len(body) - 1}:
            store.objects = {**whole.objects, key: body[:end]}
            assert not assert_right_or_refused(store)


def test_p2_any_two_objects_swapped_are_detected() -> None:
    store = two_backups()
    whole = dict(store.objects)
    binary = [key for key in whole if "/chunks/" in key or "/index/" in key or "manifest" in key]
    mine = [key for key in binary if BACKUP in key]
    assert len(mine) == 8
    for one, other in itertools.product(mine, binary):
        if one == other:
            continue
        store.objects = {**whole, one: whole[other], other: whole[one]}
        with pytest.raises(DataCorrupt):
            read_all(store, ring(store))


def test_p2_a_chunk_of_another_site_with_the_same_bytes_is_refused() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[KEK])
    back_up(store, CONTENT, site="site-b", keks=[KEK])
    for index in (0, 1, 3):
        here, there = (layout.chunk(site, BACKUP, 1, index) for site in (SITE, "site-b"))
        before = store.objects[here]
        store.objects[here] = store.objects[there]
        with pytest.raises(DataCorrupt, match="stored elsewhere"):
            read_all(store, ring(store))
        store.objects[here] = before
    assert read_all(store, ring(store)) == CONTENT


@pytest.mark.parametrize("with_seal", [False, True])
def test_p2_an_old_manifest_at_a_new_backups_key_is_detected(with_seal: bool) -> None:
    store = two_backups()
    old, new = (layout.manifest(SITE, VOLUME, backup) for backup in (BACKUP, OTHER_BACKUP))
    store.objects[new] = store.objects[old]
    if with_seal:
        old, new = (layout.seal(SITE, backup, VOLUME) for backup in (BACKUP, OTHER_BACKUP))
        store.objects[new] = store.objects[old]
    with pytest.raises(DataCorrupt):
        read_all(store, ring(store), backup_id=OTHER_BACKUP)


def test_p2_a_plain_backup_put_in_place_of_an_encrypted_one_is_refused() -> None:
    store = two_backups()
    forged = MemoryStore()
    forged.objects[layout.BANK] = store.objects[layout.BANK]
    back_up(forged, sample("ssss", tail=50), backup_id=OTHER_BACKUP)
    store.objects.update(forged.objects)
    with pytest.raises(CinderbankError) as raised:
        read_all(store, ring(store), backup_id=OTHER_BACKUP)
    assert raised.value.reason == "BankPlainBackup"


def test_nothing_of_the_volume_is_in_the_clear() -> None:
    store = two_backups()
    everything = b"".join(key.encode() + body for key, body in store.objects.items())
    for word in SECRET_WORDS:
        assert word not in everything
    assert KEK.secret not in everything
    assert KEK.secret.hex().encode() not in everything


def test_p5_a_copy_of_the_objects_and_one_key_is_enough() -> None:
    store = two_backups()
    other = KeyEncryptionKey(os.urandom(32))
    bank_keys.add(ring(store), other)
    elsewhere = MemoryStore()
    for row in store.list_keys(""):
        body = store.get(row.key, row.size_bytes)
        assert body is not None
        elsewhere.put(row.key, body)
    copied = len(elsewhere.requests)
    bank = bank_on(elsewhere, "site-z", read_only=True, keks=[other])
    found = [key for key in bank.seals() if key is not None]
    assert [key.backup_id for key in found] == [BACKUP, OTHER_BACKUP]
    for key, content in zip(found, (CONTENT, CHANGED), strict=True):
        about = bank.find(key.backup_id)
        assert about is not None
        assert (about.backup_name, about.size_bytes) == ("nightly", len(content))
        assert read_all(elsewhere, bank.keys, backup_id=key.backup_id) == content
    assert {verb for verb, _ in elsewhere.requests[copied:]} == {"GET", "LIST"}


def _stamped(store: MemoryStore, key: str, **changes: Any) -> None:
    document = json.loads(store.objects[key])
    document["format"] |= changes
    store.objects[key] = json.dumps(document).encode()


def _marks(store: MemoryStore) -> list[str]:
    return [key for key, body in store.objects.items() if body.startswith(b"{")]


@pytest.mark.parametrize("changes", [{"required": ["packs"]}, {"major": 2}])
def test_p6_what_a_newer_writer_requires_is_refused(changes: dict[str, Any]) -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[KEK])
    whole = dict(store.objects)
    for key in _marks(store):
        store.objects = dict(whole)
        _stamped(store, key, **changes)
        with pytest.raises(CinderbankError) as raised:
            read_all(store, ring(store))
        assert raised.value.reason == "BankFormatUnknown"


def test_p6_what_a_newer_writer_says_besides_is_ignored() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[KEK])
    for key in _marks(store):
        _stamped(store, key, optional=["colours"], more={"a": 1})
    assert read_all(store, ring(store)) == CONTENT


def test_p6_an_older_reader_is_told_that_it_can_not_decrypt() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[KEK])
    seal = json.loads(store.objects[layout.seal(SITE, BACKUP, VOLUME)])
    assert seal["format"]["required"] == ["encryption"]
    plain = MemoryStore()
    back_up(plain, CONTENT)
    for key in _marks(plain):
        assert json.loads(plain.objects[key])["format"]["required"] == []


def test_a_newer_encryption_is_unsupported_not_corrupt() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[KEK])
    key = layout.index_part(SITE, VOLUME, BackupId(BACKUP), 1, 0)
    body = bytearray(store.objects[key])
    body[6] = 2
    store.objects[key] = bytes(body)
    with pytest.raises(Unsupported, match="newer cinderbank"):
        read_all(store, ring(store))
