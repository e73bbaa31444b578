"""A run of a policy over a Cinder group: one look, one step, one effect; the rules are domain.policy.group's.

The group snapshot is a temporary thing of the policy's. Before it is asked for the policy has our finalizer and
its status says so; the finalizer is taken off when none is left. So a policy that is deleted in between stays
until its backups have ended and the snapshot is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from cinderbank.api.v1alpha1.policy_status import VolumeBackupPolicyStatus
from cinderbank.api.v1alpha1.volume_backup_policy import VolumeBackupPolicySpec
from cinderbank.domain.errors import (
    CinderbankError,
    Conflict,
    Forbidden,
    InvalidSpec,
    ResourceFailed,
    Retryable,
)
from cinderbank.domain.facts import SnapshotFacts
from cinderbank.domain.policy import group, moment, telling
from cinderbank.domain.policy.children import ChildState
from cinderbank.domain.policy.drills import next_number
from cinderbank.domain.policy.group import GroupLook, GroupRun, GroupStep
from cinderbank.domain.policy.runs import ended
from cinderbank.kube.known import Key
from cinderbank.kube.policy_children import child_body
from cinderbank.kube.policy_group_look import (
    GONE_REASON,
    GroupFound,
    GroupTick,
    GroupTold,
    changed,
    cloud_of,
    is_held,
    is_only_for_clean_up,
    left_behind,
    out_of_reach,
    saying,
    timeout,
    with_way_out,
)
from cinderbank.kube.policy_report import Blocked, blocked_status
from cinderbank.kube.policy_worlds import GroupWorlds
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.groups import Groups

log = logging.getLogger(__name__)

BATCH = 20
SOON_SECONDS = 0.5
BLOCKED_SECONDS = 60.0


class GroupRuns:
    """The part of a policy's work that is about its group."""

    def __init__(self, worlds: GroupWorlds, on_error: Callable[[str], None]) -> None:
        self._worlds = worlds
        self._on_error = on_error

    def find(self, key: Key, spec: VolumeBackupPolicySpec) -> GroupFound | None:
        """The group that `spec` names, None when it names none. Raises SourceGone (GroupNotFound)."""
        if spec.group is None:
            return None
        groups = self._groups(key, cloud_of(spec))
        found = groups.find_group(spec.group.group_id.lower())
        if found is None:
            raise moment.not_found(spec.group.group_id)
        return GroupFound(found, groups.promises_one_moment(found.group_type_id))

    def go_on(self, tick: GroupTick, found: GroupFound | None) -> GroupTold:
        """A step of the run under way. Raises Conflict when the object is another one by now."""
        if tick.run.group is None:
            return self._begin(tick, found)
        try:
            look = group.absorbed(self._look(tick, tick.run.group))
        except CinderbankError as error:
            return self._not_looked(tick, tick.run.group, error)
        step = group.next_group_step(look)
        if not look.run.closed and (other := changed(tick.spec, look.run)):
            step = group.Close(other)
        told = self._perform(tick.with_run(look.run), look, step)
        return replace(told, trouble=group.clean_up_trouble(look, step))

    def leave(
        self, key: Key, raw: Raw, before: VolumeBackupPolicyStatus, now: datetime
    ) -> float | None:
        """Of a policy that is being deleted: what it holds in the cloud goes, then the policy."""
        if not is_held(raw):
            return None
        memory = before.to_memory()
        if memory.run is None or memory.run.group is None:
            self._worlds.release(raw)
            return None
        tick = GroupTick(key, raw, None, before, memory, now)
        told = self.go_on(tick.with_run(replace(memory.run.group, closed=True)), None)
        tick = told.tick
        status = tick.before.remembering(tick.memory)
        if (problem := told.error or told.trouble) is not None:
            self._on_error(problem.reason)
            about = Blocked(tick.raw, status, (), None, now, now)
            status, _ = blocked_status(about, problem, human=False)
        self._worlds.write_status(tick.raw, status.dump())
        return BLOCKED_SECONDS if told.error is not None else max(told.rest_seconds, SOON_SECONDS)

    def let_go(
        self,
        key: Key,
        raw: Raw,
        before: VolumeBackupPolicyStatus,
        spec: VolumeBackupPolicySpec | None,
        now: datetime,
    ) -> tuple[Raw, VolumeBackupPolicyStatus]:
        """Of a policy that can not work: what was begun goes on to its end all the same."""
        memory = before.to_memory()
        if memory.run is None or memory.run.group is None:
            return raw, before
        told = self.go_on(GroupTick(key, raw, spec, before, memory, now), None)
        for error in (told.error, told.trouble):
            if error is not None:
                log.warning("%s/%s: its run can not go on: %s", key.namespace, key.name, error)
                self._on_error(error.reason)
        return told.tick.raw, told.tick.before.remembering(told.tick.memory)

    def _groups(self, key: Key, cloud: group.CloudRef) -> Groups:
        return self._worlds.groups(key.namespace, cloud.secret_name, cloud.cloud_name)

    def _begin(self, tick: GroupTick, found: GroupFound | None) -> GroupTold:
        spec = tick.spec
        if spec is None or spec.group is None or found is None:
            return GroupTold(tick, 0.0, ended=True)
        consistency = spec.group.consistency
        refused = moment.refusal(found.facts, consistency, found.promised)
        if isinstance(refused, Retryable):
            return GroupTold(tick, 0.0, error=refused)
        if refused is not None:
            return self._ended(tick, refused)
        if not is_held(tick.raw):
            return GroupTold(replace(tick, raw=self._worlds.hold(tick.raw)), 0.0)
        known = moment.one_moment(consistency, found.promised)
        run = GroupRun(found.facts.id, cloud_of(spec), known, tick.now)
        return self._create(tick, run)

    def _look(self, tick: GroupTick, run: GroupRun) -> GroupLook:
        """Of the cloud only what the next step needs."""
        children = self._worlds.children_of_run(tick.key, tick.run.at)
        at_work = (ChildState.WORKING, ChildState.LEAVING)
        look = GroupLook(
            policy_uid=tick.key.uid,
            run=run,
            now=tick.now,
            timeout=timeout(tick.spec),
            backed_up=frozenset(child.volume_id for child in children),
            at_work=[child.name for child in children if child.state in at_work],
            last_ended_at=max((c.ended_at for c in children if c.ended_at), default=None),
        )
        if run.closed and look.at_work:
            return look
        name = group.snapshot_name(tick.key.uid, tick.run.at)
        try:
            look = self._look_at_cloud(tick.key, name, look)
        except CinderbankError as error:
            if not is_only_for_clean_up(tick.spec, run):
                raise
            raise out_of_reach(error, run, name) from error
        return replace(look, run=replace(run, secret_gone_at=None))

    def _look_at_cloud(self, key: Key, name: str, look: GroupLook) -> GroupLook:
        """Members before volumes that hang on them."""
        groups = self._groups(key, look.run.cloud)
        look = replace(look, snapshots=groups.group_snapshots_named(name))
        if look.run.closed:
            members = [each for found in look.snapshots for each in groups.members(found)]
            return replace(look, volumes=groups.volumes_of(members) if members else ())
        counted = group.counted(look)
        if counted is None or counted.status != "available":
            return look
        return replace(look, members=groups.members(counted))

    def _not_looked(self, tick: GroupTick, run: GroupRun, error: CinderbankError) -> GroupTold:
        """A run whose Secret is gone, and is the policy's no more, does not hold it up for ever."""
        if error.reason == GONE_REASON and is_only_for_clean_up(tick.spec, run):
            run = replace(run, secret_gone_at=run.secret_gone_at or tick.now)
            if group.is_given_up(run, tick.now):
                return self._give_up(tick, run)
        return GroupTold(tick.with_run(saying(run, error.message)), 0.0, error=error)

    def _give_up(self, tick: GroupTick, run: GroupRun) -> GroupTold:
        told = left_behind(run, group.snapshot_name(tick.key.uid, tick.run.at))
        left = ResourceFailed(told, reason="GroupSnapshotLeft")
        if not run.closed:
            tick = self._close(tick, run, left).tick
        else:
            self._on_error(left.reason)
            self._worlds.say(tick.raw, left.reason, told, True)
        return self._ended(tick, None)

    def _perform(self, tick: GroupTick, look: GroupLook, step: GroupStep) -> GroupTold:
        match step:
            case group.CreateGroupSnapshot(tries=tries):
                asked = GroupRun(
                    look.run.group_id, look.run.cloud, look.run.one_moment, tick.now, tries
                )
                return self._create(tick, asked)
            case group.DeleteGroupSnapshot(snapshot_id=snapshot_id):
                return self._delete(tick, look.run, snapshot_id)
            case group.MakeBackups(members=members):
                return self._make(tick, look, members)
            case group.Close(problem=problem):
                return self._close(tick, look.run, problem)
            case group.Rest(seconds=seconds, message=message):
                return GroupTold(tick.with_run(saying(look.run, message)), seconds)
            case group.EndRun():
                return self._ended(tick, None)
            case _:
                assert_never(step)

    def _create(self, tick: GroupTick, run: GroupRun) -> GroupTold:
        """The intent is durable before the request, so that a lost answer is looked for."""
        tick = tick.with_run(run)
        status = tick.before.remembering(tick.memory)
        raw = self._worlds.remember_status(tick.raw, status.dump())
        tick = replace(tick, raw=raw, before=status)
        name = group.snapshot_name(tick.key.uid, tick.run.at)
        told = f"temporary, of VolumeBackupPolicy {tick.key.namespace}/{tick.key.name}"
        try:
            groups = self._groups(tick.key, run.cloud)
            made = groups.create_group_snapshot(run.group_id, name=name, description=told)
        except CinderbankError as error:
            return GroupTold(tick, 0.0, error=with_way_out(error))
        log.info("group snapshot %s of group %s is asked for", made, run.group_id)
        return GroupTold(tick.with_run(replace(run, snapshot_id=made)), 0.0)

    def _delete(self, tick: GroupTick, run: GroupRun, snapshot_id: str) -> GroupTold:
        tick = tick.with_run(replace(run, deleted_at=tick.now, deletes=run.deletes + 1))
        try:
            self._groups(tick.key, run.cloud).delete_group_snapshot(snapshot_id)
        except Conflict as busy:  # paced, and asked for again
            log.info("%s", busy.message)
        except CinderbankError as error:
            return GroupTold(tick, 0.0, error=error)
        return GroupTold(tick, 0.0)

    def _make(
        self, tick: GroupTick, look: GroupLook, members: tuple[SnapshotFacts, ...]
    ) -> GroupTold:
        """At most BATCH at once. One that is refused for good stops no other one."""
        assert tick.spec is not None  # else it was closed
        run, found = look.run, group.counted(look)
        taken_at = None if found is None else found.created_at
        tags = moment.tags(run.group_id, run.snapshot_id, run.one_moment, taken_at)
        refused = list[CinderbankError]()
        made, children = 0, self._worlds.children(tick.key)
        for member in members:
            if made == BATCH:
                break
            number = next_number(children, member.volume_id)
            body = child_body(tick.key, tick.spec, member.volume_id, tick.run, number)
            body["spec"]["source"] = {"snapshotID": member.id}
            body["spec"]["tags"] = {**body["spec"].get("tags", {}), **tags}
            body["metadata"]["labels"][moment.GROUP_SNAPSHOT_TAG] = run.snapshot_id
            try:
                self._worlds.create_child(tick.key.namespace, body)
                made += 1
            except (InvalidSpec, Forbidden) as error:
                refused.append(error)
            except CinderbankError as error:
                return GroupTold(tick, 0.0, error=error)
        if refused and made + len(refused) == len(members):
            told = telling.backups_refused(len(refused), refused[0])
            problem = InvalidSpec(told.message, reason=refused[0].reason)
            return self._close(tick, run, problem)
        return GroupTold(tick, 0.0)

    def _close(self, tick: GroupTick, run: GroupRun, problem: CinderbankError | None) -> GroupTold:
        run = replace(run, closed=True, message="")
        if problem is not None:
            self._on_error(problem.reason)
            self._worlds.say(tick.raw, problem.reason, problem.message, True)
            run = replace(run, problem=problem.reason, message=problem.message)
        return GroupTold(tick.with_run(run), 0.0)

    def _ended(self, tick: GroupTick, refused: CinderbankError | None) -> GroupTold:
        not_made, run = None, tick.run.group
        if refused is not None:
            self._on_error(refused.reason)
            self._worlds.say(tick.raw, refused.reason, refused.message, True)
            not_made = telling.run_refused(refused.reason, refused.message)
        elif run is not None and run.problem:
            not_made = telling.run_refused(run.problem, run.message)
        tick = replace(tick, memory=ended(tick.memory))
        return GroupTold(tick, 0.0, ended=True, not_made=not_made)
