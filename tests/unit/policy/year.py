"""A policy under a fake clock: days of schedules, outages, crashes, failures, lost statuses.

After every step it is checked that no time of the schedule ran twice, that each ran or was told as
missed, and that retention took nothing that it must not take.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import takewhile

from cinderbank.domain.facts import VolumeId
from cinderbank.domain.policy.children import Child, ChildState, child_name
from cinderbank.domain.policy.retention import Retention, Why, judge
from cinderbank.domain.policy.runs import (
    Concurrency,
    Run,
    RunMemory,
    RunRules,
    ended,
    given_up,
    judge_runs,
    plan_run,
)
from cinderbank.domain.policy.schedule import MOST_MISSED, jitter_of, read_timetable
from tests.unit.policy.children import volume_id
from tests.unit.policy.zones import YEAR, jumps

CRONS = ("30 2 * * *", "0 */6 * * *", "15 0,2,3 * * *", "45 * * * 0", "*/30 1-3 * * *", "@weekly")
VOLUMES = tuple(volume_id(number) for number in range(3))
BATCH = 2
"""Fewer than there are volumes: a run takes more than one tick."""


@dataclass
class Year:
    seed: int
    zone: str
    days: int = 365
    now: datetime = YEAR
    memory: RunMemory = field(default_factory=RunMemory)
    children: dict[str, Child] = field(default_factory=dict)
    ends: dict[str, tuple[datetime, ChildState]] = field(default_factory=dict)
    runs: list[datetime] = field(default_factory=list)
    missed: int = 0
    ever_made: set[str] = field(default_factory=set)
    deleted: int = 0
    changed: bool = False
    nothing_until: datetime = YEAR
    """So long the selector matches no volume."""

    def __post_init__(self) -> None:
        self.chance = random.Random(f"{self.seed} {self.zone}")
        chance = self.chance
        jitter = jitter_of(str(self.seed), timedelta(minutes=chance.choice([0, 5, 50])))
        self.rules = RunRules(
            read_timetable(chance.choice(CRONS), self.zone),
            jitter,
            chance.choice([None, timedelta(minutes=20), timedelta(hours=5)]),
            chance.choice(list(Concurrency)),
        )
        kinds = [Why.LAST, Why.HOURLY, Why.DAILY, Why.WEEKLY, Why.MONTHLY, Why.YEARLY]
        keep = {why: chance.randint(0, 4) for why in chance.sample(kinds, chance.randint(0, 4))}
        self.retention = Retention(
            keep, chance.randint(1, 3), chance.randint(0, 2), chance.choice([None, 2, 8])
        )
        # near the days when the clock is put on or back, or anywhere
        self.now = YEAR + timedelta(minutes=chance.randrange(60 * 24))
        if self.days < 300:
            self.now = chance.choice(jumps(self.zone)) - timedelta(
                days=chance.randint(0, self.days)
            )
        self.created_at = self.now

    def play(self) -> Year:
        end = self.now + timedelta(days=self.days)
        while self.now < end:
            next_at = self.tick()
            waits = [next_at - self.now, timedelta(minutes=self.chance.randint(1, 600))]
            if self.chance.random() < 0.02:  # nobody is there for hours or days
                waits = [timedelta(hours=self.chance.randint(1, 100))]
            self.now += max(min(waits), timedelta(seconds=1))
        self.check_schedule()
        return self

    def tick(self) -> datetime:
        self._time_passes()
        children = list(self.children.values())
        volumes = self._selected()
        judged = judge_runs(
            self.rules, self.memory, children, self.created_at, self.now, selected=bool(volumes)
        )
        if self.chance.random() < 0.05:
            return self.now  # killed before the status was written: as if it had never looked
        self.memory = judged.memory
        self.missed += judged.missed
        if judged.began:
            assert volumes
            assert self.memory.run is not None
            assert self.memory.run.at + self.rules.jitter <= self.now
            if self.rules.starting_deadline is not None:
                late = self.now - self.memory.run.at - self.rules.jitter
                assert late <= self.rules.starting_deadline
            self.runs.append(self.memory.run.at)
        if self.memory.run is not None:
            if self.chance.random() < 0.05:
                return self.now  # killed after it was written and before anything was made
            self._make(self.memory.run, volumes)
            return self.now
        if self.changed or judged.began:
            self._prune()
        return judged.next_at

    def _selected(self) -> tuple[VolumeId, ...]:
        if self.chance.random() < 0.005:
            self.nothing_until = self.now + timedelta(hours=self.chance.randint(1, 60))
        return () if self.now < self.nothing_until else VOLUMES

    def _make(self, run: Run, volumes: tuple[VolumeId, ...]) -> None:
        if not volumes and all(child.run_at != run.at for child in self.children.values()):
            self.memory = given_up(self.memory)
            self.runs.remove(run.at)
            self.missed += 1
            return
        plan = plan_run(run, self.rules.concurrency, volumes, self.children.values())
        for older in plan.cancel:
            self._becomes(older.name, ChildState.FAILED)
        for volume in plan.create[:BATCH]:
            self._create(volume, run.at)
        if len(plan.create) <= BATCH:
            self.memory = ended(self.memory)

    def _create(self, volume: VolumeId, at: datetime) -> None:
        name = child_name("nightly", volume, at)
        assert name not in self.ever_made, "made twice"
        self.ever_made.add(name)
        hold = self.chance.random() < 0.02
        self.children[name] = Child(
            name, name, volume, at, ChildState.WORKING, max(at, self.now), hold=hold
        )
        state = ChildState.GOOD if self.chance.random() < 0.8 else ChildState.FAILED
        self.ends[name] = (self.now + timedelta(minutes=self.chance.randint(1, 500)), state)

    def _time_passes(self) -> None:
        for name, (at, state) in list(self.ends.items()):
            if at <= self.now:
                self._becomes(name, state)

    def _becomes(self, name: str, state: ChildState) -> None:
        self.ends.pop(name, None)
        self.children[name] = replace(self.children[name], state=state)
        self.changed = True

    def _prune(self) -> None:
        self.changed = False
        before = list(self.children.values())
        verdicts = judge(
            self.retention, before, self.rules.timetable.zone, self.memory.deleted_in_run
        )
        going = [v.child for v in verdicts if not v.kept]
        for child in going:
            assert not child.hold and child.state in (ChildState.GOOD, ChildState.FAILED)
            del self.children[child.name]
        self.deleted += len(going)
        self.memory = replace(self.memory, deleted_in_run=self.memory.deleted_in_run + len(going))
        if self.retention.max_deletes_per_run is not None:
            assert self.memory.deleted_in_run <= self.retention.max_deletes_per_run
        for volume in VOLUMES:
            self._check_copies([c for c in before if c.volume_id == volume], going)

    def _check_copies(self, before: list[Child], going: list[Child]) -> None:
        good = sorted(
            (c for c in before if c.state is ChildState.GOOD), key=lambda c: (c.point_at, c.name)
        )
        left = [c for c in good if c not in going]
        assert len(left) >= min(self.retention.min_good, len(good))
        assert left[-1:] == good[-1:]
        assert set(left) >= set(good[-self.retention.keep.get(Why.LAST, 0) or len(good) :])
        failed = [c for c in before if c.state is ChildState.FAILED]
        if good and failed and max(c.point_at for c in failed) > good[-1].point_at:
            assert left == good, "something went after a failure"

    def check_schedule(self) -> None:
        """Every time of the schedule up to the last judgement ran or was told as missed."""
        until = self.memory.judged_until
        assert until is not None
        times = list(
            takewhile(lambda at: at <= until, self.rules.timetable.times_after(self.created_at))
        )
        assert len(set(self.runs)) == len(self.runs)
        assert set(self.runs) <= set(times)
        assert self.missed == self.memory.missed < MOST_MISSED * 10
        assert len(self.runs) + self.missed == len(times)
