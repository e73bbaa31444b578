"""One tick of one object: the only door into the engine, for the kube edge and for the CLI.

A tick observes, decides, performs at most one effect and publishes. Nothing is kept between ticks but
what `Records` stored. Call it again after `requeue_after_seconds`, or when the object changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from cinderbank.domain.errors import CinderbankError
from cinderbank.domain.record import BackupRecord, Memory, Report, RestoreRecord
from cinderbank.ports.bank import Bank
from cinderbank.ports.cinder import Cinder
from cinderbank.ports.clock import Clock, Identities
from cinderbank.ports.glance import Glance
from cinderbank.ports.records import Records
from cinderbank.ports.transfers import Transfers


@dataclass(frozen=True, slots=True)
class BackupWorld:
    """Everything one backup needs: the doors of one site's cloud, of one bank, of one object."""

    cinder: Cinder
    glance: Glance
    bank: Bank
    transfers: Transfers
    records: Records
    clock: Clock
    identities: Identities
    site: str
    """The name of this site, as BackupBank.spec.site says."""


@dataclass(frozen=True, slots=True)
class RestoreWorld:
    """Everything one restore needs."""

    cinder: Cinder
    glance: Glance
    bank: Bank
    transfers: Transfers
    records: Records
    clock: Clock


@dataclass(frozen=True, slots=True)
class TickResult:
    """What a tick did, for logs, metrics and the queue; memory and report are already published."""

    memory: Memory
    report: Report
    requeue_after_seconds: float | None
    """None: done until the object changes."""
    step: str
    """Class name of the step that was decided, e.g. CreateSnapshot; empty when none could be."""
    error: CinderbankError | None = None


def tick_backup(record: BackupRecord, world: BackupWorld) -> TickResult:
    """Move one backup on by one step. Never raises an Exception."""
    raise NotImplementedError


def tick_restore(record: RestoreRecord, world: RestoreWorld) -> TickResult:
    """Move one restore on by one step. Never raises an Exception."""
    raise NotImplementedError


def report_blocked_backup(
    record: BackupRecord, records: Records, error: CinderbankError, clock: Clock
) -> TickResult:
    """Say that a tick was not even possible (a Secret is missing, a bank is unreachable, ...).

    Keeps memory but for the count of failures. Never raises an Exception, and never fails the object:
    a Secret or a BackupBank can be mended in place, so it is looked at again on a slow beat.
    """
    raise NotImplementedError


def report_blocked_restore(
    record: RestoreRecord, records: Records, error: CinderbankError, clock: Clock
) -> TickResult:
    """As report_blocked_backup."""
    raise NotImplementedError
