"""What a look at a bank means for its BackupBank."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cinderbank.domain.errors import (
    AuthRefused,
    CinderbankError,
    Forbidden,
    InvalidSpec,
    Unavailable,
)
from cinderbank.domain.facts import StoreCapabilities
from cinderbank.engine.bank_validation import SITE_SHARED, BankFound, judge_bank, refusal

FOUND = BankFound(bank_id="one", format_version=1)


def told(conditions: object) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.reason) for c in conditions}  # type: ignore[attr-defined]


def test_a_good_bank_is_ready() -> None:
    for remembered in (None, "one"):
        verdict = judge_bank(FOUND, remembered)
        assert verdict.ready
        assert verdict.found == FOUND
        assert told(verdict.conditions) == {"Ready": ("True", "Validated")}


def test_another_bank_than_before_stops() -> None:
    verdict = judge_bank(FOUND, "two")
    assert not verdict.ready
    assert verdict.found is None
    assert told(verdict.conditions)["Stalled"] == ("True", "BankIdMismatch")


def test_a_store_that_lies_stops_the_bank_and_is_told_all_the_same() -> None:
    lying = StoreCapabilities(True, False, True, True, True)
    looked = replace(FOUND, capabilities=lying, problems=("not listed",))
    verdict = judge_bank(looked, "one")
    assert not verdict.ready
    assert verdict.found == looked
    assert told(verdict.conditions) == {
        "Ready": ("False", "BankNotConsistent"),
        "Stalled": ("True", "BankNotConsistent"),
    }
    assert judge_bank(
        replace(FOUND, capabilities=replace(lying, list_after_write=True)), "one"
    ).ready


OTHER = ("7b1c0f7e-0000-4000-8000-000000000001",)


@pytest.mark.parametrize(
    ("beside", "lately", "told", "shared"),
    [
        ((), (), False, False),
        # Somebody was there before us, and writes no more: a cluster that was built anew.
        ((), OTHER, False, False),
        (OTHER, OTHER, False, True),
        # Told once, it stays until the other one has been silent for a day.
        ((), OTHER, True, True),
        ((), (), True, False),
    ],
)
def test_two_sites_of_one_name_are_told_and_nothing_stops(
    beside: tuple[str, ...], lately: tuple[str, ...], told: bool, shared: bool
) -> None:
    looked = replace(FOUND, writers_beside_us=beside, writers_lately=lately)
    verdict = judge_bank(looked, "one", told)
    assert verdict.ready
    conditions = {c.type: c for c in verdict.conditions}
    assert (SITE_SHARED in conditions) == shared
    if shared:
        assert conditions[SITE_SHARED].reason == "SiteNameShared"
        assert OTHER[0] in conditions[SITE_SHARED].message
        assert OTHER[0] in conditions["Ready"].message


@pytest.mark.parametrize(
    ("error", "second"),
    [
        (Unavailable("x", reason="BankUnavailable"), "Reconciling"),
        (AuthRefused("x", reason="BankCredentialsRefused"), "Reconciling"),
        (Forbidden("x", reason="BankAccessDenied"), "Stalled"),
        (InvalidSpec("x", reason="SecretNotFound"), "Stalled"),
    ],
)
def test_an_error_says_who_must_act(error: CinderbankError, second: str) -> None:
    conditions = told(judge_bank(error, "one").conditions)
    assert conditions["Ready"] == ("False", error.reason)
    assert set(conditions) == {"Ready", second}


TROUBLE = ("BucketNotFound", "there is no bucket x")


@pytest.mark.parametrize(
    ("bank_id", "not_ready", "stalled", "deleting", "reason"),
    [
        ("one", None, False, False, None),
        (None, None, False, False, "BankNotReady"),
        ("one", None, False, True, "BankNotReady"),
        (None, TROUBLE, False, False, "BucketNotFound"),
        ("one", TROUBLE, True, False, "BucketNotFound"),
        # It was good once: tried, it may be back.
        ("one", TROUBLE, False, False, None),
    ],
)
def test_who_may_use_a_bank(
    bank_id: str | None,
    not_ready: tuple[str, str] | None,
    stalled: bool,
    deleting: bool,
    reason: str | None,
) -> None:
    refused = refusal(
        "ns/main", bank_id=bank_id, not_ready=not_ready, stalled=stalled, deleting=deleting
    )
    assert (refused.reason if refused else None) == reason
    if refused is not None:
        assert "ns/main" in refused.message
        if not_ready is not None:
            assert not_ready[1] in refused.message
