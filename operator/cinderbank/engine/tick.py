"""One tick of one object: the door into the engine for the kube edge.

A tick observes, decides, performs at most one effect and publishes. Nothing is kept between ticks but
what `Records` stored. Call it again after `requeue_after_seconds`, or when the object changes.
"""

from __future__ import annotations

from cinderbank.domain.errors import CinderbankError
from cinderbank.domain.record import BackupRecord, Memory, OnDelete, RestoreRecord
from cinderbank.engine.backup import BackupCourse
from cinderbank.engine.course import TickResult, is_offline, run, run_blocked
from cinderbank.engine.restore import RestoreCourse
from cinderbank.engine.world import BackupWorld, RestoreWorld
from cinderbank.ports.clock import Clock
from cinderbank.ports.records import Records

__all__ = [
    "BackupWorld",
    "RestoreWorld",
    "TickResult",
    "report_blocked_backup",
    "report_blocked_restore",
    "tick_backup",
    "tick_restore",
]


def tick_backup(record: BackupRecord, world: BackupWorld) -> TickResult:
    """Move one backup on by one step. Never raises an Exception."""
    return run(BackupCourse(record, world), world.records, world.transfers, world.clock.now())


def tick_restore(record: RestoreRecord, world: RestoreWorld) -> TickResult:
    """Move one restore on by one step. Never raises an Exception."""
    return run(RestoreCourse(record, world), world.records, world.transfers, world.clock.now())


def report_blocked_backup(
    record: BackupRecord, records: Records, error: CinderbankError, clock: Clock
) -> TickResult:
    """Say that a tick was not even possible (a Secret is missing, a bank is unreachable, ...).

    Keeps memory but for the count of failures, and never fails the object: a Secret or a BackupBank
    can be mended in place, so it is looked at again on a slow beat. What needs neither cloud nor bank
    is done all the same: an object that has ended, or that never began, is let go.
    """
    now = clock.now()
    course = BackupCourse(record, None)
    leaves = record.identity.deleting or record.request.cancel
    if _needs_no_world(record.memory, leaves=leaves) and is_offline(
        course.decide(course.blank(now))
    ):
        return run(course, records, None, now)
    return run_blocked(course, records, error, now)


def report_blocked_restore(
    record: RestoreRecord, records: Records, error: CinderbankError, clock: Clock
) -> TickResult:
    """As report_blocked_backup."""
    now = clock.now()
    course = RestoreCourse(record, None)
    deletes_volume = record.identity.deleting and record.identity.has_finalizer
    ended = record.memory.outcome is not None and record.memory.outcome.final
    if ended and deletes_volume and record.request.on_delete is OnDelete.DELETE:
        return run_blocked(course, records, error, now)  # whether the volume is there, nobody knows
    leaves = record.identity.deleting or record.request.cancel
    if _needs_no_world(record.memory, leaves=leaves) and is_offline(
        course.decide(course.blank(now))
    ):
        return run(course, records, None, now)
    return run_blocked(course, records, error, now)


def _needs_no_world(memory: Memory, *, leaves: bool) -> bool:
    """Whether it has ended, or leaves before it began: then nothing of ours is anywhere."""
    if memory.outcome is not None and memory.outcome.final:
        return True
    return leaves and not memory.intents
