"""A backup of a snapshot that is there already: spec.source.snapshotID.

It is somebody else's (a user's, or a group snapshot's member): never made anew, never deleted by us. So
there is nothing to try again: it is read while it is `available`, or the backup has failed.
"""

from __future__ import annotations

from datetime import datetime

from cinderbank.domain.backoff import poll_seconds
from cinderbank.domain.backup_steps import BackupObserved
from cinderbank.domain.errors import ResourceFailed, SourceGone
from cinderbank.domain.facts import SnapshotFacts
from cinderbank.domain.stages import fail
from cinderbank.domain.steps import Conclude, Wait


def not_found(o: BackupObserved) -> SourceGone:
    return SourceGone(
        f'the project of the cloud credentials has no snapshot with spec.source.snapshotID "'
        f'{o.request.snapshot_id}"; `openstack volume snapshot list` shows those it has',
        reason="SnapshotNotFound",
    )


def lost(o: BackupObserved) -> Conclude:
    """It went before there was a volume of it."""
    message = (
        f"snapshot {o.request.snapshot_id} of spec.source.snapshotID is gone, and it was still needed;"
        " make a new VolumeBackup of another one"
    )
    return fail(o, SourceGone(message, reason="SnapshotLost"))


def not_ready(o: BackupObserved, snapshot: SnapshotFacts) -> Wait | Conclude:
    """What a snapshot that is not `available` means."""
    what = f"snapshot {snapshot.id} of spec.source.snapshotID is {snapshot.status}"
    if snapshot.status.startswith("error") or snapshot.status == "deleting":
        message = f"{what}, so its data can not be trusted; name one that is available"
        return fail(o, ResourceFailed(message, reason="SnapshotInError"))
    limit = o.request.timeouts.snapshot
    age = (o.now - (o.memory.started_at or o.now)).total_seconds()
    if age > limit.total_seconds():
        return fail(o, ResourceFailed(f"{what} after {limit}", reason="SnapshotTimeout"))
    return Wait(poll_seconds(age), "Snapshotting", what)


def taken_at(o: BackupObserved, snapshot: SnapshotFacts) -> datetime:
    """The moment that its data is of, as Cinder says it."""
    return snapshot.created_at or o.memory.started_at or o.now
