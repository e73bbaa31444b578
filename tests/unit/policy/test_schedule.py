"""When a policy runs: daylight saving against a slow and simple reading of the same rules."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.policy.schedule import MOST_MISSED, due, jitter_of, read_timetable
from tests.unit.policy.zones import SlowCron, jumps, zones_with_daylight_saving

NIGHTLY = "CINDERBANK_NIGHTLY" in os.environ
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def between(cron: str, zone: str, start: str, end: str) -> list[str]:
    """Times in (start, end], as the clock of the zone shows them."""
    table = read_timetable(cron, zone)
    found = takewhile(lambda time: time <= at(end), table.times_after(at(start)))
    return [time.astimezone(table.zone).isoformat()[5:] for time in found]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 1 * * *", ["03-29T01:30:00+01:00"]),
        ("30 2 * * *", ["03-29T03:00:00+02:00"]),
        ("*/20 2 * * *", ["03-29T03:00:00+02:00"]),
        ("0,30 2,3 * * *", ["03-29T03:00:00+02:00", "03-29T03:30:00+02:00"]),
        ("0 */2 * * *", [f"03-29T0{h}:00:00+0{o}:00" for h, o in ((3, 2), (4, 2))]),
        ("30 * * * *", [f"03-29T0{h}:30:00+0{o}:00" for h, o in ((1, 1), (3, 2), (4, 2))]),
    ],
)
def test_when_the_clock_is_put_on(cron: str, expected: list[str]) -> None:
    """Paris, 29 March 2026: 01:59:59 is followed by 03:00:00."""
    found = between(cron, "Europe/Paris", "2026-03-29T01:00:00+01:00", "2026-03-29T04:45:00+02:00")
    assert found == expected


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["10-25T02:30:00+02:00"]),
        ("0 */2 * * *", ["10-25T02:00:00+02:00"]),
        ("30 2,3 * * *", ["10-25T02:30:00+02:00", "10-25T03:30:00+01:00"]),
        ("30 * * * *", [f"10-25T0{h}:30:00+0{o}:00" for h, o in ((1, 2), (2, 2), (2, 1), (3, 1))]),
    ],
)
def test_when_the_clock_is_put_back(cron: str, expected: list[str]) -> None:
    """Paris, 25 October 2026: 02:59:59 summer time is followed by 02:00:00."""
    found = between(cron, "Europe/Paris", "2026-10-25T01:00:00+02:00", "2026-10-25T03:45:00+01:00")
    assert found == expected


@pytest.mark.parametrize(
    ("zone", "start", "expected"),
    [
        ("Australia/Lord_Howe", "2026-10-03T00:00:00Z", "10-04T02:30:00+11:00"),  # half an hour
        ("Africa/Cairo", "2026-04-23T12:00:00Z", "04-24T02:15:00+03:00"),
        ("Asia/Kolkata", "2026-04-23T12:00:00Z", "04-24T02:15:00+05:30"),
    ],
)
def test_odd_zones(zone: str, start: str, expected: str) -> None:
    table = read_timetable("15 2 * * *", zone)
    assert table.next_after(at(start)).astimezone(table.zone).isoformat()[5:] == expected


def test_midnight_that_does_not_exist() -> None:
    """Cairo puts its clock on at midnight."""
    found = between("@daily", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-25T12:00:00Z")
    assert found == ["04-24T01:00:00+03:00", "04-25T00:00:00+03:00"]


minutes = st.frozensets(st.integers(0, 59), min_size=1, max_size=4)
crons = st.builds(
    SlowCron,
    minutes,
    st.one_of(st.none(), st.frozensets(st.integers(0, 23), min_size=1, max_size=6)),
    st.one_of(st.none(), st.frozensets(st.integers(0, 6), min_size=1)),
)


@st.composite
def around_a_jump(draw: st.DrawFn) -> tuple[str, datetime]:
    zone = draw(st.sampled_from(zones_with_daylight_saving()))
    return zone, draw(st.sampled_from(jumps(zone)))


@settings(max_examples=4000 if NIGHTLY else 60, deadline=None)
@given(crons, around_a_jump())
def test_around_every_jump_of_every_zone(cron: SlowCron, where: tuple[str, datetime]) -> None:
    zone, jump = where
    start, end = jump - DAY, jump + DAY
    table = read_timetable(str(cron), zone)
    found = list(takewhile(lambda time: time <= end, table.times_after(start)))
    assert found == cron.times(zone, start, end)
    # asked from anywhere in between, the answers are the same ones
    for time, following in pairwise(found):
        assert table.next_after(time) == following
        assert table.next_after(following - timedelta(seconds=1)) == following
        assert table.latest(start, following) == following
        assert table.latest(start, following - timedelta(seconds=1)) == time


@pytest.mark.nightly
@pytest.mark.parametrize("zone", zones_with_daylight_saving())
def test_a_year_in_every_zone(zone: str) -> None:
    for cron in (
        SlowCron(frozenset({30}), frozenset({0, 1, 2, 3, 23})),
        SlowCron(frozenset({0, 45}), None),
        SlowCron(frozenset({0}), frozenset(range(0, 24, 2)), frozenset({0, 6})),
    ):
        start = datetime(2026, 1, 1, tzinfo=UTC)
        end = start + 366 * DAY
        table = read_timetable(str(cron), zone)
        found = list(takewhile(end.__ge__, table.times_after(start)))
        assert found == cron.times(zone, start, end)


@pytest.mark.parametrize(
    "cron",
    [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "0 0 30 2 *", "0 0 31 4,6 *", "x",
        "@reboot", "* * * * 8", "*/0 * * * *", "5-1 * * * *", "1," * 70 + "1 * * * *", "0 0 * * ²L",
        "0 0 L* * *", "0 0 * * #", "0 0 #1 * *", "0 0 * JAM *", "\n* * * * *\x00",
    ],
)  # fmt: skip
def test_a_wrong_schedule_says_so(cron: str) -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.schedule.*such as") as caught:
        read_timetable(cron, "Etc/UTC")
    assert caught.value.reason == "InvalidSchedule"
    assert len(caught.value.message) < 500


@given(st.text("0123456789*/,-#LW ADEFJMNORSTU@", max_size=40))
def test_any_text_is_a_timetable_or_a_wrong_schedule(cron: str) -> None:
    try:
        table = read_timetable(cron, "America/New_York")
    except InvalidSpec as error:
        assert error.reason == "InvalidSchedule"
        return
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = list(islice(table.times_after(start), 3))
    assert times == sorted(set(times))
    assert times[0] > start


@pytest.mark.parametrize(
    "zone", ["", "Mars/One", "../../etc/passwd", "/etc/localtime", "localtime", "Europe", "A" * 99]
)
def test_an_unknown_zone_says_so(zone: str) -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.timeZone.*Europe/Paris") as caught:
        read_timetable("@daily", zone)
    assert caught.value.reason == "UnknownTimeZone"


def test_jitter_is_stable_and_spread() -> None:
    most = timedelta(minutes=10)
    found = [jitter_of(f"uid-{number}", most) for number in range(1000)]
    assert found == [jitter_of(f"uid-{number}", most) for number in range(1000)]
    assert timedelta() <= min(found) < timedelta(seconds=20)
    assert most - timedelta(seconds=20) < max(found) < most
    assert jitter_of("uid", timedelta()) == timedelta()


TABLE = read_timetable("0 3 * * *", "Etc/UTC")
SINCE = at("2026-11-01T12:00:00Z")


def test_nothing_is_due_before_its_time() -> None:
    found = due(TABLE, SINCE, at("2026-11-02T02:59:59Z"))
    assert (found.at, found.missed, found.judged_until) == (None, 0, SINCE)
    assert found.next_at == at("2026-11-02T03:00:00Z")


def test_jitter_puts_off() -> None:
    jitter = timedelta(minutes=5)
    assert due(TABLE, SINCE, at("2026-11-02T03:04:59Z"), jitter=jitter).at is None
    found = due(TABLE, SINCE, at("2026-11-02T03:05:00Z"), jitter=jitter)
    assert found.at == at("2026-11-02T03:00:00Z")
    assert found.next_at == at("2026-11-03T03:00:00Z")


def test_after_an_outage_the_last_one_runs_and_the_others_are_told() -> None:
    found = due(TABLE, SINCE, at("2026-11-05T10:00:00Z"))
    assert (found.at, found.missed) == (at("2026-11-05T03:00:00Z"), 3)
    assert due(TABLE, found.judged_until, at("2026-11-05T10:00:01Z")).at is None


def test_what_is_too_late_is_missed() -> None:
    found = due(TABLE, SINCE, at("2026-11-05T05:00:01Z"), deadline=2 * HOUR)
    assert (found.at, found.missed) == (None, 4)
    assert due(TABLE, SINCE, at("2026-11-05T05:00:00Z"), deadline=2 * HOUR).missed == 3


def test_a_suspension_is_no_miss() -> None:
    found = due(TABLE, SINCE, at("2026-11-05T10:00:00Z"), suspended=True)
    assert (found.at, found.missed) == (None, 0)
    assert found.judged_until == at("2026-11-05T03:00:00Z")


def test_a_long_outage_of_a_busy_schedule_is_bounded() -> None:
    table = read_timetable("* * * * *", "Etc/UTC")
    found = due(table, SINCE, SINCE + 300 * DAY)
    assert (found.at, found.missed) == (SINCE + 300 * DAY, MOST_MISSED)


def test_a_clock_that_was_put_back_runs_nothing_twice() -> None:
    first = due(TABLE, SINCE, at("2026-11-02T03:00:00Z"))
    again = due(TABLE, first.judged_until, at("2026-11-02T02:30:00Z"))
    assert (again.at, again.judged_until) == (None, first.judged_until)


def test_rare_schedules() -> None:
    table = read_timetable("0 0 29 2 *", "Etc/UTC")
    assert table.next_after(SINCE) == at("2028-02-29T00:00:00Z")
    assert table.latest(at("2020-01-01T00:00:00Z"), SINCE) == at("2024-02-29T00:00:00Z")
    assert table.latest(at("2025-01-01T00:00:00Z"), SINCE) is None
