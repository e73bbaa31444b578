"""Runs of a policy: when one begins, which backups it still has to make, when it is done.

A run is written into status before its first child is made; a child's name follows from policy, volume
and run. So a restart at any moment makes what is missing, and never anything twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from cinderbank.domain.facts import VolumeId
from cinderbank.domain.policy.children import Child, ChildState, newest_run, trigger_digest
from cinderbank.domain.policy.group import GroupRun
from cinderbank.domain.policy.schedule import Timetable, due

CLOCK_SLACK = timedelta(hours=1)
"""Schedules are judged only up to now: what was judged further ahead is of a clock that was wrong."""

MOST_AT_WORK = 10
"""Backups of one volume at work at once, under Allow and Replace: a schedule that is faster than its
backups, or a cloud that ends nothing, would else make VolumeBackups for ever."""


class Concurrency(StrEnum):
    """What a run does about a volume whose backup of an earlier run is still at work."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


@dataclass(frozen=True, slots=True)
class RunRules:
    timetable: Timetable
    jitter: timedelta = timedelta()
    """Of this policy: jitter_of its uid."""
    starting_deadline: timedelta | None = None
    concurrency: Concurrency = Concurrency.FORBID
    suspend: bool = False
    trigger: str = ""

    @property
    def fingerprint(self) -> str:
        return f"{self.timetable.cron} {self.timetable.zone.key}"


@dataclass(frozen=True, slots=True)
class Run:
    at: datetime
    """The time of the schedule, without jitter; of a trigger the moment it was seen."""
    trigger: str = ""
    group: GroupRun | None = None
    """Of a policy over a Cinder group, from when its group snapshot is asked for."""


@dataclass(frozen=True, slots=True)
class RunMemory:
    """What status keeps; all of it may be lost, and is then found again from the children."""

    fingerprint: str = ""
    judged_until: datetime | None = None
    run: Run | None = None
    """The one under way."""
    last_run_at: datetime | None = None
    last_trigger: str = ""
    missed: int = 0
    last_missed_at: datetime | None = None
    deleted_in_run: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    memory: RunMemory
    began: bool
    """A run is new in `memory`: write it down before anything is made."""
    missed: int
    """So many were missed since the last look."""
    next_at: datetime
    """When the schedule's next run begins, jitter included."""
    ahead_until: datetime | None = None
    """The schedule was judged up to this time, far ahead of now; it is judged from now on again."""


def judge_runs(
    rules: RunRules,
    memory: RunMemory,
    children: Sequence[Child],
    created_at: datetime,
    now: datetime,
    *,
    selected: bool = True,
) -> Judged:
    """What the schedule and the trigger make of this moment. While a run is under way no other begins:
    the schedule's next one is judged when it is done. With nothing `selected` none begins at all: a
    time of the schedule is missed, and a trigger waits until there is something to back up."""
    memory = _found_again(rules, memory, children, created_at, now)
    until, ahead_until = memory.judged_until, None
    assert until is not None
    if until > now + CLOCK_SLACK:
        # times that come again make nothing twice: a child is named by its run
        until, ahead_until = now, until
        memory = replace(memory, judged_until=until)
    if memory.run is not None:
        following = rules.timetable.next_after(until)
        return Judged(memory, False, 0, following + rules.jitter, ahead_until)
    verdict = due(
        rules.timetable,
        until,
        now,
        jitter=rules.jitter,
        deadline=rules.starting_deadline,
        suspended=rules.suspend,
    )
    memory = replace(memory, judged_until=verdict.judged_until)
    next_at = verdict.next_at + rules.jitter
    missed = verdict.missed + (verdict.at is not None and not selected)
    if missed:
        memory = replace(memory, missed=memory.missed + missed, last_missed_at=verdict.judged_until)
    if not selected:
        return Judged(memory, False, missed, next_at, ahead_until)
    run = None if verdict.at is None else Run(verdict.at)
    if rules.trigger and rules.trigger != memory.last_trigger:
        # one backup of now serves the schedule, too; it keeps the schedule's time and name
        run = Run(now.replace(microsecond=0) if run is None else run.at, rules.trigger)
    if run is not None:
        memory = replace(memory, run=run, last_run_at=run.at, deleted_in_run=0)
    return Judged(memory, run is not None, missed, next_at, ahead_until)


def _found_again(
    rules: RunRules,
    memory: RunMemory,
    children: Sequence[Child],
    created_at: datetime,
    now: datetime,
) -> RunMemory:
    """With what a lost status, or an object that was made anew, can know from its children. Another
    schedule than before begins now: it has missed nothing of the time when it was not there."""
    until = memory.judged_until
    if until is None:
        until = newest_run(children) or created_at
        made = {child.trigger for child in children if child.trigger}
        if rules.trigger and trigger_digest(rules.trigger) in made:
            memory = replace(memory, last_trigger=rules.trigger)
    elif memory.fingerprint != rules.fingerprint:
        until = max(until, now)
    return replace(memory, judged_until=until, fingerprint=rules.fingerprint)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What the run under way still has to do; nothing when `create` is empty."""

    create: tuple[VolumeId, ...]
    cancel: tuple[Child, ...]
    """Replace: to be canceled, because a newer one takes their place."""
    left_out: tuple[VolumeId, ...]
    """Forbid: an earlier backup of theirs is at work."""
    crowded: tuple[VolumeId, ...] = ()
    """Allow, Replace: left out, as MOST_AT_WORK backups of theirs are at work."""


def plan_run(
    run: Run, concurrency: Concurrency, selected: Iterable[VolumeId], children: Iterable[Child]
) -> RunPlan:
    made: set[VolumeId] = set()
    at_work: dict[VolumeId, list[Child]] = {}
    for child in children:
        if child.run_at == run.at:
            made.add(child.volume_id)
        elif child.state is ChildState.WORKING:
            at_work.setdefault(child.volume_id, []).append(child)
    todo = [volume_id for volume_id in selected if volume_id not in made]
    if concurrency is Concurrency.FORBID:
        free = tuple(each for each in todo if each not in at_work)
        return RunPlan(free, (), tuple(each for each in todo if each in at_work))
    create = tuple(each for each in todo if len(at_work.get(each, ())) < MOST_AT_WORK)
    crowded = tuple(each for each in todo if len(at_work.get(each, ())) >= MOST_AT_WORK)
    cancel: tuple[Child, ...] = ()
    if concurrency is Concurrency.REPLACE:
        cancel = tuple(child for each in create for child in at_work.get(each, ()))
    return RunPlan(create, cancel, (), crowded)


def ended(memory: RunMemory) -> RunMemory:
    """The run has made all that it had to make."""
    trigger = memory.run.trigger if memory.run is not None else ""
    return replace(memory, run=None, last_trigger=trigger or memory.last_trigger)


def given_up(memory: RunMemory) -> RunMemory:
    """The run has made nothing, and there is nothing more to make: a trigger waits, and a time of the
    schedule is missed."""
    run = memory.run
    assert run is not None
    memory = replace(memory, run=None)
    if run.trigger and memory.judged_until != run.at:
        return memory
    return replace(memory, missed=memory.missed + 1, last_missed_at=run.at)
