"""Ranges and scrub reports: what is lost is told once, whole, and by nobody forgotten."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.bank import layout, scrub
from cinderbank.bank.manifest import SessionRef
from cinderbank.bank.ranges import Ranges
from cinderbank.bank.scrub import AttemptRef, Damage, Report
from cinderbank.domain.errors import CinderbankError, DataCorrupt
from tests.fakes.backups import BACKUP, NOW, OTHER_BACKUP, SITE, VOLUME
from tests.fakes.object_store import MemoryStore

NUMBERS = st.sets(st.integers(0, 60))
REF = AttemptRef(SITE, BACKUP, 1)


def ranges_of(numbers: set[int]) -> Ranges:
    found = Ranges()
    for number in numbers:
        found.add(number)
    return found


def numbers_of(ranges: Ranges) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(NUMBERS, NUMBERS)
def test_ranges_are_sets(one: set[int], two: set[int]) -> None:
    a, b = ranges_of(one), ranges_of(two)
    assert numbers_of(a) == one
    assert {n for n in range(62) if n in a} == one
    assert (a.count(), bool(a)) == (len(one), bool(one))
    assert numbers_of(a.minus(b)) == one - two
    assert numbers_of(a.both(b)) == one & two
    pairs = list(a)
    assert all(x[1] + 1 < y[0] for x, y in pairwise(pairs))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9))))
def test_ranges_of_pairs(pairs: list[tuple[int, int]]) -> None:
    found = Ranges((first, first + more) for first, more in pairs)
    assert numbers_of(found) == {n for f, more in pairs for n in range(f, f + more + 1)}


def damage() -> Damage:
    found = Damage()
    found.add_chunk(REF, 3, 5)
    found.add_chunk(REF, 9)
    found.backups[SessionRef(SITE, OTHER_BACKUP)] = VOLUME
    return found


def test_a_report_comes_back_as_it_was() -> None:
    report = Report(NOW, "full", damage())
    assert Report.parse(report.dump(), "x") == report


def test_the_union_of_all_reports_holds() -> None:
    store = MemoryStore()
    store.put(layout.scrub("site-a", BACKUP), Report(NOW, "full", damage()).dump())
    other = Damage({REF: Ranges([(10, 10)])}, {SessionRef("site-b", BACKUP): VOLUME})
    store.put(layout.scrub("site-b", OTHER_BACKUP), Report(NOW, "sample", other).dump())
    store.put("scrub/site-b/readme.txt", b"?")
    known = scrub.known_damage(store)
    assert list(known.chunks[REF]) == [(3, 5), (9, 10)]
    assert known.has_chunk(REF, 4)
    assert not known.has_chunk(REF, 6)
    assert not known.has_chunk(AttemptRef(SITE, BACKUP, 2), 4)
    assert known.has_backup("site-b", BACKUP)
    assert not known.has_backup("site-a", BACKUP)


def test_what_is_no_report_is_not_listed_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub, "MAX_REPORTS", 10)
    store = MemoryStore()
    for number in range(11):
        store.put(f"scrub/site-b/{number}.txt", b"?")
    with pytest.raises(DataCorrupt, match="more than 10"):
        list(scrub.read_reports(store))


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * (scrub.MAX_REPORT_BYTES + 1)])
def test_a_report_that_can_not_be_read_forbids_every_reuse_and_hides_no_other(body: bytes) -> None:
    store = MemoryStore()
    store.put(layout.scrub("site-a", BACKUP), body)
    store.put(layout.scrub("site-b", BACKUP), Report(NOW, "full", damage()).dump())
    with pytest.raises(DataCorrupt):
        scrub.known_damage(store)
    kinds = [isinstance(report, CinderbankError) for _, report in scrub.read_reports(store)]
    assert kinds == [True, False]


def test_more_damage_than_a_report_holds_is_split_and_each_part_can_be_read() -> None:
    whole = Damage()
    for attempt in range(1, scrub.MAX_SESSIONS + 3):
        whole.add_chunk(AttemptRef(SITE, BACKUP, attempt), attempt)
    for index in range(0, 2 * scrub.MAX_RANGES + 2, 2):
        whole.add_chunk(AttemptRef("site-b", BACKUP, 1), index)
    parts = list(scrub.split(whole))
    bodies = [Report(NOW, "full", part).dump() for part in parts]
    assert max(map(len, bodies)) <= scrub.MAX_REPORT_BYTES
    union = Damage()
    for body in bodies:
        union.add_all(Report.parse(body, "x").damage)
    assert not whole.minus(union), "too much may be told, never too little"
    assert len(union.chunks) == len(whole.chunks)


def test_the_largest_report_fits() -> None:
    site = "s" * 63
    largest = Damage()
    for attempt in range(2, scrub.MAX_SESSIONS + 1):
        largest.add_chunk(AttemptRef(site, BACKUP, attempt), layout.MAX_CHUNK_INDEX)
    gaps = scrub.MAX_RANGES - scrub.MAX_SESSIONS + 1
    high = layout.MAX_CHUNK_INDEX - 2 * gaps
    for number in range(gaps):
        largest.add_chunk(AttemptRef(site, BACKUP, 1), high + 2 * number)
    for number in range(scrub.MAX_BACKUPS):
        largest.backups[SessionRef(site, type(BACKUP)(f"{BACKUP[:-4]}{number:04d}"))] = VOLUME
    body = Report(NOW, "existence", largest).dump()
    assert len(body) <= scrub.MAX_REPORT_BYTES
    assert Report.parse(body, "x").damage == largest
