"""Claims as a source: what leads to a volume, what does not, and what a bank may say of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.domain.claim import (
    ACCESS_MODES,
    CSI_DRIVER,
    TAG,
    ClaimedVolume,
    ClaimFacts,
    PersistentVolumeFacts,
    VolumeMode,
    from_tags,
    source_problem,
    to_tags,
)
from cinderbank.domain.errors import Retryable

VOLUME_ID = "0f6cb9ac-5f5e-4b63-8c0e-6cbd1d3c3a01"
CLAIM = ClaimFacts("shop", "db", "uid-of-db", "Bound", "pvc-1", "fast", ("ReadWriteOnce",))
VOLUME = PersistentVolumeFacts(
    "pvc-1", "uid-of-pv", "Bound", CSI_DRIVER, VOLUME_ID, "shop", "db", "uid-of-db", "ext4"
)


def test_a_bound_claim_of_the_driver_has_nothing_against_it() -> None:
    assert source_problem("db", CLAIM, VOLUME) is None


@pytest.mark.parametrize(
    ("claim", "volume", "reason", "waits"),
    [
        (None, None, "ClaimNotFound", True),
        ({"phase": "Pending", "volume_name": ""}, None, "ClaimNotBound", True),
        ({"phase": "Pending"}, {}, "ClaimNotBound", True),
        ({"deleting": True}, {}, "ClaimDeleting", True),
        ({}, None, "PersistentVolumeGone", False),
        ({"phase": "Lost"}, None, "PersistentVolumeGone", False),
        ({}, {"driver": "rbd.csi.ceph.com"}, "ClaimNotCinder", False),
        ({}, {"driver": "", "volume_handle": ""}, "ClaimNotCinder", False),
        ({}, {"volume_handle": "../volumes"}, "ClaimNotCinder", False),
    ],
)
def test_what_leads_to_no_volume(
    claim: dict[str, Any] | None, volume: dict[str, Any] | None, reason: str, waits: bool
) -> None:
    problem = source_problem(
        "db",
        None if claim is None else replace(CLAIM, **claim),
        None if volume is None else replace(VOLUME, **volume),
    )
    assert problem is not None
    assert (problem.reason, isinstance(problem, Retryable)) == (reason, waits)
    assert '"db"' in problem.message


@pytest.mark.parametrize(
    "of_somebody_else",
    [
        {"claim_uid": "another"},
        {"claim_namespace": "bank"},
        {"claim_name": "vault"},
        {"claim_uid": ""},
    ],
)
def test_a_volume_of_another_claim_is_not_believed_and_nothing_of_it_is_told(
    of_somebody_else: dict[str, str],
) -> None:
    """Whoever may make a claim may write any volumeName into it, and say that it is bound."""
    strange = replace(VOLUME, driver="secret.example.org", **of_somebody_else)
    problem = source_problem("db", CLAIM, strange)
    assert problem is not None and problem.reason == "ClaimNotBound"
    assert "secret.example.org" not in problem.message and VOLUME_ID not in problem.message


def test_the_other_driver_is_named() -> None:
    problem = source_problem("db", CLAIM, replace(VOLUME, driver="rbd.csi.ceph.com"))
    assert problem is not None and "rbd.csi.ceph.com" in problem.message


@given(
    st.builds(
        ClaimedVolume,
        name=st.sampled_from(["db", "0", "a.b-c", "x" * 253]),
        persistent_volume=st.just(""),
        storage_class=st.sampled_from(["", "fast", "a.b-c"]),
        access_modes=st.sets(st.sampled_from(ACCESS_MODES)).map(
            lambda found: tuple(mode for mode in ACCESS_MODES if mode in found)
        ),
        volume_mode=st.sampled_from(VolumeMode),
        fs_type=st.sampled_from(["", "ext4", "xfs"]),
    )
)
def test_what_goes_into_the_bank_comes_out_of_it(claim: ClaimedVolume) -> None:
    assert from_tags(to_tags(claim, "shop")) == claim


FIELDS = ("namespace", "name", "storage-class", "access-modes", "volume-mode", "fs-type")


@given(st.dictionaries(st.sampled_from([TAG + field for field in FIELDS]), st.text()))
def test_what_a_hostile_bank_says_is_a_plain_claim_or_none(tags: dict[str, str]) -> None:
    found = from_tags(tags)
    if found is not None:
        assert set(found.access_modes) <= set(ACCESS_MODES)
        assert from_tags(to_tags(found, "shop")) == found
