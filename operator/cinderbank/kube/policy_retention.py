"""What a policy's retention deletes: judged by the watches' view, proven volume by volume, then deleted.

A look deletes at most BATCH backups, and proves only the volumes that these are of: so the work grows
with what goes, and not with the number of volumes of the policy. Failed ones go first and by what the
API server says alone: nothing of them is in the bank, and they pile up just when it can not be asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from cinderbank.domain.errors import CinderbankError, Permanent
from cinderbank.domain.facts import VolumeId
from cinderbank.domain.policy import telling
from cinderbank.domain.policy.children import Child, ChildState
from cinderbank.domain.policy.retention import Retention, Verdict, Why, judge, limit_of
from cinderbank.domain.policy.runs import RunRules
from cinderbank.kube.known import Key
from cinderbank.kube.policy_report import Tick, Told
from cinderbank.kube.reconcile import Raw

log = logging.getLogger(__name__)

BATCH = 20


class RetentionWorlds(Protocol):
    """What retention needs of the world. Every method may raise CinderbankError."""

    def children_in_truth(
        self, key: Key, volumes: frozenset[VolumeId], min_good: int
    ) -> tuple[Child, ...]:
        """Those of `volumes`, as the API server has them now; the newest `min_good` good ones of each
        are proven to be in the bank, and what is not there is LOST, as is what a check found damaged.
        With 0 the bank is not asked."""
        ...

    def is_as_it_was(self, raw: Raw) -> bool:
        """Whether the policy is there, is not being deleted, and says the same as in `raw`."""
        ...

    def give_up_child(self, key: Key, child: Child) -> bool:
        """Delete it, and its data in the bank with it; False when it is not as it was judged."""
        ...

    def remember_status(self, raw: Raw, status: dict[str, Any]) -> Raw:
        """Durable when it returns; the object as it is now."""
        ...

    def say(self, raw: Raw, reason: str, message: str, warning: bool) -> None: ...


class PolicyRetention:
    """What `kube.policies` asks when no run is under way."""

    def __init__(self, worlds: RetentionWorlds, on_error: Callable[[str], None]) -> None:
        self._worlds = worlds
        self._on_error = on_error

    def retain(
        self, tick: Tick, rules: RunRules, told: Told, children: Sequence[Child]
    ) -> tuple[Tick, Told]:
        """One look at `children`, those of the volumes that are selected."""
        try:
            retention = tick.spec.to_retention()
        except CinderbankError as error:
            return tick, replace(told, retention_error=error)
        verdicts = judge(retention, children, rules.timetable.zone, told.memory.deleted_in_run)
        told = replace(told, verdicts=verdicts)
        if tick.spec.is_retention_dry_run or all(each.kept for each in verdicts):
            return tick, told
        limited = limit_of(retention, len({each.child.volume_id for each in verdicts}))
        try:
            going, lost = self._proven(tick, rules, limited, told)
            # its rules may be others by now: the next look judges by them
            if going and self._worlds.is_as_it_was(tick.raw):
                return self._prune(tick, told, going, lost)
        except CinderbankError as error:
            self._on_error(error.reason)
            return tick, replace(told, retention_error=error)
        return tick, replace(told, retention_error=telling.lost(lost)) if lost else told

    def _proven(
        self, tick: Tick, rules: RunRules, limited: Retention, told: Told
    ) -> tuple[list[Verdict], list[str]]:
        """At most BATCH that go by what the API server and the bank hold now, and which were looked at
        and are not in the bank though they should be. As many volumes as there may be deletes are read
        at once, and more only when nothing was found to go of these."""
        lost: list[str] = []
        for state, min_good in ((ChildState.FAILED, 0), (ChildState.GOOD, limited.min_good)):
            going: list[Verdict] = []
            volumes = _volumes_of(told.verdicts or (), state)
            for first in range(0, len(volumes), BATCH):
                some = frozenset(volumes[first : first + BATCH])
                truth = self._worlds.children_in_truth(tick.key, some, min_good)
                spent = told.memory.deleted_in_run + len(going)
                verdicts = judge(limited, truth, rules.timetable.zone, spent)
                going += [v for v in verdicts if not v.kept and v.child.state is state]
                lost += [v.child.name for v in verdicts if v.child.state is ChildState.LOST]
                if len(going) >= BATCH:
                    break
            if going:
                return going[:BATCH], lost
        return [], lost

    def _prune(
        self, tick: Tick, told: Told, going: Sequence[Verdict], lost: list[str]
    ) -> tuple[Tick, Told]:
        """Written down before it goes, as an interruption must not let more go than a run may."""
        before = told.memory.deleted_in_run
        planned = replace(told.memory, deleted_in_run=before + len(going))
        status = tick.before.remembering(planned)
        raw = self._worlds.remember_status(tick.raw, status.dump())
        tick = replace(tick, raw=raw, before=status)
        gone, failed, error = 0, False, telling.lost(lost) if lost else None
        for verdict in going:
            child, why = verdict.child, ", ".join(verdict.why)
            try:
                if not self._worlds.give_up_child(tick.key, child):
                    continue
            except CinderbankError as failure:
                self._on_error(failure.reason)
                failed, error = True, failure
                gone += not isinstance(failure, Permanent)  # it may have gone all the same
                break
            gone += 1
            log.info("%s goes: %s", child.name, why)
            self._worlds.say(tick.raw, "RetentionDeleted", f"{child.name} goes ({why})", False)
        memory = replace(told.memory, deleted_in_run=before + gone)
        more = gone > 0 and not failed
        return tick, replace(told, memory=memory, more=more, retention_error=error)


def _volumes_of(verdicts: Sequence[Verdict], state: ChildState) -> list[VolumeId]:
    """Those of which one in this state goes, or would but for the limit; the oldest one's first."""
    going = (v.child for v in verdicts if not v.kept or Why.DELETES_LIMITED in v.why)
    oldest_first = sorted(
        (child for child in going if child.state is state), key=lambda c: (c.point_at, c.name)
    )
    return list(dict.fromkeys(child.volume_id for child in oldest_first))
