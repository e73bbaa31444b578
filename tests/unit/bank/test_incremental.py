"""Incremental for ever: what did not change is not stored again, and what is lost is never inherited."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinderbank.bank import layout, state
from cinderbank.bank import writer as writers
from cinderbank.bank.base import choose
from cinderbank.bank.collect import CollectRules, collect
from cinderbank.bank.manifest import SessionRef
from cinderbank.bank.marks import BaseRef, Intent, Seal
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.scrub import AttemptRef, Damage, Report
from cinderbank.domain.errors import DataCorrupt, SourceGone, Unavailable
from tests.fakes.backups import CHUNK, NOW, SITE, VOLUME, bank_on, sample
from tests.fakes.object_store import MemoryStore
from tests.fakes.volumes import BACKUPS, Volume


def chunks_of(*numbers: int) -> bytes:
    """Chunks that all differ, also from each other's neighbours."""
    return b"".join(bytes([1 + n % 250]) * (CHUNK - 1) + bytes([n // 250]) for n in numbers)


CONTENT = chunks_of(*range(10)) + sample("z") + chunks_of(*range(11, 20))


def backed_up() -> Volume:
    volume = Volume(CONTENT)
    volume.back_up(0)
    volume.store.requests.clear()
    return volume


# P7


def test_p7_an_unchanged_second_backup_stores_no_chunk() -> None:
    volume = backed_up()
    progress = volume.back_up(1)
    assert volume.chunk_puts() == []
    assert progress.bytes_stored == 0
    assert progress.bytes_reused == len(CONTENT) - CHUNK
    assert volume.read(1) == CONTENT
    about = BackupReader.open(volume.store, SITE, BACKUPS[1]).manifest.description
    assert (about.base_id, about.stored_bytes) == (BACKUPS[0], 0)
    facts = bank_on(volume.store).observe(SITE, BACKUPS[1])
    assert (facts.base_id, facts.reused_bytes) == (BACKUPS[0], len(CONTENT) - CHUNK)


def test_the_previous_backup_is_the_newest_that_can_be_read() -> None:
    volume = Volume(CONTENT)
    bank = bank_on(volume.store)
    assert bank.previous(SITE, VOLUME) is None
    volume.back_up(0)
    bank.open_session(SITE, BACKUPS[1], VOLUME)
    found = bank.previous(SITE, VOLUME)
    assert found is not None and found.backup_id == BACKUPS[0], "an open session is no backup"
    bank.discard(SITE, BACKUPS[1])
    volume.back_up(2)
    found = bank.previous(SITE, VOLUME)
    assert found is not None and found.backup_id == BACKUPS[2]
    assert bank.previous("other-site", VOLUME) is None
    bank.delete(SITE, BACKUPS[2])
    found = bank.previous(SITE, VOLUME)
    assert found is not None and found.backup_id == BACKUPS[0]
    key = layout.manifest(SITE, VOLUME, BACKUPS[0])
    volume.store.put(key, b"nonsense")
    assert bank.previous(SITE, VOLUME) is None, "nothing that a new backup should fail for"


@pytest.mark.parametrize("offset", [0, CHUNK - 1, CHUNK, 5 * CHUNK + 77, len(CONTENT) - 1])
def test_p7_one_changed_byte_stores_exactly_one_chunk(offset: int) -> None:
    volume = backed_up()
    volume.write(offset, b"\xff")
    volume.back_up(1)
    assert volume.chunk_puts() == [layout.chunk(SITE, BACKUPS[1], 1, offset // CHUNK)]
    assert volume.read(1) == volume.content
    assert volume.read(0) == CONTENT


def test_p7_a_range_that_was_zeroed_stores_nothing_and_restores_zeros() -> None:
    volume = backed_up()
    volume.write(2 * CHUNK, bytes(4 * CHUNK))
    volume.back_up(1)
    assert volume.chunk_puts() == []
    assert volume.read(1) == volume.content


def test_what_was_a_hole_and_is_data_now_is_stored() -> None:
    volume = backed_up()
    volume.write(10 * CHUNK, b"x")
    volume.back_up(1)
    assert volume.chunk_puts() == [layout.chunk(SITE, BACKUPS[1], 1, 10)]
    assert volume.read(1) == volume.content


@pytest.mark.parametrize("pieces", [21, 25, 19, 3])
def test_a_volume_that_was_extended_or_is_shorter(pieces: int) -> None:
    volume = backed_up()
    volume.content = (CONTENT + chunks_of(*range(30, 40)))[: pieces * CHUNK]
    volume.back_up(1)
    assert len(volume.chunk_puts()) == max(0, pieces - 20)
    assert volume.read(1) == volume.content


def test_a_short_last_chunk_is_not_taken_for_a_whole_one() -> None:
    volume = Volume(CONTENT + b"\x05" * 100)
    volume.back_up(0)
    volume.content = CONTENT + b"\x05" * CHUNK
    volume.store.requests.clear()
    volume.back_up(1)
    assert volume.chunk_puts() == [layout.chunk(SITE, BACKUPS[1], 1, 20)]
    assert volume.read(1) == volume.content


def test_a_long_chain_borrows_from_many_sessions_and_parts_of_another_size() -> None:
    volume = Volume(CONTENT)
    for number in range(8):
        volume.part_entries = 2 + number
        volume.write(number * CHUNK, bytes([100 + number]))
        volume.back_up(number)
    for number, content in volume.contents.items():
        assert volume.read(number) == content
    sessions = BackupReader.open(volume.store, SITE, BACKUPS[7]).manifest.sessions
    assert sessions[0] == SessionRef(SITE, BACKUPS[7])
    assert set(sessions) == {SessionRef(SITE, BACKUPS[n]) for n in range(8)}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 19), st.booleans()), max_size=5), max_size=4))
