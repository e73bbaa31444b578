"""Maintenance of a BackupBank: when a collection is due, and what its end means for the status."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from cinderbank.api.v1alpha1.backup_bank import AccessMode, BackupBankSpec
from cinderbank.api.v1alpha1.bank_status import BackupBankStatus, MaintenanceStatus
from cinderbank.api.v1alpha1.duration import parse_duration
from cinderbank.domain.errors import CinderbankError
from cinderbank.kube.known import Key
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.clock import Clock
from cinderbank.ports.collections import (
    CollectionAbsent,
    CollectionEnded,
    CollectionFacts,
    CollectionRefused,
    CollectionRequest,
    CollectionRunning,
    Collections,
)

RETRY = timedelta(hours=1)
"""After one that failed or left something, unless the interval is shorter."""
LOOK_AGAIN_SECONDS = 60.0
MAX_MESSAGE_CHARACTERS = 1024


class Maintenance:
    """Acts only on a bank that is Ready; keeps nothing between two runs."""

    def __init__(
        self,
        collections: Callable[[Key], Collections],
        write_status: Callable[[Raw, dict[str, Any]], None],
        say: Callable[[Raw, str, str, bool], None],
        clock: Clock,
        on_error: Callable[[str], None],
    ) -> None:
        self._collections = collections
        self._write_status = write_status
        self._say = say
        self._clock = clock
        self._on_error = on_error

    def due_seconds(self, spec: BackupBankSpec, status: BackupBankStatus) -> float | None:
        """How long until the next collection; None when there is none to come."""
        wish = spec.maintenance
        if wish.suspend or spec.access_mode is AccessMode.READ_ONLY:
            return None
        before = status.maintenance
        if before is None or before.last_run_time is None:
            return 0.0
        interval = parse_duration(wish.interval, "spec.maintenance.interval")
        if before.refused_reason is not None or not before.complete:
            interval = min(interval, RETRY)
        due = (before.last_run_time + interval - self._clock.now()).total_seconds()
        return max(0.0, due)

    def run(
        self, key: Key, raw: Raw, spec: BackupBankSpec, status: BackupBankStatus
    ) -> float | None:
        """Start a collection that is due, or take the result of one that has ended; seconds until it
        wants to be asked again. Raises CinderbankError when the bank's Secrets are not usable."""
        due = self.due_seconds(spec, status)
        if due is None:
            return None
        collections = self._collections(key)
        facts = collections.observe()
        if isinstance(facts, CollectionRunning):
            return LOOK_AGAIN_SECONDS
        if not isinstance(facts, CollectionAbsent):
            self._take(raw, status, facts)
            collections.forget()
            return LOOK_AGAIN_SECONDS
        if due > 0:
            return due
        try:
            collections.start(CollectionRequest(spec.maintenance.max_delete_percent))
        except CinderbankError as error:
            if error.reason not in ("NoCollectionSlot", "CollectionRunning"):
                raise
        return LOOK_AGAIN_SECONDS

    def _take(self, raw: Raw, status: BackupBankStatus, facts: CollectionFacts) -> None:
        now = self._clock.now().replace(microsecond=0)
        told: MaintenanceStatus | None = None
        if isinstance(facts, CollectionEnded):
            told = MaintenanceStatus(
                last_run_time=now,
                freed_objects=facts.freed_objects,
                freed_bytes=facts.freed_bytes,
                refused_deletes=facts.refused_deletes,
                complete=facts.complete,
            )
        elif isinstance(facts, CollectionRefused):
            told = MaintenanceStatus(
                last_run_time=now,
                refused_reason=facts.reason[:64],
                refused_message=facts.message[:MAX_MESSAGE_CHARACTERS],
                complete=False,
            )
        before = status.maintenance
        self._write_status(raw, status.model_copy(update={"maintenance": told}).dump())
        if isinstance(facts, CollectionRefused):
            self._on_error(facts.reason)
            if before is None or before.refused_reason != facts.reason:
                self._say(raw, facts.reason, facts.message, True)
