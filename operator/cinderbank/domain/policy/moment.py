"""Whether the backups of one run are of one moment: what Cinder says of the group, and what was asked.

Cinder promises one moment for a group whose type has consistent_group_snapshot_enabled="<is> True"; of any
other group it takes the members' snapshots one after another, and says nothing. A project member is not shown
the specs of a group type unless the cloud's administrator changed that policy: then the user's word is taken
(Declared), or the answer is that nobody knows.

| group type | Preferred | Declared | Required |
|---|---|---|---|
| promises it | True | True | True |
| does not | False | refused | refused |
| not told | Unknown | Declared | refused |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from cinderbank.domain.errors import CinderbankError, Retryable, SourceGone, Unsupported
from cinderbank.domain.facts import VolumeFacts, VolumeId
from cinderbank.domain.record import Condition

MOST_MEMBERS = 64
"""Each is a snapshot, and then a temporary volume, at the same time; Cinder's own quota is 10 of each."""

GROUP_TAG = "cinderbank.io/group"
GROUP_SNAPSHOT_TAG = "cinderbank.io/group-snapshot"
"""Tags of a backup in the bank, and the latter a label of its VolumeBackup and of its RecoveryPoint."""
ONE_MOMENT_TAG = "cinderbank.io/one-moment"
MOMENT_TAG = "cinderbank.io/moment"
"""When Cinder began the group snapshot: its members' rows may say a second later (measured)."""

READY_GROUP = "available"


class Consistency(StrEnum):
    """What a policy asks of the snapshots of its group."""

    PREFERRED = "Preferred"
    DECLARED = "Declared"
    REQUIRED = "Required"


class OneMoment(StrEnum):
    """What is known of the snapshots of a group."""

    TRUE = "True"
    DECLARED = "Declared"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A Cinder group, GET /v3/groups/{id}."""

    id: str
    name: str
    status: str
    group_type_id: str
    volume_ids: tuple[VolumeId, ...]


def one_moment(consistency: Consistency, promised: bool | None) -> OneMoment:
    if promised is not None:
        return OneMoment.TRUE if promised else OneMoment.FALSE
    return OneMoment.DECLARED if consistency is Consistency.DECLARED else OneMoment.UNKNOWN


def refusal(
    group: GroupFacts, consistency: Consistency, promised: bool | None
) -> CinderbankError | None:
    """Why no run may begin of this group; Retryable when it may later."""
    if group.status != READY_GROUP:
        return Retryable(
            f"group {group.id} is {group.status}; a snapshot of it needs it available",
            reason="GroupBusy",
        )
    if not group.volume_ids:
        return SourceGone(no_members(group.id), reason="GroupEmpty")
    if len(group.volume_ids) > MOST_MEMBERS:
        return too_large(group.id, len(group.volume_ids))
    known = one_moment(consistency, promised)
    if consistency is Consistency.PREFERRED or known in (OneMoment.TRUE, OneMoment.DECLARED):
        return None
    condition = of_group(group, consistency, promised)
    message = f"spec.group.consistency is {consistency}: {condition.message}"
    return Unsupported(message, reason=condition.reason)


def no_members(group_id: str) -> str:
    return f"group {group_id} has no volumes; `cinder group-update --add-volumes` adds them"


def too_large(group_id: str, members: int) -> Unsupported:
    return Unsupported(
        f"group {group_id} has {members} volumes; at most {MOST_MEMBERS} are backed up at one moment."
        " Split the group, or select the volumes by spec.selector instead",
        reason="GroupTooLarge",
    )


def not_found(group_id: str) -> SourceGone:
    return SourceGone(
        f'the project of the cloud credentials has no group with spec.group.groupID "{group_id}";'
        " check the value, and that the credentials are those of the group's project",
        reason="GroupNotFound",
    )


def of_group(group: GroupFacts, consistency: Consistency, promised: bool | None) -> Condition:
    """Condition OneMoment of a policy over a group."""
    type_ = f"group type {group.group_type_id}"
    match one_moment(consistency, promised):
        case OneMoment.TRUE:
            told = f"{type_} promises snapshots of one moment for the volumes of group {group.id}"
            return Condition("OneMoment", "True", "Consistent", told)
        case OneMoment.DECLARED:
            told = f"spec.group.consistency says so; Cinder does not show this project what {type_} promises"
            return Condition("OneMoment", "True", "Declared", told)
        case OneMoment.FALSE:
            told = (
                f"{type_} does not promise it, so Cinder takes the snapshots of these volumes one after"
                f" another: {_named(group.volume_ids)}. Where a back end can, the cloud's administrator"
                " makes a group type with consistent_group_snapshot_enabled='<is> True'; make a group of it"
            )
            return Condition("OneMoment", "False", "NotConsistent", told)
        case _:
            told = (
                f"Cinder does not show this project what {type_} promises. Ask the cloud's administrator"
                " whether it has consistent_group_snapshot_enabled='<is> True', then set"
                " spec.group.consistency: Declared"
            )
            return Condition("OneMoment", "Unknown", "NotTold", told)


def of_volumes(volumes: Sequence[VolumeFacts]) -> Condition | None:
    """Condition OneMoment of a policy that selects volumes by themselves; None of one volume."""
    if len(volumes) < 2:
        return None
    told = (
        f"each volume has a snapshot of its own: {_named([volume.id for volume in volumes])}."
        " Volumes that belong together go into a Cinder group, and its id into spec.group.groupID"
    )
    return Condition("OneMoment", "False", "NoGroup", told)


def tags(
    group_id: str, snapshot_id: str, known: OneMoment, moment: datetime | None
) -> dict[str, str]:
    """What tells in the bank which backups are one set."""
    found = {GROUP_TAG: group_id, GROUP_SNAPSHOT_TAG: snapshot_id, ONE_MOMENT_TAG: str(known)}
    if moment is not None:
        found[MOMENT_TAG] = f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return found


def _named(ids: Sequence[VolumeId]) -> str:
    return f"{', '.join(ids[:5])}{f' and {len(ids) - 5} more' if len(ids) > 5 else ''}"
