"""Days and years of a policy: no run twice, none missed in silence, retention right at every step."""

from __future__ import annotations

import pytest

from cinderbank.domain.policy.retention import Why
from tests.unit.policy.year import Year
from tests.unit.policy.zones import zones_with_daylight_saving

ZONES = zones_with_daylight_saving()


@pytest.mark.parametrize("seed", range(60))
def test_days_around_a_jump_of_the_clock(seed: int) -> None:
    Year(seed, ZONES[seed % len(ZONES)], days=3).play()


def test_a_year_in_paris() -> None:
    year = Year(6, "Europe/Paris").play()
    assert len(year.runs) > 200
    assert year.missed
    assert year.deleted


def test_the_years_see_what_they_should() -> None:
    """That the checks above are not about nothing."""
    years = [Year(seed, ZONES[seed % len(ZONES)], days=0) for seed in range(200)]
    assert len({year.rules.concurrency for year in years}) == 3
    assert any(year.retention.keep.get(Why.LAST) for year in years)
    assert any(year.rules.jitter for year in years)


@pytest.mark.nightly
@pytest.mark.parametrize("zone", ZONES)
def test_years_in_every_zone(zone: str) -> None:
    years = [Year(seed, zone).play() for seed in range(25)]
    runs, missed = sum(len(year.runs) for year in years), sum(year.missed for year in years)
    deleted = sum(year.deleted for year in years)
    print(f"\n{zone}: {len(years)} years, {runs} runs, {missed} missed, {deleted} backups went")
