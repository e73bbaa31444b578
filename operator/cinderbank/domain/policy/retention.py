"""Which backups of a policy are kept, which would go, and why: a pure function of what there is.

Volume by volume, newest first, by the moment the data is of. Only Completed (or Verified) ones count
as copies; nothing here looks at the wall clock, so nothing goes because time passes without a new copy.

| a good one is kept as | because |
|---|---|
| `Held` | `spec.hold` of it is true |
| `MinGood` | it is among the newest minGood |
| `Last` `Hourly` `Daily` `Weekly` `Monthly` `Yearly` | it is among the newest keepLast, or the newest of its hour (day, ...) and that among the newest so many hours that have one |
| `NewestFailed` | the last finished backup of its volume failed, or was lost: what it should have replaced stays |
| `NoRule` | the policy has no keep rule: nothing goes |
| `DeletesLimited` | it would go, and goes with a later run (maxDeletesPerRun) |

A failed one has nothing in the bank; the newest failedLast stay to be read, and the newest of all as
long as no good one is newer (`NewestFailed`). One that is at work is left alone (`Working`), and so is
one whose copies are not all made yet (`Copying`), and one whose data is gone from the bank or damaged
(`Lost`): none of them counts as a good one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from cinderbank.domain.facts import VolumeId
from cinderbank.domain.policy.children import Child, ChildState

LEAST_DELETES_PER_RUN = 10


class Why(StrEnum):
    """Why a backup is kept, or goes."""

    HELD = "Held"
    MIN_GOOD = "MinGood"
    LAST = "Last"
    HOURLY = "Hourly"
    DAILY = "Daily"
    WEEKLY = "Weekly"
    MONTHLY = "Monthly"
    YEARLY = "Yearly"
    NEWEST_FAILED = "NewestFailed"
    NO_RULE = "NoRule"
    FAILED_LAST = "FailedLast"
    WORKING = "Working"
    COPYING = "Copying"
    LOST = "Lost"
    DELETES_LIMITED = "DeletesLimited"
    NO_RULE_KEEPS_IT = "NoRuleKeepsIt"
    OLD_FAILURE = "OldFailure"


PERIODS: Mapping[Why, str] = {
    Why.HOURLY: "%Y%m%d%H%z",
    Why.DAILY: "%Y%m%d",
    Why.WEEKLY: "%G%V",
    Why.MONTHLY: "%Y%m",
    Why.YEARLY: "%Y",
}
"""In the policy's time zone. The offset tells the two hours apart that the clock shows twice."""

OTHERS = {
    ChildState.WORKING: Why.WORKING,
    ChildState.COPYING: Why.COPYING,
    ChildState.LOST: Why.LOST,
}


@dataclass(frozen=True, slots=True)
class Retention:
    """None of a keep rule: it was not set. All that are set at 0, or none set: nothing goes."""

    keep: Mapping[Why, int]
    """For LAST and the periods."""
    min_good: int = 1
    failed_last: int = 3
    max_deletes_per_run: int | None = None
    """None: twice the volumes, at least LEAST_DELETES_PER_RUN."""

    @property
    def has_rule(self) -> bool:
        return any(number > 0 for number in self.keep.values())

    @property
    def would_keep_nothing(self) -> bool:
        """Rules were given, and all of them say 0."""
        return bool(self.keep) and not self.has_rule


@dataclass(frozen=True, slots=True)
class Verdict:
    child: Child
    kept: bool
    why: tuple[Why, ...]


def judge(
    retention: Retention, children: Iterable[Child], zone: ZoneInfo, deleted_in_run: int = 0
) -> tuple[Verdict, ...]:
    """What becomes of each; those that go first, oldest first, then what stays, newest first.

    Those that are being deleted count as gone and are not told. `deleted_in_run`: what this run has
    deleted already.
    """
    per_volume: dict[VolumeId, list[Child]] = defaultdict(list)
    for child in children:
        per_volume[child.volume_id].append(child)
    verdicts = [
        verdict for found in per_volume.values() for verdict in _of_volume(retention, found, zone)
    ]
    most = limit_of(retention, len(per_volume)).max_deletes_per_run or 0
    going = sorted((v for v in verdicts if not v.kept), key=_failed_first)
    room = max(0, most - deleted_in_run)
    later = [Verdict(v.child, True, (Why.DELETES_LIMITED,)) for v in going[room:]]
    staying = sorted([v for v in verdicts if v.kept] + later, key=_age, reverse=True)
    return (*going[:room], *staying)


def limit_of(retention: Retention, volumes: int) -> Retention:
    """With max_deletes_per_run set: for so many volumes when it was left out."""
    if retention.max_deletes_per_run is not None:
        return retention
    return replace(retention, max_deletes_per_run=max(LEAST_DELETES_PER_RUN, 2 * volumes))


def _failed_first(verdict: Verdict) -> tuple[bool, datetime, str]:
    """Nothing of a failed one is in the bank, so it takes no room from a copy."""
    return verdict.child.state is not ChildState.FAILED, *_age(verdict)


def _age(verdict: Verdict) -> tuple[datetime, str]:
    return verdict.child.point_at, verdict.child.name


def _of_volume(retention: Retention, children: list[Child], zone: ZoneInfo) -> list[Verdict]:
    newest_first = sorted(children, key=lambda c: (c.point_at, c.name), reverse=True)
    good = [c for c in newest_first if c.state is ChildState.GOOD]
    failed = [c for c in newest_first if c.state is ChildState.FAILED]
    bad = [c for c in newest_first if c.state in (ChildState.FAILED, ChildState.LOST)]
    verdicts = [Verdict(c, True, (OTHERS[c.state],)) for c in newest_first if c.state in OTHERS]
    broken = bool(bad) and (not good or bad[0].point_at > good[0].point_at)
    reasons = _keep_reasons(retention, good, zone)
    for child in good:
        why = reasons[child.name]
        if not why and broken:
            why = [Why.NEWEST_FAILED]
        verdicts.append(Verdict(child, bool(why), tuple(why) or (Why.NO_RULE_KEEPS_IT,)))
    for number, child in enumerate(failed):
        reason = Why.FAILED_LAST if number < retention.failed_last else Why.OLD_FAILURE
        if child.hold:
            reason = Why.HELD
        elif reason is Why.OLD_FAILURE and number == 0 and broken:
            reason = Why.NEWEST_FAILED  # without it nobody would know that what it left stays
        verdicts.append(Verdict(child, reason is not Why.OLD_FAILURE, (reason,)))
    return verdicts


def _keep_reasons(retention: Retention, good: list[Child], zone: ZoneInfo) -> dict[str, list[Why]]:
    """`good` is newest first."""
    reasons: dict[str, list[Why]] = {child.name: [] for child in good}
    for number, child in enumerate(good):
        if child.hold:
            reasons[child.name].append(Why.HELD)
        if not retention.has_rule:
            reasons[child.name].append(Why.NO_RULE)
        elif number < retention.min_good:
            reasons[child.name].append(Why.MIN_GOOD)
        if number < retention.keep.get(Why.LAST, 0):
            reasons[child.name].append(Why.LAST)
    for period, form in PERIODS.items():
        seen: set[str] = set()
        for child in good:
            if len(seen) >= retention.keep.get(period, 0):
                break
            bucket = child.point_at.astimezone(zone).strftime(form)
            if bucket not in seen:
                seen.add(bucket)
                reasons[child.name].append(period)
    return reasons
