"""Which backup fits what is known of it; what that costs; what no hostile content may do to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cinderbank.bank import catalog, layout, selection
from cinderbank.bank import manifest as manifests
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.manifest import Manifest, PartRef, SessionRef
from cinderbank.bank.marks import Seal, Tomb
from cinderbank.bank.scrub import Damage, Report
from cinderbank.domain.errors import InvalidSpec, Unavailable
from cinderbank.domain.facts import BackupId, VolumeId
from cinderbank.domain.selection import BackupSelector, Chosen, NoneChosen, Selection
from tests.fakes.backups import BACKUP, CHUNK, NOW, VOLUME, back_up, bank_on, describe, sample
from tests.fakes.clock import FakeClock
from tests.fakes.object_store import MemoryStore

KEK = KeyEncryptionKey(bytes(range(32)))
OTHER = VolumeId("21111111-2222-4333-8444-555555555555")
BY_ID = BackupSelector(volume_id=VOLUME)
BY_NAME = BackupSelector(volume_name="db")
LATER = NOW + timedelta(days=30)
"""When it is asked: no backup here claims to be of the future."""


def minute(number: int) -> datetime:
    return NOW + timedelta(minutes=number)


def backup_id(number: int) -> BackupId:
    """Begun `number` minutes after NOW."""
    return BackupId(f"{catalog._id_prefix(minute(number))}{number:016d}")


def add(
    store: MemoryStore, number: int, volume: VolumeId = VOLUME, site: str = "site-a", **about: Any
) -> BackupId:
    """A sealed backup without any chunk; its snapshot was taken as soon as it was begun."""
    found = backup_id(number)
    description = replace(
        describe(bytes(CHUNK), 0, found), volume_id=volume, site=site, snapshot_at=minute(number)
    )
    manifest = Manifest(
        description=replace(description, **about),
        geometry=Geometry(CHUNK, CHUNK, 3),
        parts=(PartRef(1, "0" * 64),),
        sessions=(SessionRef(site, found),),
        bank_id="b",
    )
    body = manifests.dump(manifest)
    store.put(layout.manifest(site, volume, found), body)
    seal = Seal("OK", manifests.object_digest(body), CHUNK, 0)
    store.put(layout.seal(site, found, volume), seal.dump())
    return found


def select(store: MemoryStore, selector: BackupSelector, **options: Any) -> Selection:
    return bank_on(store, **{"now": lambda: LATER, **options}).select(selector)


def chosen(store: MemoryStore, selector: BackupSelector) -> Chosen:
    found = select(store, selector)
    assert isinstance(found, Chosen), found
    return found


def none(store: MemoryStore, selector: BackupSelector, **options: Any) -> NoneChosen:
    found = select(store, selector, **options)
    assert isinstance(found, NoneChosen), found
    return found


@pytest.fixture
def store() -> MemoryStore:
    """Numbers 1, 3 and 5 of `db`; 2 and 4 of another volume, `web`."""
    store = MemoryStore()
    for number in (1, 3, 5):
        add(store, number)
    for number in (2, 4):
        add(store, number, OTHER, volume_name="web")
    return store


@pytest.mark.parametrize(
    ("selector", "number"),
    [
        (BY_ID, 5),
        (BY_NAME, 5),
        (replace(BY_ID, as_of=minute(5)), 5),
        (replace(BY_ID, as_of=minute(5) - timedelta(seconds=1)), 3),
        (replace(BY_NAME, as_of=minute(4)), 3),
        (replace(BY_NAME, as_of=minute(1).astimezone()), 1),
        (BackupSelector(volume_name="web"), 4),
        (BackupSelector(volume_id=OTHER, as_of=minute(3)), 2),
        (replace(BY_ID, tags={"kind": "full"}), 5),
        (replace(BY_ID, backup_name="nightly", site="site-a"), 5),
        (replace(BY_ID, as_of=datetime.max.replace(tzinfo=UTC)), 5),
    ],
)
def test_the_newest_that_fits(store: MemoryStore, selector: BackupSelector, number: int) -> None:
    found = chosen(store, selector)
    assert (found.backup_id, found.site) == (backup_id(number), "site-a")
    assert found.snapshot_at == minute(number)
    assert "is the newest that fits" in found.message


@pytest.mark.parametrize(
    "selector",
    [
        BackupSelector(volume_id=VolumeId("31111111-2222-4333-8444-555555555555")),
        BackupSelector(volume_name="d"),
        replace(BY_ID, backup_name="weekly"),
        replace(BY_ID, tags={"kind": "full", "more": ""}),
        replace(BY_ID, site="site-b"),
        replace(BY_NAME, as_of=minute(0)),
        replace(BY_ID, as_of=datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_nothing_fits(store: MemoryStore, selector: BackupSelector) -> None:
    assert none(store, selector).reason == "NoBackupFits"


def test_the_nearest_is_told(store: MemoryStore) -> None:
    said = none(store, replace(BY_NAME, as_of=minute(0))).message
    assert f"the nearest is backup {backup_id(5)}" in said
    assert "its snapshot is later than asOf" in said
    # Far away from it nothing is read.
    store.requests.clear()
    assert "none is near" in none(store, replace(BY_NAME, as_of=minute(-600))).message
    assert not [key for _, key in store.requests if key.endswith("/manifest")]


def test_a_name_that_two_volumes_have(store: MemoryStore) -> None:
    add(store, 6, OTHER, volume_name="db")
    found = none(store, BY_NAME)
    assert found.reason == "SelectorAmbiguous"
    assert VOLUME in found.message
    assert OTHER in found.message
    assert chosen(store, replace(BY_NAME, as_of=minute(5))).backup_id == backup_id(5)
    assert "volumeID of a new" in found.message
    add(store, 7, OTHER, site="site-b", volume_name="db")
    assert chosen(store, replace(BY_NAME, site="site-b")).backup_id == backup_id(7)
    assert none(store, BackupSelector(tags={"kind": "full"})).reason == "SelectorAmbiguous"


@pytest.mark.parametrize("selector", [BY_ID, BY_NAME])
def test_a_volume_id_that_two_sites_have(store: MemoryStore, selector: BackupSelector) -> None:
    add(store, 9, site="site-b")
    found = none(store, selector)
    assert found.reason == "SelectorAmbiguous"
    assert "(site site-a)" in found.message
    assert "(site site-b)" in found.message
    assert "Say which in site of a new" in found.message
    assert chosen(store, replace(selector, site="site-a")).backup_id == backup_id(5)
    assert chosen(store, replace(selector, site="site-b")).backup_id == backup_id(9)
    # One that can not be read is no candidate.
    store.objects[layout.manifest("site-b", VOLUME, backup_id(9))] = b"{"
    assert chosen(store, selector).backup_id == backup_id(5)


def test_ids_of_the_future_displace_no_others(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    year = 365 * 24 * 60
    for number in range(6):
        add(store, year + number, OTHER, site="site-b", volume_name="flood")
    monkeypatch.setattr(selection, "MAX_MANIFESTS", 5)
    monkeypatch.setattr(selection, "MAX_KEYS", 5)
    assert chosen(store, replace(BY_ID, site="site-a")).backup_id == backup_id(5)
    said = none(store, BackupSelector(volume_name="web")).message
    assert f"backup {backup_id(4)}" in said, "the honest one is what was found"
    # Of one volume, too: the newest is the newest that can be believed.
    add(store, year)
    assert chosen(store, replace(BY_ID, site="site-a")).backup_id == backup_id(5)


def test_a_slow_bank_ends_the_search_in_time(store: MemoryStore) -> None:
    clock = FakeClock(LATER)
    bank = bank_on(store, now=clock.now)
    bank.open()

    def later(count: int, verb: str, key: str) -> None:
        if key.endswith("/manifest"):
            clock.advance(25)

    store.after_request = later
    found = bank.select(BackupSelector(tags={"kind": "none"}))
    assert isinstance(found, NoneChosen)
    assert found.reason == "SelectorTooWide"
    assert "3 of 5 backups were looked at" in found.message
    assert "for 60 s" in found.message
    found = bank.select(replace(BY_ID, site="site-a"))
    assert isinstance(found, Chosen), "what is certain is answered all the same"


def test_a_slow_bank_is_not_verified_for_ever() -> None:
    store, clock = MemoryStore(), FakeClock(LATER)
    for number in (1, 2):
        back_up(store, sample("tzrs"), backup_id=backup_id(number))
    bank = bank_on(store, now=clock.now)
    bank.open()
    store.requests.clear()
    store.after_request = lambda count, verb, key: clock.advance(70 if "/index/" in key else 0)
    found = bank.select(VERIFIED)
    assert isinstance(found, NoneChosen)
    assert found.reason == "SelectorTooWide"
    assert "chunks 0 were looked at" in found.message
    assert len([key for _, key in store.requests if "/index/" in key and backup_id(1) in key]) == 0


def test_a_manifest_that_no_honest_writer_makes_is_not_read(store: MemoryStore) -> None:
    key = layout.manifest("site-a", VOLUME, backup_id(5))
    body = store.objects[key] + b" " * catalog.MAX_CATALOG_MANIFEST_BYTES
    store.objects[key] = body
    seal = Seal("OK", manifests.object_digest(body), CHUNK, 0)
    store.objects[layout.seal("site-a", backup_id(5), VOLUME)] = seal.dump()
    assert chosen(store, BY_ID).backup_id == backup_id(3)


def test_a_volume_has_the_name_of_its_newest_backup(store: MemoryStore) -> None:
    add(store, 6, OTHER, volume_name="renamed")
    assert none(store, BackupSelector(volume_name="web")).reason == "NoBackupFits"
    renamed = BackupSelector(volume_name="renamed")
    assert chosen(store, renamed).backup_id == backup_id(6)
    assert chosen(store, replace(BY_NAME, volume_name="web", as_of=minute(5))).backup_id == (
        backup_id(4)
    )
    # What is older than its name is a backup of this volume all the same.
    damaged(store, backup_id(6), OTHER)
    assert chosen(store, renamed).backup_id == backup_id(4)


def damaged(store: MemoryStore, found: BackupId, volume: VolumeId = VOLUME) -> None:
    damage = Damage(backups={SessionRef("site-a", found): volume})
    report = Report(NOW, "full", damage).dump()
    store.put(layout.scrub("site-a", "01KAPZ5J3VQ6Z0C4M8T2R7W9ZZ"), report)


def test_one_that_a_check_found_damaged_is_not_good(store: MemoryStore) -> None:
    damaged(store, backup_id(5))
    assert chosen(store, BY_ID).backup_id == backup_id(3)
    for number in (1, 3):
        store.put(layout.tomb("site-a", backup_id(number)), Tomb(VOLUME).dump())
    assert "a check found it damaged" in none(store, BY_ID).message


def test_a_report_of_damage_that_can_not_be_read_hides_no_other(store: MemoryStore) -> None:
    damaged(store, backup_id(5))
    store.put(layout.scrub("site-b", "01KAPZ5J3VQ6Z0C4M8T2R7W9ZZ"), b"{")
    assert chosen(store, BY_ID).backup_id == backup_id(3)


def test_what_is_deleted_void_or_gone_is_none(store: MemoryStore) -> None:
    store.put(layout.tomb("site-a", backup_id(5)), Tomb(VOLUME).dump())
    void = Seal("VOID", "sha256:" + "0" * 64, 0, 0)
    store.put(layout.seal("site-a", backup_id(3), VOLUME), void.dump())
    assert chosen(store, BY_ID).backup_id == backup_id(1)


def _hostile() -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "not JSON", b"\xff{"
    yield "deep", b"[" * 100_000
    yield "long", b" " * (manifests.MAX_MANIFEST_BYTES + 1)
    about = describe(bytes(CHUNK), 0, backup_id(99))
    other = Manifest(
        description=about,
        geometry=Geometry(CHUNK, CHUNK, 3),
        parts=(PartRef(1, "0" * 64),),
        sessions=(SessionRef("site-a", about.backup_id),),
        bank_id="b",
    )
    yield "another backup's", manifests.dump(other)


@pytest.mark.parametrize("body", [b for _, b in _hostile()], ids=[name for name, _ in _hostile()])
@pytest.mark.parametrize("selector", [BY_ID, BY_NAME])
def test_hostile_manifests_are_passed_over_and_counted(
    store: MemoryStore, selector: BackupSelector, body: bytes
) -> None:
    add(store, 7)
    store.objects[layout.manifest("site-a", VOLUME, backup_id(7))] = body
    found = chosen(store, selector)
    assert found.backup_id == backup_id(5)
    assert "1 could not be read" in found.message
    assert len(found.message) < 1500


def test_a_manifest_that_was_changed_after_its_seal_is_none(store: MemoryStore) -> None:
    key = layout.manifest("site-a", VOLUME, backup_id(5))
    store.objects[key] = store.objects[key].replace(b'"nightly"', b'"weekly!"')
    assert chosen(store, BY_ID).backup_id == backup_id(3)


def test_a_store_that_fails_is_an_error(store: MemoryStore) -> None:
    bank = bank_on(store)
    bank.open()
    store.fail_next("GET")
    with pytest.raises(Unavailable):
        bank.select(BY_ID)


def test_a_key_that_is_missing_is_told_when_nothing_else_fits() -> None:
    encrypted = MemoryStore()
    back_up(encrypted, sample("t"), keks=(KEK,))
    with pytest.raises(InvalidSpec) as refused:
        bank_on(encrypted).select(BY_ID)
    assert refused.value.reason == "BankKeyMissing"
    assert isinstance(bank_on(encrypted, keks=(KEK,)).select(BY_ID), Chosen)


VERIFIED = replace(BY_ID, require_verified=True)


def test_a_planted_plain_manifest_renames_no_volume() -> None:
    """Else who can write the bucket, without its key, has the data of one volume restored as another's."""
    encrypted = MemoryStore()
    made = back_up(encrypted, sample("t"), keks=(KEK,)).find(BACKUP)
    assert made is not None
    planted = add(encrypted, 10, volume_name="renamed")
    assert planted > made.backup_id
    bank = bank_on(encrypted, keks=(KEK,))
    found = bank.select(BY_NAME)
    assert isinstance(found, Chosen)
    assert (found.backup_id, made.volume_name) == (made.backup_id, BY_NAME.volume_name)
    with pytest.raises(InvalidSpec) as raised:
        bank.select(BackupSelector(volume_name="renamed"))
    assert raised.value.reason == "BankPlainBackup"


