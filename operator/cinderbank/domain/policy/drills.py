"""Restore drills of a policy: which backup is drilled next, and which old drills go. Pure.

Each backup of a volume has a number: one more than the backup before it (a label; of those without
one, their place). A volume's newest good backup is drilled when its number has come to, or passed,
a multiple of `every` since the last drill. So nothing is counted in memory, and a drill that is
named after its backup is never made twice. When just that backup fails, the next good one is drilled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

from cinderbank.domain.facts import VolumeId
from cinderbank.domain.policy.children import LONGEST_NAME, Child, backup_of, newest_good
from cinderbank.domain.record import Condition

DRILL_SUFFIX = "-drill"
BATCH = 20
"""Drills made, or old ones deleted, in one look."""


@dataclass(frozen=True, slots=True)
class DrillRules:
    every: int
    max_concurrent: int = 1
    successful_limit: int = 1
    failed_limit: int = 3


class DrillState(StrEnum):
    WORKING = "Working"
    VERIFIED = "Verified"
    DIFFERENT = "Different"
    """It found a difference: it stays until a person deletes it."""
    FAILED = "Failed"
    """It could not be run, or was canceled: that says nothing about the backup."""
    LEAVING = "Leaving"


@dataclass(frozen=True, slots=True)
class Drill:
    """One VolumeRestore with spec.drill that the policy has made."""

    name: str
    uid: str
    volume_id: VolumeId
    run_at: datetime
    """Of the backup."""
    number: int
    state: DrillState
    reason: str = ""
    """Of its condition Ready."""


@dataclass(frozen=True, slots=True)
class DrillPlan:
    start: tuple[tuple[Child, int], ...]
    """Backups and their numbers; the volume that was drilled longest ago first."""
    waiting: int
    """So many more are due, and wait for their turn."""
    give_up: tuple[Drill, ...]


def drill_name(backup: str) -> str:
    """Of the drill of that VolumeBackup: at most 63 characters, never the same for two."""
    room = LONGEST_NAME - len(DRILL_SUFFIX)
    if len(backup) <= room:
        return backup + DRILL_SUFFIX
    digest = blake2b(backup.encode(), digest_size=5).hexdigest()
    return f"{backup[: room - len(digest) - 1].rstrip('-')}-{digest}{DRILL_SUFFIX}"


def is_drill(name: str, labels: Mapping[str, str]) -> bool:
    """Whether an object of that name and these labels is what a policy made."""
    backup = backup_of(labels)
    return backup is not None and name == drill_name(backup)


def numbers(children: Iterable[Child]) -> dict[str, int]:
    """The number of each backup, by name."""
    found: dict[str, int] = {}
    last: dict[VolumeId, int] = {}
    for child in sorted(children, key=lambda each: (each.run_at, each.name)):
        number = child.number or last.get(child.volume_id, 0) + 1
        found[child.name] = number
        last[child.volume_id] = max(number, last.get(child.volume_id, 0))
    return found


def next_number(children: Iterable[Child], volume_id: VolumeId) -> int:
    """Of the backup that is made next."""
    return max(numbers(c for c in children if c.volume_id == volume_id).values(), default=0) + 1


def plan_drills(
    rules: DrillRules,
    children: Sequence[Child],
    drills: Sequence[Drill],
    selected: Collection[VolumeId],
    *,
    suspended: bool = False,
) -> DrillPlan:
    number_of = numbers(children)
    newest_number: dict[VolumeId, int] = {}
    for each in children:
        most = max(newest_number.get(each.volume_id, 0), number_of[each.name])
        newest_number[each.volume_id] = most
    last = _newest(drills)
    working = [each for each in drills if each.state is DrillState.WORKING]
    busy = {each.volume_id for each in working}
    due = []
    for volume_id, child in newest_good(children).items():
        number = number_of[child.name]
        drilled = last[volume_id].number if volume_id in last else 0
        if drilled > newest_number[volume_id]:
            drilled = 0  # its backups were deleted, and are counted anew
        if child.encrypted:
            continue
        if volume_id in selected and volume_id not in busy and _passed(rules, number, drilled):
            due.append((drilled > 0, drilled and last[volume_id].run_at, child, number))
    due.sort(key=lambda each: (each[0], each[1], each[2].volume_id))
    room = 0 if suspended else max(0, min(BATCH, rules.max_concurrent - len(working)))
    start = tuple((child, number) for _, _, child, number in due[:room])
    return DrillPlan(start, len(due) - len(start), _give_up(rules, drills, last))


def _passed(rules: DrillRules, number: int, drilled: int) -> bool:
    return number // rules.every > drilled // rules.every


def _newest(drills: Iterable[Drill]) -> dict[VolumeId, Drill]:
    found: dict[VolumeId, Drill] = {}
    for each in drills:
        best = found.get(each.volume_id)
        if best is None or (each.number, each.run_at) > (best.number, best.run_at):
            found[each.volume_id] = each
    return found


def _give_up(
    rules: DrillRules, drills: Sequence[Drill], last: Mapping[VolumeId, Drill]
) -> tuple[Drill, ...]:
    """Of each volume those beyond the limits, but never its last one: that says what comes next."""
    limits = {
        DrillState.VERIFIED: rules.successful_limit,
        DrillState.FAILED: rules.failed_limit,
    }
    seen: dict[tuple[VolumeId, DrillState], int] = {}
    going = []
    for each in sorted(drills, key=lambda drill: (drill.run_at, drill.name), reverse=True):
        if each.state not in limits:
            continue
        place = seen[each.volume_id, each.state] = seen.get((each.volume_id, each.state), 0) + 1
        if place > limits[each.state] and each != last[each.volume_id]:
            going.append(each)
    return tuple(going[:BATCH])


def drilled(drills: Sequence[Drill], selected: Collection[VolumeId], waiting: int) -> Condition:
    """Condition Drilled: of the selected volumes, by the last drill of each; a difference always tells."""
    different = [each for each in drills if each.state is DrillState.DIFFERENT]
    ended = [each for each in drills if each.state in (DrillState.VERIFIED, DrillState.FAILED)]
    last = [each for each in _newest(ended).values() if each.volume_id in selected]
    if different:
        told = f"{_named(different)} found that other bytes come back than were backed up"
        return Condition("Drilled", "False", "DrillFoundDifference", told)
    failed = [each for each in last if each.state is DrillState.FAILED]
    if failed:
        told = f"{_named(failed)} could not be run ({failed[0].reason}); the next ones are made all the same"
        return Condition("Drilled", "False", "DrillFailed", told)
    stuck = [each for each in drills if each.state is DrillState.WORKING and each.reason]
    if stuck and waiting:
        told = f"{_named(stuck)} can not go on ({stuck[0].reason}), and {waiting} more wait for it"
        return Condition("Drilled", "False", "DrillWaits", told)
    if not last:
        return Condition("Drilled", "Unknown", "NoDrillYet", "no backup has come to its drill yet")
    told = f"the last drill of each of {len(last)} volumes got every byte back"
    return Condition("Drilled", "True", "DrillsPassed", told)


def _named(drills: Sequence[Drill]) -> str:
    names = ", ".join(sorted(each.name for each in drills)[:3])
    more = f" and {len(drills) - 3} more" if len(drills) > 3 else ""
    return f"VolumeRestore {names}{more}"
