"""Conditions of a policy: what a person, kubectl, Argo CD and Flux read. Printed, never read back.

No message holds an age or the present moment: a status that changes only because time goes by would
be written again and again.

| situation | Ready | Reconciling | Stalled | kstatus says |
|---|---|---|---|---|
| on schedule, suspended | True | False | False | Current |
| a run is under way | True | False | False | Current: a policy is well while it works |
| cloud, Secret, claims not readable | False | True | False | InProgress |
| wrong schedule or zone; nothing or too much selected; backups refused | False | False | True | Failed |
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cinderbank.domain.errors import CinderbankError, DataCorrupt
from cinderbank.domain.facts import VolumeId
from cinderbank.domain.policy.retention import Verdict, Why
from cinderbank.domain.policy.rpo import RpoVerdict
from cinderbank.domain.policy.runs import MOST_AT_WORK, RunMemory
from cinderbank.domain.policy.selection import MOST_CLAIMS
from cinderbank.domain.record import Condition

NOTHING_SELECTED = (
    "the selector matches no volume of the project; compare spec.selector with `openstack volume list"
    " --long` under the credentials of spec.template.spec.cloudCredentialsRef"
)


TOO_MANY_CLAIMS = (
    f"more than {MOST_CLAIMS} PersistentVolumeClaims have the labels that spec.selector names: only the"
    " first by name are looked at; name them by more labels, and make several policies"
)


def well(reason: str, message: str) -> tuple[Condition, ...]:
    return (
        Condition("Ready", "True", reason, message),
        Condition("Reconciling", "False", reason, ""),
        Condition("Stalled", "False", reason, ""),
    )


def waiting(error: CinderbankError) -> tuple[Condition, ...]:
    """It goes on by itself once the cloud, the Secret or the claims can be read."""
    return (
        Condition("Ready", "False", error.reason, error.message),
        Condition("Reconciling", "True", "Retrying", "It goes on by itself"),
        Condition("Stalled", "False", error.reason, ""),
    )


def stalled(reason: str, message: str) -> tuple[Condition, ...]:
    return (
        Condition("Ready", "False", reason, message),
        Condition("Reconciling", "False", reason, ""),
        Condition("Stalled", "True", reason, message),
    )


def selected(
    count: int,
    absent: Sequence[VolumeId],
    left_out: int,
    *,
    max_volumes: int,
    suspended: bool,
    claims_cut: bool = False,
) -> tuple[Condition, ...]:
    """How it goes when all could be looked at."""
    if claims_cut:
        return stalled("TooManyClaims", TOO_MANY_CLAIMS)
    if count == 0:
        return stalled("NothingSelected", NOTHING_SELECTED)
    if count > max_volumes:
        return stalled(
            "TooManyVolumes",
            f"{count} volumes are selected and spec.maxVolumes is {max_volumes}: {count - max_volumes} of"
            " them are not backed up (those with backups of this policy are, then the first by id);"
            " raise spec.maxVolumes, narrow spec.selector, or make several policies",
        )
    parts = [f"{count} volumes are selected"]
    if absent:
        parts.append(
            f"not in the project: {', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}"
        )
    if left_out:
        parts.append(f"left out of the last run, as an earlier backup is at work: {left_out}")
    if suspended:
        return well("Suspended", "; ".join((*parts, "the schedule is suspended")))
    return well("OnSchedule", "; ".join(parts))


def backups_refused(count: int, first: CinderbankError) -> Condition:
    """Of a run that has ended; it stands until the next one ends."""
    told = f"{count} backups of the last run were refused and not made; the first: {first.reason}:"
    way_out = "; mend it, then a new spec.trigger runs it again"
    return Condition("BackupsMade", "False", first.reason, f"{told} {first.message[:500]}{way_out}")


def crowded(count: int) -> Condition:
    """Of a run that has ended, as backups_refused."""
    told = (
        f"{count} volumes were left out of the last run, as {MOST_AT_WORK} backups of each are at work:"
        " spec.schedule is faster than they end; make it rarer, or set spec.concurrencyPolicy to Forbid."
        " See what holds them: `kubectl get vbk -l cinderbank.io/policy=NAME`"
    )
    return Condition("BackupsMade", "False", "TooManyAtWork", told)


def run_refused(reason: str, message: str) -> Condition:
    """Of a run of a group that has ended without a backup of each member; it stands as backups_refused."""
    way_out = (
        "" if "spec.trigger" in message else "; mend it, then a new spec.trigger runs it again"
    )
    return Condition("BackupsMade", "False", reason, f"{message}{way_out}")


def rpo_met(verdict: RpoVerdict | None) -> Condition:
    if verdict is None:
        return Condition("RPOMet", "False", "NothingSelected", NOTHING_SELECTED)
    worst = f"{verdict.worst.id} ({verdict.worst.name[:100]})" if verdict.worst.name else ""
    worst = worst or verdict.worst.id
    point = _time(verdict.worst_point_at)
    if verdict.met:
        return Condition(
            "RPOMet", "True", "YoungEnough", f"the oldest recovery point is of {worst}: {point}"
        )
    return Condition(
        "RPOMet",
        "False",
        "TooOld",
        f"{verdict.late} volumes have no good copy that is young enough; worst is {worst}: {point}."
        " `kubectl get vbk -l cinderbank.io/policy=NAME` shows what its backups say",
    )


def rpo_never_looked() -> Condition:
    """`rpo` has passed since the policy was made, and its volumes could not be listed even once."""
    told = "no volume could be looked at since the policy was made; condition Ready says why"
    return Condition("RPOMet", "False", "TooOld", told)


def retention_applied(verdicts: Sequence[Verdict], *, dry_run: bool) -> Condition:
    going = sum(1 for each in verdicts if not each.kept)
    later = sum(1 for each in verdicts if Why.DELETES_LIMITED in each.why)
    broken = {each.child.volume_id for each in verdicts if Why.NEWEST_FAILED in each.why}
    if dry_run:
        told = f"{going + later} would go; set spec.retention.dryRun to false to let them"
        return Condition("RetentionApplied", "False", "DryRun", told)
    if later:
        told = f"{later} more would go than spec.retention.maxDeletesPerRun lets; they go after later runs"
        return Condition("RetentionApplied", "False", "DeletesLimited", told)
    if broken:
        told = f"nothing goes of {len(broken)} volumes whose last backup failed; mend what made it fail"
        return Condition("RetentionApplied", "False", "NewestFailed", told)
    return Condition("RetentionApplied", "True", "Applied", "what should go, goes")


def retention_refused(error: CinderbankError) -> Condition:
    return Condition("RetentionApplied", "False", error.reason, error.message)


def lost(names: Sequence[str]) -> CinderbankError:
    return DataCorrupt(
        f"Completed, and not in the bank any more, or damaged there: {', '.join(names[:5])};"
        " `cinderbank bank ls` and `cinderbank bank check` tell which; then delete these VolumeBackups",
        reason="BackupLost",
    )


def missed(memory: RunMemory, count: int) -> str:
    last = memory.last_missed_at
    until = "" if last is None else f", the last before or at {_time(last)}"
    return f"{count} runs of the schedule were missed{until}"


def ahead(until: datetime) -> str:
    return (
        f"the schedule was judged up to {_time(until)}, which is far ahead: the operator's clock was"
        " wrong, or is; runs begin from now on again"
    )


def _time(at: datetime | None) -> str:
    return "none" if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")
