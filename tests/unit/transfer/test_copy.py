"""A copy is the same backup in another bank, under that bank's own keys; anything else is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cinderbank.bank import layout
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.chunk import Envelope
from cinderbank.bank.collect import CollectReport, CollectRules, collect
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.manifest import Manifest, SessionRef, SourceHash
from cinderbank.bank.marks import BankHeader
from cinderbank.bank.store import Body
from cinderbank.bank.writer import BackupWriter, encode_chunk
from cinderbank.domain.errors import (
    CinderbankError,
    DataCorrupt,
    Forbidden,
    InvalidSpec,
    SourceGone,
    Unavailable,
)
from cinderbank.transfer.backup import run_backup
from cinderbank.transfer.copy_session import fresh_attempt
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.pipeline import limits_for
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    IMAGE,
    OTHER_BACKUP,
    SITE,
    VOLUME,
    back_up,
    backup_transfer,
    bank_on,
    describe,
    sample,
)
from tests.fakes.copies import Pair, chunk_gets, chunk_puts, read_all
from tests.fakes.glance_images import FakeGlance
from tests.fakes.object_store import MemoryStore
from tests.unit.bank.test_independent_reader import dump, key_file, restore

KEK = KeyEncryptionKey(os.urandom(32))
OTHER_KEK = KeyEncryptionKey(os.urandom(32))
CONTENT = sample("tzrsztzz", tail=1000)
CHANGED = sample("trrsztzz", tail=1000)
KEYS = {"plain": (), "encrypted": (KEK,), "other": (OTHER_KEK,)}


def pair(source: str = "plain", target: str = "plain", content: bytes = CONTENT) -> Pair:
    found = Pair(source_keks=KEYS[source], target_keks=KEYS[target])
    back_up(found.source, content, keks=found.source_keks)
    return found


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("plain", "plain"),
        ("plain", "encrypted"),
        ("encrypted", "encrypted"),
        ("encrypted", "other"),
        ("encrypted", "plain"),
    ],
)
def test_the_copy_is_the_backup(source: str, target: str, tmp_path: Path) -> None:
    banks = pair(source, target)
    copy = banks.copy(len(CONTENT), allow_plain=target == "plain")
    banks.source.objects.clear()  # nothing of bank A is left
    assert banks.read() == CONTENT
    files = [key_file(tmp_path, kek) for kek in banks.target_keks]
    done = restore(dump(banks.target, tmp_path), tmp_path / "out", *files)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert (copy.hash_key is None) == (target == "plain")
    assert banks.progress is not None
    assert banks.progress.bytes_processed == len(CONTENT)
    assert banks.progress.bytes_zero == 4 * CHUNK


def test_it_says_what_the_original_says() -> None:
    banks = pair()
    copy = banks.copy(len(CONTENT))
    original = banks.bank_a().find(BACKUP)
    assert original is not None
    assert banks.bank_b().find(BACKUP) == original
    assert copy.bank_id == banks.bank_b().open().bank_id != banks.bank_a().open().bank_id
    encrypted = pair(target="encrypted").copy(len(CONTENT)).description
    assert encrypted.content_hash != original.content_hash, "of keyed hashes"
    assert replace(encrypted, content_hash="") == replace(
        original, content_hash="", stored_bytes=encrypted.stored_bytes
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    pieces=st.text("ztrs", min_size=1, max_size=12),
    tail=st.integers(0, CHUNK - 1),
    chunk_bytes=st.sampled_from([4096, 8192, 32768]),
    part_entries=st.sampled_from([1, 3, 65_536]),
    keys=st.sampled_from(
        [("plain", "plain"), ("plain", "encrypted"), ("encrypted", "other"), ("encrypted", "plain")]
    ),
)
def test_any_content_and_chunk_size_comes_through(
    pieces: str, tail: int, chunk_bytes: int, part_entries: int, keys: tuple[str, str]
) -> None:
    content = sample(pieces, tail)
    banks = Pair(source_keks=KEYS[keys[0]], target_keks=KEYS[keys[1]])
    bank, glance = banks.bank_a(), FakeGlance()
    glance.add(IMAGE, content)
    bank.open_session(SITE, BACKUP, VOLUME)
    meter = ProgressMeter(len(content), lambda progress: None)
    geometry = Geometry(len(content), chunk_bytes, part_entries)
    run_backup(backup_transfer(content), bank, glance.api(), meter, geometry)
    bank.seal(SITE, BACKUP, VOLUME)
    copy = banks.copy(len(content), allow_plain=True, limits=limits_for(chunk_bytes))
    assert banks.read() == content
    assert copy.geometry.chunk_bytes == chunk_bytes
    left = [key for key in banks.source.objects if "/intents/" in key or "/beats/" in key]
    assert left == [], "the read pin is gone"


def test_what_the_other_bank_has_is_not_even_read() -> None:
    banks = pair()
    banks.copy(len(CONTENT))
    back_up(banks.source, CHANGED, backup_id=OTHER_BACKUP)
    banks.source.requests.clear()
    banks.target.requests.clear()
    copy = banks.copy(len(CHANGED), OTHER_BACKUP)
    assert [key[-8:] for key in chunk_gets(banks.source)] == ["00000001"]
    assert [key[-8:] for key in chunk_puts(banks.target)] == ["00000001"]
    assert copy.description.base_id == BACKUP
    assert copy.description.reused_bytes == 4 * CHUNK + 1000
    assert banks.read(OTHER_BACKUP) == CHANGED
    banks.bank_b().delete(SITE, BACKUP)
    assert banks.read(OTHER_BACKUP) == CHANGED, "what it borrows stays"


def test_an_encrypted_bank_shares_too_by_hashes_of_its_own() -> None:
    banks = pair("encrypted", "other")
    banks.copy(len(CONTENT))
    back_up(banks.source, CHANGED, backup_id=OTHER_BACKUP, keks=(KEK,))
    banks.target.requests.clear()
    banks.copy(len(CHANGED), OTHER_BACKUP)
    assert [key[-8:] for key in chunk_puts(banks.target)] == ["00000001"]
    assert banks.read(OTHER_BACKUP) == CHANGED


def test_an_older_backup_that_is_copied_later_borrows_from_the_newer_one() -> None:
    banks = pair()
    back_up(banks.source, CHANGED, backup_id=OTHER_BACKUP)
    banks.copy(len(CHANGED), OTHER_BACKUP)
    copy = banks.copy(len(CONTENT))
    assert copy.description.base_id == OTHER_BACKUP
    assert banks.read() == CONTENT


def test_a_copy_that_is_there_is_compared_and_left() -> None:
    banks = pair()
    first = banks.copy(len(CONTENT))
    before = dict(banks.target.objects)
    assert banks.copy(len(CONTENT)) == first
    assert banks.target.objects == before
    assert banks.progress is not None
    assert banks.progress.bytes_processed == len(CONTENT)


def test_what_is_there_under_its_id_and_is_not_it_is_left_and_told() -> None:
    banks = pair()
    back_up(banks.target, CHANGED)
    before = dict(banks.target.objects)
    with pytest.raises(DataCorrupt) as raised:
        banks.copy(len(CONTENT))
    assert raised.value.reason == "CopyDiffers"
    assert banks.target.objects == before


@pytest.mark.parametrize("source", ["plain", "encrypted"])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_plain_one_in_a_bank_with_a_key_is_no_copy(source: str, sealed: bool) -> None:
    """Who can write the bucket, without any key, puts there what looks like it: id, size, moment, pieces."""
    banks = pair(source, "encrypted")
    target = banks.bank_b(accepts_plain=True)
    target.open()
    back_up(banks.target, CHANGED)
    if not sealed:
        for key in [key for key in banks.target.objects if "/seals/" in key]:
            del banks.target.objects[key]
    before = seals_and_data(banks)
    with pytest.raises(DataCorrupt, match="not encrypted") as raised:
        banks.copy(len(CONTENT), target=target)
    assert raised.value.reason == "CopyDiffers"
    assert seals_and_data(banks) == before


def test_a_plain_one_from_before_the_key_counts_when_that_is_allowed() -> None:
    banks = pair("plain", "plain")
    first = banks.copy(len(CONTENT))
    banks.target_keks = (KEK,)
    target = banks.bank_b(accepts_plain=True)
    assert banks.copy(len(CONTENT), allow_plain=True, target=target) == first


def test_what_is_allowed_to_be_plain_is_never_sealed_by_us_in_a_bank_with_a_key() -> None:
    """What was sealed before the key may count; a manifest without a seal is nobody's copy yet."""
    banks = pair("encrypted", "encrypted")
    target = banks.bank_b(accepts_plain=True)
    target.open()
    back_up(banks.target, CHANGED)
    del banks.target.objects[layout.seal(SITE, BACKUP, VOLUME)]
    with pytest.raises(DataCorrupt) as raised:
        banks.copy(len(CONTENT), allow_plain=True, target=target)
    assert raised.value.reason == "ManifestNotEncrypted"
    assert not [key for key in banks.target.objects if "/seals/" in key]


