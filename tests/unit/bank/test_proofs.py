"""Proofs: what drills and checks found, of every site, in keys alone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cinderbank.bank import layout, proof_keys, proofs
from cinderbank.bank.check import Checker
from cinderbank.bank.check_plan import Level, Plan
from cinderbank.bank.store import DeleteFailure
from cinderbank.domain.errors import Forbidden, InvalidSpec
from cinderbank.domain.facts import BackupId
from cinderbank.domain.proofs import Found, Proof, Standing, condition, standings
from cinderbank.domain.selection import BackupSelector, Chosen, NoneChosen
from tests.fakes.backups import BACKUP, NOW, OTHER_BACKUP, SITE, VOLUME, back_up, bank_on, sample
from tests.fakes.object_store import MemoryStore
from tests.fakes.volumes import BACKUPS, Volume

CONTENT = sample("tzr")
OF = (SITE, BACKUP)
HOUR = timedelta(hours=1)


@pytest.fixture
def store() -> MemoryStore:
    found = MemoryStore()
    back_up(found, CONTENT)
    return found


def keys(store: MemoryStore) -> list[str]:
    return [key for key in store.objects if "/proofs/" in key]


def check(store: MemoryStore, level: Level, site: str = SITE, **plan: object) -> None:
    bank = bank_on(store, site)
    Checker(
        bank,
        Plan(level, **plan),  # type: ignore[arg-type]
        on_verdict=lambda verdict: None,
        new_run=lambda: "01KAPZ5J3V0000000000000001",
        now=lambda: NOW,
    ).run()


def test_a_key_says_all() -> None:
    of = Proof(SITE, BACKUP, Found.DRILL, NOW)
    key = proof_keys.proof("site-b", of)
    assert key == f"sites/site-b/proofs/{SITE}/{BACKUP}/drill-20261122200000"
    assert proof_keys.parse_proof(key) == of


@pytest.mark.parametrize(
    "key",
    [
        f"sites/site-b/proofs/{SITE}/{BACKUP}/drill-20261322200000",
        f"sites/site-b/proofs/{SITE}/{BACKUP}/great-20261122200000",
        f"sites/site-b/proofs/{SITE}/../drill-20261122200000",
        f"sites/Site_B/proofs/{SITE}/{BACKUP}/drill-20261122200000",
        f"sites/site-b/proofs/{SITE}/{BACKUP}/drill-20261122200000/more",
    ],
)
def test_foreign_keys_are_passed_over(store: MemoryStore, key: str) -> None:
    store.objects[key] = b"{}"
    assert proof_keys.parse_proof(key) is None
    assert bank_on(store).standings({OF}) == {}


def test_ids_are_checked_before_they_become_keys(store: MemoryStore) -> None:
    for site, backup in (("../x", BACKUP), (SITE, BackupId("../../seals"))):
        with pytest.raises(InvalidSpec):
            proof_keys.proof_prefix("site-b", site, backup)


def test_a_drill_of_another_site_is_known_to_all(store: MemoryStore) -> None:
    assert bank_on(store, "site-b").note_drill(SITE, BACKUP, is_whole=True)
    assert bank_on(store).standings({OF}) == {OF: Standing(NOW, Found.DRILL)}
    assert bank_on(store).damaged_backups() == frozenset()


def test_a_newer_proof_of_ours_takes_the_place_of_the_older(store: MemoryStore) -> None:
    for hours in range(3):
        bank_on(store, now=lambda h=hours: NOW + h * HOUR).note_drill(SITE, BACKUP, is_whole=True)
    assert len(keys(store)) == 1
    late = bank_on(store, now=lambda: NOW + 3 * HOUR)
    assert late.standings({OF})[OF].verified_at == NOW + 2 * HOUR


def test_a_difference_stays_whatever_is_found_later(store: MemoryStore) -> None:
    bank_on(store).note_drill(SITE, BACKUP, is_whole=False)
    bank_on(store, "site-b").note_drill(SITE, BACKUP, is_whole=True)
    bank_on(store).note_drill(SITE, BACKUP, is_whole=True)
    check(store, Level.FULL)
    for here in (SITE, "site-b"):
        standing = bank_on(store, here).standings({OF})[OF]
        assert standing.is_bad and not standing.is_verified
        told = condition(standing)
        assert told is not None and (told.status, told.reason) == ("False", "DrillFoundDifference")
        assert bank_on(store, here).damaged_backups() == {OF}


def is_chosen(store: MemoryStore, here: str) -> bool:
    found = bank_on(store, here).select(BackupSelector(volume_id=VOLUME))
    if isinstance(found, Chosen):
        return True
    assert isinstance(found, NoneChosen) and "other bytes come back" in found.message
    return False


@pytest.mark.parametrize(
    ("by", "bad_at"), [(SITE, {SITE, "site-b", "site-c"}), ("site-b", {"site-b"})]
)
def test_a_difference_counts_where_it_was_found_and_everywhere_when_the_writer_found_it(
    store: MemoryStore, by: str, bad_at: set[str]
) -> None:
    """A user of site-b whose cloud gives back what he likes spoils no other site's backups."""
    sites = (SITE, "site-b", "site-c")
    assert all(is_chosen(store, here) for here in sites)
    bank_on(store, by).note_drill(SITE, BACKUP, is_whole=False)
    for here in sites:
        bank = bank_on(store, here)
        assert (bank.damaged_backups() == {OF}) == (here in bad_at)
        assert bank.standings({OF}).get(OF, Standing()).is_bad == (here in bad_at)
        assert is_chosen(store, here) == (here not in bad_at)


