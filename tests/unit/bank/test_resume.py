"""Resume: a killed transfer costs what was in flight, and nothing of it is believed unseen."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from cinderbank.bank import layout
from cinderbank.bank.collect import CollectRules, collect
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.index import Entry
from cinderbank.bank.journal import (
    JOURNAL_BYTES,
    OPEN_AT_MOST,
    Journal,
    Resumption,
    SourceIdentity,
)
from cinderbank.bank.manifest import SessionRef
from cinderbank.bank.reader import BackupReader
from cinderbank.domain.errors import BrokenInvariant, DataCorrupt, Unavailable
from tests.fakes.backups import BACKUP, CHUNK, NOW, SITE, VOLUME, bank_on, sample
from tests.fakes.object_store import Crash, MemoryStore
from tests.fakes.volumes import BACKUPS, Volume
from tests.unit.bank.test_incremental import chunks_of

CONTENT = chunks_of(*range(6)) + sample("z") + chunks_of(*range(7, 11)) + b"tail"
ORPHAN = re.compile("/(chunks|backups|journal)/")
SESSION = SessionRef(SITE, BACKUP)


def crash_at(request: int, when: str) -> Callable[[int, str, str], None]:
    def crash(count: int, verb: str, key: str) -> None:
        if count >= request:
            raise Crash(f"{when} request {request}: {verb} {key}")

    return crash


def killed(volume: Volume, number: int, attempt: int, request: int, when: str) -> bool:
    """One attempt that dies at this request of its own and never speaks to the store again; False
    when it had ended before."""
    store = volume.store
    start = len(store.requests)
    hook = crash_at(start + request, when)
    setattr(store, f"{when}_request", hook)
    try:
        volume.transfer(number, attempt)
        bank_on(store).seal(SITE, BACKUPS[number], VOLUME)
    except Crash:
        return True
    finally:
        setattr(store, f"{when}_request", lambda count, verb, key: None)
    return False


def stored_keys(store: MemoryStore) -> set[str]:
    return {key for key in store.objects if "/chunks/" in key}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("incremental", [False, True])
def test_p10_killed_at_every_request_no_half_backup_and_the_next_run_finishes(
    when: str, incremental: bool
) -> None:
    request = 0
    while True:
        volume = Volume(CONTENT)
        number = 0
        if incremental:
            volume.back_up(0)
            volume.write(2 * CHUNK, b"changed")
            volume.write(8 * CHUNK, b"changed")
            number = 1
        if not killed(volume, number, 1, request, when):
            break
        listed = [key.backup_id for key in bank_on(volume.store).seals() if key is not None]
        sealed = BACKUPS[number] in listed
        if sealed:
            assert volume.read(number) == volume.content, "what is listed is whole"
        own = layout.session_chunks_prefix(SITE, BACKUPS[number])
        before = {key for key in stored_keys(volume.store) if key.startswith(own)}
        volume.store.requests.clear()
        if not sealed:
            volume.back_up(number, attempt=2)
        assert volume.read(number) == volume.content
        reader = BackupReader.open(volume.store, SITE, BACKUPS[number])
        named = {
            layout.chunk(s.site, s.backup_id, e.attempt, e.index)
            for e in reader.entries()
            if not e.is_hole
            for s in [reader.manifest.sessions[e.session]]
        }
        # Of what was durable all but the chunk that was in flight, and not yet noted, is used.
        assert len(before - named) <= 1
        assert set(volume.chunk_puts()) == {key for key in named - before if key.startswith(own)}
        bank_on(volume.store).delete(SITE, BACKUPS[0])
        bank_on(volume.store).delete(SITE, BACKUPS[1])
        report = collect(volume.store, SITE, rules=CollectRules(forced=True))
        assert report.refusal is None
        orphans = [key for key in volume.store.objects if ORPHAN.search(key)]
        assert orphans == []
        request += 1
    assert request > 15


def test_a_resumed_run_stores_only_what_is_missing() -> None:
    volume = Volume(CONTENT)
    half(volume)
    durable = {int(key[-8:], 16) for key in stored_keys(volume.store)}
    progress = volume.back_up(0, attempt=2)
    again = {int(key[-8:], 16) for key in volume.chunk_puts()}
    assert again == {8, 9, 10, 11}
    assert durable == set(range(8)) - {6}
    assert volume.read(0) == CONTENT
    assert progress.bytes_reused == 0
    reader = BackupReader.open(volume.store, SITE, BACKUPS[0])
    assert reader.manifest.description.stored_bytes == progress.bytes_stored
    sizes = {key: len(volume.store.objects[key]) for key in stored_keys(volume.store)}
    assert progress.bytes_stored == sum(sizes.values())
    assert {entry.attempt for entry in reader.entries() if not entry.is_hole} == {1, 2}


def test_index_parts_of_an_earlier_attempt_are_used_again() -> None:
    volume = Volume(CONTENT)
    store = volume.store

    def away(count: int, verb: str, key: str) -> None:
        if key.endswith("/manifest") and verb == "PUT":
            raise Unavailable("away")

    store.before_request = away
    with pytest.raises(Unavailable):
        volume.transfer(0)
    store.before_request = lambda count, verb, key: None
    store.requests.clear()
    volume.back_up(0, attempt=2)
    puts = [key for verb, key in store.requests if verb == "PUT"]
    assert not [key for key in puts if "/chunks/" in key or "/index/" in key]
    assert volume.read(0) == CONTENT
    parts = BackupReader.open(store, SITE, BACKUPS[0]).manifest.parts
    assert {part.attempt for part in parts} == {1}


def test_many_attempts_each_add_a_little() -> None:
    volume = Volume(CONTENT)
    store = volume.store
    for attempt in range(1, 12):

        def away(count: int, verb: str, key: str, limit: int = attempt) -> None:
            if "/chunks/" in key and int(key[-8:], 16) >= limit:
                raise Unavailable("away")

        store.before_request = away
        with pytest.raises(Unavailable):
            volume.transfer(0, attempt)
    store.before_request = lambda count, verb, key: None
    volume.back_up(0, attempt=12)
    assert volume.read(0) == CONTENT
    assert len(stored_keys(store)) == 11, "no chunk was stored twice"


def half(volume: Volume, image: str | None = None) -> None:
    """An attempt that stored chunks 0 to 7."""

    def away(count: int, verb: str, key: str) -> None:
        if "/chunks/" in key and int(key[-8:], 16) >= 8:
            raise Unavailable("away")

    volume.store.before_request = away
    with pytest.raises(Unavailable):
        volume.transfer(0, image=image)
    volume.store.before_request = lambda count, verb, key: None
    volume.store.requests.clear()


def test_a_journal_of_another_image_is_ignored() -> None:
    volume = Volume(CONTENT)
    half(volume, image="an-image-that-was-made-before")
    volume.back_up(0, attempt=2)
    assert len(volume.chunk_puts()) == 11
    assert volume.read(0) == CONTENT


def test_a_source_that_says_it_is_the_same_and_is_not_is_stored_as_it_is() -> None:
    volume = Volume(CONTENT)
    half(volume)
    keys = [key for key in volume.store.objects if "/journal/" in key]
    noted = {key: volume.store.objects[key] for key in keys}
    volume.write(0, b"other bytes")
    half_again = Volume(volume.content)
    half(half_again)
    # The header of the second content's journal around the entries of the first one's.
    for key in keys:
        forged = half_again.store.objects.get(key)
        assert forged is not None
        half_again.store.objects[key] = forged if "00000000" not in key else noted[key]
    half_again.store.objects.update(
        {key: volume.store.objects[key] for key in stored_keys(volume.store)}
    )
    half_again.back_up(0, attempt=2)
    assert half_again.read(0) == volume.content


@pytest.mark.parametrize("bit", [0, 8 * 41, 8 * 60, 8 * 100])
def test_a_corrupt_journal_is_ignored(bit: int) -> None:
    volume = Volume(CONTENT)
    half(volume)
    for key in [key for key in volume.store.objects if "/journal/" in key]:
        volume.store.flip(key, bit)
    volume.back_up(0, attempt=2)
    assert volume.read(0) == CONTENT


def test_no_journal_and_a_journal_that_is_too_large() -> None:
    volume = Volume(CONTENT)
    half(volume)
    keys = [key for key in volume.store.objects if "/journal/" in key]
    volume.store.objects[keys[0]] = bytes(2 * JOURNAL_BYTES)
    for key in keys[1:]:
        del volume.store.objects[key]
    volume.store.objects[layout.journal_prefix(SITE, BACKUPS[0]) + "foreign"] = b"x"
    volume.back_up(0, attempt=2)
    assert len(volume.chunk_puts()) == 11
    assert volume.read(0) == CONTENT


# The journal by itself.


SOURCE = SourceIdentity(VOLUME, NOW.isoformat(), 40 * CHUNK, CHUNK, "image", "sha512", "00")


def entry(index: int, attempt: int = 1) -> Entry:
    return Entry(index, bytes([index % 256]) * 32, 1, 100 + index, 0, attempt)


def journal(store: MemoryStore, attempt: int = 1, most: int = 2, **options: object) -> Journal:
    return Journal(store, SESSION, attempt, SOURCE, most_entries=most, **options)  # type: ignore[arg-type]


def resumption(store: MemoryStore, source: SourceIdentity = SOURCE, attempt: int = 9) -> Resumption:
    return Resumption(store, SESSION, attempt, source, Geometry(40 * CHUNK, CHUNK))


def known(store: MemoryStore) -> dict[int, list[tuple[int, int]]]:
    resumed = resumption(store)
    found = {index: resumed.at(index) for index in range(40)}
    return {
        index: sorted((one.entry.attempt, one.entry.stored_bytes) for one in chunks)
        for index, chunks in found.items()
        if chunks
    }


def test_entries_are_told_in_the_order_of_their_chunks() -> None:
    store = MemoryStore()
    noting = journal(store, most=3)
    for index in (2, 0, 5, 4, 1):
        noting.note(entry(index))
    assert known(store) == {n: [(1, 100 + n)] for n in (0, 2, 5)}
    noting.note(entry(9))
    assert set(known(store)) == {0, 1, 2, 4, 5, 9}
    assert [key[-13:] for key in store.objects] == ["0001/00000000", "0001/00000001"]


def test_after_a_minute_less_than_a_full_object_is_noted() -> None:
    store = MemoryStore()
    clock = [0.0]
    noting = journal(store, most=1024, clock=lambda: clock[0])
    noting.note(entry(0))
    assert store.objects == {}
    clock[0] = 60.0
    noting.note(entry(1))
    assert set(known(store)) == {0, 1}
    noting.note(entry(2))
    assert set(known(store)) == {0, 1}


def test_attempts_that_overlap_are_all_told() -> None:
    store = MemoryStore()
    for attempt in (1, 2, 3):
        noting = journal(store, attempt, most=4)
        for index in range(0, 24, attempt):
            noting.note(entry(index, attempt))
    assert known(store)[6] == [(1, 106), (2, 106), (3, 106)]
    assert known(store)[7] == [(1, 107)]


def test_objects_that_speak_of_one_place_are_bounded() -> None:
    store = MemoryStore()
    for attempt in range(1, OPEN_AT_MOST + 20):
        noting = journal(store, attempt, most=1)
        noting.note(entry(0, attempt))
    resumed = Resumption(store, SESSION, 999, SOURCE, Geometry(40 * CHUNK, CHUNK))
    assert len(resumed.at(0)) == OPEN_AT_MOST


def test_our_own_attempt_and_a_first_one_read_no_journal() -> None:
    store = MemoryStore()
    noting = journal(store, 1, most=1)
    noting.note(entry(0))
    assert resumption(store, attempt=1).at(0) == []


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": "other"},
        {"snapshot_at": "2026-01-01T00:00:00+00:00"},
        {"hash_value": None},
        {"size_bytes": 41 * CHUNK},
        {"chunk_bytes": 2 * CHUNK},
        {"hash_key": "ab" * 16},
    ],
)
def test_another_source_is_not_resumed(change: dict[str, object]) -> None:
    store = MemoryStore()
    journal(store, 1, most=1).note(entry(0))
    resumed = resumption(store, replace(SOURCE, **change))  # type: ignore[arg-type]
    assert resumed.at(0) == []
    assert resumed.ignored == 1


def test_an_entry_of_another_session_attempt_or_place_is_refused() -> None:
    for wrong in (
        replace(entry(0), attempt=2),
        replace(entry(0), session=1),
        replace(entry(0), index=40),
        replace(entry(0), allocation=0, hash=bytes(32), stored_bytes=0, attempt=0),
    ):
        store = MemoryStore()
        noting = journal(store, 1, most=1)
        noting.note(wrong)
        resumed = resumption(store)
        assert [resumed.at(index) for index in range(41)] == [[]] * 41
        assert resumed.ignored == 1


def test_no_flipped_bit_of_a_journal_raises_or_tells_another_chunk() -> None:
    store = MemoryStore()
    noting = journal(store, 1, most=4)
    for index in range(4):
        noting.note(entry(index))
    (key,) = store.objects
    whole = store.objects[key]
    for bit in range(len(whole) * 8):
        store.objects[key] = whole
        store.flip(key, bit)
        resumed = resumption(store)
        for index in range(40):
            for found in resumed.at(index):
                assert found.entry.index == index
                assert found.session == SESSION


def test_a_journal_object_has_room_for_1024_entries() -> None:
    with pytest.raises(BrokenInvariant):
        journal(MemoryStore(), most=1025)


def test_an_outage_of_the_journal_is_an_outage() -> None:
    volume = Volume(CONTENT)
    half(volume)
    volume.store.fail_next("LIST")
    with pytest.raises(Unavailable):
        volume.transfer(0, attempt=2)


def test_content_that_differs_from_glances_hash_is_never_committed_on_a_resume() -> None:
    volume = Volume(CONTENT)
    half(volume)
    volume.damaged_on_the_way = True
    with pytest.raises(DataCorrupt, match="changed or was damaged"):
        volume.transfer(0, attempt=2)
    assert layout.manifest(SITE, VOLUME, BACKUPS[0]) not in volume.store.objects
