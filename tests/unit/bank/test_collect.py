"""What a collection frees, spares and refuses; its order is tests/crash/bank's."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import timedelta

import pytest

from cinderbank.bank import layout
from cinderbank.bank import manifest as manifests
from cinderbank.bank.collect import CollectReport, CollectRules, collect
from cinderbank.bank.marks import Intent, Tomb
from cinderbank.domain.facts import BackupId
from tests.fakes.backups import BACKUP, OTHER_BACKUP, READER, SITE, VOLUME, back_up, bank_on, sample
from tests.fakes.object_store import MemoryStore

CONTENT = sample("trtz", tail=100)
ALL = CollectRules(max_delete_percent=100)
MANIFEST = layout.manifest(SITE, VOLUME, BACKUP)


def run(store: MemoryStore, rules: CollectRules = ALL) -> CollectReport:
    return collect(store, SITE, rules=rules)


def deleted_backup() -> MemoryStore:
    """OTHER_BACKUP stays; BACKUP has a tomb, and nothing of it was freed yet."""
    store = MemoryStore()
    back_up(store, CONTENT)
    back_up(store, CONTENT, backup_id=OTHER_BACKUP)
    store.put(layout.tomb(SITE, BACKUP), Tomb(VOLUME).dump())
    return store


def of(store: MemoryStore, backup_id: str) -> set[str]:
    return {key for key in store.objects if backup_id in key}


def test_a_deleted_backup_goes_and_the_others_stay() -> None:
    store = deleted_backup()
    kept = of(store, OTHER_BACKUP)
    report = run(store)
    assert report.refusal is None
    assert of(store, BACKUP) == {layout.tomb(SITE, BACKUP)}
    assert of(store, OTHER_BACKUP) == kept
    assert [(row.backup_id, row.why) for row in report.sessions] == [(BACKUP, "Deleted")]
    assert report.sessions[0].objects == 4
    assert report.freed_bytes == report.sessions[0].bytes > 0
    assert run(store).freed_objects == 0


def test_a_dry_run_says_the_same_and_touches_nothing() -> None:
    store = deleted_backup()
    before, requests = dict(store.objects), len(store.requests)
    report = run(store, replace(ALL, dry_run=True))
    assert store.objects == before
    assert {verb for verb, _ in store.requests[requests:]} <= {"GET", "LIST", "HEAD"}
    done = run(store)
    assert report.sessions == done.sessions


def test_p16_a_manifest_that_can_not_be_read_stops_all() -> None:
    for damage in (b"{}", b"not json", store_of_newer_format()):
        store = deleted_backup()
        store.objects[layout.manifest(SITE, VOLUME, OTHER_BACKUP)] = damage
        before = of(store, BACKUP)
        report = run(store)
        assert report.refusal is not None
        assert not report.refusal.retryable
        assert report.refusal.reason in ("BankNotReadable", "BankFormatUnknown")
        assert OTHER_BACKUP in report.refusal.message
        assert of(store, BACKUP) == before


def store_of_newer_format() -> bytes:
    store = MemoryStore()
    back_up(store, CONTENT, backup_id=OTHER_BACKUP)
    body = store.objects[layout.manifest(SITE, VOLUME, OTHER_BACKUP)]
    return body.replace(b'"required":[]', b'"required":["packs"]')


def test_p16_a_newer_format_is_told_as_one() -> None:
    store = deleted_backup()
    store.objects[layout.manifest(SITE, VOLUME, OTHER_BACKUP)] = store_of_newer_format()
    refusal = run(store).refusal
    assert refusal is not None
    assert refusal.reason == "BankFormatUnknown"


def test_p16_a_flipped_bit_in_a_live_manifest_stops_all() -> None:
    store = deleted_backup()
    key = layout.manifest(SITE, VOLUME, OTHER_BACKUP)
    store.objects[key] = store.objects[key].replace(b"nightly", b"nightlx")
    before = of(store, BACKUP)
    refusal = run(store).refusal
    assert refusal is not None
    assert "not the sealed one" in refusal.message
    assert of(store, BACKUP) == before


def test_p16_a_live_manifest_or_index_part_that_is_gone_stops_all() -> None:
    part = layout.index_part(SITE, VOLUME, OTHER_BACKUP, 1, 0)
    for key in (layout.manifest(SITE, VOLUME, OTHER_BACKUP), part):
        store = deleted_backup()
        del store.objects[key]
        before = of(store, BACKUP)
        refusal = run(store).refusal
        assert refusal is not None
        assert OTHER_BACKUP in refusal.message
        assert of(store, BACKUP) == before


def test_p16_an_intent_that_can_not_be_read_stops_all() -> None:
    store = deleted_backup()
    store.objects[layout.read_pin("site-b", READER)] = b"{}"
    before = of(store, BACKUP)
    assert run(store).refusal is not None
    assert of(store, BACKUP) == before


def test_p16_foreign_keys_are_counted_and_stay() -> None:
    store = deleted_backup()
    foreign = {
        "sites/site-a/chunks/notes.txt",
        f"sites/site-a/chunks/{BACKUP}/readme",
        f"sites/site-a/chunks/{BACKUP}/0001/0000000g",
        f"sites/site-a/chunks/{BACKUP}/0000/00000001",
        f"sites/site-a/backups/{VOLUME}/{BACKUP}/index/0001/x",
        f"sites/site-a/backups/{VOLUME}/{BACKUP}/manifest.bak",
        "sites/site-a/intents/me",
        "sites/site-a/seals/x.y",
        "lost+found",
    }
    for key in foreign:
        store.objects[key] = b"mine"
    report = run(store)
    assert report.refusal is None
    assert foreign <= set(store.objects)
    assert report.foreign_keys >= 7
    assert of(store, BACKUP) - foreign == {layout.tomb(SITE, BACKUP)}


def test_p16_what_an_object_lock_keeps_is_counted_and_the_rest_goes() -> None:
    store = deleted_backup()
    locked = layout.chunk(SITE, BACKUP, 1, 0)
    store.locked.add(locked)
    report = run(store)
    assert report.refused_deletes == {"AccessDenied": 1}
    assert report.refused_example == locked
    assert [key for key in of(store, BACKUP) if "/chunks/" in key] == [locked]
    store.locked.clear()
    assert run(store).refused_deletes == {}
    assert of(store, BACKUP) == {layout.tomb(SITE, BACKUP)}


def test_p16_too_great_a_share_is_refused_unless_forced() -> None:
    store = deleted_backup()
    before = of(store, BACKUP)
    report = run(store, CollectRules(max_delete_percent=49))
    assert report.refusal is not None
    assert report.refusal.reason == "DeleteShareExceeded"
    assert report.delete_percent == 50.0
    assert of(store, BACKUP) == before
    assert run(store, CollectRules(max_delete_percent=49, forced=True)).refusal is None
    assert of(store, BACKUP) == {layout.tomb(SITE, BACKUP)}


def test_a_session_without_a_sign_of_life_is_voided_and_freed() -> None:
    store = MemoryStore()
    bank_on(store).open_session(SITE, BACKUP, VOLUME)
    store.put(layout.chunk(SITE, BACKUP, 1, 0), b"x")
    store.put(layout.journal(SITE, BACKUP, 1, 0), b"x")
    assert run(store).broken_sessions == 0
    store.now += timedelta(hours=25)
    report = run(store)
    assert report.broken_sessions == 1
    assert of(store, BACKUP) == {
        layout.tomb(SITE, BACKUP),
        layout.seal(SITE, BACKUP, VOLUME),
    }
    assert bank_on(store).find(BACKUP) is None


def test_a_store_that_ignores_conditions_loses_only_that() -> None:
    store = deleted_backup()
    bank_on(store, "site-b").open_session("site-b", BackupId("01KAPZ5J3VQ6Z0C4M8T2R7W9AA"), VOLUME)
    store.honours_conditions = False
    store.now += timedelta(hours=25)
    report = run(store)
    assert report.kept_dead_sessions == 1
    assert report.broken_sessions == 0
    assert of(store, BACKUP) == {layout.tomb(SITE, BACKUP)}


def test_a_pin_keeps_a_deleted_backup_until_its_reader_is_silent() -> None:
    store = deleted_backup()
    before = of(store, BACKUP)
    bank = bank_on(store, "site-b")
    store.put(layout.read_pin("site-b", READER), Intent(None, (base_ref(),)).dump())
    run(store)
    assert of(store, BACKUP) == before
    store.now += timedelta(hours=25)
    bank.beat(READER)
    run(store)
    assert of(store, BACKUP) == before
    store.now += timedelta(hours=25)
    assert run(store).broken_readers == 1
    assert of(store, BACKUP) == {layout.tomb(SITE, BACKUP)}


def base_ref():  # type: ignore[no-untyped-def]
    from cinderbank.bank.marks import BaseRef

    return BaseRef(SITE, BACKUP, VOLUME)


def test_a_tomb_is_kept_for_thirty_days_after_the_last_of_the_data() -> None:
    store = deleted_backup()
    store.now += timedelta(days=40)
    run(store)
    tomb = layout.tomb(SITE, BACKUP)
    assert store.modified[tomb] == store.now
    store.now += timedelta(days=29)
    assert run(store).removed_tombs == 0
    store.now += timedelta(days=2)
    assert run(store).removed_tombs == 1
    assert of(store, BACKUP) == set()


def test_leftovers_of_earlier_attempts_go() -> None:
    store = MemoryStore()
    back_up(store, CONTENT)
    kept = of(store, BACKUP)
    store.put(layout.chunk(SITE, BACKUP, 2, 0), b"x")
    store.put(layout.index_part(SITE, VOLUME, BACKUP, 2, 0), b"x")
    report = run(store)
    assert [row.why for row in report.sessions] == ["Superseded"]
    assert of(store, BACKUP) == kept


@pytest.mark.parametrize("window", [1, 2, 3, 64])
def test_windows_of_any_size_find_the_same(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr("cinderbank.bank.sweep.WINDOW_PLACES", window)
    store = deleted_backup()
    for index in range(9):
        store.put(layout.chunk(SITE, OTHER_BACKUP, 3, index), b"x")
    kept = {key for key in of(store, OTHER_BACKUP) if "/0003/" not in key}
    report = run(store)
    assert of(store, OTHER_BACKUP) == kept
    assert {row.objects for row in report.sessions} == {4, 9}


def test_a_plan_is_bounded_and_the_rest_goes_in_the_next_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cinderbank.bank.sweep.Planner.__init__.__defaults__", (2,))
    store = deleted_backup()
    report = run(store)
    assert not report.complete
    assert MANIFEST in store.objects
    while not run(store).complete:
        pass
    assert of(store, BACKUP) == {layout.tomb(SITE, BACKUP)}


def test_memory_is_eight_bytes_for_a_chunk_that_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 chunks of a dead session: the rows of a listing are not kept."""
    store = MemoryStore()
    for index in range(100_000):
        key = layout.chunk(SITE, BACKUP, 1, index)
        store.objects[key] = b"x"
    monkeypatch.setattr(store, "_rows", _lazily(store))
    tracemalloc.start()
    report = run(store, replace(ALL, dry_run=True))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.sessions[0].objects == 100_000
    assert peak < 8 * 1024 * 1024


