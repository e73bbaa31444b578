"""When a policy runs: a cron expression in a time zone, as instants.

`cronsim` says which wall clock times match; this module says which instants these are:

| the hour field | a time that the clock skips | a time that the clock shows twice |
|---|---|---|
| names hours (`3`, `1,13`, `*/2`, `2-4`) | runs once, when the gap ends | runs once, the first time |
| `*`: every hour | is no time that passes: no run | runs both times, as the hour passes twice |

So a nightly backup is neither lost nor made twice, and one of every quarter of an hour keeps its
distance.

Why cronsim (2.8): no dependency, typed, maintained for Healthchecks and used by Home Assistant. It
would know daylight saving, too, but only for fields without a star (`*/30 2 * * *` is lost in the gap),
so it is only ever given wall clock times without a zone. croniter was declared abandoned in 2024 and
has had new keepers (pallets-eco) since 2025; its answers in and around a gap have changed with releases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from cinderbank.domain.errors import InvalidSpec

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
LONGEST_CRON = 128
MOST_MISSED = 1000
"""So many are counted at once; an every-minute schedule that was away for a month has 43,200."""

_FIELDS = re.compile(r"[0-9A-Za-z*,/#-]+( +[0-9A-Za-z*,/#-]+){4}")
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}")
_WINDOWS = tuple(timedelta(hours=hours) for hours in (1, 25, 24 * 32, 24 * 367, 24 * 366 * 9))
_LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=366 * 60)
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Timetable:
    """Made by `read_timetable`. All times are aware UTC."""

    cron: str
    zone: ZoneInfo

    def next_after(self, after: datetime) -> datetime:
        """The first time later than `after`."""
        return next(self.times_after(after))

    def times_after(self, after: datetime) -> Iterator[datetime]:
        """All of them, without end, each once, in order."""
        after = min(max(after, _EARLIEST), _LATEST).astimezone(UTC)
        if self.cron.split()[1] == "*":
            return self._passing(after)
        return self._named(after)

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last time in (after, until]; None when there is none. Bounded work."""
        for window in _WINDOWS:
            start = max(after, until - window)
            found = None
            for at in self.times_after(start):
                if at > until:
                    break
                found = at
            if found is not None or start <= after:
                return found
        return None

    def _named(self, after: datetime) -> Iterator[datetime]:
        last = after
        for wall in CronSim(self.cron, self._wall(after)):
            at = self._instant(wall)
            if at > last:  # two skipped times end in one, and a second 2:30 is after the first
                last = at
                yield at

    def _passing(self, after: datetime) -> Iterator[datetime]:
        """Every instant whose wall clock time matches, one UTC offset after the other."""
        offset = self._offset(after)
        while True:
            for wall in CronSim(self.cron, (after + offset).replace(tzinfo=None)):
                at = (wall - offset).replace(tzinfo=UTC)
                if (found := self._offset(at)) != offset:
                    # the clock is put on or back in between: go on there, that second included
                    after, offset = self._jump(after, at) - timedelta(seconds=1), found
                    break
                yield at
                after = at

    def _instant(self, wall: datetime) -> datetime:
        """The first time that the clock shows `wall`, or the end of the gap that it is in."""
        at = wall.replace(tzinfo=self.zone, fold=0).astimezone(UTC)
        if self._wall(at) == wall:
            return at
        earlier = wall.replace(tzinfo=self.zone, fold=1).astimezone(UTC)
        return self._jump(min(at, earlier), max(at, earlier))

    def _jump(self, before: datetime, after: datetime) -> datetime:
        """The first second in (before, after] with the offset that `after` has."""
        low, high = int(before.timestamp()), int(after.timestamp())
        offset = self._offset(after)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(datetime.fromtimestamp(middle, UTC)) == offset:
                high = middle
            else:
                low = middle
        return datetime.fromtimestamp(high, UTC)

    def _wall(self, at: datetime) -> datetime:
        return at.astimezone(self.zone).replace(tzinfo=None, fold=0)

    def _offset(self, at: datetime) -> timedelta:
        return at.astimezone(self.zone).utcoffset() or timedelta()


@lru_cache(maxsize=1024)
def read_timetable(cron: str, zone_name: str, field: str = "spec.schedule") -> Timetable:
    """Raises InvalidSpec (InvalidSchedule, UnknownTimeZone), which names the field, its value and the
    way out; also for an expression that never comes true."""
    zone = _read_zone(zone_name)
    plain = ALIASES.get(cron.strip().lower(), " ".join(cron.split()))
    if len(cron) > LONGEST_CRON or not _FIELDS.fullmatch(plain):
        raise _wrong(field, cron, "it has not five fields")
    try:
        found = next(CronSim(plain, datetime(2024, 1, 1)), None)  # noqa: DTZ001 - of a wall clock
    except (CronSimError, ValueError, TypeError) as error:
        raise _wrong(field, cron, str(error)) from None
    if found is None:
        raise _wrong(field, cron, "no such day ever comes")
    return Timetable(plain, zone)


def _read_zone(name: str) -> ZoneInfo:
    try:
        if _ZONE.fullmatch(name) and name not in ("localtime", "posixrules"):  # the machine's own
            return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        pass
    raise InvalidSpec(
        f"spec.timeZone is {name[:80]!r}, which is no time zone of the IANA database; write it like"
        " Europe/Paris or Etc/UTC",
        reason="UnknownTimeZone",
    )


def _wrong(field: str, cron: str, why: str) -> InvalidSpec:
    return InvalidSpec(
        f"{field} is {cron[:LONGEST_CRON]!r}: {why}; write minute, hour, day of month, month and"
        " day of week, such as '30 2 * * *', or one of @hourly, @daily, @weekly, @monthly",
        reason="InvalidSchedule",
    )


def jitter_of(uid: str, most: timedelta) -> timedelta:
    """Whole seconds in [0, most): the same for the same uid, spread over all of it for many."""
    seconds = int(most.total_seconds())
    if seconds <= 1:
        return timedelta()
    number = int.from_bytes(blake2b(uid.encode(), digest_size=8).digest())
    return timedelta(seconds=number % seconds)


@dataclass(frozen=True, slots=True)
class Due:
    """What has become of the schedule since it was last judged."""

    at: datetime | None
    """The time to run for now."""
    missed: int
    """Times that passed without a run, and never get one; MOST_MISSED stands for more."""
    judged_until: datetime
    """Up to here every time has run, was missed, or fell into a suspension; never goes back."""
    next_at: datetime
    """The next time after that, without jitter."""


def due(
    timetable: Timetable,
    judged_until: datetime,
    now: datetime,
    *,
    jitter: timedelta = timedelta(),
    deadline: timedelta | None = None,
    suspended: bool = False,
) -> Due:
    """Of several times that have passed only the last one runs: one backup of now is as good as five.
    The others are missed, and that one, too, when `deadline` has passed since. What passes while
    suspended is neither run nor missed."""
    last = timetable.latest(judged_until, now - jitter)
    if last is None:
        return Due(None, 0, judged_until, timetable.next_after(judged_until))
    following = timetable.next_after(last)
    if suspended:
        return Due(None, 0, last, following)
    passed = takewhile(lambda at: at < last, timetable.times_after(judged_until))
    missed = sum(1 for _ in islice(passed, MOST_MISSED))
    if deadline is not None and now - jitter - last > deadline:
        return Due(None, missed + 1, last, following)
    return Due(last, missed, last, following)
