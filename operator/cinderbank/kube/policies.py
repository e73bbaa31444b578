"""VolumeBackupPolicy: one look, one decision, one effect, one status. Deleting a policy deletes nothing that
it made; it has a finalizer only while it holds a group snapshot.

One effect is at most BATCH children of one run, or as many deletes: each is idempotent by its name or
by the version that it is of, so an interruption in between is made up for by the next tick.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cinderbank.api.v1alpha1.policy_status import VolumeBackupPolicyStatus
from cinderbank.api.v1alpha1.volume_backup_policy import VolumeBackupPolicySpec, VolumePattern
from cinderbank.domain.errors import (
    CinderbankError,
    Conflict,
    Forbidden,
    InvalidSpec,
    Permanent,
    SourceGone,
)
from cinderbank.domain.facts import VolumeFacts, VolumeId
from cinderbank.domain.policy import retention as retention_rules
from cinderbank.domain.policy import telling
from cinderbank.domain.policy.children import (
    Child,
    ChildState,
)
from cinderbank.domain.policy.retention import Verdict, judge, limit_of
from cinderbank.domain.policy.runs import (
    Judged,
    RunMemory,
    RunRules,
    ended,
    judge_runs,
    plan_run,
)
from cinderbank.domain.policy.selection import (
    Pattern,
    Selection,
    Selector,
    protectable,
    select,
)
from cinderbank.kube.coverage import Coverage, Project
from cinderbank.kube.known import Key
from cinderbank.kube.policy_children import child_body, created_at_of
from cinderbank.kube.policy_group_look import (
    GroupFound,
    GroupTick,
    GroupTold,
    condition_of,
    is_held,
)
from cinderbank.kube.policy_groups import BATCH, GroupRuns
from cinderbank.kube.policy_report import Look, Told, conditions_when_blocked, told_status
from cinderbank.kube.policy_worlds import PolicyWorlds
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.clock import Clock

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 600.0
"""For volumes that come and go; whatever has a time of its own is looked at then."""
AT_ONCE_SECONDS = 0.5
"""The watches have told by then what this tick has made."""


@dataclass(frozen=True, slots=True)
class _Tick:
    """One tick's surroundings."""

    key: Key
    raw: Raw
    spec: VolumeBackupPolicySpec
    before: VolumeBackupPolicyStatus
    now: datetime


