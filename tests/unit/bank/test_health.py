"""The self-test of a bank: honest about the store, and without a trace."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from cinderbank.bank import layout
from cinderbank.bank.health import RACERS, require_fit, validate
from cinderbank.bank.store import Body
from cinderbank.domain.errors import CinderbankError, Forbidden, Unsupported
from cinderbank.domain.facts import StoreCapabilities
from tests.fakes.backups import bank_on
from tests.fakes.object_store import MemoryStore

ALL = StoreCapabilities(True, True, True, True, True)


def test_a_good_store() -> None:
    store = MemoryStore()
    health = validate(bank_on(store))
    assert (health.writable, health.capabilities) == (True, ALL)
    assert health.problems == ()
    assert set(store.objects) == {layout.BANK}


@pytest.mark.parametrize("verb", ["PUT", "DELETE"])
@pytest.mark.parametrize("begun", [False, True])
def test_keys_that_may_not_write_are_told_so(verb: str, begun: bool) -> None:
    """Whether the bank is there already or would be made."""
    store = MemoryStore()
    if begun:
        bank_on(store).open()
    store.fail_next(verb, Forbidden("PUT of x: access denied", reason="BankAccessDenied"))
    with pytest.raises(Forbidden) as caught:
        validate(bank_on(store))
    assert caught.value.reason == "BankNotWritable"
    assert "accessMode: ReadOnly" in caught.value.message
    assert "PUT of x" in caught.value.message


@pytest.mark.parametrize("verb", ["LIST", "GET"])
def test_keys_that_may_not_even_read_are_another_thing(verb: str) -> None:
    store = MemoryStore()
    bank_on(store).open()
    store.fail_next(verb, Forbidden("access denied", reason="BankAccessDenied"))
    with pytest.raises(Forbidden) as caught:
        validate(bank_on(store))
    assert caught.value.reason == "BankAccessDenied"


def test_p18_a_store_without_conditions_is_told_and_used() -> None:
    store = MemoryStore()
    store.honours_conditions = False
    health = validate(bank_on(store))
    assert health.capabilities == replace(ALL, conditional_put=False)
    assert health.capabilities.fit
    assert "If-None-Match" in health.problems[0]


def test_read_only_writes_nothing() -> None:
    store = MemoryStore()
    bank_on(store).open()
    health = validate(bank_on(store, read_only=True))
    assert (health.writable, health.capabilities) == (False, None)
    assert {verb for verb, _ in store.requests[3:]} <= {"GET", "LIST"}


def test_p18_stale_lists_are_refused() -> None:
    store = MemoryStore()
    bank = bank_on(store)
    bank.open()
    store.lag_lists(1)
    health = validate(bank)
    assert health.capabilities == replace(ALL, list_after_write=False)
    assert "not listed" in health.problems[0]
    with pytest.raises(Unsupported) as caught:
        require_fit(bank)
    assert caught.value.reason == "BankNotConsistent"
    assert not [key for key in store.objects if "probes" in key]


def test_p18_stale_reads_are_refused() -> None:
    store = MemoryStore()
    bank = bank_on(store)
    bank.open()
    store.stale_reads = 2  # the first one is bank.json's, which this bank knows already
    health = validate(bank)
    assert health.capabilities is not None
    assert not health.capabilities.read_after_write
    assert not health.capabilities.fit
    assert "can not be read" in health.problems[0]


def test_p18_a_delete_that_is_not_seen_is_refused() -> None:
    store = MemoryStore()
    bank = bank_on(store)
    bank.open()
    kept: dict[str, bytes] = {}

    def bring_back(count: int, verb: str, key: str) -> None:
        if verb == "PUT" and "probes" in key:
            kept[key] = store.objects[key]
        if verb == "DELETE":
            store.objects.update(kept)

    store.after_request = bring_back
    health = validate(bank)
    assert health.capabilities == replace(ALL, delete_visible=False)
    assert not health.capabilities.fit


def test_a_store_without_ranges_is_told_and_used() -> None:
    store = MemoryStore()
    store.honours_ranges = False
    health = validate(bank_on(store))
    assert health.capabilities == replace(ALL, range_reads=False)
    assert health.capabilities.fit


def test_a_fit_store_is_let_through() -> None:
    require_fit(bank_on(MemoryStore()))


def test_p18_a_store_that_looks_before_it_writes_has_no_conditions() -> None:
    """It refuses what is there already, and lets two creators win at once."""
    store = LookBeforeYouLeap()
    health = validate(bank_on(store))
    assert health.capabilities == replace(ALL, conditional_put=False)


class LookBeforeYouLeap(MemoryStore):
    """Every creator looks, then all of them write."""

    def __init__(self) -> None:
        super().__init__()
        self._looked = threading.Barrier(RACERS)

    def put(self, key: str, body: Body, if_absent: bool = False) -> bool:
        if if_absent and threading.current_thread().name.startswith("race"):
            free = key not in self.objects
            self._looked.wait(120)
            return super().put(key, body) if free else False
        return super().put(key, body, if_absent)


@pytest.mark.parametrize("verb", ["LIST", "GET", "PUT", "DELETE"])
def test_any_failure_reaches_the_caller(verb: str) -> None:
    store = MemoryStore()
    store.fail_next(verb)
    with pytest.raises(CinderbankError):
        validate(bank_on(store))
