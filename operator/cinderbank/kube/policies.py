"""VolumeBackupPolicy: one look, one decision, one effect, one status. Deleting a policy deletes nothing
that it made; it has a finalizer only while it holds a group snapshot.

One effect is at most BATCH children of one run, or as many deletes: each is idempotent by its name or
by the version that it is of, so an interruption in between is made up for by the next tick.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from math import inf

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
from cinderbank.domain.policy import telling
from cinderbank.domain.policy.children import Child
from cinderbank.domain.policy.drills import next_number
from cinderbank.domain.policy.runs import (
    Judged,
    RunMemory,
    RunRules,
    ended,
    given_up,
    judge_runs,
    plan_run,
)
from cinderbank.domain.policy.selection import (
    Claimed,
    Pattern,
    Selection,
    Selector,
    protectable,
    select,
    within,
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
from cinderbank.kube.policy_proofs import PolicyProofRuns
from cinderbank.kube.policy_report import Blocked, Look, Tick, Told, blocked_status, told_status
from cinderbank.kube.policy_retention import PolicyRetention
from cinderbank.kube.policy_worlds import PolicyWorlds
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.clock import Clock

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 600.0
"""For volumes that come and go; whatever has a time of its own is looked at then."""
LIST_AGAIN_SECONDS = 60.0
"""For members of a group that the list of volumes, which may be a minute old, does not have yet."""
AT_ONCE_SECONDS = 0.5
"""The watches have told by then what this tick has made."""


class PolicyRuns:
    """The work of kind VolumeBackupPolicy."""

    def __init__(
        self,
        worlds: PolicyWorlds,
        clock: Clock,
        coverage: Coverage,
        on_error: Callable[[str], None],
        blocked_retry_seconds: float,
        proofs: PolicyProofRuns,
    ) -> None:
        self._worlds = worlds
        self._proofs = proofs
        self._clock = clock
        self._coverage = coverage
        self._retention = PolicyRetention(worlds, on_error)
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
        now, children = self._clock.now(), self._worlds.children(key)
        about = Blocked(raw, before, children, None, created_at_of(raw, now), now)
        spec = None
        try:
            spec = VolumeBackupPolicySpec.read(raw.get("spec"), "spec")
            about = replace(about, spec=spec, rpo=spec.rpo_or_none())
            rules = spec.to_rules(key.uid)
        except CinderbankError as error:
            return self._blocked(key, self._let_go(key, about, spec), error, human=True)
        tick = Tick(key, raw, spec, before, now)
        try:
            volumes = self._volumes(tick)
            found = self._groups.find(key, spec)
            selection = self._select(tick, volumes, found)
        except CinderbankError as error:
            about = self._let_go(key, about, spec)
            return self._blocked(key, about, error, human=isinstance(error, SourceGone))
        return self._work(tick, rules, about, volumes, selection, found)

    def _work(
        self,
        tick: Tick,
        rules: RunRules,
        about: Blocked,
        volumes: Sequence[VolumeFacts],
        selection: Selection,
        found: GroupFound | None,
    ) -> float:
        children, rpo, now = about.children, about.rpo, tick.now
        selected = frozenset(each.id for each in selection.volumes)
        judged = judge_runs(
            rules, tick.before.to_memory(), children, about.since, now, selected=bool(selected)
        )
        tick, memory = self._begin(tick, judged)
        known = {child.volume_id for child in children}
        most = tick.spec.max_volumes if found is None else len(selection.volumes)
        chosen = within(selection.volumes, most, known)
        try:
            if memory.run is not None and (found is not None or memory.run.group is not None):
                tick, group = self._go_on_with_group(tick, memory, found)
                if group.error is not None:
                    raise group.error
                told = group.to_told(judged.next_at)
            else:
                told = self._go_on(tick, rules, memory, chosen, children, judged.next_at)
        except Conflict:
            raise
        except CinderbankError as error:
            about = replace(about, raw=tick.raw, before=tick.before)
            return self._blocked(tick.key, about, error, human=isinstance(error, Permanent))
        if told.memory.run is None:
            mine = [child for child in children if child.volume_id in selected]
            tick, told = self._retention.retain(tick, rules, told, mine)
        look = Look(tick.spec, volumes, selection, chosen, children, rpo, about.since, now)
        look = replace(look, one_moment=condition_of(tick.spec, selection.volumes, found))
        if found is not None:
            look = replace(look, members=len(found.facts.volume_ids))
        told = replace(told, unprotected=self._unprotected(tick, look))
        status, turns_at = told_status(tick.raw, tick.before, told, look)
        status, proofs_seconds = self._proofs.go_on(tick.key, tick.raw, tick.spec, status, look)
        self._worlds.write_status(tick.raw, status.dump())
        soonest = min(_until(turns_at, now), proofs_seconds + 0.5)
        if told.memory.run is not None or told.more or is_held(tick.raw):
            return min(told.rest_seconds or AT_ONCE_SECONDS, max(AT_ONCE_SECONDS, soonest))
        rest = LIST_AGAIN_SECONDS if look.is_list_behind else LOOK_AGAIN_SECONDS
        return min(rest, max(AT_ONCE_SECONDS, min(soonest, _until(judged.next_at, now))))

    def _let_go(self, key: Key, about: Blocked, spec: VolumeBackupPolicySpec | None) -> Blocked:
        raw, before = self._groups.let_go(key, about.raw, about.before, spec, about.now)
        return replace(about, raw=raw, before=before)

    # What is there.

    def _volumes(self, tick: Tick) -> Sequence[VolumeFacts]:
        credentials = tick.spec.template.spec.cloud_credentials_ref
        return self._worlds.volumes(
            tick.key.namespace, credentials.secret_name, credentials.cloud_name
        )

    def _select(
        self, tick: Tick, volumes: Sequence[VolumeFacts], found: GroupFound | None
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

    def _claimed(self, namespace: str, pattern: VolumePattern | None) -> Claimed:
        if pattern is None or pattern.persistent_volume_claims is None:
            return Claimed()
        return self._worlds.claimed(namespace, pattern.persistent_volume_claims.match_labels)

    def _unprotected(self, tick: Tick, look: Look) -> frozenset[VolumeId] | None:
        key, credentials = tick.key, tick.spec.template.spec.cloud_credentials_ref
        project = Project(key.namespace, credentials.secret_name, credentials.cloud_name)
        self._coverage.selects(key, project, frozenset(look.chosen))
        if not self._coverage.speaks_for(key, project):
            return None
        return self._coverage.unprotected(
            project, protectable(look.volumes), self._worlds.policies_in(key.namespace)
        )

    # Runs.

    def _begin(self, tick: Tick, judged: Judged) -> tuple[Tick, RunMemory]:
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
        tick: Tick,
        rules: RunRules,
        memory: RunMemory,
        chosen: Sequence[VolumeId],
        children: Sequence[Child],
        next_at: datetime,
    ) -> Told:
        """A step of the run under way; what is to be remembered after it. A backup that is refused
        for good stops no other one, nor retention, which may free what it was refused for."""
        if memory.run is None:
            return Told(memory, next_at)
        if not chosen and all(child.run_at != memory.run.at for child in children):
            return Told(self._given_up(tick, memory), next_at, left_out=0)
        plan = plan_run(memory.run, rules.concurrency, chosen, children)
        for older in plan.cancel[:BATCH]:
            self._worlds.cancel_child(tick.key, older)
        made, refused = 0, list[CinderbankError]()
        earlier: defaultdict[VolumeId, list[Child]] = defaultdict(list)
        for child in children if plan.create else ():
            earlier[child.volume_id].append(child)
        for volume_id in plan.create:
            if made == BATCH:
                break
            number = next_number(earlier[volume_id], volume_id)
            body = child_body(tick.key, tick.spec, volume_id, memory.run, number)
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
        if plan.crowded:
            not_made = telling.crowded(len(plan.crowded))
            self._worlds.say(tick.raw, not_made.reason, not_made.message, True)
        if refused:
            self._on_error(refused[0].reason)
            not_made = telling.backups_refused(len(refused), refused[0])
            self._worlds.say(tick.raw, "BackupsRefused", not_made.message, True)
        return Told(ended(memory), next_at, left_out=len(plan.left_out), not_made=not_made)

    def _given_up(self, tick: Tick, memory: RunMemory) -> RunMemory:
        late = given_up(memory)
        if late.missed > memory.missed:
            told = telling.missed(late, late.missed - memory.missed)
            self._worlds.say(tick.raw, "RunMissed", told, True)
        return late

    def _go_on_with_group(
        self, tick: Tick, memory: RunMemory, found: GroupFound | None
    ) -> tuple[Tick, GroupTold]:
        """As _go_on; what it has begun is in the tick that comes back, also when it has failed."""
        asked = GroupTick(tick.key, tick.raw, tick.spec, tick.before, memory, tick.now)
        group = self._groups.go_on(asked, found)
        before = group.tick.before.remembering(group.tick.memory)
        return replace(tick, raw=group.tick.raw, before=before), group

    def _blocked(self, key: Key, about: Blocked, error: CinderbankError, *, human: bool) -> float:
        """What the schedule makes of this time is judged when it can be looked at again."""
        self._on_error(error.reason)
        self._coverage.cannot_say(key)
        status, turns_at = blocked_status(about, error, human=human)
        check_seconds = inf
        if about.spec is not None:  # a bank is checked without the cloud
            status, check_seconds = self._proofs.check(
                key, about.raw, about.spec, status, about.now
            )
        self._worlds.write_status(about.raw, status.dump())
        retry = LOOK_AGAIN_SECONDS if human else self._blocked_retry_seconds
        return min(retry, _until(turns_at, about.now), check_seconds + 0.5)


def _until(at: datetime | None, now: datetime) -> float:
    """Seconds, with a little more, so that it is over then; for ever without a time."""
    return inf if at is None else max(AT_ONCE_SECONDS, (at - now).total_seconds() + 0.5)
