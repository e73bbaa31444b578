"""The status of a policy: what a tick found and did, in bounded lists and without the present moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cinderbank.api.v1alpha1.conditions import merge_conditions
from cinderbank.api.v1alpha1.model import clipped
from cinderbank.api.v1alpha1.policy_status import (
    MOST_TOLD,
    Judgement,
    PolicyVolume,
    RetentionStatus,
    Unprotected,
    VolumeBackupPolicyStatus,
)
from cinderbank.api.v1alpha1.volume_backup_policy import VolumeBackupPolicySpec
from cinderbank.domain import record
from cinderbank.domain.errors import CinderbankError, Retryable
from cinderbank.domain.facts import VolumeFacts, VolumeId
from cinderbank.domain.policy import moment, telling
from cinderbank.domain.policy.children import Child, newest_good
from cinderbank.domain.policy.retention import Verdict
from cinderbank.domain.policy.rpo import judge_rpo
from cinderbank.domain.policy.runs import RunMemory
from cinderbank.domain.policy.selection import Selection
from cinderbank.kube.known import Key
from cinderbank.kube.reconcile import Raw


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick's surroundings."""

    key: Key
    raw: Raw
    spec: VolumeBackupPolicySpec
    before: VolumeBackupPolicyStatus
    now: datetime


@dataclass(frozen=True, slots=True)
class Look:
    """What a tick has seen."""

    spec: VolumeBackupPolicySpec
    volumes: Sequence[VolumeFacts]
    selection: Selection
    chosen: Sequence[VolumeId]
    """Of these so many as spec.maxVolumes lets: those that are backed up."""
    children: Sequence[Child]
    rpo: timedelta | None
    since: datetime
    """When the policy was made."""
    now: datetime
    one_moment: record.Condition | None = None
    members: int | None = None
    """Volumes that the group has, whether they are listed yet or not; None without a group."""

    @property
    def is_list_behind(self) -> bool:
        return self.members is not None and len(self.selection.volumes) < self.members


@dataclass(frozen=True, slots=True)
class Told:
    """What a tick has done."""

    memory: RunMemory
    next_at: datetime
    left_out: int | None = None
    """Volumes of a run that has just ended; None when none has."""
    not_made: record.Condition | None = None
    """BackupsMade of a run that has just ended, when some were refused; of a group's run also before."""
    verdicts: tuple[Verdict, ...] | None = None
    """None when retention did not look: a run is under way, or its rules are wrong."""
    retention_error: CinderbankError | None = None
    more: bool = False
    rest_seconds: float = 0.0
    """How long a run under way has nothing to do."""
    trouble: CinderbankError | None = None
    """Why the run under way can not end."""
    unprotected: frozenset[VolumeId] | None = None


def told_status(
    raw: Raw, before: VolumeBackupPolicyStatus, told: Told, look: Look
) -> tuple[VolumeBackupPolicyStatus, datetime | None]:
    """The status, and when RPOMet turns by itself."""
    newest = newest_good(look.children)
    volumes = look.selection.volumes
    conditions = list(
        telling.selected(
            len(volumes),
            look.selection.absent,
            told.left_out or 0,
            max_volumes=look.spec.max_volumes if look.members is None else len(volumes),
            suspended=look.spec.suspend,
            claims_cut=look.selection.claims_cut,
        )
    )
    if not volumes and look.spec.group is not None:
        conditions = list(_nothing_of_group(look.spec.group.group_id, look.members or 0))
    not_made = told.not_made
    if not_made is None and told.left_out is None:
        not_made = _said(before, "BackupsMade")
    if not_made is not None and volumes:
        conditions = [*telling.stalled(not_made.reason, not_made.message), not_made]
    if told.trouble is not None:  # above all else: no run begins as long as it lasts
        conditions = [*telling.waiting(told.trouble), *conditions[3:]]
    if look.one_moment is not None:
        conditions.append(look.one_moment)
    turns_at = None
    if look.rpo is not None:
        verdict = judge_rpo(look.rpo, volumes, newest, look.now, look.since)
        turns_at = None if verdict is None else verdict.turns_at
        conditions.append(telling.rpo_met(verdict))
    retention = _retention(before, told, look, conditions)
    generation = raw["metadata"].get("generation", 0)
    previous = (raw.get("status") or {}).get("conditions")
    ends = [child.ended_at for child in newest.values() if child.ended_at is not None]
    covered = sum(1 for volume in volumes if volume.id in newest)
    status = before.model_copy(
        update={
            "observed_generation": generation,
            "conditions": merge_conditions(conditions, previous, generation, look.now),
            "next_run_time": told.next_at,
            "last_success_time": max([*ends, *_known(before.last_success_time)], default=None),
            "volumes_selected": len(volumes),
            "volumes_covered": covered,
            "volumes": _worst_first(volumes, newest),
            "retention": retention,
            "unprotected": _unprotected(told.unprotected, look.volumes),
        }
    )
    return status.remembering(told.memory), turns_at


