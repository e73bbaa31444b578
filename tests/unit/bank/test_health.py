"""The self-test of a bank: honest about the store, and without a trace."""

from __future__ import annotations

import pytest

from cinderbank.bank import layout
from cinderbank.bank.health import validate
from cinderbank.domain.errors import CinderbankError, Unavailable
from tests.fakes.backups import back_up, bank_on, sample
from tests.fakes.object_store import MemoryStore


def test_a_good_store() -> None:
    store = MemoryStore()
    health = validate(bank_on(store))
    assert (health.writable, health.conditional_put, health.backups) == (True, True, 0)
    assert health.problems == ()
    assert set(store.objects) == {layout.BANK}


def test_counts_backups_and_foreign_objects() -> None:
    store = MemoryStore()
    bank = back_up(store, sample("t"))
    store.objects["sites/site-a/seals/readme.txt"] = b"?"
    health = validate(bank)
    assert health.backups == 1
    assert "1 objects among the seals are not ours" in health.problems[0]


def test_a_store_without_conditions_is_told_and_used() -> None:
    store = MemoryStore()
    store.honours_conditions = False
    health = validate(bank_on(store))
    assert health.conditional_put is False
    assert "If-None-Match" in health.problems[0]


def test_read_only_writes_nothing() -> None:
    store = MemoryStore()
    bank_on(store).open()
    health = validate(bank_on(store, read_only=True))
    assert (health.writable, health.conditional_put) == (False, None)
    assert {verb for verb, _ in store.requests[3:]} <= {"GET", "LIST"}


def test_stale_lists_are_refused() -> None:
    store = MemoryStore()
    store.lag_lists(1)
    with pytest.raises(Unavailable, match="not listed"):
        validate(bank_on(store))
    assert not [key for key in store.objects if "probes" in key]


@pytest.mark.parametrize("verb", ["LIST", "GET", "PUT", "DELETE"])
def test_any_failure_reaches_the_caller(verb: str) -> None:
    store = MemoryStore()
    store.fail_next(verb)
    with pytest.raises(CinderbankError):
        validate(bank_on(store))