def test_what_is_allowed_to_be_plain_is_compared_all_the_same() -> None:
    banks = pair("plain", "encrypted")
    target = banks.bank_b(accepts_plain=True)
    target.open()
    back_up(banks.target, CHANGED)
    with pytest.raises(DataCorrupt) as raised:
        banks.copy(len(CONTENT), allow_plain=True, target=target)
    assert raised.value.reason == "CopyDiffers"


def seals_and_data(banks: Pair) -> dict[str, bytes]:
    kinds = ("/seals/", "/chunks/", "/index/", "/manifest")
    found = banks.target.objects
    return {key: body for key, body in found.items() if any(kind in key for kind in kinds)}


def refused(banks: Pair, **options: object) -> CinderbankError:
    before = {key: body for key, body in banks.target.objects.items() if key != layout.BANK}
    with pytest.raises(CinderbankError) as raised:
        banks.copy(len(CONTENT), **options)  # type: ignore[arg-type]
    after = {key: body for key, body in banks.target.objects.items() if key != layout.BANK}
    assert after == before, "nothing was written"
    return raised.value


def test_the_same_bank_is_refused() -> None:
    banks = pair()
    banks.target = banks.source
    error = refused(banks)
    assert (type(error), error.reason) == (InvalidSpec, "CopyToItself")


