"""The backups of a policy: what they are called, how they are known again, how they stand.

A child carries three labels (policy, volume, time of its run), and its name is made of these: that is
the whole proof that it is ours. So the policy may be deleted and made again by a GitOps tool, or lose
its status, and goes on where it was; and who puts our label on an object of his own does not lose it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import blake2b

from cinderbank.domain.facts import VolumeId

POLICY_LABEL = "cinderbank.io/policy"
VOLUME_LABEL = "cinderbank.io/volume-id"
RUN_LABEL = "cinderbank.io/run"
TRIGGER_LABEL = "cinderbank.io/trigger"
NUMBER_LABEL = "cinderbank.io/number"
"""Which backup of its volume it is, counted from 1: tells which ones are drilled."""
MOST_NUMBER = 10**9

LONGEST_NAME = 63
_RUN_FORM = "%Y%m%d%H%M%S"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_VOLUME_PART = 13
"""Of the UUID: 48 bits, so that no two volumes of a project meet."""


class ChildState(StrEnum):
    WORKING = "Working"
    GOOD = "Good"
    """Completed, or Verified."""
    COPYING = "Copying"
    """Completed, and a copy that its spec asks for is not in its bank yet: a recovery point, but none
    that an older one could go for, as that one's copies go with it."""
    FAILED = "Failed"
    """Failed or Canceled: nothing of it is in the bank."""
    LOST = "Lost"
    """Completed, and not in the bank any more, or found damaged there: no copy, and left alone."""
    LEAVING = "Leaving"
    """Being deleted: it counts as gone."""


@dataclass(frozen=True, slots=True)
class Child:
    """One VolumeBackup of the policy."""

    name: str
    uid: str
    volume_id: VolumeId
    run_at: datetime
    state: ChildState
    point_at: datetime
    """The moment that its data is of; of its run while that is not known."""
    ended_at: datetime | None = None
    hold: bool = False
    trigger: str = ""
    """Digest of the trigger that made it; empty for the schedule."""
    number: int = 0
    """Of NUMBER_LABEL; 0 without one."""
    encrypted: bool = False
    """Whether Cinder encrypts its volume: it can not be drilled."""


def run_label(at: datetime) -> str:
    return at.astimezone(UTC).strftime(_RUN_FORM)


def read_run_label(text: str) -> datetime | None:
    if not re.fullmatch("[0-9]{14}", text):
        return None
    try:
        return datetime.strptime(text, _RUN_FORM).replace(tzinfo=UTC)
    except ValueError:
        return None


def child_name(policy: str, volume_id: VolumeId, run_at: datetime) -> str:
    """A DNS label of at most 63 characters: the same for the same three, never for others."""
    tail = f"-{volume_id[:_VOLUME_PART].lower()}-{run_label(run_at)}"
    room = LONGEST_NAME - len(tail)
    if len(policy) <= room and _LABEL.fullmatch(policy):
        return policy + tail
    digest = blake2b(policy.encode(), digest_size=5).hexdigest()
    plain = re.sub("[^a-z0-9-]", "-", policy.lower())[: room - len(digest) - 1].strip("-") or "p"
    return f"{plain}-{digest}{tail}"


def trigger_digest(trigger: str) -> str:
    """A label's value for a text that may be none; empty for no trigger."""
    return blake2b(trigger.encode(), digest_size=8).hexdigest() if trigger else ""


def labels_of(
    policy: str, volume_id: VolumeId, run_at: datetime, trigger: str = "", number: int = 0
) -> dict[str, str]:
    """`trigger` is a digest; neither a trigger nor a number gets no label."""
    labels = {
        POLICY_LABEL: policy,
        VOLUME_LABEL: volume_id.lower(),
        RUN_LABEL: run_label(run_at),
    }
    numbered = {NUMBER_LABEL: str(number)} if number else {}
    return {**labels, **numbered, **({TRIGGER_LABEL: trigger} if trigger else {})}


def read_number(text: object) -> int:
    """0 for what is none."""
    if not isinstance(text, str) or not re.fullmatch("[0-9]{1,10}", text):
        return 0
    return min(int(text), MOST_NUMBER)


def is_child(name: str, labels: Mapping[str, str]) -> bool:
    """Whether an object of that name and these labels is what a policy made."""
    return name == backup_of(labels)


def backup_of(labels: Mapping[str, str]) -> str | None:
    """What the backup of policy, volume and run is called; None when the labels do not say these."""
    policy, volume_id = labels.get(POLICY_LABEL, ""), labels.get(VOLUME_LABEL, "")
    run_at = read_run_label(labels.get(RUN_LABEL, ""))
    if not policy or not volume_id or run_at is None:
        return None
    return child_name(policy, VolumeId(volume_id), run_at)


FOREIGN = ("argocd.argoproj.io/", "app.kubernetes.io/instance", "cinderbank.io/")
_FLUX = re.compile(r"[a-z.]*\.toolkit\.fluxcd\.io/.*")


def is_foreign_label(key: str) -> bool:
    """Labels by which Argo CD and Flux know what is theirs to prune, and our own: never given on."""
    return key.startswith(FOREIGN) or _FLUX.fullmatch(key) is not None


def newest_run(children: Iterable[Child]) -> datetime | None:
    return max((child.run_at for child in children), default=None)


def newest_good(children: Iterable[Child]) -> dict[VolumeId, Child]:
    """The child of each volume with the newest recovery point, whether its copies are made or not."""
    found: dict[VolumeId, Child] = {}
    for child in children:
        if child.state in (ChildState.GOOD, ChildState.COPYING):
            best = found.get(child.volume_id)
            if best is None or (child.point_at, child.name) > (best.point_at, best.name):
                found[child.volume_id] = child
    return found
