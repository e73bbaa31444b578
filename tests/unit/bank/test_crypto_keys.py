"""Key-encryption keys come and go; what is stored stays readable, and only by those that are left."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cinderbank.bank import key_layout, layout
from cinderbank.bank import keys as bank_keys
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.keyring import EPOCH_SECONDS, Keyring
from cinderbank.bank.wrapped_keys import list_keys
from cinderbank.domain.errors import DataCorrupt, InvalidSpec
from cinderbank.domain.facts import BackupId
from tests.fakes.backups import BACKUP, NOW, OTHER_BACKUP, back_up, bank_on, sample
from tests.fakes.object_store import MemoryStore
from tests.unit.bank.test_round_trip import read_all

A, B, C = (KeyEncryptionKey(os.urandom(32)) for _ in range(3))
CONTENT = sample("tzrs", tail=99)


def ring(store: MemoryStore, *keks: KeyEncryptionKey) -> Keyring:
    found = bank_on(store, keks=keks).keys
    assert found is not None
    return found


def reads(store: MemoryStore, *keks: KeyEncryptionKey, backup_id: BackupId = BACKUP) -> bool:
    try:
        return read_all(store, ring(store, *keks), backup_id=backup_id) == CONTENT
    except InvalidSpec as error:
        assert error.reason == "BankKeyWrong"
        return False


def refusal(reason: str) -> Any:
    return pytest.raises(InvalidSpec, check=lambda error: error.reason == reason)


def test_p4_every_key_alone_restores() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A, B])
    assert reads(store, A)
    assert reads(store, B)
    assert not reads(store, C)


def test_p4_with_one_key_removed_the_other_restores_all() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A, B])
    assert bank_keys.remove(ring(store, B), A.id) == 1
    back_up(store, CONTENT, backup_id=OTHER_BACKUP, keks=[B])
    for backup_id in (BACKUP, OTHER_BACKUP):
        assert reads(store, B, backup_id=backup_id)
        assert not reads(store, A, backup_id=backup_id)


def test_p4_after_a_rotation_the_old_key_opens_nothing_old_or_new() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A])
    chunks = {key: body for key, body in store.objects.items() if "/chunks/" in key}
    assert bank_keys.rotate(ring(store, A), A.id, B) == 1
    back_up(store, CONTENT, backup_id=OTHER_BACKUP, keks=[B])
    for backup_id in (BACKUP, OTHER_BACKUP):
        assert reads(store, B, backup_id=backup_id)
        assert not reads(store, A, backup_id=backup_id)
    assert {key: store.objects[key] for key in chunks} == chunks
    assert A.id not in list_keys(store).kek_ids


def test_p4_who_kept_the_old_key_and_an_old_copy_reads_nothing_that_came_later() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A])
    stolen = {key: body for key, body in store.objects.items() if key.startswith("keys/")}
    bank_keys.rotate(ring(store, A), A.id, B)
    back_up(store, CONTENT, backup_id=OTHER_BACKUP, keks=[B])
    store.objects.update(stolen)
    assert not reads(store, A, backup_id=OTHER_BACKUP)


def test_a_rotation_that_was_interrupted_anywhere_is_finished_by_the_next_call() -> None:
    whole = MemoryStore()
    back_up(whole, CONTENT, keks=[A])
    before = dict(whole.objects)
    bank_keys.rotate(ring(whole, A), A.id, B)
    requests = len(whole.requests)
    for stop in range(requests):
        store = MemoryStore()
        store.objects = dict(before)

        def die(count: int, verb: str, key: str, stop: int = stop) -> None:
            if count == stop:
                raise KeyboardInterrupt

        store.after_request = die
        try:
            bank_keys.rotate(ring(store, A), A.id, B)
        except KeyboardInterrupt:
            assert reads(store, A) or reads(store, B)
        store.after_request = lambda count, verb, key: None
        bank_keys.rotate(ring(store, A), A.id, B)
        assert reads(store, B)
        assert not reads(store, A)
        assert A.id not in list_keys(store).kek_ids


def test_a_key_is_not_removed_unless_another_one_in_hand_opens_all() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A, B])
    before = dict(store.objects)
    for held in ([A], [C], [A, C]):
        with refusal("BankKeyInUse") as raised:
            bank_keys.remove(ring(store, *held), A.id)
        assert "would be lost" in str(raised.value)
        assert store.objects == before
    with refusal("BankKeyUnknown"):
        bank_keys.remove(ring(store, A), C.id)
    assert reads(store, A)


def test_a_damaged_copy_is_no_other_key() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A, B])
    data_key_id = next(iter(list_keys(store).wrapped))
    store.flip(key_layout.wrapped_key(data_key_id, B.id), 1500)
    with refusal("BankKeyInUse"):
        bank_keys.remove(ring(store, A, B), A.id)
    assert reads(store, A, B)


def test_a_removed_key_never_comes_back() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A, B])
    bank_keys.remove(ring(store, B), A.id)
    with refusal("BankKeyRetired"):
        bank_keys.add(ring(store, B), A)
    # Another site has not dropped it from its Secret yet.
    back_up(store, CONTENT, backup_id=OTHER_BACKUP, keks=[A, B])
    assert not reads(store, A, backup_id=OTHER_BACKUP)
    assert bank_keys.opening(store, ring(store, A, B)).problems


def test_a_writer_that_wraps_while_its_key_is_removed_takes_it_back() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A, B])
    late = ring(store, A, C)
    done = False

    def remove_now(count: int, verb: str, key: str) -> None:
        # The writer has made its data key and wraps it by A: A is removed in between.
        nonlocal done
        if verb == "PUT" and key.endswith(A.id) and not done:
            done = True
            store.objects[key_layout.retired_key(A.id)] = b"{}"

    store.after_request = remove_now
    with refusal("BankKeyRetired"):
        late.new_data_key(list_keys(store))
    assert done
    newest = max(list_keys(store).wrapped)
    assert A.id not in list_keys(store).wrapped[newest]


def test_a_key_that_is_added_opens_all_epochs() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A])
    later = NOW + timedelta(seconds=EPOCH_SECONDS + 1)
    back_up(store, CONTENT, backup_id=OTHER_BACKUP, keks=[A], now=lambda: later)
    assert len(list_keys(store).wrapped) == 2
    assert bank_keys.add(ring(store, A), C) == 2
    puts = [key for verb, key in store.requests if verb == "PUT"]
    assert bank_keys.add(ring(store, A), C) == 2
    assert [key for verb, key in store.requests if verb == "PUT"] == puts
    assert reads(store, C)
    assert reads(store, C, backup_id=OTHER_BACKUP)
    with refusal("BankKeyWrong"):
        bank_keys.add(ring(store, B), B)


def test_a_key_that_comes_into_the_secret_opens_all_with_the_next_backup() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A])
    back_up(store, CONTENT, backup_id=OTHER_BACKUP, keks=[A, B])
    assert reads(store, B)
    assert reads(store, B, backup_id=OTHER_BACKUP)


def test_an_epoch_ends_and_equal_chunks_keep_their_hash() -> None:
    store = MemoryStore()
    first = back_up(store, CONTENT, keks=[A]).writing_keys()
    soon = bank_on(store, keks=[A], now=lambda: NOW + timedelta(days=80)).writing_keys()
    later = bank_on(store, keks=[A], now=lambda: NOW + timedelta(days=91)).writing_keys()
    assert first is not None
    assert soon is not None
    assert later is not None
    assert first.current.id == soon.current.id != later.current.id
    assert first.hash_key_id == later.hash_key_id
    assert first.hash_key == later.hash_key


def test_the_newest_data_key_is_the_current_one_whatever_a_clock_says() -> None:
    store = MemoryStore()
    bank_on(store, keks=[A]).writing_keys()
    behind = bank_on(store, keks=[A], now=lambda: NOW - timedelta(days=400)).keys
    assert behind is not None
    made = behind.new_data_key(list_keys(store))
    assert made.id.hex() == max(list_keys(store).wrapped)
    assert behind.writing().current == made


def test_without_a_key_nothing_is_read_and_nothing_plain_is_added() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A, B])
    plain = bank_on(store)
    for attempt in (
        lambda: read_all(store),
        lambda: plain.find(BACKUP),
        lambda: plain.open_session("site-a", OTHER_BACKUP, "11111111-2222-4333-8444-555555555555"),
        lambda: bank_keys.opening(store, None),
    ):
        with refusal("BankKeyMissing") as raised:
            attempt()
        for part in (A.id, B.id, "keySecretRef"):
            assert part in str(raised.value)
    assert not list(store.list_keys(layout.intents_prefix("site-a")))
    # Looking at seals and deleting need no key.
    assert plain.observe("site-a", BACKUP).sealed
    plain.delete("site-a", BACKUP)
    assert not plain.observe("site-a", BACKUP).sealed or plain.observe("site-a", BACKUP).tombed


def test_a_wrong_key_is_told_with_the_right_ones() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A, B])
    for attempt in (
        lambda: read_all(store, ring(store, C)),
        lambda: ring(store, C).writing(),
        lambda: bank_keys.opening(store, ring(store, C)),
    ):
        with refusal("BankKeyWrong") as raised:
            attempt()
        for part in (A.id, B.id, C.id, "key add"):
            assert part in str(raised.value)


def test_a_data_key_that_is_gone_is_corruption() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A])
    for key in [key for key in store.objects if key.startswith("keys/")]:
        del store.objects[key]
    with pytest.raises(DataCorrupt, match="is not in the bank"):
        read_all(store, ring(store, A))


def test_a_plain_bank_that_is_given_a_key() -> None:
    store = MemoryStore()
    back_up(store, CONTENT)
    back_up(store, CONTENT, backup_id=OTHER_BACKUP, keks=[A])
    assert reads(store, A, backup_id=OTHER_BACKUP)
    with refusal("BankPlainBackup") as raised:
        read_all(store, ring(store, A))
    assert "plainBackups" in str(raised.value)
    accepting: StoredBank = bank_on(store, keks=[A], accepts_plain=True)
    assert read_all(store, accepting.keys) == CONTENT
    assert accepting.find(BACKUP) is not None


def test_two_sites_that_begin_at_once_read_each_other() -> None:
    store = MemoryStore()
    ring_a, ring_b = ring(store, A), ring(store, A)
    empty = list_keys(store)
    first, second = ring_a.new_data_key(empty), ring_b.new_data_key(empty)
    assert first.id != second.id
    back_up(store, CONTENT, keks=[A])
    back_up(store, CONTENT, backup_id=OTHER_BACKUP, site="site-b", keks=[A])
    assert reads(store, A)
    assert read_all(store, ring(store, A), site="site-b", backup_id=OTHER_BACKUP) == CONTENT


def test_a_store_without_conditions_loses_no_data_key() -> None:
    store = MemoryStore()
    store.honours_conditions = False
    back_up(store, CONTENT, keks=[A, B])
    assert bank_keys.rotate(ring(store, A, B), A.id, C) == 1
    assert reads(store, B)
    assert reads(store, C)
    assert not reads(store, A)


def test_a_wrapped_key_that_the_store_forgot_is_not_used() -> None:
    store = MemoryStore()
    forgetful = ring(store, A)
    original = store.put
    store.put = lambda key, body, if_absent=False: (  # type: ignore[method-assign]
        True if key.startswith("keys/") else original(key, body, if_absent)
    )
    with pytest.raises(DataCorrupt, match="is not there"):
        forgetful.writing()


def test_generate_makes_a_file_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "bank.key"
    made = bank_keys.generate(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert bank_keys.read_key_file(path) == made
    assert bank_keys.generate(tmp_path / "other.key").secret != made.secret
    with refusal("BankKeyFile"):
        bank_keys.generate(path)
    assert bank_keys.read_key_file(path) == made
    with refusal("BankKeyFile"):
        bank_keys.read_key_file(tmp_path / "none")


def test_rows_tell_ids_without_a_key() -> None:
    store = MemoryStore()
    back_up(store, CONTENT, keks=[A, B])
    (row,) = bank_keys.rows(store)
    assert row.kek_ids == tuple(sorted((A.id, B.id)))
    assert (row.current, row.opened, row.made_at) == (True, None, NOW)
    assert [r.opened for r in bank_keys.rows(store, ring(store, B))] == [True]
    assert [r.opened for r in bank_keys.rows(store, ring(store, C))] == [False]