def test_the_same_bank_at_another_place_is_refused() -> None:
    banks = pair()
    banks.target.objects[layout.BANK] = banks.source.objects[layout.BANK]
    assert refused(banks).reason == "CopyToItself"


def test_a_bank_that_is_written_as_another_site_is_refused() -> None:
    banks = pair()
    error = refused(banks, target=bank_on(banks.target, "site-b"))
    assert error.reason == "CopySiteMismatch"
    assert "site: site-a" in error.message


def test_a_read_only_bank_is_refused() -> None:
    banks = pair()
    banks.bank_b().open()
    error = refused(banks, target=banks.bank_b(read_only=True))
    assert (type(error), error.reason) == (Forbidden, "BankReadOnly")


def test_what_is_encrypted_never_becomes_plain_by_itself() -> None:
    error = refused(pair("encrypted", "plain"))
    assert error.reason == "CopyWouldBePlain"


def test_an_encrypted_bank_without_its_key_gets_nothing_plain() -> None:
    banks = pair()
    back_up(banks.target, CONTENT, backup_id=OTHER_BACKUP, keks=(KEK,))
    assert refused(banks).reason == "BankKeyMissing"


def test_a_backup_of_another_size_than_was_asked_for_is_refused() -> None:
    banks = pair()
    with pytest.raises(DataCorrupt):
        banks.copy(len(CONTENT) + 1)
    assert not banks.target.objects.keys() - {layout.BANK}


def test_a_backup_that_is_gone_is_told() -> None:
    banks = pair()
    banks.bank_a().delete(SITE, BACKUP)
    error = refused(banks)
    assert (type(error), error.reason) == (SourceGone, "BackupNotFound")


def test_a_read_only_source_is_enough() -> None:
    banks = pair()
    before = dict(banks.source.objects)
    banks.copy(len(CONTENT), source=banks.bank_a(read_only=True))
    assert banks.source.objects == before
    assert banks.read() == CONTENT


