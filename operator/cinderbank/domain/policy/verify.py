"""The verify schedule of a policy: when BankChecks are made, and which old ones go. Pure.

A run makes one BankCheck for each bank of the policy. The name follows from policy, bank and time, so
that nothing is made twice; the seed counts the runs, and consecutive seeds read consecutive parts of a
bank (bank.check_backup): a sample of 10 % has read all of it after ten runs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b

from cinderbank.domain.policy.children import LONGEST_NAME, run_label
from cinderbank.domain.policy.runs import CLOCK_SLACK
from cinderbank.domain.policy.schedule import Timetable, due
from cinderbank.domain.record import Condition

MOST_SEED = (1 << 32) - 1
BATCH = 20


@dataclass(frozen=True, slots=True)
class VerifyRules:
    timetable: Timetable
    jitter: timedelta = timedelta()
    successful_limit: int = 3
    failed_limit: int = 3

    @property
    def fingerprint(self) -> str:
        return f"{self.timetable.cron} {self.timetable.zone.key}"


@dataclass(frozen=True, slots=True)
class VerifyMemory:
    """What status keeps; when it is lost, the checks that are there say where it was."""

    fingerprint: str = ""
    judged_until: datetime | None = None
    runs: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class MadeCheck:
    """One BankCheck that the policy has made."""

    name: str
    uid: str
    bank: str
    run_at: datetime
    seed: int
    phase: str = ""
    intact: str = ""
    """Status of its condition Intact."""
    reason: str = ""
    """Of the condition that tells how it ended."""

    @property
    def has_ended(self) -> bool:
        return self.phase in ("Completed", "Failed")

    @property
    def is_good(self) -> bool:
        return self.phase == "Completed" and self.intact == "True"


@dataclass(frozen=True, slots=True)
class VerifyPlan:
    memory: VerifyMemory
    run_at: datetime | None
    """Of the run that is to be made now."""
    make: tuple[str, ...]
    """Banks that get a check of it."""
    left_out: tuple[str, ...]
    """Banks whose last check is still at work."""
    seed: int
    next_at: datetime
    give_up: tuple[MadeCheck, ...]


def check_name(policy: str, bank: str, run_at: datetime) -> str:
    """A DNS label: the same for the same three, never for others."""
    digest = blake2b(f"{policy}/{bank}".encode(), digest_size=5).hexdigest()
    tail = f"-{digest}-{run_label(run_at)}"
    plain = re.sub("[^a-z0-9-]", "-", policy.lower())[: LONGEST_NAME - len(tail)].strip("-")
    return f"{plain or 'p'}{tail}"


def plan_checks(
    rules: VerifyRules,
    memory: VerifyMemory,
    checks: Sequence[MadeCheck],
    banks: Iterable[str],
    now: datetime,
    *,
    suspended: bool = False,
) -> VerifyPlan:
    """A schedule that is new begins now: it has missed nothing before. Carried out whole, and `memory` kept, the next plan begins nothing of this time again; when it was
    interrupted, the same names are made once more."""
    until = memory.judged_until
    runs = max([memory.runs, *(each.seed + 1 for each in checks)])
    if until is None:
        until = max((each.run_at for each in checks), default=now)
    elif memory.fingerprint != rules.fingerprint:
        until = max(until, now)
    until = min(until, now + CLOCK_SLACK)
    found = due(rules.timetable, until, now, jitter=rules.jitter, suspended=suspended)
    made = [each for each in checks if each.run_at == found.at]
    if made:  # the run was interrupted, or the status was lost
        seed = made[0].seed
    else:
        seed = runs % (MOST_SEED + 1)
    busy = {each.bank for each in checks if not each.has_ended and each.run_at != found.at}
    wanted = tuple(dict.fromkeys(banks)) if found.at is not None else ()
    return VerifyPlan(
        replace(
            memory,
            fingerprint=rules.fingerprint,
            judged_until=found.judged_until,
            runs=seed + 1 if found.at is not None else runs,
            missed=memory.missed + found.missed,
        ),
        found.at,
        tuple(each for each in wanted if each not in busy),
        tuple(each for each in wanted if each in busy),
        seed,
        found.next_at + rules.jitter,
        _give_up(rules, checks),
    )


def _give_up(rules: VerifyRules, checks: Sequence[MadeCheck]) -> tuple[MadeCheck, ...]:
    """Of each bank those beyond the limits; one that is at work stays, and so does the last one that has
    ended: it says how the bank is."""
    last = _last_ended(checks)
    seen: dict[tuple[str, bool], int] = {}
    going = []
    for each in sorted(checks, key=lambda check: (check.run_at, check.name), reverse=True):
        if not each.has_ended:
            continue
        place = seen[each.bank, each.is_good] = seen.get((each.bank, each.is_good), 0) + 1
        limit = rules.successful_limit if each.is_good else rules.failed_limit
        if place > limit and each != last[each.bank]:
            going.append(each)
    return tuple(going[:BATCH])


def _last_ended(checks: Iterable[MadeCheck]) -> dict[str, MadeCheck]:
    """By bank."""
    oldest_first = sorted(checks, key=lambda check: (check.run_at, check.name))
    return {each.bank: each for each in oldest_first if each.has_ended}


def checked(checks: Sequence[MadeCheck], banks: Collection[str]) -> Condition:
    """Condition Checked: by the last check of each bank that has ended."""
    last = {bank: each for bank, each in _last_ended(checks).items() if bank in banks}
    bad = [each for each in last.values() if each.intact == "False"]
    if bad:
        told = f"BankCheck {bad[0].name} found backups in bank {bad[0].bank} that are not whole"
        return Condition("Checked", "False", "DamageFound", told)
    failed = [each for each in last.values() if not each.is_good]
    if failed:
        first = failed[0]
        told = f"BankCheck {first.name} of bank {first.bank} could not judge all ({first.reason})"
        return Condition("Checked", "False", "CheckFailed", told)
    if not last:
        return Condition(
            "Checked", "Unknown", "NoCheckYet", "no check of the schedule has ended yet"
        )
    names = ", ".join(sorted(last)[:5])
    told = f"the last check of each bank ({names}) found all that it looked at whole"
    return Condition("Checked", "True", "AllWhole", told)