@dataclass(frozen=True, slots=True)
class Blocked:
    """What is known of a policy that could not look at its volumes."""

    raw: Raw
    before: VolumeBackupPolicyStatus
    children: Sequence[Child]
    rpo: timedelta | None
    since: datetime
    now: datetime
    spec: VolumeBackupPolicySpec | None = None
    """None when it can not be read."""


def blocked_status(
    about: Blocked, error: CinderbankError, *, human: bool
) -> tuple[VolumeBackupPolicyStatus, datetime | None]:
    """The status, and when RPOMet turns by itself. What was said of retention before is left out, as
    nobody knows whether it still holds; RPO is judged from what is known: that is when it matters."""
    before, generation = about.before, about.raw["metadata"].get("generation", 0)
    conditions = [
        *(telling.stalled(error.reason, error.message) if human else telling.waiting(error))
    ]
    # Of these the cloud's absence says nothing: what was found stays found.
    for type_ in ("BackupsMade", "OneMoment", "Drilled", "Checked"):
        if (said := _said(before, type_)) is not None:
            conditions.append(said)
    met, turns_at = _rpo_when_blocked(about)
    if met is not None:
        conditions.append(met)
    previous = (about.raw.get("status") or {}).get("conditions")
    merged = merge_conditions(conditions, previous, generation, about.now)
    changes = {"observed_generation": generation, "conditions": merged}
    return before.model_copy(update=changes), turns_at


def _rpo_when_blocked(about: Blocked) -> tuple[record.Condition | None, datetime | None]:
    """By the volumes that status names, which are those with the oldest recovery points, and by the
    backups that the watches have told since."""
    if about.rpo is None:
        return None, None
    known = [
        VolumeFacts(VolumeId(each.volume_id), each.name or "", "", 0, created_at=each.created_time)
        for each in about.before.volumes
    ]
    verdict = judge_rpo(about.rpo, known, newest_good(about.children), about.now, about.since)
    if verdict is not None:
        return telling.rpo_met(verdict), verdict.turns_at
    if (said := _said(about.before, "RPOMet")) is not None:
        return said, None
    if about.now - about.since > about.rpo:
        return telling.rpo_never_looked(), None
    return None, about.since + about.rpo


def _nothing_of_group(group_id: str, members: int) -> tuple[record.Condition, ...]:
    if not members:
        return telling.stalled("GroupEmpty", moment.no_members(group_id))
    told = f"the list of the project's volumes has none of the {members} of group {group_id} yet"
    return telling.waiting(Retryable(told, reason="VolumesNotListed"))


def _known(at: datetime | None) -> list[datetime]:
    return [] if at is None else [at]


def _retention(
    before: VolumeBackupPolicyStatus,
    told: Told,
    look: Look,
    conditions: list[record.Condition],
) -> RetentionStatus | None:
    """Adds its condition. While a run is under way what was told before stays."""
    if told.retention_error is not None:
        conditions.append(telling.retention_refused(told.retention_error))
    elif told.verdicts is not None:
        dry_run = look.spec.is_retention_dry_run
        conditions.append(telling.retention_applied(told.verdicts, dry_run=dry_run))
    elif (said := _said(before, "RetentionApplied")) is not None:
        conditions.append(said)
    if told.verdicts is None:
        return before.retention or RetentionStatus(kept=0, going=0)
    kept = sum(1 for each in told.verdicts if each.kept)
    return RetentionStatus(
        kept=kept,
        going=len(told.verdicts) - kept,
        preview=tuple(_judgement(each) for each in told.verdicts[:MOST_TOLD]),
    )


def _said(before: VolumeBackupPolicyStatus, type_: str) -> record.Condition | None:
    for each in before.conditions or ():
        if each.type == type_:
            return record.Condition(each.type, each.status, each.reason, each.message)
    return None


def _judgement(verdict: Verdict) -> Judgement:
    child = verdict.child
    return Judgement(
        name=child.name,
        recovery_point=child.point_at,
        kept=verdict.kept,
        why=tuple(str(why) for why in verdict.why),
    )


def _worst_first(
    volumes: Sequence[VolumeFacts], newest: dict[VolumeId, Child]
) -> tuple[PolicyVolume, ...]:
    def point(volume: VolumeFacts) -> datetime | None:
        child = newest.get(volume.id)
        return None if child is None else child.point_at

    def order(volume: VolumeFacts) -> tuple[bool, float, str]:
        at = point(volume)
        return at is not None, 0.0 if at is None else at.timestamp(), volume.id

    return tuple(
        _volume(volume, point(volume)) for volume in sorted(volumes, key=order)[:MOST_TOLD]
    )


def _volume(volume: VolumeFacts, point_at: datetime | None) -> PolicyVolume:
    name = clipped(volume.name, 255) or None
    created_at = volume.created_at if point_at is None else None
    return PolicyVolume(
        volume_id=volume.id, name=name, recovery_point=point_at, created_time=created_at
    )


def _unprotected(
    found: frozenset[VolumeId] | None, volumes: Sequence[VolumeFacts]
) -> Unprotected | None:
    if found is None:
        return None
    names = {volume.id: volume for volume in volumes if volume.id in found}
    told = tuple(_volume(names[each], None) for each in sorted(found)[:MOST_TOLD])
    return Unprotected(count=len(found), volumes=told)