def test_keys_that_may_only_read_are_enough() -> None:
    banks = pair()
    banks.source.fail_next("PUT", Forbidden("no", reason="BankAccessDenied"))
    banks.copy(len(CONTENT))
    assert banks.read() == CONTENT


def test_a_session_that_is_over_is_told_and_another_id_goes() -> None:
    banks = pair()
    banks.copy(len(CONTENT))
    banks.bank_b().delete(SITE, BACKUP)
    with pytest.raises(SourceGone) as raised:
        banks.copy(len(CONTENT))
    assert raised.value.reason == "SessionBroken"
    copy = banks.copy(len(CONTENT), copy_id=OTHER_BACKUP)
    assert copy.description.backup_id == OTHER_BACKUP
    assert banks.read(OTHER_BACKUP) == CONTENT


def test_a_target_without_room_spoils_nothing_and_is_gone_on_with() -> None:
    banks = pair()

    def full(count: int, verb: str, key: str) -> None:
        if verb == "PUT" and key.endswith("/00000003"):
            raise Unavailable("no room", reason="BankUnavailable")

    banks.target.before_request = full
    with pytest.raises(Unavailable):
        banks.copy(len(CONTENT))
    assert list(banks.bank_b().seals()) == []
    assert read_all(banks.bank_a(), BACKUP) == CONTENT
    banks.target.before_request = lambda count, verb, key: None
    banks.source.requests.clear()
    banks.copy(len(CONTENT))
    assert [key[-8:] for key in chunk_gets(banks.source)] == ["00000003", "00000005", "00000008"]
    assert banks.read() == CONTENT


def test_a_collection_takes_nothing_of_a_copy_under_way_in_either_bank() -> None:
    banks = pair()
    reports: list[CollectReport] = []

    def collecting(count: int, verb: str, key: str) -> None:
        if verb == "PUT" and "/chunks/" in key:
            reports.extend(
                collect(store, SITE, rules=CollectRules(forced=True))
                for store in (banks.source, banks.target)
            )

    banks.target.after_request = collecting
    banks.copy(len(CONTENT))
    assert len(reports) == 10
    assert {report.refusal for report in reports} == {None}
    assert banks.read() == CONTENT


def test_the_original_may_be_deleted_meanwhile() -> None:
    banks = pair()
    gone = []

    def deleting(count: int, verb: str, key: str) -> None:
        if verb == "PUT" and "/chunks/" in key and not gone:
            gone.append(banks.bank_a().delete(SITE, BACKUP))

    banks.target.after_request = deleting
    banks.copy(len(CONTENT))
    assert gone == [True]
    assert banks.read() == CONTENT, "the read pin keeps what is being read"


