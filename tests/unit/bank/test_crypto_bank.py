"""Whole encrypted banks: what somebody who can write to the bucket can do, which is nothing unseen."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from dataclasses import replace
from typing import Any

import pytest

from cinderbank.bank import keys as bank_keys
from cinderbank.bank import layout, state
from cinderbank.bank import manifest as manifests
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.chunk import HEADER, MAGIC
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.marks import Seal
from cinderbank.domain.errors import CinderbankError, DataCorrupt, Unsupported
from cinderbank.domain.facts import BackupId, BankFacts
from tests.fakes.backups import (
    BACKUP,
    OTHER_BACKUP,
    SITE,
    VOLUME,
    back_up,
    bank_on,
    sample,
    write_chunks,
)
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


def planted(*, sealed: bool) -> tuple[MemoryStore, StoredBank]:
    """A session of ours in a bank with a key, and a plain manifest in it that somebody else has put."""
    store = MemoryStore()
    bank = bank_on(store, keks=[KEK], accepts_plain=True)
    bank.open_session(SITE, BACKUP, VOLUME)
    bank.writing_keys()
    forged = MemoryStore()
    forged.objects[layout.BANK] = store.objects[layout.BANK]
    back_up(forged, CHANGED)
    for key, body in forged.objects.items():
        if sealed or "/seals/" not in key:
            store.objects[key] = body
    return store, bank


def test_a_plain_manifest_in_a_session_of_ours_is_never_sealed() -> None:
    store, bank = planted(sealed=False)
    facts = bank.observe(SITE, BACKUP)
    assert (facts.intent, facts.manifest, facts.sealed) == (True, True, False)
    assert "not encrypted" in facts.not_ours
    with pytest.raises(DataCorrupt, match="not encrypted") as raised:
        bank.seal(SITE, BACKUP, VOLUME)
    assert raised.value.reason == "ManifestNotEncrypted"
    assert not [key for key in store.objects if "/seals/" in key]
    while not bank.discard(SITE, BACKUP):
        pass
    assert not [key for key in store.objects if "/chunks/" in key or key.endswith("/manifest")]


def test_a_plain_manifest_that_came_with_a_seal_is_not_ours_either() -> None:
    _, bank = planted(sealed=True)
    facts = bank.observe(SITE, BACKUP)
    assert facts.sealed
    assert "not encrypted" in facts.not_ours
    assert (facts.manifest_digest, facts.size_bytes) == (None, None)
    with pytest.raises(DataCorrupt) as raised:
        bank.seal(SITE, BACKUP, VOLUME)
    assert raised.value.reason == "ManifestNotEncrypted"


@pytest.mark.parametrize("keks", [[], [KEK]])
def test_what_we_wrote_ourselves_is_ours(keks: list[KeyEncryptionKey]) -> None:
    store = MemoryStore()
    bank = bank_on(store, keks=keks)
    bank.open_session(SITE, BACKUP, VOLUME)
    header, written_with = bank.open(), bank.writing_keys()
    write_chunks(store, CONTENT, bank_id=header.bank_id, keys=written_with)
    assert bank.observe(SITE, BACKUP).not_ours == ""
    bank.seal(SITE, BACKUP, VOLUME)
    facts = bank.observe(SITE, BACKUP)
    assert (facts.sealed, facts.not_ours) == (True, "")


def garbage(key_id: bytes) -> bytes:
    """An envelope of nothing, under a data key."""
    body = os.urandom(99)
    return HEADER.pack(MAGIC, 1, 0, 1, 0, key_id, len(body), os.urandom(12)) + body


def replaced_manifest(body: bytes, *, sealed_anew: bool, keks: list[KeyEncryptionKey]) -> BankFacts:
    """What is seen of a backup when somebody has put `body` in place of its manifest."""
    store = MemoryStore()
    bank = back_up(store, CONTENT, keks=keks)
    if sealed_anew:
        key = layout.seal(SITE, BACKUP, VOLUME)
        seal = Seal.parse(store.objects[key], key)
        store.objects[key] = replace(seal, manifest_digest=manifests.object_digest(body)).dump()
    store.objects[layout.manifest(SITE, VOLUME, BACKUP)] = body
    return bank.observe(SITE, BACKUP)


@pytest.mark.parametrize("keks", [[], [KEK]])
@pytest.mark.parametrize("body", [b"", b"{}", b"OSBK", garbage(bytes(range(16)))])
def test_a_manifest_that_is_not_the_sealed_one_is_none(
    body: bytes, keks: list[KeyEncryptionKey]
) -> None:
    facts = replaced_manifest(body, sealed_anew=False, keks=keks)
    assert (facts.sealed, facts.manifest) == (True, False)
    assert bool(facts.not_ours) == bool(keks), "only a key tells who wrote it"


@pytest.mark.parametrize("body", [b"OSBK", garbage(bytes(range(16)))])
def test_an_envelope_of_nothing_that_came_with_its_seal_is_not_ours(body: bytes) -> None:
    facts = replaced_manifest(body, sealed_anew=True, keks=[KEK])
    assert facts.sealed and facts.not_ours
    assert (facts.not_ours_reason, facts.manifest_digest) == ("DataCorrupt", None)


def test_a_seal_without_a_manifest_is_not_ours() -> None:
    store = MemoryStore()
    bank = back_up(store, CONTENT, keks=[KEK])
    del store.objects[layout.manifest(SITE, VOLUME, BACKUP)]
    assert "no manifest lies there" in bank.observe(SITE, BACKUP).not_ours


@pytest.mark.parametrize("keks", [[], [KeyEncryptionKey(os.urandom(32))]])
def test_who_has_no_key_for_it_says_nothing_of_whose_it_is(keks: list[KeyEncryptionKey]) -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[KEK])
    facts = bank_on(store, keks=keks).observe(SITE, BACKUP)
    assert (facts.sealed, facts.manifest, facts.not_ours) == (True, True, "")
    assert (facts.unreadable is not None) == bool(keks)


def test_an_attempt_that_meets_a_plain_manifest_does_not_take_it_for_an_earlier_ones() -> None:
    """Not even one that says the content hash which we have computed."""
    store, bank = planted(sealed=False)
    key = layout.manifest(SITE, VOLUME, BACKUP)
    forged = store.objects.pop(key)
    document = json.loads(forged)
    keys = bank.writing_keys()
    before = dict(store.objects)
    write_chunks(store, CHANGED, bank_id=bank.open().bank_id, attempt=2, keys=keys)
    ours = state.read_manifest(store, SITE, VOLUME, BACKUP, bank.keys)
    assert ours is not None
    document["content"]["content_hash"] = ours[0].description.content_hash
    store.objects = {**before, key: json.dumps(document).encode()}
    with pytest.raises(DataCorrupt, match="another content"):
        write_chunks(store, CHANGED, bank_id=bank.open().bank_id, attempt=2, keys=keys)


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
