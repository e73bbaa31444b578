"""What a RecoveryPoint shows of texts that anybody may have written."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.api.v1alpha1.bank_catalog import Catalog
from cinderbank.api.v1alpha1.recovery_point import (
    RecoveryPointStatus,
    labels_of,
    shown_tags,
    shown_text,
    status_of,
)
from cinderbank.domain.catalog import PointKey
from cinderbank.domain.facts import VolumeId
from cinderbank.ports.catalog import Choice, Described, Unreadable
from tests.fakes.backups import BACKUP, NOW, SITE, VOLUME, describe

ABOUT = describe(b"x" * 5000)
KEY = PointKey(SITE, BACKUP, VOLUME)
HOSTILE = st.text(max_size=300) | st.sampled_from(
    ["\x1b[2J", "a\nb", "\u202eevil", "\ud800", "\x00", "x" * 5000, "../../etc", "{{ .Values }}"]
)


@given(HOSTILE, HOSTILE, st.dictionaries(HOSTILE, HOSTILE, max_size=40))
def test_any_text_is_bounded_and_harmless(
    name: str, description: str, tags: dict[str, str]
) -> None:
    about = replace(ABOUT, volume_name=name, description=description, tags=tags)
    status = status_of(Described(about, False), False, None, 1, NOW)
    text = json.dumps(status, ensure_ascii=False)
    assert len(text.encode()) < 25 << 10
    assert not any(unicodedata.category(each)[0] == "C" for each in text)
    assert len(status.get("tags", {})) <= 32
    RecoveryPointStatus.read(status, "status")
    labels = labels_of("main", KEY, Described(about, False))
    assert set(labels) <= {
        f"cinderbank.io/{what}"
        for what in ("bank", "site", "volume-id", "backup-id", "volume-name", "group-snapshot")
    }
    assert all(len(value) <= 63 and value.isascii() for value in labels.values())


def test_what_a_backup_may_be_given_is_shown_as_it_is() -> None:
    tags = {f"{n:02d}{'ä' * 61}": "ö" * 65 for n in range(32)}
    assert shown_tags(tags) == tags
    assert list(shown_tags(dict.fromkeys(tags, "ö" * 255))) == list(tags)[:12]
    assert shown_text("größer, 日本語 🙂", 255) == "größer, 日本語 🙂"
    assert shown_text("x" * 256, 255) == "x" * 254 + "…"
    assert shown_text("a\u202eb\u2028c", 255) == "a\ufffdb\ufffdc"


def test_a_status_tells_what_one_chooses_by() -> None:
    status = status_of(Described(ABOUT, True), False, None, 1, NOW)
    [ready] = status["conditions"]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "True", "Mirrored")
    assert status["volumeName"] == "db"
    assert status["backupName"] == "nightly"
    assert status["snapshotTime"] == "2026-11-22T20:00:00Z"
    assert (status["sizeGiB"], status["sizeBytes"], status["encrypted"]) == (1, 5000, True)
    assert status["tags"] == {"kind": "full"}
    assert labels_of("main", KEY, Described(ABOUT, True))["cinderbank.io/volume-name"] == "db"


SET = "cinderbank.io/group-snapshot"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("056dae7e-7606-4a4c-a9de-2493b8ba121d", True),
        ("056dae7e-7606-4a4c-a9de-2493b8ba121d\n", False),
        ("argocd", False),
        ("", False),
    ],
)
def test_the_backups_of_one_group_snapshot_have_a_label(value: str, shown: bool) -> None:
    found = Described(replace(ABOUT, tags={SET: value, "x/y": "z"}), False)
    labels = labels_of("main", KEY, found)
    assert (labels.get(SET) == value) is shown
    assert "x/y" not in labels


@pytest.mark.parametrize(
    ("found", "degraded", "reason"),
    [
        (Described(ABOUT, False), True, "DamageFound"),
        (Unreadable("BankKeyMissing", "no key"), False, "BankKeyMissing"),
    ],
)
def test_what_can_not_be_restored_is_stalled(
    found: Described | Unreadable, degraded: bool, reason: str
) -> None:
    """kstatus: Failed, not in progress for ever."""
    first = status_of(found, degraded, None, 1, NOW)
    found_conditions = {
        each["type"]: (each["status"], each["reason"]) for each in first["conditions"]
    }
    assert found_conditions == {"Ready": ("False", reason), "Stalled": ("True", reason)}
    later = status_of(found, degraded, first["conditions"], 1, datetime(2027, 1, 1, tzinfo=UTC))
    assert [each["lastTransitionTime"] for each in later["conditions"]] == [
        "2026-11-22T20:00:00Z"
    ] * 2


def test_the_spec_becomes_a_choice() -> None:
    spec = Catalog.read(
        {
            "maxEntries": 5,
            "selector": {"sites": ["b"], "volumeIDs": [VOLUME.upper()], "maxAge": "24h"},
        },
        "spec.catalog",
    )
    since = datetime(2026, 11, 21, 20, tzinfo=UTC)
    assert spec.to_choice(NOW) == Choice(5, frozenset("b"), frozenset({VolumeId(VOLUME)}), since)
    assert Catalog().to_choice(NOW) == Choice(1000)