def test_any_changes_restore_as_they_were(backups: list[list[tuple[int, bool]]]) -> None:
    volume = Volume(CONTENT)
    volume.back_up(0)
    for number, changes in enumerate(backups, 1):
        for chunk, zero in changes:
            volume.write(chunk * CHUNK, bytes(CHUNK) if zero else bytes([50 + number]))
        volume.back_up(number)
    for number, content in volume.contents.items():
        assert volume.read(number) == content


# Which base.


def test_the_intent_pins_the_newest_backup_with_its_volume() -> None:
    volume = backed_up()
    volume.back_up(1)
    bank_on(volume.store).open_session(SITE, BACKUPS[2], VOLUME)
    intent = state.read_intent(volume.store, SITE, BACKUPS[2])
    assert intent == Intent(VOLUME, (BaseRef(SITE, BACKUPS[1], VOLUME),))
    # What a session has pinned stays, whatever is sealed meanwhile.
    volume.back_up(3)
    bank_on(volume.store).open_session(SITE, BACKUPS[2], VOLUME)
    assert state.read_intent(volume.store, SITE, BACKUPS[2]) == intent


def test_a_full_backup_pins_and_reuses_nothing() -> None:
    volume = backed_up()
    bank_on(volume.store).open_session(SITE, BACKUPS[1], VOLUME, incremental=False)
    assert state.read_intent(volume.store, SITE, BACKUPS[1]) == Intent(VOLUME)
    assert volume.back_up(1).bytes_reused == 0
    assert len(volume.chunk_puts()) == 19
    assert BackupReader.open(volume.store, SITE, BACKUPS[1]).manifest.description.base_id is None


def test_a_base_that_is_deleted_unsealed_void_or_foreign_is_passed_over() -> None:
    volume = backed_up()
    for number in range(1, 5):
        volume.back_up(number)
    store = volume.store
    bank_on(store).delete(SITE, BACKUPS[4])
    del store.objects[layout.seal(SITE, BACKUPS[3], VOLUME)]
    void = Seal("VOID", "sha256:" + "0" * 64, 1, 1)
    store.objects[layout.seal(SITE, BACKUPS[2], VOLUME)] = void.dump()
    del store.objects[layout.manifest(SITE, VOLUME, BACKUPS[1])]
    store.objects[layout.backups_prefix(SITE, VOLUME) + "zzz/manifest"] = b"foreign"
    assert choose(store, SITE, VOLUME) == (BaseRef(SITE, BACKUPS[0], VOLUME),)
    store.objects[layout.seal(SITE, BACKUPS[0], VOLUME)] = b"damaged"
    assert choose(store, SITE, VOLUME) == ()


def test_a_base_of_another_site_or_volume_is_not_taken() -> None:
    volume = backed_up()
    assert choose(volume.store, "site-b", VOLUME) == ()
    assert choose(volume.store, SITE, type(VOLUME)(VOLUME.replace("1", "2"))) == ()


def _tombed(store: MemoryStore) -> None:
    bank_on(store).delete(SITE, BACKUPS[0])


def _no_seal(store: MemoryStore) -> None:
    del store.objects[layout.seal(SITE, BACKUPS[0], VOLUME)]


def _no_manifest(store: MemoryStore) -> None:
    del store.objects[layout.manifest(SITE, VOLUME, BACKUPS[0])]


def _bad_manifest(store: MemoryStore) -> None:
    store.flip(layout.manifest(SITE, VOLUME, BACKUPS[0]), 8 * 200)


def _newer_manifest(store: MemoryStore) -> None:
    key = layout.manifest(SITE, VOLUME, BACKUPS[0])
    store.objects[key] = store.objects[key].replace(b'"required":[]', b'"required":["x"]')


def _no_index(store: MemoryStore) -> None:
    for key in [key for key in store.objects if f"{BACKUPS[0]}/index" in key]:
        del store.objects[key]


@pytest.mark.parametrize(
    "spoil", [_tombed, _no_seal, _no_manifest, _bad_manifest, _newer_manifest, _no_index]
)
def test_w2_a_base_that_went_away_after_it_was_pinned_lends_nothing(spoil: object) -> None:
    volume = backed_up()
    bank_on(volume.store).open_session(SITE, BACKUPS[1], VOLUME)
    spoil(volume.store)  # type: ignore[operator]
    assert volume.back_up(1).bytes_reused == 0
    assert volume.read(1) == CONTENT


