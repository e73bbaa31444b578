"""A copy that dies at any request to either bank: nothing half is a backup, and the next one finishes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from cinderbank.bank import layout
from cinderbank.bank.collect import CollectRules, collect
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.reader import BackupReader
from tests.fakes.backups import BACKUP, OTHER_BACKUP, SITE, back_up, sample
from tests.fakes.copies import Pair, chunk_puts, read_all
from tests.fakes.object_store import Crash, MemoryStore
from tests.unit.bank.test_incremental import chunks_of

CONTENT = chunks_of(0, 1) + sample("zz") + chunks_of(5) + b"tail"
CHANGED = chunks_of(0, 9) + sample("zz") + chunks_of(8) + b"tail"
KEK, OTHER_KEK = KeyEncryptionKey(os.urandom(32)), KeyEncryptionKey(os.urandom(32))
ORPHAN = ("/chunks/", "/backups/", "/journal/")


def begun(encrypted: bool, incremental: bool) -> Pair:
    """Before the copy of which the test is."""
    found = Pair(
        source_keks=(KEK,) if encrypted else (), target_keks=(OTHER_KEK,) if encrypted else ()
    )
    if incremental:
        back_up(found.source, CONTENT, backup_id=BACKUP, keks=found.source_keks)
        found.copy(len(CONTENT))
    back_up(found.source, CHANGED, backup_id=OTHER_BACKUP, keks=found.source_keks)
    return found


def again(pair: Pair) -> Pair:
    """Both banks as they were, in stores of their own."""
    found = Pair(source_keks=pair.source_keks, target_keks=pair.target_keks)
    for new, old in ((found.source, pair.source), (found.target, pair.target)):
        new.objects, new.modified = dict(old.objects), dict(old.modified)
    return found


@contextmanager
def dying(pair: Pair, request: int, when: str) -> Iterator[Callable[[], bool]]:
    """The process dies at this request, of both banks counted together, and says nothing any more."""
    spoken, died = 0, False

    def crash(count: int, verb: str, key: str) -> None:
        nonlocal spoken, died
        if spoken >= request:
            died = True
            raise Crash(f"{when} request {request}: {verb} {key}")
        spoken += 1

    for store in (pair.source, pair.target):
        setattr(store, f"{when}_request", crash)
    try:
        yield lambda: died
    finally:
        for store in (pair.source, pair.target):
            setattr(store, f"{when}_request", lambda count, verb, key: None)


def named_chunks(pair: Pair) -> set[str]:
    bank = pair.bank_b()
    reader = BackupReader.open(bank.store, SITE, OTHER_BACKUP, bank.keys)
    return {
        layout.chunk(session.site, session.backup_id, entry.attempt, entry.index)
        for entry in reader.entries()
        if not entry.is_hole
        for session in [reader.manifest.sessions[entry.session]]
    }


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("incremental", [False, True], ids=["full", "incremental"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_killed_at_every_request_of_both_banks(
    when: str, incremental: bool, encrypted: bool
) -> None:
    request, died, first = 0, True, begun(encrypted, incremental)
    while died:
        pair = again(first)
        with dying(pair, request, when) as has_died:
            with suppress(Crash):
                pair.copy(len(CHANGED), OTHER_BACKUP)
            died = has_died()
        listed = [key.backup_id for key in pair.bank_b().seals() if key is not None]
        if OTHER_BACKUP in listed:
            assert pair.read(OTHER_BACKUP) == CHANGED, "what is listed is whole"
        own = layout.session_chunks_prefix(SITE, OTHER_BACKUP)
        durable = {key for key in pair.target.objects if key.startswith(own)}
        pair.target.requests.clear()
        pair.copy(len(CHANGED), OTHER_BACKUP)
        assert pair.read(OTHER_BACKUP) == CHANGED
        assert read_all(pair.bank_a(), OTHER_BACKUP) == CHANGED
        # Of what was durable all but the chunk that was in flight, and not yet noted, is used.
        assert len(durable - named_chunks(pair)) <= 1
        assert set(chunk_puts(pair.target)) == {
            key for key in named_chunks(pair) - durable if key.startswith(own)
        }
        assert nothing_is_left(pair, incremental)
        request += 1
    assert request > 25


def nothing_is_left(pair: Pair, incremental: bool) -> bool:
    """Once all is deleted, and a day has passed for the read pin of who died."""
    for store, bank in ((pair.source, pair.bank_a()), (pair.target, pair.bank_b())):
        for backup_id in (BACKUP, OTHER_BACKUP) if incremental else (OTHER_BACKUP,):
            bank.delete(SITE, backup_id)
        age(store)
        report = collect(store, SITE, bank.keys, CollectRules(forced=True))
        assert report.refusal is None
        left = [key for key in store.objects if any(part in key for part in (*ORPHAN, "/intents/"))]
        assert left == []
    return True


def age(store: MemoryStore) -> None:
    for key in store.modified:
        if "/intents/" in key or "/beats/" in key:
            store.modified[key] = store.now.replace(day=20)