def _lazily(store: MemoryStore):  # type: ignore[no-untyped-def]
    """The fake makes a whole listing at once; a store streams it."""
    from cinderbank.bank.store import Listed

    class Rows(list):  # type: ignore[type-arg]
        def __init__(self, prefix: str, delimiter: str, start_after: str) -> None:
            super().__init__()
            self.args = prefix, delimiter, start_after

        def __iter__(self):  # type: ignore[no-untyped-def]
            prefix, delimiter, after = self.args
            last = ""
            for key in store.objects:
                if not key.startswith(prefix) or key <= after:
                    continue
                rest = key[len(prefix) :]
                if delimiter and delimiter in rest:
                    common = prefix + rest.split(delimiter)[0] + delimiter
                    if common != last:
                        last = common
                        yield Listed(common, is_prefix=True)
                else:
                    yield Listed(key, 1)

    return Rows


def test_manifests_of_the_module_are_what_is_marked() -> None:
    """The fields that marking reads of an entry lie where bank.index says."""
    import numpy as np

    from cinderbank.bank.index import Entry, pack_entry
    from cinderbank.bank.marking import _ENTRY

    row = np.frombuffer(pack_entry(Entry(7, b"h" * 32, 1, 5, 3, 2)), _ENTRY)[0]
    assert (row["index"], row["session"], row["attempt"], row["flags"]) == (7, 3, 2, 0)
    assert manifests.MAX_SESSIONS <= 0xFFFF
