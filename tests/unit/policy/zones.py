"""Time zones whose clock is put on and back, and what a schedule means there, told the slow way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@lru_cache
def jumps(name: str) -> tuple[datetime, ...]:
    """The first minutes with another offset than before, in 2026 and 2027; UTC."""
    zone = ZoneInfo(name)
    found = []
    weeks = [YEAR + timedelta(weeks=week) for week in range(105)]
    for before, after in pairwise(weeks):
        low, high = before, after
        if low.astimezone(zone).utcoffset() == high.astimezone(zone).utcoffset():
            continue
        while high - low > MINUTE:
            middle = low + ((high - low) / 2 // MINUTE) * MINUTE
            same = middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset()
            low, high = (middle, high) if same else (low, middle)
        found.append(high)
    return tuple(found)


@lru_cache
def zones_with_daylight_saving() -> tuple[str, ...]:
    """One name of each set of rules, sorted."""
    first: dict[tuple[object, ...], str] = {}
    for name in sorted(available_timezones() - {"localtime", "posixrules"}):
        if found := jumps(name):
            offset = YEAR.astimezone(ZoneInfo(name)).utcoffset()
            first.setdefault((offset, *found), name)
    return tuple(first.values())


@dataclass(frozen=True)
class SlowCron:
    """Minutes, hours and days of the week (0 is Sunday); None is every one."""

    minutes: frozenset[int]
    hours: frozenset[int] | None = None
    weekdays: frozenset[int] | None = None

    def __str__(self) -> str:
        def text(values: frozenset[int] | None) -> str:
            return "*" if values is None else ",".join(map(str, sorted(values)))

        return f"{text(self.minutes)} {text(self.hours)} * * {text(self.weekdays)}"

    def matches(self, wall: datetime) -> bool:
        return (
            wall.minute in self.minutes
            and (self.hours is None or wall.hour in self.hours)
            and (self.weekdays is None or wall.isoweekday() % 7 in self.weekdays)
        )

    def times(self, zone_name: str, start: datetime, end: datetime) -> list[datetime]:
        """All times in (start, end], by looking at every minute. `start` is far from any jump."""
        zone = ZoneInfo(zone_name)
        instants = [start + MINUTE * number for number in range(int((end - start) / MINUTE) + 1)]
        walls = [at.astimezone(zone).replace(tzinfo=None, fold=0) for at in instants]
        if self.hours is None:
            return [at for at, wall in zip(instants, walls, strict=True) if self.matches(wall)][
                1 if self.matches(walls[0]) else 0 :
            ]
        first: dict[datetime, datetime] = {}
        for at, wall in zip(instants, walls, strict=True):
            first.setdefault(wall, at)
        found = set()
        wall = walls[0] + MINUTE
        last = walls[-1]
        while wall <= last:
            if self.matches(wall):
                if wall in first:
                    found.add(first[wall])
                else:  # the clock never shows it: when it shows the next one
                    later = wall
                    while later not in first:
                        later += MINUTE
                    found.add(first[later])
            wall += MINUTE
        return sorted(found)