def test_the_pin_is_there_before_the_base_is_looked_at_for_lending() -> None:
    volume = backed_up()
    volume.back_up(1)
    order = volume.store.requests
    pinned = order.index(("PUT", layout.intent(SITE, BACKUPS[1])))
    looked = len(order) - 1 - order[::-1].index(("GET", layout.tomb(SITE, BACKUPS[0])))
    assert pinned < looked


def test_an_outage_while_the_base_is_read_is_an_outage_and_no_full_backup() -> None:
    volume = backed_up()
    bank_on(volume.store).open_session(SITE, BACKUPS[1], VOLUME)
    index = layout.index_part(SITE, VOLUME, BACKUPS[0], 1, 2)

    def away(count: int, verb: str, key: str) -> None:
        if key == index:
            raise Unavailable("away")

    volume.store.before_request = away
    with pytest.raises(Unavailable):
        volume.transfer(1)


# P8


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_p8_any_backup_goes_in_any_order_with_a_collection_after_each(
    order: tuple[int, ...],
) -> None:
    volume = Volume(CONTENT)
    for number in range(4):
        volume.write(number * CHUNK, bytes([200 + number]))
        volume.back_up(number)
    store, left = volume.store, {0, 1, 2, 3}
    for number in order:
        assert bank_on(store).delete(SITE, BACKUPS[number])
        left.remove(number)
        with pytest.raises(SourceGone):
            volume.read(number)
        report = collect(store, SITE, rules=CollectRules(forced=True))
        assert report.refusal is None
        for other in left:
            assert volume.read(other) == volume.contents[other]
    assert not [key for key in store.objects if "/chunks/" in key or "/backups/" in key]


# P9


def test_p9_a_missing_or_truncated_chunk_of_the_base_is_stored_anew() -> None:
    volume = backed_up()
    del volume.store.objects[layout.chunk(SITE, BACKUPS[0], 1, 3)]
    cut = layout.chunk(SITE, BACKUPS[0], 1, 7)
    volume.store.objects[cut] = volume.store.objects[cut][:-1]
    volume.back_up(1)
    assert sorted(volume.chunk_puts()) == [layout.chunk(SITE, BACKUPS[1], 1, n) for n in (3, 7)]
    assert volume.read(1) == CONTENT
    with pytest.raises(DataCorrupt):
        volume.read(0)


def test_p9_a_chunk_that_a_check_found_damaged_is_stored_anew_and_heals_the_chain() -> None:
    volume = backed_up()
    volume.back_up(1)  # borrows the chunk while nobody knows
    volume.store.flip(layout.chunk(SITE, BACKUPS[0], 1, 5), 8 * 45)
    damage = Damage()
    damage.add_chunk(AttemptRef(SITE, BACKUPS[0], 1), 5)
    report = Report(checked=NOW, level="full", damage=damage)
    volume.store.objects[layout.scrub(SITE, BACKUPS[30])] = report.dump()
    volume.store.requests.clear()
    volume.back_up(2)
    assert volume.chunk_puts() == [layout.chunk(SITE, BACKUPS[2], 1, 5)]
    assert volume.read(2) == CONTENT
    # The report is still there; what healed is lent again.
    volume.store.requests.clear()
    volume.back_up(3)
    assert volume.chunk_puts() == []
    assert volume.read(3) == CONTENT


def test_p9_a_report_that_can_not_be_read_lends_nothing() -> None:
    volume = backed_up()
    volume.store.objects[layout.scrub(SITE, BACKUPS[30])] = b"damaged"
    volume.back_up(1)
    assert len(volume.chunk_puts()) == 19


def test_p9_a_damaged_index_part_lends_nothing_from_there_on() -> None:
    volume = backed_up()
    volume.store.flip(layout.index_part(SITE, VOLUME, BACKUPS[0], 1, 2), 8 * 50)
    volume.back_up(1)
    stored = {int(key[-8:], 16) for key in volume.chunk_puts()}
    assert stored == set(range(6, 20)) - {10}
    assert volume.read(1) == CONTENT


def test_a_manifest_with_no_room_for_another_session_stores_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    volume = Volume(CONTENT)
    for number in range(4):
        volume.write(number * CHUNK, bytes([200 + number]))
        volume.back_up(number)
    monkeypatch.setattr(writers, "MAX_SESSIONS", 3)
    volume.back_up(4)
    manifest = BackupReader.open(volume.store, SITE, BACKUPS[4]).manifest
    assert len(manifest.sessions) == 3
    assert volume.read(4) == volume.content


def test_requests_of_an_unchanged_backup_do_not_follow_the_number_of_chunks() -> None:
    def requests(chunks: int) -> int:
        volume = Volume(b"".join(chunks_of(n) for n in range(chunks)), part_entries=1000)
        volume.back_up(0)
        volume.store.requests.clear()
        volume.back_up(1)
        return len(volume.store.requests)

    assert requests(10) == requests(400)
