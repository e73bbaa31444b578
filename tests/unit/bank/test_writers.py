"""Two that write as one site are found out; one that follows another is not accused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cinderbank.bank import layout
from cinderbank.bank.writers import KEPT, SILENT_AFTER, OtherWriters, sign
from cinderbank.domain.errors import Unavailable
from tests.fakes.backups import SITE
from tests.fakes.object_store import MemoryStore

US = "aaaaaaaa-2222-4333-8444-555555555555"
THEM = "bbbbbbbb-2222-4333-8444-555555555555"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def look(store: MemoryStore, writer: str, later: timedelta = MINUTE) -> OtherWriters:
    store.now += later
    return sign(store, SITE, writer)


def test_one_alone(store: MemoryStore) -> None:
    for _ in range(3):
        assert look(store, US) == OtherWriters()
    assert list(store.objects) == [layout.writer(SITE, US)]


def test_two_in_turn_see_each_other_by_their_second_look(store: MemoryStore) -> None:
    assert look(store, US) == OtherWriters()
    assert look(store, THEM) == OtherWriters((), (US,))
    assert look(store, US) == OtherWriters((THEM,), (THEM,))
    assert look(store, THEM) == OtherWriters((US,), (US,))


def test_a_successor_is_none_of_two(store: MemoryStore) -> None:
    """The cluster was built anew under the old name: its predecessor writes no more."""
    for _ in range(3):
        look(store, THEM)
    for _ in range(3):
        assert look(store, US) == OtherWriters((), (THEM,))
    assert look(store, US, SILENT_AFTER) == OtherWriters()


def test_another_site_is_another_name(store: MemoryStore) -> None:
    look(store, US)
    sign(store, "site-b", THEM)
    assert look(store, US) == OtherWriters()


def test_the_one_that_looks_seldom_is_not_forgotten_between_two_looks(store: MemoryStore) -> None:
    look(store, US)
    look(store, THEM)
    assert look(store, US).beside_us == (THEM,)
    again = look(store, US, timedelta(hours=6))
    assert (again.beside_us, again.lately) == ((), (THEM,))


def test_old_marks_go_and_foreign_keys_are_left_alone(store: MemoryStore) -> None:
    foreign = layout.writers_prefix(SITE) + "readme.txt"
    store.put(foreign, b"?")
    look(store, THEM)
    look(store, US, KEPT + MINUTE)
    assert set(store.objects) == {foreign, layout.writer(SITE, US)}


def test_a_store_that_does_not_list_what_was_put(store: MemoryStore) -> None:
    store.lag_lists(1)
    with pytest.raises(Unavailable, match="list"):
        look(store, US)