class Told(MemoryStore):
    """Calls `told` after each PUT, without holding anything."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Callable[[str], None] = lambda key: None

    def put(self, key: str, body: Body, if_absent: bool = False) -> bool:
        answer = super().put(key, body, if_absent)
        self.told(key)
        return answer


@pytest.mark.parametrize("at", ["/chunks/", "/index/", "/manifest"])
def test_two_copiers_of_one_backup_end_with_one_copy(at: str) -> None:
    banks, store = pair(), Told()
    banks.target = store
    others: list[Manifest] = []

    def other(key: str) -> None:
        if at in key:
            store.told = lambda key: None
            others.append(banks.copy(len(CONTENT)))

    store.told = other
    assert [banks.copy(len(CONTENT))] == others
    assert banks.read() == CONTENT
    collect(store, SITE, rules=CollectRules(forced=True))
    assert banks.read() == CONTENT
    named = {key for key in store.objects if "/chunks/" in key}
    assert len(named) == 5, "what the slower one stored is garbage, and gone"


# A hostile bank A.


@pytest.mark.parametrize("kind", ["/chunks/", "/index/", "/manifest", "/seals/"])
@pytest.mark.parametrize("source", ["plain", "encrypted"])
def test_any_damage_of_the_original_is_found_and_nothing_of_it_is_committed(
    kind: str, source: str
) -> None:
    banks = pair(source, source)
    whole = dict(banks.source.objects)
    for key in [key for key in whole if kind in key]:
        for bit in range(0, len(whole[key]) * 8, max(1, len(whole[key]) * 8 // 12)):
            banks.source.objects = dict(whole)
            banks.source.flip(key, bit)
            banks.target.objects.clear()
            try:
                banks.copy(len(CONTENT))
            except CinderbankError:
                assert [each for each in banks.target.objects if "/seals/" in each] == []
            else:  # a bit that says nothing, such as a hint
                assert banks.read() == CONTENT


def test_a_chunk_that_is_lost_in_the_original_is_an_error_never_zeros() -> None:
    banks = pair()
    del banks.source.objects[layout.chunk(SITE, BACKUP, 1, 2)]
    with pytest.raises(DataCorrupt, match="missing"):
        banks.copy(len(CONTENT))
    assert [key for key in banks.target.objects if "/manifest" in key] == []


def test_a_chunk_that_is_another_ones_is_refused() -> None:
    banks = pair()
    keys = [layout.chunk(SITE, BACKUP, 1, index) for index in (0, 2)]
    banks.source.objects[keys[0]] = banks.source.objects[keys[1]]
    with pytest.raises(DataCorrupt, match="hash"):
        banks.copy(len(CONTENT))


def test_the_map_of_a_hostile_index_is_not_believed() -> None:
    """A plain index, with all hashes in order, can say zeros where the chunk has data."""
    content = sample("tr")
    banks = Pair()
    bank = banks.bank_a()
    bank.open_session(SITE, BACKUP, VOLUME)
    writer = BackupWriter(
        banks.source, SessionRef(SITE, BACKUP), VOLUME, 1, Geometry(len(content), CHUNK)
    )
    for index in (0, 1):
        plain, key = content[index * CHUNK : (index + 1) * CHUNK], writer.chunk_key(index)
        writer.put_chunk(encode_chunk(Envelope(), index, plain, 1, key))
    writer.finish(describe(content), bank.open().bank_id, 0, SourceHash())
    bank.seal(SITE, BACKUP, VOLUME)
    with pytest.raises(DataCorrupt, match="zeros"):
        banks.copy(len(content))
    assert [each for each in banks.target.objects if "/manifest" in each] == []


def test_a_number_is_never_one_that_an_object_has() -> None:
    banks = pair()
    session = SessionRef(SITE, BACKUP)
    for number, prefix in (
        (5, layout.session_chunks_prefix(SITE, BACKUP)),
        (7, layout.journal_prefix(SITE, BACKUP)),
        (9, layout.index_prefix(SITE, VOLUME, BACKUP)),
    ):
        banks.target.objects[f"{prefix}{number:04x}/00000000"] = b""
    draws = iter([5 - 2, 7 - 2, 9 - 2, 4 - 2])
    assert fresh_attempt(banks.target, session, VOLUME, lambda _: next(draws)) == 4


def test_the_beats_of_a_long_copy_keep_its_session() -> None:
    """A day passes at the store while a chunk is on its way; the sign of life that came meanwhile counts."""
    banks = pair()
    target = banks.bank_b()

    def long_ago(count: int, verb: str, key: str) -> None:
        if verb == "PUT" and key.endswith("/00000002"):
            for each in list(banks.target.modified):
                banks.target.modified[each] = banks.target.now.replace(day=20)
            banks.target.modified[layout.beat(SITE, BACKUP)] = banks.target.now
            collect(banks.target, SITE, rules=CollectRules(forced=True))

    banks.target.after_request = long_ago
    banks.copy(len(CONTENT), target=target)
    assert layout.beat(SITE, BACKUP) in {
        key for verb, key in banks.target.requests if verb == "PUT"
    }
    assert banks.read() == CONTENT


def test_a_bank_of_another_id_is_no_place_for_it() -> None:
    banks = pair()
    header = BankHeader("99999999-2222-4333-8444-555555555556", "2026-11-22T20:00:00+00:00")
    banks.target.objects[layout.BANK] = header.dump()
    target = StoredBank(banks.target, SITE, expected_bank_id=header.bank_id.replace("6", "7"))
    assert refused(banks, target=target).reason == "BankIdMismatch"
