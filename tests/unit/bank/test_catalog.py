"""The list of backups: seals minus tombs, whatever lies between them."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.bank import catalog, layout
from cinderbank.bank.catalog import Filter
from cinderbank.bank.marks import Seal, Tomb
from cinderbank.domain.errors import Unavailable
from cinderbank.domain.facts import BackupId, VolumeId
from tests.fakes.backups import BACKUP, NOW, VOLUME, back_up, sample
from tests.fakes.object_store import MemoryStore

DIGEST = f"sha256:{'0' * 64}"
OTHER_VOLUME = VolumeId("21111111-2222-4333-8444-555555555555")
SEALED = Seal("OK", DIGEST, 4096, 100)


def backup_id(number: int) -> BackupId:
    """Begun `number` seconds after NOW."""
    moment = NOW + timedelta(seconds=number)
    return BackupId(f"{catalog._id_prefix(moment)}{number:016d}")


def bank_of(numbers: list[int], site: str = "site-a", **tombs: list[int]) -> MemoryStore:
    store = MemoryStore()
    for number in numbers:
        add(store, site, number)
    return store


def add(store: MemoryStore, site: str, number: int, seal: Seal = SEALED) -> None:
    volume = VOLUME if number % 2 else OTHER_VOLUME
    store.put(layout.seal(site, backup_id(number), volume), seal.dump())


def tomb(store: MemoryStore, site: str, number: int) -> None:
    store.put(layout.tomb(site, backup_id(number)), Tomb(VOLUME).dump())


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), unique=True),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40))),
    st.integers(-1, 41),
    st.integers(-1, 41),
)
def test_seals_minus_tombs_within_times(
    seals: list[tuple[str, int]], tombs: list[tuple[str, int]], since: int, until: int
) -> None:
    store = MemoryStore()
    for site, number in seals:
        add(store, site, number)
    for site, number in tombs:
        tomb(store, site, number)
    wanted = Filter(since=NOW + timedelta(seconds=since), until=NOW + timedelta(seconds=until))
    found = [(e.site, e.backup_id) for e in catalog.oldest_first(store, wanted)]
    expected = {
        (site, backup_id(number))
        for site, number in set(seals) - set(tombs)
        if since <= number < until
    }
    assert set(found) == expected
    assert len(found) == len(expected)
    assert [i for _, i in found] == sorted(i for _, i in found)
    newest, more = catalog.newest_first(store, 3, wanted)
    assert [e.backup_id for e in newest] == [i for _, i in reversed(found)][:3]
    assert more == (len(found) > 3)


def test_by_site_and_volume() -> None:
    store = bank_of([1, 2, 3])
    add(store, "site-b", 5)
    of_volume = catalog.oldest_first(store, Filter(volume_id=VOLUME))
    assert [e.backup_id for e in of_volume] == [backup_id(n) for n in (1, 3, 5)]
    assert [e.site for e in catalog.oldest_first(store, Filter(site="site-b"))] == ["site-b"]
    assert list(catalog.oldest_first(store, Filter(site="nowhere"))) == []


def test_an_entry_says_when_and_how_much() -> None:
    store = MemoryStore()
    back_up(store, sample("tz"))
    [found] = catalog.oldest_first(store)
    assert (found.backup_id, found.volume_id, found.size_bytes) == (BACKUP, VOLUME, 8192)
    assert found.begun.year == 2025
    assert catalog.begun_at("7ZZZZZZZZZ").year == 9999
    assert catalog.begun_at(backup_id(7)) == NOW + timedelta(seconds=7)


def test_void_and_unreadable_seals_hide_nothing() -> None:
    store = bank_of([1])
    add(store, "site-a", 2, Seal("VOID", DIGEST, 0, 0))
    store.put(layout.seal("site-a", backup_id(3), VOLUME), b"{")
    store.put("sites/site-a/seals/readme", b"?")
    store.put("sites/site-a/tombs/readme", b"?")
    add(store, "site-a", 4)
    one, broken, four = catalog.oldest_first(store)
    assert (one.problem, four.problem) == (None, None)
    assert broken.backup_id == backup_id(3)
    assert broken.problem is not None
    assert "not JSON" in broken.problem


def test_a_store_that_fails_is_no_damage() -> None:
    store = bank_of([1])
    store.fail_next("GET")
    with pytest.raises(Unavailable):
        list(catalog.oldest_first(store))


def test_the_first_rows_cost_no_more_than_they_need() -> None:
    store = bank_of(list(range(500)))
    before = len(store.requests)
    assert len(list(islice(catalog.oldest_first(store), 3))) == 3
    assert len(store.requests) - before <= 6
