"""Collecting on every store: ages by the store's own clock, deletes by the thousand, conditions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cinderbank.adapters.check_process import CheckAccess
from cinderbank.adapters.collect_process import CollectProcesses
from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.bank import layout
from cinderbank.bank.collect import CollectRules, collect
from cinderbank.bank.marks import Tomb
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.store_clock import StoreClock
from cinderbank.ports.collections import (
    CollectionEnded,
    CollectionFacts,
    CollectionRefused,
    CollectionRequest,
)
from tests.fakes.backups import BACKUP, OTHER_BACKUP, SITE, VOLUME, back_up, bank_on, sample

CONTENT = sample("trtz", tail=100)
NOW_OR_NEVER = timedelta(seconds=-60)
"""Younger than nothing: every session is dead."""


def test_the_store_says_when(store: ObjectStore) -> None:
    clock = StoreClock(store, SITE)
    first = clock.now()
    assert first.tzinfo is not None
    assert clock.now() >= first
    assert clock.honours_conditions()
    clock.close()
    assert list(store.list_keys("")) == []
    if type(store).__name__ != "MemoryStore":
        assert abs(datetime.now(UTC) - first) < timedelta(hours=1)


def test_a_collection_frees_what_no_backup_needs(store: ObjectStore) -> None:
    back_up(store, CONTENT)
    bank_on(store).open_session(SITE, OTHER_BACKUP, VOLUME)
    dead = [layout.chunk(SITE, OTHER_BACKUP, 1, index) for index in range(1500)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b"x"), dead))
    rules = CollectRules(max_delete_percent=100)
    assert collect(store, SITE, rules=rules).freed_objects == 0
    dry = collect(store, SITE, rules=CollectRules(dry_run=True, dead_after=NOW_OR_NEVER))
    assert [(row.backup_id, row.objects) for row in dry.sessions] == [(OTHER_BACKUP, 1500)]
    report = collect(
        store, SITE, rules=CollectRules(max_delete_percent=100, dead_after=NOW_OR_NEVER)
    )
    assert report.refusal is None
    assert report.broken_sessions == 1
    assert report.freed_objects >= 1500
    left = {row.key for row in store.list_keys("") if OTHER_BACKUP in row.key}
    assert left == {
        layout.tomb(SITE, OTHER_BACKUP),
        layout.seal(SITE, OTHER_BACKUP, VOLUME),
    }
    reader = BackupReader.open(store, SITE, BACKUP)
    envelope = reader.envelope()
    for entry in reader.entries():
        if not entry.is_hole:
            reader.read_chunk(entry, envelope)
    assert bank_on(store).delete(SITE, BACKUP)
    assert not [row for row in store.list_keys("") if "/chunks/" in row.key]


def test_the_operators_child_collects(
    tmp_path: Path, s3_store: S3Store, s3_location: S3Location, s3_credentials: S3Credentials
) -> None:
    bank = back_up(s3_store, CONTENT)
    s3_store.put(layout.tomb(SITE, BACKUP), Tomb(VOLUME).dump())
    ended = threading.Event()
    processes: CollectProcesses[str] = CollectProcesses(tmp_path, lambda key: ended.set())

    def run(max_delete_percent: int) -> CollectionFacts:
        ended.clear()
        access = CheckAccess(s3_location, s3_credentials, SITE, False, bank.open().bank_id)
        one = processes.of("one", access)
        one.start(CollectionRequest(max_delete_percent))
        assert ended.wait(240)
        return one.observe()

    refused = run(50)
    assert isinstance(refused, CollectionRefused)
    assert refused.reason == "DeleteShareExceeded"
    done = run(100)
    assert isinstance(done, CollectionEnded)
    assert done.complete
    assert done.freed_bytes > 0
    assert not [row for row in s3_store.list_keys("") if "/chunks/" in row.key]
    processes.close()
