"""Keys: only checked ids become keys, and only keys of ours become ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.bank import layout
from cinderbank.domain.errors import InvalidSpec
from tests.fakes.backups import BACKUP, READER, SITE, VOLUME

BAD_SITES = ["", "A", "a/b", "..", "a" * 64, "-a", "a-", "a.b", "a\n", "é"]
BAD_ULIDS = [
    "",
    BACKUP.lower(),
    BACKUP + "0",
    BACKUP[:-1],
    "8" + BACKUP[1:],
    "I" * 26,
    BACKUP + "\n",
]
BAD_UUIDS = ["", VOLUME.upper().replace("1", "A"), VOLUME + "/", "../" + VOLUME[3:], VOLUME + "\n"]


def test_the_layout() -> None:
    assert layout.intent(SITE, BACKUP) == f"sites/site-a/intents/{BACKUP}"
    assert layout.read_pin(SITE, READER) == f"sites/site-a/intents/{READER}"
    assert layout.chunk(SITE, BACKUP, 1, 255) == f"sites/site-a/chunks/{BACKUP}/0001/000000ff"
    prefix = f"sites/site-a/backups/{VOLUME}/{BACKUP}"
    assert layout.index_part(SITE, VOLUME, BACKUP, 2, 1) == f"{prefix}/index/0002/00000001"
    assert layout.manifest(SITE, VOLUME, BACKUP) == f"{prefix}/manifest"
    assert layout.seal(SITE, BACKUP, VOLUME) == f"sites/site-a/seals/{BACKUP}.{VOLUME}"
    assert layout.tomb(SITE, BACKUP) == f"sites/site-a/tombs/{BACKUP}"


@pytest.mark.parametrize("site", BAD_SITES)
def test_bad_sites_never_become_keys(site: str) -> None:
    with pytest.raises(InvalidSpec):
        layout.tomb(site, BACKUP)


@pytest.mark.parametrize("backup_id", BAD_ULIDS)
def test_bad_backup_ids_never_become_keys(backup_id: str) -> None:
    for build in (layout.tomb, layout.intent, layout.seal_prefix, layout.session_chunks_prefix):
        with pytest.raises(InvalidSpec):
            build(SITE, backup_id)


@pytest.mark.parametrize("volume_id", BAD_UUIDS)
def test_bad_volume_ids_never_become_keys(volume_id: str) -> None:
    with pytest.raises(InvalidSpec):
        layout.seal(SITE, BACKUP, volume_id)
    with pytest.raises(InvalidSpec):
        layout.read_pin(SITE, volume_id)


@pytest.mark.parametrize(("attempt", "index"), [(-1, 0), (65_536, 0), (0, -1), (0, 1 << 32)])
def test_numbers_out_of_range_never_become_keys(attempt: int, index: int) -> None:
    with pytest.raises(InvalidSpec):
        layout.chunk(SITE, BACKUP, attempt, index)


def test_listed_keys_are_taken_apart() -> None:
    found = layout.parse_seal(layout.seal(SITE, BACKUP, VOLUME))
    assert found == layout.SealKey(SITE, BACKUP, VOLUME)
    assert layout.parse_site_prefix("sites/site-a/") == SITE
    assert layout.parse_intent(layout.intent(SITE, BACKUP)) == BACKUP
    assert layout.parse_intent(layout.read_pin(SITE, READER)) == READER


@given(st.text(alphabet="sites/ealint.-0A\n", max_size=40))
def test_foreign_keys_are_nobody(key: str) -> None:
    assert layout.parse_seal(key) is None
    assert layout.parse_intent(key) is None
    assert layout.parse_seal(f"sites/{key}/seals/{BACKUP}.{VOLUME}/x") is None


def test_only_our_own_objects_are_swept() -> None:
    prefix = layout.backup_prefix(SITE, VOLUME, BACKUP)
    assert layout.is_session_object(prefix, layout.manifest(SITE, VOLUME, BACKUP))
    assert layout.is_session_object(prefix, layout.index_part(SITE, VOLUME, BACKUP, 1, 0))
    assert not layout.is_session_object(prefix, prefix + "notes.txt")
    assert not layout.is_session_object(prefix, prefix + "index/0001/00000000/x")
    assert not layout.is_session_object(prefix, "manifest")
    chunks = layout.session_chunks_prefix(SITE, BACKUP)
    assert layout.is_session_object(chunks, layout.chunk(SITE, BACKUP, 1, 0))
