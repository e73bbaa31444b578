"""The catalogue's view of a bank: what it costs, and what hostile contents can do to it (nothing)."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from cinderbank.bank import layout, proofs, scrub, state
from cinderbank.bank import manifest as manifests
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.catalog import MAX_CATALOG_MANIFEST_BYTES
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.marks import BankHeader, Seal, Tomb
from cinderbank.bank.scrub import Damage, Report
from cinderbank.bank.stored_catalog import StoredCatalog
from cinderbank.domain.catalog import PointKey
from cinderbank.domain.errors import DataCorrupt, Forbidden, Unavailable, Unsupported
from cinderbank.domain.facts import VolumeId
from cinderbank.ports.catalog import Choice, Described, Unreadable
from tests.fakes.backups import BACKUP, NOW, SITE, VOLUME, back_up, bank_on, sample
from tests.fakes.clock import FakeClock
from tests.fakes.many_backups import BANK_ID, numbered, numbered_id, seal_body, seal_one
from tests.fakes.object_store import MemoryStore

OTHER_VOLUME = VolumeId("21111111-2222-4333-8444-555555555555")
NONE: frozenset[PointKey] = frozenset()
LATER = NOW + timedelta(days=1)


def empty() -> MemoryStore:
    store = MemoryStore()
    store.put(layout.BANK, BankHeader(BANK_ID, NOW.isoformat()).dump())
    return store


def bank_of(*keys: PointKey) -> MemoryStore:
    store = empty()
    for key in keys:
        seal_one(store, key)
    return store


def catalog_of(store: MemoryStore, max_rows: int = 200_000, **options: Any) -> StoredCatalog:
    options = {"now": lambda: NOW, **options}
    return StoredCatalog(StoredBank(store, "site-z", read_only=True, **options), max_rows)


def test_a_slow_bank_is_not_listed_for_ever() -> None:
    clock = FakeClock(NOW)
    store = bank_of(numbered(1), numbered(2))
    catalog = catalog_of(store, now=clock.now)
    store.after_request = lambda count, verb, key: clock.advance(16 if verb == "LIST" else 0)
    with pytest.raises(Unavailable) as late:
        catalog.newest(Choice(3), NONE, LATER)
    assert late.value.reason == "BankTooSlow"
    with pytest.raises(Unavailable):
        catalog.damaged(frozenset({numbered(1)}))
    assert len([verb for verb, _ in store.requests if verb == "LIST"]) == 2
    store.after_request = lambda count, verb, key: None
    assert catalog_of(store, now=clock.now).newest(Choice(3), NONE, LATER).backups == 2


def test_the_newest_of_all_sites_and_how_many_there_are() -> None:
    store = bank_of(*(numbered(n) for n in range(5)), numbered(7, "site-b"))
    store.put(layout.tomb(SITE, numbered_id(4)), Tomb(VOLUME).dump())
    found = catalog_of(store).newest(Choice(3), NONE, LATER)
    assert found.keys == (numbered(7, "site-b"), numbered(3), numbered(2))
    assert (found.backups, found.foreign_keys) == (5, 0)
    passed = frozenset({numbered(3), numbered(1), numbered(99)})
    found = catalog_of(store).newest(Choice(3), passed, LATER)
    assert found.keys == (numbered(7, "site-b"), numbered(2), numbered(0))
    assert (found.backups, found.passed) == (3, passed - {numbered(99)})
    assert catalog_of(store).newest(Choice(0), NONE, LATER).backups == 5


def test_what_is_chosen() -> None:
    other = numbered(8, "site-b", OTHER_VOLUME)
    store = bank_of(numbered(1), numbered(2, volume_id=OTHER_VOLUME), other)
    newest = catalog_of(store).newest
    assert newest(Choice(9, sites=frozenset({"site-b", "nowhere"})), NONE, LATER).keys == (other,)
    assert newest(Choice(9, volume_ids=frozenset({VOLUME})), NONE, LATER).keys == (numbered(1),)
    since = NOW + timedelta(seconds=8)
    assert newest(Choice(9, since=since), NONE, LATER).keys == (other,)


def test_a_clock_in_the_future_crowds_nobody_out() -> None:
    year = 365 * 86400
    store = bank_of(numbered(1), numbered(2), *(numbered(year + n, "site-b") for n in range(3)))
    found = catalog_of(store).newest(Choice(3), NONE, LATER)
    assert found.keys == (numbered(2), numbered(1), numbered(year + 2, "site-b"))


def test_a_listing_without_an_end_is_ended() -> None:
    store = bank_of(*(numbered(n) for n in range(6)))
    with pytest.raises(Unsupported, match=r"maxAge") as caught:
        catalog_of(store, max_rows=5).newest(Choice(1), NONE, LATER)
    assert caught.value.reason == "CatalogTooLarge"
    assert catalog_of(store, max_rows=6).newest(Choice(1), NONE, LATER).backups == 6


def test_foreign_keys_are_counted_and_never_used() -> None:
    store = bank_of(numbered(1))
    wrong = (
        f"sites/{SITE}/seals/../../keys",
        f"sites/{SITE}/seals/a/b",
        f"sites/{SITE}/seals/{numbered_id(1).lower()}.{VOLUME}",
        f"sites/{SITE}/seals/{numbered_id(2)}.{VOLUME}/x",
        f"sites/{SITE}/seals/8{numbered_id(1)[1:]}.{VOLUME}",
        f"sites/{SITE}/seals/{numbered_id(3)}.\x1b[2J",
    )
    for key in wrong:
        store.put(key, b"{}")
    for site in ("UPPER", "a b", ".."):
        store.put(f"sites/{site}/seals/{numbered_id(5)}.{VOLUME}", b"{}")
    found = catalog_of(store).newest(Choice(99), NONE, LATER)
    assert (found.keys, found.foreign_keys) == ((numbered(1),), len(wrong))


def test_a_backup_by_the_writer_is_described() -> None:
    store = MemoryStore()
    back_up(store, sample("tz"))
    found = catalog_of(store).look(PointKey(SITE, BACKUP, VOLUME))
    assert isinstance(found, Described)
    assert (found.about.volume_name, found.about.tags) == ("db", {"kind": "full"})
    assert not found.encrypted


def test_an_encrypted_one_needs_its_key() -> None:
    store, kek = MemoryStore(), KeyEncryptionKey(b"k" * 32)
    back_up(store, sample("tz"), keks=(kek,))
    key = PointKey(SITE, BACKUP, VOLUME)
    found = catalog_of(store, keks=(kek,)).look(key)
    assert isinstance(found, Described) and found.encrypted
    reasons = []
    for keks in ((), (KeyEncryptionKey(b"w" * 32),)):
        refused = catalog_of(store, keks=keks).look(key)
        assert isinstance(refused, Unreadable)
        reasons.append(refused.reason)
    assert reasons == ["BankKeyMissing", "BankKeyWrong"]


def test_a_plain_one_among_encrypted_ones_is_not_believed() -> None:
    store = bank_of(numbered(1))
    found = catalog_of(store, keks=(KeyEncryptionKey(b"k" * 32),)).look(numbered(1))
    assert isinstance(found, Unreadable)
    assert found.reason == "BankPlainBackup"


def test_what_is_no_backup_is_none() -> None:
    store = bank_of(numbered(1))
    void = layout.seal(SITE, numbered_id(2), VOLUME)
    store.put(void, Seal("VOID", f"sha256:{'0' * 64}", 0, 0).dump())
    assert catalog_of(store).look(numbered(2)) is None
    assert catalog_of(store).look(numbered(3)) is None


def document_of(store: MemoryStore, key: PointKey) -> dict[str, Any]:
    body = store.objects[layout.manifest(key.site, key.volume_id, key.backup_id)]
    parsed: dict[str, Any] = json.loads(body)
    return parsed


def claims(document: dict[str, Any]) -> bytes:
    more = {
        "phase": "Completed",
        "hooks": [{"exec": ["rm", "-rf", "/"]}],
        "path": "../../etc/passwd",
        "apiVersion": "v1",
        "metadata": {"finalizers": ["x"], "labels": {"argocd.argoproj.io/instance": "x"}},
    }
    return json.dumps({**document, **more, "status": more, "spec": more}).encode()


def test_claims_that_nobody_asked_for_are_passed_over() -> None:
    key = numbered(1)
    store = bank_of(key)
    honest = catalog_of(store).look(key)
    seal_body(store, key, claims(document_of(store, key)))
    assert catalog_of(store).look(key) == honest


def changed(section: str, field: str, value: object) -> Callable[[dict[str, Any]], bytes]:
    def make(document: dict[str, Any]) -> bytes:
        return json.dumps({**document, section: {**document[section], field: value}}).encode()

    return make


HOSTILE: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "no JSON": lambda document: b"{",
    "deep": lambda document: b"[" * 100_000,
    "wide": lambda document: b'{"a":[' + b"0," * 1_500_000 + b"0]}",
    "large": lambda document: b"[" + b" " * (MAX_CATALOG_MANIFEST_BYTES + 1),
    "another backup": changed("backup", "backup_id", numbered_id(9)),
    "another site": changed("backup", "site", "site-q"),
    "another volume": changed("backup", "volume_id", OTHER_VOLUME),
    "a path as id": changed("backup", "backup_id", "../../x"),
    "a megabyte of name": changed("backup", "volume_name", "x" * (1 << 20)),
    "a thousand tags and more": changed("backup", "tags", {f"t{n}": "" for n in range(1025)}),
    "a tag that is no text": changed("backup", "tags", {"a": {"b": "c"}}),
    "a time without end": changed("backup", "snapshot_at", "9999-12-31T23:59:59-23:59"),
    "no time": changed("backup", "snapshot_at", "yesterday"),
    "a size of nothing": changed("content", "size_bytes", -1),
    "a size of everything": changed("content", "size_bytes", 10**30),
    "a format of its own": changed("content", "content_format", "$(reboot)"),
    "a future format": lambda document: json.dumps(
        {**document, "format": {**document["format"], "major": 99}}
    ).encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_manifest_is_unreadable_and_nothing_else(name: str) -> None:
    key = numbered(1)
    store = bank_of(key, numbered(2))
    seal_body(store, key, HOSTILE[name](document_of(store, key)))
    found = catalog_of(store).look(key)
    assert isinstance(found, Unreadable)
    assert found.reason and found.message
    assert isinstance(catalog_of(store).look(numbered(2)), Described)


def test_a_manifest_that_is_not_the_sealed_one() -> None:
    key = numbered(1)
    store = bank_of(key)
    name = layout.manifest(key.site, key.volume_id, key.backup_id)
    store.put(name, store.objects[name] + b" ")
    found = catalog_of(store).look(key)
    assert isinstance(found, Unreadable)
    assert found.reason == "DataCorrupt"
    del store.objects[name]
    assert isinstance(catalog_of(store).look(key), Unreadable)


def test_a_store_that_fails_is_no_damage() -> None:
    store = bank_of(numbered(1))
    catalog = catalog_of(store)
    catalog.newest(Choice(1), NONE, LATER)
    store.fail_next("GET")
    with pytest.raises(Unavailable):
        catalog.look(numbered(1))
    store.fail_next("GET", Forbidden("no", reason="BankAccessDenied"))
    with pytest.raises(Forbidden):
        catalog.look(numbered(1))


def test_what_checks_found() -> None:
    store = bank_of(numbered(1), numbered(2))
    damage = Damage(backups={manifests.SessionRef(SITE, numbered_id(1)): VOLUME})
    store.put(layout.scrub(SITE, numbered_id(50)), Report(NOW, "full", damage).dump())
    store.put(layout.scrub(SITE, numbered_id(51)), b"{")
    catalog = catalog_of(store)
    assert catalog.damaged(frozenset({numbered(1), numbered(2)})) == {numbered(1)}
    assert catalog.damaged(frozenset({numbered(2)})) == frozenset()
    assert scrub.MAX_REPORTS >= 100


def test_the_largest_honest_manifest_is_read() -> None:
    """As many sessions as there may be fit into what the catalogue reads of a manifest."""
    row = len('{"id":"01KAPZ5J3VQ6Z0C4M8T2R7W9XE","site":"site-a"},')
    assert manifests.MAX_SESSIONS * row < MAX_CATALOG_MANIFEST_BYTES
    assert manifests.MAX_MANIFEST_BYTES >= MAX_CATALOG_MANIFEST_BYTES
    assert state.MAX_SITES == 4096


@pytest.mark.parametrize("item", ["{}", '"abcde"', "[1.5]"])
def test_the_worst_manifest_takes_bounded_memory(item: str) -> None:
    """The operator reads it in its own process, one at a time."""
    key = numbered(1)
    store = bank_of(key)
    document = document_of(store, key)
    body = json.dumps({**document, "more": []}).encode()
    room = MAX_CATALOG_MANIFEST_BYTES - len(body)
    separators = 1_000_000 - body.count(b",") - body.count(b"{") - body.count(b"[")
    count = min(room // (len(item) + 1), separators // (1 + item.count("{") + item.count("[")))
    body = body.replace(b'"more": []', f'"more": [{",".join([item] * count)}]'.encode())
    seal_body(store, key, body)
    catalog = catalog_of(store)
    tracemalloc.start()
    found = catalog.look(key)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, Described)
    assert peak < 80 << 20


def test_proofs_of_drills_and_checks() -> None:
    store = MemoryStore()
    back_up(store, sample("t"))
    key = PointKey(SITE, BACKUP, VOLUME)
    among = frozenset({key})
    assert StoredCatalog(bank_on(store)).verified(among) == {}
    bank_on(store, "site-b").note_drill(SITE, BACKUP, is_whole=True)
    catalog = StoredCatalog(bank_on(store))
    assert catalog.verified(among) == {key: NOW}
    assert catalog.damaged(among) == frozenset()
    bank_on(store, "site-b").note_drill(SITE, BACKUP, is_whole=False)
    assert StoredCatalog(bank_on(store)).damaged(among) == frozenset()
    assert StoredCatalog(bank_on(store, "site-b")).damaged(among) == among
    bank_on(store).note_drill(SITE, BACKUP, is_whole=False)
    assert StoredCatalog(bank_on(store)).damaged(among) == among


def test_more_proofs_than_a_bank_has_never_hide_a_bad_backup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever plants them must not make it look good."""
    store = MemoryStore()
    back_up(store, sample("t"))
    among = frozenset({PointKey(SITE, BACKUP, VOLUME)})
    bank_on(store).note_drill(SITE, BACKUP, is_whole=False)
    monkeypatch.setattr(proofs, "MAX_PROOFS", 2)
    for number in range(3):
        store.objects[f"sites/planted/proofs/x-{number}"] = b""
    for ask in (StoredCatalog(bank_on(store)).damaged, StoredCatalog(bank_on(store)).verified):
        with pytest.raises(DataCorrupt, match="below sites/planted/proofs/"):
            ask(among)