def test_a_site_takes_back_its_own_difference_and_no_other_s(store: MemoryStore) -> None:
    for hours in range(2):
        late = bank_on(store, now=lambda h=hours: NOW + h * HOUR / 2)
        late.note_drill(SITE, BACKUP, is_whole=False)
    bank_on(store, "site-b").note_drill(SITE, BACKUP, is_whole=False)
    bank_on(store).note_drill(SITE, BACKUP, is_whole=True)
    assert bank_on(store).forget_difference(SITE, BACKUP) == 2
    assert bank_on(store).forget_difference(SITE, BACKUP) == 0
    assert bank_on(store).standings({OF}) == {OF: Standing(NOW, Found.DRILL)}
    assert bank_on(store, "site-b").damaged_backups() == {OF}
    with pytest.raises(Forbidden):
        bank_on(store, read_only=True).forget_difference(SITE, BACKUP)


@pytest.mark.parametrize(
    ("level", "found"),
    [
        (Level.MANIFEST, None),
        (Level.EXISTENCE, None),
        (Level.SAMPLE, Found.SAMPLE),
        (Level.FULL, Found.FULL),
    ],
)
def test_a_check_that_reads_proves(store: MemoryStore, level: Level, found: Found | None) -> None:
    check(store, level)
    standing = bank_on(store).standings({OF}).get(OF, Standing())
    assert standing.found is found
    assert standing.verified_at == (NOW if found else None)


def test_a_sample_that_read_nothing_of_a_backup_proves_nothing(store: MemoryStore) -> None:
    """It has two chunks, and a sample of so few percent is all of others."""
    check(store, Level.SAMPLE, sample_percent=0.001)
    assert keys(store) == []


def test_a_backup_without_a_chunk_is_proven_by_its_index() -> None:
    holes = MemoryStore()
    back_up(holes, sample("zz"))
    check(holes, Level.SAMPLE, sample_percent=0.001)
    assert bank_on(holes).standings({OF})[OF].found is Found.SAMPLE


def test_chunks_that_were_read_for_an_earlier_backup_are_of_both() -> None:
    volume = Volume(CONTENT)
    volume.back_up(0)
    assert volume.back_up(1).bytes_stored == 0
    check(volume.store, Level.FULL)
    among = {(SITE, BACKUPS[0]), (SITE, BACKUPS[1])}
    known = bank_on(volume.store).standings(among)
    assert {backup: each.found for backup, each in known.items()} == dict.fromkeys(
        among, Found.FULL
    )


def test_a_sample_takes_no_proof_of_a_drill_away(store: MemoryStore) -> None:
    bank_on(store, now=lambda: NOW - HOUR).note_drill(SITE, BACKUP, is_whole=True)
    check(store, Level.FULL)
    check(store, Level.SAMPLE)
    kinds = {read.found for key in keys(store) if (read := proof_keys.parse_proof(key))}
    assert kinds == {Found.DRILL, Found.FULL, Found.SAMPLE}


def test_damage_that_is_found_later_counts_more(store: MemoryStore) -> None:
    check(store, Level.FULL)
    del store.objects[layout.chunk(SITE, BACKUP, 1, 0)]
    check(store, Level.EXISTENCE, site="site-b")
    standing = bank_on(store).standings({OF})[OF]
    assert standing.damaged and not standing.is_verified
    told = condition(standing)
    assert told is not None and (told.status, told.reason) == ("False", "DamageFound")


