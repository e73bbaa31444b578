"""A run of a policy over a Cinder group: one group snapshot, and a backup of each of its members.

    (begun) ──► snapshot asked for ──► available ──► a backup of each member ──► all of them ended ──► deleted

A run keeps what can not be observed: which group and cloud, that the snapshot was asked for (before it is),
and why nothing more is made. All else is looked at: the group snapshot by its name, its members, the backups
that are there, volumes that still hang on a member. Rules, the first that answers wins:

| when | step |
|---|---|
| nothing more is to be made: a backup is at work, or a volume of ours hangs on a member | Rest |
| ... a group snapshot of our name is there | DeleteGroupSnapshot (paced), or Rest while it can not be |
| ... one may still turn up | Rest |
| ... else | EndRun |
| none is there, and one may still turn up | Rest |
| ... it was there before, or was tried too often | Close |
| ... else | CreateGroupSnapshot |
| it is `error` | DeleteGroupSnapshot and again, up to RETRY_LIMIT times; then Close |
| it is not `available` | Rest, Close after `timeout` |
| a member has no backup | MakeBackups |
| every member has one | Close, without a problem |

So what was made in the cloud is deleted on every way, and only when nothing needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cinderbank.domain.backoff import again_seconds, poll_seconds
from cinderbank.domain.cleanup import STUBBORN_TRIES
from cinderbank.domain.errors import CinderbankError, ResourceFailed, Retryable, SourceGone
from cinderbank.domain.facts import SnapshotFacts, VolumeFacts, VolumeId
from cinderbank.domain.intents import SETTLE_SECONDS
from cinderbank.domain.names import BACKUP_TAG
from cinderbank.domain.policy.children import run_label
from cinderbank.domain.policy.moment import MOST_MEMBERS, OneMoment, too_large

RETRY_LIMIT = 3
"""So often a group snapshot that failed is asked for again."""

CHILDREN_SECONDS = 60.0
"""Between looks at backups at work; the watches tell sooner."""

CLEAN_UP_PATIENCE = timedelta(minutes=30)
"""What should go and is there for longer is told. A driver that flattens first needs 50 s for 1 GiB
(measured), and does the members one after another: hours of that are no hang, and are still worth telling."""

SECRET_PATIENCE = timedelta(hours=24)
"""So long a run waits for a Secret that is gone, and that only its clean-up needs: a Secret that was taken
away by mistake is back by then, and who has renamed it for good loses no more than a day of backups."""

DELETABLE = frozenset({"available", "error", "error_deleting"})
"""error_deleting is refused by Cinder today, and asked for all the same: an administrator may reset it."""


@dataclass(frozen=True, slots=True)
class GroupSnapshotFacts:
    """A Cinder group snapshot, GET /v3/group_snapshots/{id}."""

    id: str
    name: str
    status: str
    group_id: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CloudRef:
    """Which credentials: those that a snapshot was asked for with are those that it is deleted with."""

    secret_name: str
    cloud_name: str


@dataclass(frozen=True, slots=True)
class GroupRun:
    """What a run remembers of its group snapshot."""

    group_id: str
    cloud: CloudRef
    one_moment: OneMoment
    asked_at: datetime
    """When it was about to be asked for, the last time: written before it is."""
    tries: int = 1
    snapshot_id: str = ""
    """What Cinder answered, or what was found."""
    deleted_at: datetime | None = None
    """When its delete was asked for, the last time."""
    deletes: int = 0
    closed: bool = False
    """Nothing more is made; what is there is waited for and then deleted."""
    problem: str = ""
    """Reason why it was closed before every member had its backup; a CamelCase word."""
    message: str = ""
    """What is waited for, or the problem, for the user."""
    secret_gone_at: datetime | None = None
    """When its Secret was first found to be gone; None while it is there."""


@dataclass(frozen=True, slots=True)
class GroupLook:
    """One look at everything that the next step of a run depends on."""

    policy_uid: str
    run: GroupRun
    now: datetime
    timeout: timedelta
    """How long Cinder may take for the snapshot."""
    snapshots: Sequence[GroupSnapshotFacts] = ()
    """Those of our name, oldest first."""
    members: Sequence[SnapshotFacts] = ()
    """Of the one that counts, once it is available."""
    backed_up: frozenset[VolumeId] = frozenset()
    """Volumes that have a backup of this run."""
    at_work: Sequence[str] = ()
    """Names of backups of this run that have not ended."""
    volumes: Sequence[VolumeFacts] = ()
    """Made of a member and still there, whoever made them."""
    last_ended_at: datetime | None = None
    """When the last of its backups ended, as far as that is known."""


@dataclass(frozen=True, slots=True)
class CreateGroupSnapshot:
    tries: int


@dataclass(frozen=True, slots=True)
class DeleteGroupSnapshot:
    snapshot_id: str


@dataclass(frozen=True, slots=True)
class MakeBackups:
    members: tuple[SnapshotFacts, ...]
    """That have none yet."""


@dataclass(frozen=True, slots=True)
class Close:
    problem: CinderbankError | None


@dataclass(frozen=True, slots=True)
class Rest:
    seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class EndRun:
    """Nothing of it is left in the cloud."""


GroupStep = CreateGroupSnapshot | DeleteGroupSnapshot | MakeBackups | Close | Rest | EndRun


def next_group_step(look: GroupLook) -> GroupStep:
    """The one step that comes next. Total and pure."""
    if look.run.closed:
        return _closing(look)
    found = counted(look)
    if found is None:
        return _to_create(look)
    if found.status == "available":
        return _to_back_up(look, found)
    if found.status == "creating":
        return _creating(look, found)
    return _failed(look, found)


def absorbed(look: GroupLook) -> GroupLook:
    """The same look, with the id of what was found in its memory: it has turned up."""
    found = counted(look)
    if found is None or look.run.snapshot_id == found.id:
        return look
    return replace(look, run=replace(look.run, snapshot_id=found.id))


def counted(look: GroupLook) -> GroupSnapshotFacts | None:
    """Of two that an answer that got lost has left: the one that is known, else the oldest that is not
    useless, else the oldest. Once there is a backup of one, no other one ever counts: its moment is another."""
    known = next((each for each in look.snapshots if each.id == look.run.snapshot_id), None)
    if look.backed_up and look.run.snapshot_id:
        return known
    usable = [each for each in look.snapshots if each.status in ("available", "creating")]
    return known if known in usable else next(iter(usable or look.snapshots), None)


def clean_up_trouble(look: GroupLook, step: GroupStep) -> Retryable | None:
    """CleanUpFailing: what the run has made does not go, though nothing needs it any more."""
    run = look.run
    match step:
        case Rest(message=message):
            pass
        case DeleteGroupSnapshot(snapshot_id=snapshot_id):
            message = f"group snapshot {snapshot_id} was deleted {run.deletes} time(s) and is there"
        case _:
            return None
    if look.at_work or not (run.closed or run.deleted_at is not None):
        return None
    since = max(filter(None, (run.asked_at, run.deleted_at, look.last_ended_at)))
    if run.deletes < STUBBORN_TRIES and look.now - since <= CLEAN_UP_PATIENCE:
        return None
    way_out = (
        "; no other run begins before it is gone. A temporary volume can be deleted by hand; of a group"
        " snapshot cinder-volume's log tells more, and when the cloud's administrator has reset its"
        " status to error it is deleted by itself"
    )
    return Retryable(f"{message}{way_out}", reason="CleanUpFailing")


def is_given_up(run: GroupRun, now: datetime) -> bool:
    """Whether its Secret has been gone for so long that nobody is expected to bring it back."""
    return run.secret_gone_at is not None and now - run.secret_gone_at > SECRET_PATIENCE


def snapshot_name(policy_uid: str, run_at: datetime) -> str:
    """The tag of a group snapshot and of its members; MUST never change for a run under way."""
    return f"cinderbank-{policy_uid}-{run_label(run_at)}-group"


def _to_create(look: GroupLook) -> GroupStep:
    run = look.run
    if wait := _unsettled(look):
        return wait
    if not run.snapshot_id:
        return CreateGroupSnapshot(run.tries)  # a request that never arrived proves nothing
    problem = ResourceFailed(
        f"group snapshot {run.snapshot_id} is gone, and was still needed",
        reason="GroupSnapshotLost",
    )
    return _again(look) or Close(problem)


def _again(look: GroupLook) -> GroupStep | None:
    """A fresh try, as long as no backup is of the first one: theirs would be of another moment."""
    run = look.run
    if look.backed_up or run.tries > RETRY_LIMIT:
        return None
    left = again_seconds(run.tries, look.policy_uid) - _age_seconds(run.asked_at, look.now)
    if left > 0:
        return Rest(left, f"the group snapshot failed {run.tries} time(s); it is tried again")
    return CreateGroupSnapshot(run.tries + 1)


def _creating(look: GroupLook, found: GroupSnapshotFacts) -> GroupStep:
    age = _age_seconds(look.run.asked_at, look.now)
    if age > look.timeout.total_seconds():
        message = f"group snapshot {found.id} is still creating after {look.timeout}"
        return Close(ResourceFailed(message, reason="GroupSnapshotTimeout"))
    return Rest(poll_seconds(age), f"group snapshot {found.id} is creating")


def _failed(look: GroupLook, found: GroupSnapshotFacts) -> GroupStep:
    if look.backed_up or look.run.tries > RETRY_LIMIT:
        message = (
            f"group snapshot {found.id} went into status {found.status}; whether the back end has room,"
            " and what its cinder-volume logs, the cloud's administrator can tell"
        )
        return Close(ResourceFailed(message, reason="GroupSnapshotFailed"))
    return _delete(look, found)


def _to_back_up(look: GroupLook, found: GroupSnapshotFacts) -> GroupStep:
    if len(look.members) > MOST_MEMBERS:
        return Close(too_large(look.run.group_id, len(look.members)))
    left = tuple(each for each in look.members if each.volume_id not in look.backed_up)
    if left:
        return MakeBackups(left)
    if not look.members:
        message = f"group snapshot {found.id} has no members: the group was empty at that moment"
        return Close(SourceGone(message, reason="GroupEmpty"))
    return Close(None)


def _closing(look: GroupLook) -> GroupStep:
    if look.at_work:
        names = ", ".join(sorted(look.at_work)[:5])
        message = (
            f"the group snapshot stays until its {len(look.at_work)} backups have ended: {names}"
        )
        return Rest(CHILDREN_SECONDS, message)
    ours = [volume.id for volume in look.volumes if BACKUP_TAG in volume.metadata]
    if ours:
        return Rest(_delete_poll(look), f"waiting for temporary volume {ours[0]} to go away")
    if look.snapshots:
        deletable = [each for each in look.snapshots if each.status in DELETABLE]
        if deletable:
            return _delete(look, deletable[0])
        first = look.snapshots[0]
        return Rest(_delete_poll(look), f"group snapshot {first.id} is {first.status}")
    return _unsettled(look) or EndRun()


def _delete(look: GroupLook, found: GroupSnapshotFacts) -> DeleteGroupSnapshot | Rest:
    """Paced: a delete that came to nothing is asked for again, less and less often."""
    run = look.run
    if found.status == "deleting":
        return Rest(_delete_poll(look), f"group snapshot {found.id} is deleting")
    if run.deleted_at is None:
        return DeleteGroupSnapshot(found.id)
    left = again_seconds(run.deletes, look.policy_uid) - _age_seconds(run.deleted_at, look.now)
    if left <= 0:
        return DeleteGroupSnapshot(found.id)
    return Rest(
        left, f"group snapshot {found.id} was deleted {run.deletes} time(s) and is {found.status}"
    )


def _delete_poll(look: GroupLook) -> float:
    since = look.run.deleted_at or look.run.asked_at
    return poll_seconds(_age_seconds(since, look.now))


def _unsettled(look: GroupLook) -> Rest | None:
    left = SETTLE_SECONDS - _age_seconds(look.run.asked_at, look.now)
    if left <= 0:
        return None
    return Rest(min(left, 5.0), "looking for the group snapshot that was asked for")


def _age_seconds(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds())