class PolicyRuns:
    """The work of kind VolumeBackupPolicy."""

    def __init__(
        self,
        worlds: PolicyWorlds,
        clock: Clock,
        coverage: Coverage,
        on_error: Callable[[str], None],
        blocked_retry_seconds: float,
    ) -> None:
        self._worlds = worlds
        self._clock = clock
        self._coverage = coverage
        self._groups = GroupRuns(worlds, on_error)
        self._on_error = on_error
        self._blocked_retry_seconds = blocked_retry_seconds

    def run(self, key: Key, raw: Raw) -> float | None:
        """Seconds until the next run. Raises InvalidSpec for a status that can not be read."""
        before = VolumeBackupPolicyStatus.read(raw.get("status"), "status")
        if "deletionTimestamp" in raw["metadata"]:
            self._coverage.forget(key)
            return self._groups.leave(key, raw, before, self._clock.now())
        if before.run is None and is_held(raw):
            self._worlds.release(raw)  # nothing is held any more, and that is durable
            return AT_ONCE_SECONDS
        spec = None
        try:
            spec = VolumeBackupPolicySpec.read(raw.get("spec"), "spec")
            rules, rpo = spec.to_rules(key.uid), spec.rpo_or_none()
        except CinderbankError as error:
            raw, before = self._groups.let_go(key, raw, before, spec, self._clock.now())
            return self._blocked(key, raw, before, error, human=True)
        tick = _Tick(key, raw, spec, before, self._clock.now())
        children = self._worlds.children(key)
        created_at = created_at_of(raw, tick.now)
        judged = judge_runs(rules, before.to_memory(), children, created_at, tick.now)
        try:
            volumes = self._volumes(tick)
            found = self._groups.find(key, spec)
            selection = self._select(tick, volumes, found)
        except CinderbankError as error:
            raw, before = self._groups.let_go(key, raw, before, spec, tick.now)
            human = isinstance(error, SourceGone)
            return self._blocked(key, raw, before, error, human=human)
        tick, memory = self._begin(tick, judged)
        try:
            if memory.run is not None and (found is not None or memory.run.group is not None):
                tick, group = self._go_on_with_group(tick, memory, found)
                if group.error is not None:
                    raise group.error
                told = group.to_told(judged.next_at)
            else:
                told = self._go_on(tick, rules, memory, selection, children, judged.next_at)
        except Conflict:
            raise
        except CinderbankError as error:
            human = isinstance(error, Permanent)
            return self._blocked(key, tick.raw, tick.before, error, human=human)
        if told.memory.run is None:
            chosen = frozenset(each.id for each in selection.volumes)
            mine = [child for child in children if child.volume_id in chosen]
            tick, told = self._retain(tick, rules, told, mine)
        look = Look(spec, volumes, selection, children, rpo, created_at, tick.now)
        look = replace(look, one_moment=condition_of(spec, selection.volumes, found))
        told = replace(told, unprotected=self._unprotected(tick, look))
        status, turns_at = told_status(tick.raw, tick.before, told, look)
        self._worlds.write_status(tick.raw, status.dump())
        if told.memory.run is not None or told.more or is_held(tick.raw):
            return told.rest_seconds or AT_ONCE_SECONDS
        wishes = [judged.next_at, *([turns_at] if turns_at is not None else [])]
        soonest = min((at - tick.now).total_seconds() for at in wishes)
        return min(LOOK_AGAIN_SECONDS, max(AT_ONCE_SECONDS, soonest + 0.5))

    # What is there.

    def _volumes(self, tick: _Tick) -> Sequence[VolumeFacts]:
        credentials = tick.spec.template.spec.cloud_credentials_ref
        return self._worlds.volumes(
            tick.key.namespace, credentials.secret_name, credentials.cloud_name
        )

    def _select(
        self, tick: _Tick, volumes: Sequence[VolumeFacts], found: GroupFound | None
    ) -> Selection:
        selector = tick.spec.selector
        if found is not None or selector is None:
            members = () if found is None else found.facts.volume_ids
            return select(Selector(Pattern(frozenset(members))), volumes)
        return select(
            selector.to_selector(),
            volumes,
            self._claimed(tick.key.namespace, selector),
            self._claimed(tick.key.namespace, selector.exclude),
        )

    def _claimed(self, namespace: str, pattern: VolumePattern | None) -> frozenset[VolumeId]:
        if pattern is None or pattern.persistent_volume_claims is None:
            return frozenset()
        return self._worlds.claimed(namespace, pattern.persistent_volume_claims.match_labels)

    def _unprotected(self, tick: _Tick, look: Look) -> frozenset[VolumeId] | None:
        key, credentials = tick.key, tick.spec.template.spec.cloud_credentials_ref
        project = Project(key.namespace, credentials.secret_name, credentials.cloud_name)
        chosen = frozenset(volume.id for volume in look.selection.volumes)
        self._coverage.selects(key, project, chosen)
        if not self._coverage.speaks_for(key, project):
            return None
        return self._coverage.unprotected(
            project, protectable(look.volumes), self._worlds.policies_in(key.namespace)
        )

    # Runs.

    def _begin(self, tick: _Tick, judged: Judged) -> tuple[_Tick, RunMemory]:
        """A new run is written down before anything of it is made."""
        memory = judged.memory
        if judged.ahead_until is not None:
            self._worlds.say(tick.raw, "ClockWasAhead", telling.ahead(judged.ahead_until), True)
        if judged.missed:
            log.warning("%d runs were missed", judged.missed)
            self._worlds.say(tick.raw, "RunMissed", telling.missed(memory, judged.missed), True)
        if not judged.began:
            return tick, memory
        status = tick.before.remembering(memory)
        raw = self._worlds.remember_status(tick.raw, status.dump())
        return replace(tick, raw=raw, before=status), memory

    def _go_on(
        self,
        tick: _Tick,
        rules: RunRules,
        memory: RunMemory,
        selection: Selection,
        children: Sequence[Child],
        next_at: datetime,
    ) -> Told:
        """A step of the run under way; what is to be remembered after it. A backup that is refused
        for good stops no other one, nor retention, which may free what it was refused for."""
        if memory.run is None:
            return Told(memory, next_at)
        plan = plan_run(
            memory.run, rules.concurrency, (each.id for each in selection.volumes), children
        )
        for older in plan.cancel[:BATCH]:
            self._worlds.cancel_child(tick.key, older)
        made, refused = 0, list[CinderbankError]()
        for volume_id in plan.create:
            if made == BATCH:
                break
            body = child_body(tick.key, tick.spec, volume_id, memory.run)
            try:
                self._worlds.create_child(tick.key.namespace, body)
                made += 1
            except (InvalidSpec, Forbidden) as error:
                refused.append(error)
        if made + len(refused) < len(plan.create) or len(plan.cancel) > BATCH:
            return Told(memory, next_at)
        log.info("run of %s: %d backups, %d refused", memory.run.at, made, len(refused))
        if plan.left_out:
            told = f"{len(plan.left_out)} volumes were left out: an earlier backup is at work"
            self._worlds.say(tick.raw, "VolumesLeftOut", told, True)
        not_made = None
        if refused:
            self._on_error(refused[0].reason)
            not_made = telling.backups_refused(len(refused), refused[0])
            self._worlds.say(tick.raw, "BackupsRefused", not_made.message, True)
        return Told(ended(memory), next_at, left_out=len(plan.left_out), not_made=not_made)

    def _go_on_with_group(
        self, tick: _Tick, memory: RunMemory, found: GroupFound | None
    ) -> tuple[_Tick, GroupTold]:
        """As _go_on; what it has begun is in the tick that comes back, also when it has failed."""
        asked = GroupTick(tick.key, tick.raw, tick.spec, tick.before, memory, tick.now)
        group = self._groups.go_on(asked, found)
        before = group.tick.before.remembering(group.tick.memory)
        return replace(tick, raw=group.tick.raw, before=before), group

    # Retention.

    def _retain(
        self, tick: _Tick, rules: RunRules, told: Told, children: Sequence[Child]
    ) -> tuple[_Tick, Told]:
        try:
            retention = tick.spec.to_retention()
        except CinderbankError as error:
            return tick, replace(told, retention_error=error)
        if retention is None or tick.spec.retention is None:
            return tick, told
        verdicts = judge(retention, children, rules.timetable.zone, told.memory.deleted_in_run)
        told = replace(told, verdicts=verdicts)
        if tick.spec.retention.dry_run or all(each.kept for each in verdicts):
            return tick, told
        try:
            limited = limit_of(retention, len({each.child.volume_id for each in verdicts}))
            concerned = frozenset(each.child.volume_id for each in verdicts if not each.kept)
            going, lost = self._judged_in_truth(tick, rules, limited, concerned, told.memory)
            if going:
                return self._prune(tick, told, going, lost)
        except CinderbankError as error:
            self._on_error(error.reason)
            return tick, replace(told, retention_error=error)
        return tick, replace(told, retention_error=telling.lost(lost)) if lost else told

    def _judged_in_truth(
        self,
        tick: _Tick,
        rules: RunRules,
        retention: retention_rules.Retention,
        concerned: frozenset[VolumeId],
        memory: RunMemory,
    ) -> tuple[Sequence[Verdict], list[str]]:
        """What the watches told is judged again on what the API server and the bank hold now: at most
        BATCH that go, and which are not in the bank though they should be."""
        truth = self._worlds.children_in_truth(tick.key, concerned, retention.min_good)
        if not self._worlds.is_as_it_was(tick.raw):
            return (), []  # its rules may be others by now: the next look judges by them
        verdicts = judge(retention, truth, rules.timetable.zone, memory.deleted_in_run)
        lost = [each.child.name for each in verdicts if each.child.state is ChildState.LOST]
        return [each for each in verdicts if not each.kept][:BATCH], lost

    def _prune(
        self, tick: _Tick, told: Told, going: Sequence[Verdict], lost: list[str]
    ) -> tuple[_Tick, Told]:
        """Written down before it goes, as an interruption must not let more go than a run may."""
        before = told.memory.deleted_in_run
        planned = replace(told.memory, deleted_in_run=before + len(going))
        status = tick.before.remembering(planned)
        raw = self._worlds.remember_status(tick.raw, status.dump())
        tick = replace(tick, raw=raw, before=status)
        gone, error = 0, telling.lost(lost) if lost else None
        for verdict in going:
            child, why = verdict.child, ", ".join(verdict.why)
            try:
                if not self._worlds.give_up_child(tick.key, child):
                    continue
            except CinderbankError as failure:
                self._on_error(failure.reason)
                gone, error = gone + (not isinstance(failure, Permanent)), failure
                break  # a retryable one may have gone all the same
            gone += 1
            log.info("%s goes: %s", child.name, why)
            self._worlds.say(tick.raw, "RetentionDeleted", f"{child.name} goes ({why})", False)
        memory = replace(told.memory, deleted_in_run=before + gone)
        return tick, replace(told, memory=memory, more=gone >= BATCH, retention_error=error)

    def _blocked(
        self,
        key: Key,
        raw: Raw,
        before: VolumeBackupPolicyStatus,
        error: CinderbankError,
        *,
        human: bool,
    ) -> float | None:
        """What the schedule makes of this time is judged when it can be looked at again."""
        self._on_error(error.reason)
        self._coverage.cannot_say(key)
        conditions = conditions_when_blocked(raw, before, error, human=human, now=self._clock.now())
        generation = raw["metadata"].get("generation", 0)
        status = before.model_copy(
            update={"observed_generation": generation, "conditions": conditions}
        )
        self._worlds.write_status(raw, status.dump())
        return LOOK_AGAIN_SECONDS if human else self._blocked_retry_seconds