def test_a_read_only_bank_notes_nothing(store: MemoryStore) -> None:
    assert not bank_on(store, "site-b", read_only=True).note_drill(SITE, BACKUP, is_whole=True)
    assert keys(store) == []


def test_of_a_backup_that_is_gone_nothing_is_noted_or_kept(store: MemoryStore) -> None:
    bank_on(store).note_drill(SITE, BACKUP, is_whole=True)
    bank_on(store, "site-b").note_drill(SITE, BACKUP, is_whole=True)
    while not bank_on(store).delete(SITE, BACKUP):
        pass
    assert [key.split("/")[1] for key in keys(store)] == ["site-b"], "each site deletes its own"
    assert not bank_on(store).note_drill(SITE, BACKUP, is_whole=True)
    check(store, Level.FULL, site="site-b")
    assert keys(store) == []


def test_a_check_of_one_backup_forgets_no_other(store: MemoryStore) -> None:
    back_up(store, CONTENT, backup_id=OTHER_BACKUP)
    check(store, Level.FULL)
    assert len(keys(store)) == 2
    check(store, Level.FULL, backup_id=OTHER_BACKUP)
    assert len(keys(store)) == 2


def test_a_clock_that_is_ahead_proves_nothing_yet(store: MemoryStore) -> None:
    ahead = bank_on(store, "site-b", now=lambda: NOW + timedelta(days=400))
    ahead.note_drill(SITE, BACKUP, is_whole=True)
    assert bank_on(store).standings({OF}) == {}


def test_too_many_proofs_are_not_our_doing(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "MAX_PROOFS", 2)
    for second in range(3):
        at = NOW + timedelta(seconds=second)
        key = proof_keys.proof("site-b", Proof(SITE, BACKUP, Found.DIFFERENT, at))
        store.objects[key] = b"{}"
    with pytest.raises(Exception, match="more than 2 proofs"):
        bank_on(store).standings({OF})


def planted_proofs(store: MemoryStore) -> None:
    for number in range(proofs.MAX_PROOFS_OF_ONE + 1):
        store.objects[f"{proof_keys.proof_prefix(SITE, SITE, BACKUP)}planted-{number}"] = b"{}"


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_others_put_beside_a_proof_stops_none(store: MemoryStore, is_whole: bool) -> None:
    planted_proofs(store)
    assert bank_on(store).note_drill(SITE, BACKUP, is_whole=is_whole)
    standing = bank_on(store).standings({OF})[OF]
    assert (standing.found, standing.is_bad) == ((Found.DRILL, False) if is_whole else (None, True))


def test_a_seal_of_nonsense_hides_no_difference(store: MemoryStore) -> None:
    store.objects[layout.seal(SITE, BACKUP, VOLUME)] = b"nonsense"
    assert bank_on(store).note_drill(SITE, BACKUP, is_whole=False)
    assert bank_on(store).damaged_backups() == {OF}


def test_a_store_that_deletes_nothing_stops_no_proof(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object lock: the older ones stay, and the newest counts."""
    monkeypatch.setattr(
        store, "delete_many", lambda keys: [DeleteFailure(key, "AccessDenied") for key in keys]
    )
    for hours in range(3):
        at = NOW + hours * HOUR
        assert bank_on(store, now=lambda at=at: at).note_drill(SITE, BACKUP, is_whole=True)
    check(store, Level.FULL)
    late = bank_on(store, now=lambda: NOW + 3 * HOUR)
    assert len(keys(store)) == 4
    assert late.standings({OF})[OF].verified_at == NOW + 2 * HOUR


def test_order_does_not_matter() -> None:
    found = [
        Proof(*OF, Found.SAMPLE, NOW + HOUR),
        Proof(*OF, Found.DRILL, NOW),
        Proof(*OF, Found.DIFFERENT, NOW + 2 * HOUR),
    ]
    one = standings(found, [OF])
    assert one == standings(reversed(found), [OF])
    assert one[OF] == Standing(NOW + HOUR, Found.SAMPLE, NOW + 2 * HOUR, damaged=True)


def test_samples_with_consecutive_seeds_read_everything(store: MemoryStore) -> None:
    """And the same seed the same again."""
    big = MemoryStore()
    back_up(big, sample("r" * 64))
    read: list[set[str]] = []
    for seed in (*range(10), 0):
        big.requests.clear()
        check(big, Level.SAMPLE, sample_percent=10.0, seed=seed)
        read.append({key for verb, key in big.requests if verb == "GET" and "/chunks/" in key})
    assert len(set().union(*read[:10])) == 64
    assert sum(len(each) for each in read[:10]) == 64, "none is read twice"
    assert read[10] == read[0]
