"""Writer and reader together: every content comes back, and every damage is told."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinderbank.bank import layout
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.reader import BackupReader
from cinderbank.domain.errors import CinderbankError, DataCorrupt, SourceGone
from cinderbank.domain.facts import BackupId
from tests.fakes.backups import BACKUP, SITE, VOLUME, back_up, bank_on, sample, write_chunks
from tests.fakes.object_store import MemoryStore


def read_all(
    store: MemoryStore,
    keys: Keyring | None = None,
    *,
    site: str = SITE,
    backup_id: BackupId = BACKUP,
) -> bytes:
    reader = BackupReader.open(store, site, backup_id, keys)
    envelope, blocks = reader.envelope(), []
    for entry in reader.entries():
        length = reader.geometry.chunk_length(entry.index)
        blocks.append(bytes(length) if entry.is_hole else bytes(reader.read_chunk(entry, envelope)))
    return b"".join(blocks)


@settings(max_examples=60)
@given(
    st.text(alphabet="ztrs", max_size=12),
    st.integers(0, 4095),
    st.integers(1, 5),
    st.binary(max_size=3),
)
def test_round_trip(pieces: str, tail: int, part_entries: int, end: bytes) -> None:
    content = sample(pieces, tail) + end or b"\0"
    store = MemoryStore()
    back_up(store, content, part_entries=part_entries)
    assert read_all(store) == content


def test_a_map_that_says_zeros_where_there_is_data_is_damage() -> None:
    """A qcow2 image would leave that data out, and no hash covers the map."""
    store = MemoryStore()
    back_up(store, sample("r", tail=0))
    reader = BackupReader.open(store, SITE, BACKUP)
    (entry,) = reader.entries()
    for bit in range(64):
        wrong = replace(entry, allocation=entry.allocation & ~(1 << bit))
        with pytest.raises(DataCorrupt, match="holds data where the index says zeros"):
            reader.read_chunk(wrong, reader.envelope())
    more = replace(entry, allocation=(1 << 64) - 1)
    assert reader.read_chunk(more, reader.envelope()) == reader.read_chunk(entry, reader.envelope())


def test_holes_cost_no_object() -> None:
    store = MemoryStore()
    back_up(store, sample("z" * 50, tail=0))
    assert not [key for key in store.objects if "/chunks/" in key]


def test_the_second_attempt_writes_no_key_twice() -> None:
    store = MemoryStore()
    bank = bank_on(store)
    bank.open_session(SITE, BACKUP, VOLUME)
    store.drop(layout.manifest(SITE, VOLUME, BACKUP))
    with pytest.raises(SourceGone):
        write_chunks(store, sample("tr"), bank_id=bank.open().bank_id)
    store._dropped.clear()
    write_chunks(store, sample("tr"), bank_id=bank.open().bank_id, attempt=2)
    bank.seal(SITE, BACKUP, VOLUME)
    puts = [key for verb, key in store.requests if verb == "PUT" and not key.endswith("manifest")]
    assert len(puts) == len(set(puts))
    assert read_all(store) == sample("tr")


def test_a_manifest_of_an_earlier_attempt_stays() -> None:
    store = MemoryStore()
    bank_id = bank_on(store).open().bank_id
    bank_on(store).open_session(SITE, BACKUP, VOLUME)
    write_chunks(store, sample("tr"), bank_id=bank_id)
    key = layout.manifest(SITE, VOLUME, BACKUP)
    first = store.objects[key]
    write_chunks(store, sample("tr"), bank_id=bank_id, attempt=2)
    assert store.objects[key] == first
    with pytest.raises(DataCorrupt, match="another content"):
        write_chunks(store, sample("rr"), bank_id=bank_id, attempt=3)


def test_an_index_part_that_was_lost_stops_the_manifest() -> None:
    store = MemoryStore()
    bank_id = bank_on(store).open().bank_id
    bank_on(store).open_session(SITE, BACKUP, VOLUME)
    store.drop(layout.index_part(SITE, VOLUME, BACKUP, 1, 0))
    with pytest.raises(DataCorrupt, match="missing"):
        write_chunks(store, sample("tr"), bank_id=bank_id)
    assert layout.manifest(SITE, VOLUME, BACKUP) not in store.objects


def test_a_late_attempt_at_a_session_that_is_over_says_so_and_stores_no_manifest() -> None:
    """Found by 2,000 random schedules: another attempt had sealed it, and a collection freed what was
    the first one's."""
    store = MemoryStore()
    bank = back_up(store, sample("tr"))
    bank_id, sealed = bank.open().bank_id, store.objects[layout.manifest(SITE, VOLUME, BACKUP)]
    with pytest.raises(SourceGone) as caught:
        write_chunks(store, sample("tr"), bank_id=bank_id, attempt=2)
    assert caught.value.reason == "SessionBroken"
    store.drop(layout.index_part(SITE, VOLUME, BACKUP, 3, 0))
    with pytest.raises(SourceGone):
        write_chunks(store, sample("tr"), bank_id=bank_id, attempt=3)
    assert store.objects[layout.manifest(SITE, VOLUME, BACKUP)] == sealed


def test_any_damage_to_any_object_is_detected_or_harmless() -> None:
    content = sample("tsz", tail=50)
    whole = MemoryStore()
    back_up(whole, content, part_entries=2)
    store = MemoryStore()
    for key, body in whole.objects.items():
        if not key.startswith(f"sites/{SITE}/"):
            continue
        step = max(1, len(body) * 8 // 300)
        for bit in range(0, len(body) * 8, step):
            store.objects = dict(whole.objects)
            store.flip(key, bit)
            _assert_right_or_refused(store, content)
        for end in {0, 1, len(body) // 2, len(body) - 1}:
            store.objects = {**whole.objects, key: body[:end]}
            _assert_right_or_refused(store, content)
        del store.objects[key]
        _assert_right_or_refused(store, content)


def _assert_right_or_refused(store: MemoryStore, content: bytes) -> None:
    with contextlib.suppress(CinderbankError):
        assert read_all(store) == content


def test_swapped_chunks_are_detected_and_the_message_says_where() -> None:
    store = MemoryStore()
    back_up(store, sample("tsr"))
    first, second = (layout.chunk(SITE, BACKUP, 1, index) for index in (0, 1))
    store.objects[first], store.objects[second] = store.objects[second], store.objects[first]
    with pytest.raises(DataCorrupt, match=rf"backup {BACKUP}: chunk 0 \(bytes 0-4095\)"):
        read_all(store)