def test_verified_is_looked_at_before_it_is_chosen() -> None:
    store = MemoryStore()
    older, newer = backup_id(1), backup_id(2)
    back_up(store, sample("tzrs"), backup_id=older)
    back_up(store, sample("tzrt"), backup_id=newer)
    assert chosen(store, VERIFIED).backup_id == newer
    [lost] = [key for key in store.objects if f"chunks/{newer}" in key][:1]
    del store.objects[lost]
    assert chosen(store, BY_ID).backup_id == newer
    assert chosen(store, VERIFIED).backup_id == older
    for key in [key for key in store.objects if f"chunks/{older}" in key]:
        del store.objects[key]
    said = none(store, VERIFIED).message
    assert f"the nearest is backup {newer}" in said
    assert "lost" in said


def test_an_index_that_does_not_hold_is_not_verified() -> None:
    store = MemoryStore()
    back_up(store, sample("tzrs"), backup_id=backup_id(1))
    [index] = [key for key in store.objects if "/index/" in key and key.endswith("00000001")]
    store.flip(index, 70)
    assert none(store, VERIFIED).reason == "NoBackupFits"


def test_so_many_are_verified_and_no_more(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MAX_VERIFIED", 2)
    found = none(store, VERIFIED)  # none of them has an index
    assert found.reason == "SelectorTooWide"
    indexes = [key for verb, key in store.requests if verb == "GET" and "/index/" in key]
    assert len(indexes) == 2


def bank_of_10000() -> MemoryStore:
    """100 volumes with 100 backups each, in turns; the newest is of volume 99."""
    store = MemoryStore()
    for number in range(10_000):
        volume = number % 100
        add(store, number, volume_of(volume), volume_name=f"vol-{volume}")
    bank_on(store).open()
    return store


def volume_of(number: int) -> VolumeId:
    return VolumeId(f"{number:08x}-2222-4333-8444-555555555555")


@pytest.mark.parametrize(
    ("selector", "manifests_read"),
    [
        (BackupSelector(volume_id=volume_of(7)), 2),
        (BackupSelector(volume_id=volume_of(7), as_of=minute(5_000)), 3),
        (BackupSelector(volume_name="vol-7"), 101),
        (BackupSelector(volume_name="vol-7", as_of=minute(5_000)), 201),
    ],
)
def test_what_it_costs_in_a_bank_of_10000(
    selector: BackupSelector, manifests_read: int, big: MemoryStore
) -> None:
    big.requests.clear()
    found = chosen(big, selector)
    assert found.message.startswith(f"backup {found.backup_id}")
    read = [key for verb, key in big.requests if verb == "GET" and key.endswith("/manifest")]
    assert len(read) <= manifests_read
    others = [key for verb, key in big.requests if verb == "GET" and not key.endswith("/manifest")]
    assert len(others) <= 2, others  # bank.json and the seal of the one that was chosen
    # sites, seals, tombs, scrub; sites and proofs of the one that was chosen
    assert len([key for verb, key in big.requests if verb == "LIST"]) <= 7


@pytest.fixture(scope="module")
def big() -> MemoryStore:
    return bank_of_10000()


def test_bounds_are_told_and_never_guessed_past(
    big: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MAX_MANIFESTS", 50)
    found = none(big, BackupSelector(volume_name="vol-90"))  # the tenth volume from the newest on
    assert found.reason == "SelectorTooWide"
    assert f"add volumeID: {volume_of(90)}" in found.message
    assert "50 of 10000 backups were looked at" in found.message
    assert none(big, BackupSelector(volume_name="vol-1")).reason == "SelectorTooWide"
    assert chosen(big, BackupSelector(volume_id=volume_of(1))).backup_id == backup_id(9901)
    monkeypatch.setattr(selection, "MAX_KEYS", 100)
    assert none(big, BackupSelector(volume_name="vol-0")).reason == "SelectorTooWide"
