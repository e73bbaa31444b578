"""Checks: every kind of damage is found at its level, told in bytes, reported once, and let go of."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import count

import pytest

from cinderbank.bank import layout, scrub
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.catalog import Filter
from cinderbank.bank.check import Checker
from cinderbank.bank.check_plan import Level, Outcome, Plan, Tally, Verdict
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.scrub import AttemptRef
from cinderbank.domain.errors import SourceGone, Unavailable
from cinderbank.domain.facts import BackupId
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    NOW,
    OTHER_BACKUP,
    SITE,
    VOLUME,
    back_up,
    bank_on,
    sample,
)
from tests.fakes.object_store import MemoryStore
from tests.fakes.volumes import BACKUPS, Volume

CONTENT = sample("tzrsrtr", tail=100)
LEVELS = (Level.EXISTENCE, Level.SAMPLE, Level.FULL)
_numbers = count(1)


def new_run() -> str:
    return f"01KAPZ5J3V{next(_numbers):016d}"


def now() -> datetime:
    return NOW


def check(store: MemoryStore, level: Level = Level.FULL, **options: object) -> Result:
    return check_with(bank_on(store), Plan(level, **options))  # type: ignore[arg-type]


class Result:
    def __init__(self, verdicts: dict[str, Verdict], tally: Tally) -> None:
        self.verdicts = verdicts
        self.tally = tally

    def __getitem__(self, backup_id: str) -> Verdict:
        return self.verdicts[backup_id]


def check_with(bank: StoredBank, plan: Plan) -> Result:
    verdicts: list[Verdict] = []
    checker = Checker(bank, plan, on_verdict=verdicts.append, new_run=new_run, now=now)
    tally = replace(checker.run())
    assert len({v.backup_id for v in verdicts}) == len(verdicts)
    return Result({v.backup_id: v for v in verdicts}, tally)


def chunk(index: int, backup_id: BackupId = BACKUP) -> str:
    return layout.chunk(SITE, backup_id, 1, index)


@pytest.fixture
def store() -> MemoryStore:
    found = MemoryStore()
    back_up(found, CONTENT)
    return found


def reports(store: MemoryStore) -> list[str]:
    return [key for key in store.objects if key.startswith("scrub/")]


@pytest.mark.parametrize("level", list(Level))
def test_a_whole_backup_is_ok_and_no_damage_is_noted(store: MemoryStore, level: Level) -> None:
    before = set(store.objects)
    found = check(store, level)
    assert found[BACKUP].outcome is Outcome.OK
    assert (found.tally.ok, found.tally.damaged, found.tally.percent) == (1, 0, 100.0)
    written = set(store.objects) - before
    proven = level in (Level.SAMPLE, Level.FULL)
    assert len(written) == proven and all("/proofs/" in key for key in written)
    assert found.tally.chunks == (0 if level is Level.MANIFEST else 7)
    assert found.tally.chunks_read == {Level.FULL: 7, Level.SAMPLE: 7}.get(level, 0)


@pytest.mark.parametrize("level", LEVELS)
def test_a_missing_chunk_is_found_at_every_level_that_looks(
    store: MemoryStore, level: Level
) -> None:
    del store.objects[chunk(2)]
    assert check(store, Level.MANIFEST)[BACKUP].outcome is Outcome.OK
    found = check(store, level)[BACKUP]
    assert found.outcome is Outcome.DAMAGED
    assert list(found.missing) == [(2, 2)]
    assert list(found.lost()) == [(2 * CHUNK, 3 * CHUNK - 1)]


def test_a_changed_chunk_is_found_by_reading_and_told_in_bytes(store: MemoryStore) -> None:
    last = len(CONTENT) // CHUNK
    store.flip(chunk(3), 400)
    store.flip(chunk(last), 400)
    assert check(store, Level.EXISTENCE)[BACKUP].outcome is Outcome.OK
    found = check(store)[BACKUP]
    assert list(found.bad) == [(3, 3), (last, last)]
    assert list(found.lost())[-1] == (last * CHUNK, len(CONTENT) - 1)
    assert found.lost_bytes() == CHUNK + 100


@pytest.mark.parametrize("cut", [0, 20, 41, 100])
def test_a_cut_chunk_is_found_without_reading_all(store: MemoryStore, cut: int) -> None:
    store.objects[chunk(2)] = store.objects[chunk(2)][:cut]
    found = check(store, Level.EXISTENCE)
    assert list(found[BACKUP].bad) == [(2, 2)]
    assert found.tally.chunks_read <= 1


@pytest.mark.parametrize("level", list(Level))
def test_manifest_seal_and_index_are_looked_at_on_every_level(level: Level) -> None:
    keys = [layout.manifest(SITE, VOLUME, BACKUP), layout.seal(SITE, BACKUP, VOLUME)]
    keys.append(layout.index_part(SITE, VOLUME, BACKUP, 1, 0))
    for key in keys:
        store = MemoryStore()
        back_up(store, CONTENT)
        store.flip(key, 8 * 60)
        found = check(store, level)[BACKUP]
        assert found.outcome is Outcome.DAMAGED, key
        assert BACKUP in found.problem
    del store.objects[keys[0]]
    assert "no manifest" in check(store, level)[BACKUP].problem


def test_a_lost_index_part_loses_what_it_tells_of(store: MemoryStore) -> None:
    del store.objects[layout.index_part(SITE, VOLUME, BACKUP, 1, 1)]
    found = check(store)[BACKUP]
    assert list(found.missing) == [(3, 7)]
    assert list(found.lost()) == [(3 * CHUNK, len(CONTENT) - 1)]


def test_what_a_newer_writer_made_is_not_called_damaged(store: MemoryStore) -> None:
    key = layout.manifest(SITE, VOLUME, BACKUP)
    newer = store.objects[key].replace(b'"required":[]', b'"required":["warp"]')
    store.objects[key] = newer
    found = check(store)
    assert found[BACKUP].outcome is Outcome.UNCHECKED
    assert "warp" in found[BACKUP].problem
    assert reports(store) == []


def test_damage_is_reported_in_the_bank_and_known_to_who_lends(store: MemoryStore) -> None:
    store.flip(chunk(2), 400)
    check(store)
    assert len(reports(store)) == 1
    known = scrub.known_damage(store)
    assert known.has_chunk(AttemptRef(SITE, BACKUP, 1), 2)
    assert known.has_backup(SITE, BACKUP)
    assert bank_on(store).damaged_backups() == {(SITE, BACKUP)}
    check(store)
    assert len(reports(store)) == 1, "what is known is not told twice"
    assert check(store, Level.MANIFEST)[BACKUP].outcome is Outcome.DAMAGED


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("only", [True, False])
def test_a_later_clean_check_of_the_same_backup_clears_it(
    store: MemoryStore, level: Level, only: bool
) -> None:
    store.flip(chunk(2), 400)
    check(store)
    store.flip(chunk(2), 400)
    options = {"backup_id": BACKUP} if only else {}
    assert check(store, level, sample_percent=0.0, **options)[BACKUP].outcome is Outcome.OK
    assert reports(store) == []


def test_one_of_two_that_is_mended_leaves_the_other(store: MemoryStore) -> None:
    back_up(store, CONTENT, backup_id=OTHER_BACKUP)
    store.flip(chunk(2), 400)
    store.flip(chunk(4, OTHER_BACKUP), 400)
    check(store)
    store.flip(chunk(2), 400)
    assert check(store, backup_id=BACKUP)[BACKUP].outcome is Outcome.OK
    known = scrub.known_damage(store)
    assert not known.has_backup(SITE, BACKUP)
    assert known.has_backup(SITE, OTHER_BACKUP)
    assert not known.has_chunk(AttemptRef(SITE, BACKUP, 1), 2)
    assert known.has_chunk(AttemptRef(SITE, OTHER_BACKUP, 1), 4)


def test_the_report_of_a_deleted_backup_goes_with_the_next_whole_check(store: MemoryStore) -> None:
    store.flip(chunk(2), 400)
    check(store)
    bank_on(store).delete(SITE, BACKUP)
    check(store, Level.MANIFEST)
    assert len(reports(store)) == 1
    check(store, Level.EXISTENCE)
    assert reports(store) == []


def test_a_check_that_dies_leaves_what_was_known(store: MemoryStore) -> None:
    """In whatever order reports are put and deleted: never less than what is true."""
    store.flip(chunk(2), 400)
    store.flip(chunk(4), 400)
    check(store)
    store.flip(chunk(4), 400)
    begun = dict(store.objects)
    for stop in range(1000):
        store.objects = dict(begun)
        first = len(store.requests)

        def die(number: int, verb: str, key: str, at: int = first + stop) -> None:
            if number == at:
                raise Unavailable("away")

        store.before_request = die
        try:
            check(store)
        except Unavailable:
            assert scrub.known_damage(_calm(store)).has_chunk(AttemptRef(SITE, BACKUP, 1), 2)
        else:
            break
    assert stop > 10
    assert next(iter(scrub.known_damage(_calm(store)).chunks.values())).count() == 1


def _calm(store: MemoryStore) -> MemoryStore:
    store.before_request = lambda count, verb, key: None
    return store


def test_a_read_only_bank_tells_and_writes_nothing(store: MemoryStore) -> None:
    store.flip(chunk(2), 400)
    before = dict(store.objects)
    found = check_with(bank_on(store, read_only=True), Plan(Level.FULL))
    assert found[BACKUP].outcome is Outcome.DAMAGED
    assert store.objects == before


def test_a_report_that_is_locked_goes_on_being_believed(store: MemoryStore) -> None:
    store.flip(chunk(2), 400)
    check(store)
    store.flip(chunk(2), 400)
    [key] = reports(store)
    store.locked.add(key)
    assert check(store).tally.reports_kept == (key,)
    assert reports(store) == [key]


def test_a_sample_is_the_same_for_the_same_seed_and_about_as_large_as_told() -> None:
    store = MemoryStore()
    back_up(store, sample("r" * 400), part_entries=65_536)
    read = {}
    for seed in (1, 2):
        for _ in range(2):
            first = len(store.requests)
            found = check(store, Level.SAMPLE, sample_percent=25.0, seed=seed)
            keys = {k for v, k in store.requests[first:] if v == "GET" and "/chunks/" in k}
            assert read.setdefault(seed, keys) == keys
            assert 60 <= found.tally.chunks_read <= 140
            assert found.tally.chunks == 400
    assert read[1] != read[2]


def test_existence_costs_a_list_and_no_request_for_each_chunk() -> None:
    store = MemoryStore()
    back_up(store, sample("r" * 400), part_entries=65_536)
    first = len(store.requests)
    check(store, Level.EXISTENCE)
    assert len(store.requests) - first < 20


def test_a_store_that_is_away_is_an_error_and_no_damage(store: MemoryStore) -> None:
    def away(number: int, verb: str, key: str) -> None:
        if key == chunk(3):
            raise Unavailable("away", reason="BankUnavailable")

    store.before_request = away
    with pytest.raises(Unavailable):
        check(store)
    assert reports(_calm(store)) == []


def test_a_backup_that_is_deleted_meanwhile_is_no_damage(store: MemoryStore) -> None:
    def delete_meanwhile(number: int, verb: str, key: str) -> None:
        if verb == "GET" and key == chunk(3):
            _calm(store)
            bank_on(store).delete(SITE, BACKUP)

    store.before_request = delete_meanwhile
    found = check(store)
    assert found.verdicts == {}
    assert reports(store) == []


def test_what_to_check_can_be_chosen(store: MemoryStore) -> None:
    back_up(store, CONTENT, backup_id=OTHER_BACKUP)
    assert set(check(store).verdicts) == {BACKUP, OTHER_BACKUP}
    assert set(check(store, backup_id=OTHER_BACKUP).verdicts) == {OTHER_BACKUP}
    assert check(store, wanted=Filter(site="site-b")).verdicts == {}
    with pytest.raises(SourceGone) as caught:
        check(store, backup_id=BackupId("01KAPZ5J3VQ6Z0C4M8T2R7W9XG"))
    assert caught.value.reason == "BackupNotFound"


def test_progress_grows_to_a_hundred(store: MemoryStore) -> None:
    progress: list[float] = []
    back_up(store, CONTENT, backup_id=OTHER_BACKUP)
    Checker(
        bank_on(store),
        Plan(Level.FULL),
        on_verdict=lambda verdict: None,
        on_progress=lambda tally: progress.append(tally.percent),
        new_run=new_run,
        now=now,
    ).run()
    assert progress == sorted(progress)
    assert progress[-1] == 100.0


# Backups that share chunks.


def shared_volume() -> Volume:
    volume = Volume(sample("rtrsrtr", tail=100))
    volume.back_up(0)
    volume.write(4 * CHUNK, b"changed")
    volume.back_up(1)
    return volume


def test_a_shared_chunk_is_read_once_and_counts_for_all_that_need_it() -> None:
    volume = shared_volume()
    found = check(volume.store)
    assert found.tally.ok == 2
    assert found.tally.chunks_read == found.tally.chunks == 8 + 1
    volume.store.flip(layout.chunk(SITE, BACKUPS[0], 1, 2), 400)
    volume.store.flip(layout.chunk(SITE, BACKUPS[0], 1, 4), 400)
    found = check(volume.store)
    assert found.tally.chunks_read == 9
    assert list(found[BACKUPS[0]].bad) == [(2, 2), (4, 4)]
    assert list(found[BACKUPS[1]].bad) == [(2, 2)]
    known = scrub.known_damage(volume.store)
    assert {ref.backup_id for ref in known.backups} == set(BACKUPS[:2])


def test_p9_the_next_backup_after_a_check_heals() -> None:
    """What is known to be lost is stored anew, and only that."""
    volume = shared_volume()
    volume.store.flip(layout.chunk(SITE, BACKUPS[0], 1, 2), 400)
    check(volume.store)
    puts = len(volume.chunk_puts())
    volume.back_up(2)
    assert len(volume.chunk_puts()) - puts == 1
    assert volume.read(2) == volume.contents[2]
    found = check(volume.store)
    assert found[BACKUPS[2]].outcome is Outcome.OK
    assert found[BACKUPS[1]].outcome is Outcome.DAMAGED


def test_many_sessions_are_asked_for_by_few_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """More sessions than listings may be open: still right, only dearer."""
    monkeypatch.setattr("cinderbank.bank.chunk_listing.OPEN_LISTINGS", 2)
    volume = Volume(sample("rrrrrrrr"))
    for number in range(6):
        volume.write((number % 7) * CHUNK, bytes([number + 1]) * 50)
        volume.back_up(number)
    del volume.store.objects[layout.chunk(SITE, BACKUPS[0], 1, 7)]
    found = check(volume.store, Level.EXISTENCE)
    assert found.tally.damaged == 6
    assert all(list(v.missing) == [(7, 7)] for v in found.verdicts.values())


# Encrypted banks.


def test_an_encrypted_backup_is_judged_with_its_key_only() -> None:
    store, kek = MemoryStore(), KeyEncryptionKey(bytes(range(32)))
    back_up(store, CONTENT, keks=[kek])
    assert check_with(bank_on(store, keks=[kek]), Plan(Level.FULL)).tally.ok == 1
    blind = check_with(bank_on(store), Plan(Level.FULL))
    assert blind[BACKUP].outcome is Outcome.UNCHECKED
    store.flip(chunk(2), 999)
    found = check_with(bank_on(store, keks=[kek]), Plan(Level.FULL))
    assert list(found[BACKUP].bad) == [(2, 2)]
    before = reports(store)
    assert len(before) == 1
    assert check_with(bank_on(store), Plan(Level.FULL)).tally.unchecked == 1
    assert reports(store) == before, "who can not judge takes nothing back"
