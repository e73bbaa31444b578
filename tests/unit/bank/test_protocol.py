"""Intent, seal, tomb: stopped after every single request, no half backup is ever seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from cinderbank.bank import layout
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.manifest import MAX_MANIFEST_BYTES
from cinderbank.bank.store import Listed
from cinderbank.domain.errors import (
    BrokenInvariant,
    CinderbankError,
    DataCorrupt,
    Forbidden,
    InvalidSpec,
    SourceGone,
    Unavailable,
)
from tests.fakes.backups import (
    BACKUP,
    OTHER_BACKUP,
    READER,
    SITE,
    VOLUME,
    back_up,
    bank_on,
    describe,
    sample,
    write_chunks,
)
from tests.fakes.object_store import Crash, MemoryStore

CONTENT = sample("tzrs", tail=100)


def _crash_at(store: MemoryStore, number: int, when: str) -> None:
    first = len(store.requests)

    def crash(count: int, verb: str, key: str) -> None:
        if count - first == number:
            raise Crash

    setattr(store, f"{when}_request", crash)


def _calm(store: MemoryStore) -> None:
    store.before_request = store.after_request = lambda count, verb, key: None


def _every_crash(
    prepare: Callable[[MemoryStore], None], act: Callable[[MemoryStore], object]
) -> list[MemoryStore]:
    """The store after a crash before and after every single request of `act`."""
    crashed = []
    for when in ("before", "after"):
        for number in range(1000):
            store = MemoryStore()
            prepare(store)
            _crash_at(store, number, when)
            try:
                act(store)
            except Crash:
                _calm(store)
                crashed.append(store)
                continue
            break
    return crashed


def _write(store: MemoryStore, attempt: int) -> None:
    bank = bank_on(store)
    bank.open_session(SITE, BACKUP, VOLUME)
    if not bank.observe(SITE, BACKUP).manifest:
        write_chunks(store, CONTENT, bank_id=bank.open().bank_id, attempt=attempt)


def _back_up(store: MemoryStore, attempt: int = 1) -> str:
    if not bank_on(store).observe(SITE, BACKUP).sealed:
        _write(store, attempt)
    return bank_on(store).seal(SITE, BACKUP, VOLUME)


def test_a_backup_that_crashes_anywhere_is_whole_or_none_and_the_next_run_finishes() -> None:
    crashed = _every_crash(lambda store: None, _back_up)
    assert len(crashed) > 40
    for store in crashed:
        bank = bank_on(store)
        found = bank.find(BACKUP)
        sealed = any(key.startswith("sites/site-a/seals/") for key in store.objects)
        assert (found is not None) == sealed
        digest = _back_up(store, attempt=2)
        facts = bank.observe(SITE, BACKUP)
        assert facts.sealed
        assert facts.manifest
        assert not facts.intent
        assert facts.manifest_digest == digest
        about = bank.find(BACKUP)
        assert about is not None
        assert about.content_hash == describe(CONTENT).content_hash


def test_a_deletion_that_crashes_anywhere_is_finished_by_the_next_call() -> None:
    crashed = _every_crash(
        lambda store: back_up(store, CONTENT) and None,  # type: ignore[func-returns-value]
        lambda store: bank_on(store).delete(SITE, BACKUP),
    )
    for store in crashed:
        bank = bank_on(store)
        if layout.tomb(SITE, BACKUP) in store.objects:
            assert bank.find(BACKUP) is None
        assert bank.delete(SITE, BACKUP)
        _assert_free(store)


def test_a_discard_that_crashes_anywhere_is_finished_by_the_next_call() -> None:
    crashed = _every_crash(
        lambda store: _write(store, 1), lambda store: bank_on(store).discard(SITE, BACKUP)
    )
    for store in crashed:
        assert bank_on(store).discard(SITE, BACKUP)
        _assert_free(store)


def _assert_free(store: MemoryStore) -> None:
    assert set(store.objects) == {layout.BANK, layout.tomb(SITE, BACKUP)}


def test_a_discard_of_any_half_backup_leaves_nothing() -> None:
    for store in _every_crash(lambda store: None, lambda store: _write(store, 1)):
        assert bank_on(store).discard(SITE, BACKUP)
        assert not {key for key in store.objects if BACKUP in key} - {layout.tomb(SITE, BACKUP)}


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE"])
def test_a_request_that_was_carried_out_and_had_no_answer(verb: str) -> None:
    store = MemoryStore()
    _write(store, 1)
    store.fail_next(verb, when="after")
    with pytest.raises(Unavailable):
        bank_on(store).seal(SITE, BACKUP, VOLUME)
    digest = bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert bank_on(store).observe(SITE, BACKUP).manifest_digest == digest


def test_a_broken_session_is_never_sealed() -> None:
    store = MemoryStore()
    _write(store, 1)
    del store.objects[layout.intent(SITE, BACKUP)]
    with pytest.raises(SourceGone) as caught:
        bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert caught.value.reason == "SessionBroken"
    assert bank_on(store).find(BACKUP) is None


def test_a_seal_that_sleeps_while_the_session_is_discarded_fails() -> None:
    store = MemoryStore()
    _write(store, 1)
    seal = layout.seal(SITE, BACKUP, VOLUME)

    def discard_meanwhile(count: int, verb: str, key: str) -> None:
        if (verb, key) == ("PUT", seal):
            _calm(store)
            bank_on(store).discard(SITE, BACKUP)

    store.before_request = discard_meanwhile
    with pytest.raises(SourceGone):
        bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert bank_on(store).find(BACKUP) is None
    assert bank_on(store).discard(SITE, BACKUP)
    _assert_free(store)


def test_a_closed_session_is_not_opened_again() -> None:
    store = MemoryStore()
    bank = back_up(store, CONTENT)
    with pytest.raises(SourceGone):
        bank.open_session(SITE, BACKUP, VOLUME)
    bank.delete(SITE, BACKUP)
    with pytest.raises(SourceGone):
        bank.open_session(SITE, BACKUP, VOLUME)


def test_a_seal_of_another_manifest_is_corrupt() -> None:
    store = MemoryStore()
    bank = back_up(store, CONTENT)
    bank.open()
    key = layout.manifest(SITE, VOLUME, BACKUP)
    store.objects[key] = store.objects[key].replace(b"nightly", b"nightlx")
    with pytest.raises(DataCorrupt):
        bank.find(BACKUP)
    with pytest.raises(DataCorrupt):
        bank.seal(SITE, BACKUP, VOLUME)


def test_a_manifest_of_another_backup_is_corrupt() -> None:
    store = MemoryStore()
    bank = back_up(store, CONTENT)
    back_up(store, CONTENT, backup_id=OTHER_BACKUP)
    key = layout.manifest(SITE, VOLUME, BACKUP)
    store.objects[key] = store.objects[layout.manifest(SITE, VOLUME, OTHER_BACKUP)]
    with pytest.raises(DataCorrupt, match="says it is"):
        bank.find(BACKUP)


def test_a_voided_session_is_broken_and_its_seal_stays() -> None:
    store = MemoryStore()
    _write(store, 1)
    seal = layout.seal(SITE, BACKUP, VOLUME)
    sealed = MemoryStore()
    back_up(sealed, CONTENT)
    store.objects[seal] = sealed.objects[seal].replace(b'"OK"', b'"VOID"')
    with pytest.raises(SourceGone, match="voided"):
        bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert bank_on(store).discard(SITE, BACKUP)
    assert seal in store.objects
    assert bank_on(store).find(BACKUP) is None


def test_sealed_ones_are_not_discarded_and_unknown_ones_are_gone() -> None:
    bank = back_up(MemoryStore(), CONTENT)
    with pytest.raises(BrokenInvariant):
        bank.discard(SITE, BACKUP)
    assert bank.discard(SITE, OTHER_BACKUP)
    assert bank.delete(SITE, OTHER_BACKUP)


def test_deletion_takes_bounded_steps_and_spares_foreign_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cinderbank.bank.deletion.BATCH_KEYS", 1)
    monkeypatch.setattr("cinderbank.bank.deletion.BATCHES_PER_CALL", 1)
    store = MemoryStore()
    bank = back_up(store, sample("trsrt"))
    foreign = layout.backup_prefix(SITE, VOLUME, BACKUP) + "notes.txt"
    store.objects[foreign] = b"mine"
    calls = 1
    while not bank.delete(SITE, BACKUP):
        calls += 1
    assert calls > 2
    assert store.objects.pop(foreign)
    _assert_free(store)


def test_a_pinned_backup_is_tombed_and_its_data_left_alone() -> None:
    store = MemoryStore()
    bank = back_up(store, CONTENT)
    bank_on(store, "site-b").pin(SITE, BACKUP, READER)
    before = set(store.objects)
    assert bank.delete(SITE, BACKUP)
    assert set(store.objects) - before == {layout.tomb(SITE, BACKUP)}
    assert bank.find(BACKUP) is None
    bank_on(store, "site-b").unpin(BACKUP, READER)
    assert bank.delete(SITE, BACKUP)
    _assert_free(store)


def test_an_intent_that_can_not_be_read_pins_everything() -> None:
    store = MemoryStore()
    bank = back_up(store, CONTENT)
    store.objects[layout.intent("site-b", OTHER_BACKUP)] = b"{}"
    before = set(store.objects)
    assert bank.delete(SITE, BACKUP)
    assert before <= set(store.objects)


def test_a_pin_that_comes_too_late_is_taken_back() -> None:
    store = MemoryStore()
    bank = back_up(store, CONTENT)
    bank.delete(SITE, BACKUP)
    with pytest.raises(SourceGone):
        bank.pin(SITE, BACKUP, READER)
    _assert_free(store)


def test_what_an_object_lock_keeps_is_no_backup_any_more_and_left_to_maintenance(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    bank = back_up(store, CONTENT)
    locked = layout.chunk(SITE, BACKUP, 1, 0)
    store.locked.add(locked)
    assert bank.delete(SITE, BACKUP)
    assert bank.find(BACKUP) is None
    assert locked in store.objects
    assert locked in caplog.text
    assert [key for key in store.objects if "/chunks/" in key] == [locked]
    store.locked.clear()
    assert bank.delete(SITE, BACKUP)
    _assert_free(store)


def test_another_bank_than_before_is_refused() -> None:
    store = MemoryStore()
    bank_id = bank_on(store).open().bank_id
    assert bank_on(store, "site-b").open().bank_id == bank_id
    with pytest.raises(InvalidSpec) as caught:
        StoredBank(store, SITE, expected_bank_id=READER).open()
    assert caught.value.reason == "BankIdMismatch"
    store.objects.clear()
    with pytest.raises(InvalidSpec) as caught:
        StoredBank(store, SITE, expected_bank_id=bank_id).open()
    assert caught.value.reason == "BankIdMismatch"
    assert not store.objects


@pytest.mark.parametrize(
    "body", [b"hello", b'{"format":{"name":"cinderbank","major":2,"required":[]}}']
)
def test_what_is_no_bank_of_ours_is_not_touched(body: bytes) -> None:
    store = MemoryStore()
    store.objects[layout.BANK] = body
    with pytest.raises(InvalidSpec) as caught:
        bank_on(store).open()
    assert caught.value.reason == "BankFormatUnknown"
    assert store.objects == {layout.BANK: body}


def test_two_sites_that_open_an_empty_bank_at_once_agree() -> None:
    store, ids = MemoryStore(), []

    def other_first(count: int, verb: str, key: str) -> None:
        if verb == "PUT":
            _calm(store)
            ids.append(bank_on(store, "site-b").open().bank_id)

    store.before_request = other_first
    ids.append(bank_on(store).open().bank_id)
    assert ids[0] == ids[1]


def test_a_read_only_bank_writes_nothing() -> None:
    store = MemoryStore()
    back_up(store, CONTENT)
    before = dict(store.objects)
    bank = bank_on(store, "site-b", read_only=True)
    bank.pin(SITE, BACKUP, READER)
    bank.unpin(BACKUP, READER)
    assert bank.find(BACKUP) is not None
    for act in (bank.discard, bank.delete):
        with pytest.raises(Forbidden):
            act(SITE, BACKUP)
    with pytest.raises(Forbidden):
        bank.open_session(SITE, OTHER_BACKUP, VOLUME)
    with pytest.raises(Forbidden):
        bank.seal(SITE, BACKUP, VOLUME)
    assert store.objects == before
    with pytest.raises(InvalidSpec):
        bank_on(MemoryStore(), read_only=True).open()


def test_foreign_keys_in_listings_are_passed_over() -> None:
    store = MemoryStore()
    bank = back_up(store, CONTENT)
    for key in ("sites/UPPER/x", "sites/site-a/seals/readme", f"sites/site-a/seals/{BACKUP}.x"):
        store.objects[key] = b"?"
    found = bank.find(BACKUP)
    assert found is not None
    assert [seal for seal in bank.seals() if seal is not None] == [
        layout.SealKey(SITE, BACKUP, VOLUME)
    ]


def test_a_damaged_manifest_without_a_seal_can_still_be_discarded() -> None:
    store = MemoryStore()
    _write(store, 1)
    store.objects[layout.manifest(SITE, VOLUME, BACKUP)] = b"{}"
    facts = bank_on(store).observe(SITE, BACKUP)
    assert facts.manifest
    assert facts.size_bytes is None
    with pytest.raises(CinderbankError):
        bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert bank_on(store).discard(SITE, BACKUP)


def test_a_manifest_larger_than_any_without_a_seal_can_still_be_discarded() -> None:
    store = MemoryStore()
    _write(store, 1)
    store.objects[layout.manifest(SITE, VOLUME, BACKUP)] = bytes(MAX_MANIFEST_BYTES + 1)
    bank = bank_on(store)
    assert bank.observe(SITE, BACKUP).manifest
    with pytest.raises(DataCorrupt):
        bank.seal(SITE, BACKUP, VOLUME)
    while not bank.discard(SITE, BACKUP):
        pass
    assert not [key for key in store.objects if "/chunks/" in key or key.endswith("/manifest")]


def test_what_another_site_wrote_is_never_changed() -> None:
    """`site` comes out of a status, which may be forged: read yes, delete no."""
    store = MemoryStore()
    back_up(store, CONTENT)
    before = dict(store.objects)
    elsewhere = bank_on(store, "site-b")
    for change in (
        lambda: elsewhere.delete(SITE, BACKUP),
        lambda: elsewhere.discard(SITE, OTHER_BACKUP),
        lambda: elsewhere.open_session(SITE, OTHER_BACKUP, VOLUME),
        lambda: elsewhere.seal(SITE, BACKUP, VOLUME),
    ):
        with pytest.raises(Forbidden, match="use a BackupBank that writes as"):
            change()
    assert store.objects == before
    assert elsewhere.observe(SITE, BACKUP).sealed


def test_a_listing_without_an_end_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    bank = bank_on(store)
    bank.open()

    def endless(prefix: str, delimiter: str = "", start_after: str = "") -> Iterator[Listed]:
        for number in count():
            name = f"{number:012x}"
            if delimiter:
                yield Listed(f"{prefix}site-{name}/", 0, True)
            else:
                yield Listed(f"{prefix}00000000-0000-4000-8000-{name}", 0, False)

    monkeypatch.setattr(store, "list_keys", endless)
    for look in (lambda: bank.observe(SITE, BACKUP), lambda: bank.find(BACKUP)):
        with pytest.raises(Unavailable, match="lists more than"):
            look()
