"""The audit of a soak finds what it is there for: an audit that can not fail proves nothing."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from pathlib import Path

import pytest

from cinderbank.bank import layout
from cinderbank.bank.collect import CollectRules, collect
from tests.fakes.backups import BACKUP, OTHER_BACKUP, VOLUME, back_up, bank_on, sample
from tests.fakes.object_store import MemoryStore
from tests.independent_reader.read_bank import Refused
from tests.soak.audit import audit_bank, audit_trace
from tests.soak.ledger import Entry, Ledger, State

CONTENT = sample("trz", tail=100)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CHUNK = layout.chunk("site-b", OTHER_BACKUP, 1, 0)


class Bucket:
    """What audits ask of a bucket: a bank in memory, below one prefix."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def keys(self, prefix: str) -> list[str]:
        return sorted(self._store.objects)

    def read(self, key: str) -> bytes:
        return self._store.objects[key.partition("/")[2]]


class Gate:
    """What audits ask of a gate."""

    def __init__(self, *did: tuple[str, str]) -> None:
        self._did = (*did, ("PUT", layout.tomb("site-a", BACKUP)))

    def done(self, verb: str, part: str) -> Counter[str]:
        keys = (f"/bank/prefix/{key}" for did, key in self._did if did == verb)
        return Counter(key for key in keys if part in key)


@pytest.fixture
def ledger() -> Ledger:
    """One at a that is there; one at b that its user has deleted."""
    found = Ledger(random.Random(1))
    found.add(Entry("a", "first", BACKUP, SHA256))
    found.add(Entry("b", "second", OTHER_BACKUP, SHA256, State.GONE))
    return found


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    back_up(made, CONTENT, site="site-a")
    back_up(made, CONTENT, site="site-b", backup_id=OTHER_BACKUP)
    bank_on(made, "site-b").delete("site-b", OTHER_BACKUP)
    assert collect(made, "site-a", rules=CollectRules(max_delete_percent=100)).refusal is None
    return made


def audited(store: MemoryStore, ledger: Ledger, folder: Path) -> int:
    return audit_bank(Bucket(store), "prefix", ledger, folder)  # type: ignore[arg-type]


def test_a_bank_as_it_must_be(store: MemoryStore, ledger: Ledger, tmp_path: Path) -> None:
    assert audited(store, ledger, tmp_path) == 1


@pytest.mark.parametrize(
    "kind", ["chunks", "backups", "journal", "intents", "beats", "foreign", "keys"]
)
def test_what_nobody_needs(store: MemoryStore, ledger: Ledger, tmp_path: Path, kind: str) -> None:
    store.objects[f"sites/site-b/{kind}/{OTHER_BACKUP}"] = b"{}"
    with pytest.raises(AssertionError, match="no backup needs"):
        audited(store, ledger, tmp_path)


def test_what_is_lost(store: MemoryStore, ledger: Ledger, tmp_path: Path) -> None:
    del store.objects[layout.chunk("site-a", BACKUP, 1, 1)]
    with pytest.raises(Refused, match="missing"):
        audited(store, ledger, tmp_path)


def test_a_backup_that_is_none_any_more(store: MemoryStore, ledger: Ledger, tmp_path: Path) -> None:
    del store.objects[layout.seal("site-a", BACKUP, VOLUME)]
    with pytest.raises(AssertionError):
        audited(store, ledger, tmp_path)


def test_other_bytes(store: MemoryStore, tmp_path: Path) -> None:
    ledger = Ledger(random.Random(1))
    ledger.add(Entry("a", "first", BACKUP, "0" * 64))
    with pytest.raises(AssertionError, match="other bytes"):
        audited(store, ledger, tmp_path)


def traced(ledger: Ledger, *did: tuple[str, str]) -> int:
    return audit_trace(Gate(*did), "a", "b", ledger)  # type: ignore[arg-type]


def test_what_the_other_has_deleted_may_be_freed(ledger: Ledger) -> None:
    tomb = layout.tomb("site-b", OTHER_BACKUP)
    seal = layout.seal("site-b", OTHER_BACKUP, VOLUME)
    manifest = layout.manifest("site-b", VOLUME, OTHER_BACKUP)
    did = [("PUT", tomb), ("DELETE", CHUNK), ("DELETE", seal), ("DELETE", manifest)]
    assert traced(ledger, *did) == 3


@pytest.mark.parametrize(
    "did",
    [
        ("DELETE", layout.chunk("site-b", BACKUP, 1, 0)),
        ("DELETE", layout.tomb("site-b", OTHER_BACKUP)),
        ("DELETE", layout.intent("site-b", OTHER_BACKUP)),
        ("PUT", layout.tomb("site-b", BACKUP)),
        ("PUT", CHUNK),
        ("PUT", layout.writer("site-b", VOLUME)),
    ],
    ids=str,
)
def test_anything_else_of_the_other_is_told(ledger: Ledger, did: tuple[str, str]) -> None:
    with pytest.raises(AssertionError, match=r"site a (wrote|deleted)"):
        traced(ledger, did)


def test_a_gate_that_saw_nothing_is_no_witness(ledger: Ledger) -> None:
    with pytest.raises(AssertionError, match="not in front"):
        audit_trace(Gate(), "c", "b", ledger)  # type: ignore[arg-type]
