"""BackupBank: looked at on its interval; status says whether it can be used. No finalizer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from cinderbank.api.v1alpha1.backup_bank import BackupBankSpec
from cinderbank.api.v1alpha1.bank_status import (
    BackupBankStatus,
    Capabilities,
    Counts,
    EncryptionStatus,
)
from cinderbank.api.v1alpha1.conditions import Condition, merge_conditions
from cinderbank.api.v1alpha1.duration import parse_duration
from cinderbank.api.v1alpha1.progress import shown_bytes
from cinderbank.domain import record
from cinderbank.domain.errors import CinderbankError, Unavailable
from cinderbank.domain.facts import BackupCount
from cinderbank.engine.bank_validation import SITE_SHARED, BankFound, BankVerdict, judge_bank
from cinderbank.kube.catalog import Catalogue
from cinderbank.kube.known import Key
from cinderbank.kube.maintenance import Maintenance
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.clock import Clock

log = logging.getLogger(__name__)

Look = Callable[[Key, BackupBankSpec, str | None], BankFound]
"""(object, spec, remembered bankID) -> what is there. Raises CinderbankError."""

WriteStatus = Callable[[Raw, dict[str, Any]], None]
Say = Callable[[Raw, str, str, bool], None]
"""(object, reason, message, warning): an Event."""


class BankChecks:
    """The work of kind BackupBank."""

    def __init__(
        self,
        look: Look,
        write_status: WriteStatus,
        say: Say,
        clock: Clock,
        on_error: Callable[[str], None],
        retry_seconds: float,
        maintenance: Maintenance,
        catalogue: Catalogue,
    ) -> None:
        self._look = look
        self._write_status = write_status
        self._say = say
        self._clock = clock
        self._on_error = on_error
        self._retry_seconds = retry_seconds
        self._maintenance = maintenance
        self._catalogue = catalogue

    def run(self, key: Key, raw: Raw) -> float | None:
        """Look now, unless the last good look is young enough and at this very spec."""
        if "deletionTimestamp" in raw["metadata"]:
            return None
        spec = BackupBankSpec.read(raw.get("spec"), "spec")
        interval = parse_duration(spec.validation.interval, "spec.validation.interval")
        before = read_bank_status(raw)
        rest = self._rest_seconds(raw, before, interval)
        if rest > 0:
            # Only beside a look that was good a moment ago: never on a bank that is wrong.
            return min(rest, self._beside(key, raw, spec, before))
        found = self._found(key, spec, before.bank_id)
        verdict = judge_bank(found, before.bank_id, _is_true(before, SITE_SHARED))
        self._write_status(raw, self._status(raw, before, verdict))
        self._tell(raw, before, verdict)
        self._warn(raw, before, verdict)
        seconds = interval.total_seconds()
        if not verdict.ready:
            return min(seconds, self._retry_seconds)
        generation = raw["metadata"].get("generation", 0)
        dues = (
            self._maintenance.due_seconds(spec, before),
            self._catalogue.due_seconds(spec, before, generation),
        )
        return min([seconds, *(max(due, 1.0) for due in dues if due is not None)])

    def _beside(self, key: Key, raw: Raw, spec: BackupBankSpec, before: BackupBankStatus) -> float:
        """One of the two in a run: each writes the status that it was given."""
        due = self._catalogue.due_seconds(spec, before, raw["metadata"].get("generation", 0))
        if due == 0.0:
            wanted = self._catalogue.run(key, raw, spec, before)
            return float("inf") if wanted is None else wanted
        maintained = self._maintain(key, raw, spec, before)
        return maintained if due is None else min(due, maintained)

    def _maintain(
        self, key: Key, raw: Raw, spec: BackupBankSpec, before: BackupBankStatus
    ) -> float:
        try:
            wanted = self._maintenance.run(key, raw, spec, before)
        except CinderbankError as error:
            log.warning("maintenance waits: %s", error.message)
            return self._retry_seconds
        return float("inf") if wanted is None else wanted

    def _rest_seconds(self, raw: Raw, before: BackupBankStatus, interval: timedelta) -> float:
        settled = before.observed_generation == raw["metadata"].get("generation")
        if not settled or not _is_true(before, "Ready") or before.last_validation_time is None:
            return 0.0
        return (before.last_validation_time + interval - self._clock.now()).total_seconds()

    def _found(
        self, key: Key, spec: BackupBankSpec, bank_id: str | None
    ) -> BankFound | CinderbankError:
        try:
            return self._look(key, spec, bank_id)
        except CinderbankError as error:
            return error
        except Exception as error:
            # a bank that breaks our code is still a bank that can not be used, and says so
            log.exception("looking at the bank failed")
            return Unavailable(
                f"looking at the bank failed ({type(error).__name__}); the operator's log tells more",
                reason="BankUnavailable",
            )

    def _status(self, raw: Raw, before: BackupBankStatus, verdict: BankVerdict) -> dict[str, Any]:
        now: datetime = self._clock.now().replace(microsecond=0)
        generation = raw["metadata"].get("generation", 0)
        found = verdict.found
        previous = (raw.get("status") or {}).get("conditions")
        conditions = (*verdict.conditions, *_still_shared(before, verdict))
        status = BackupBankStatus(
            observed_generation=generation,
            conditions=merge_conditions(conditions, previous, generation, now),
            bank_id=before.bank_id if found is None else found.bank_id,
            format_version=before.format_version if found is None else found.format_version,
            counts=before.counts if found is None else _counts(found.counts, before.counts),
            site_counts=before.site_counts
            if found is None
            else _counts(found.site_counts, before.site_counts),
            capabilities=before.capabilities
            if found is None or found.capabilities is None
            else Capabilities(**asdict(found.capabilities)),
            encryption=before.encryption
            if found is None
            else EncryptionStatus(encrypted=found.encrypted, key_ids=list(found.key_ids[:64])),
            last_validation_time=now,
            maintenance=before.maintenance,
            catalog=before.catalog,
        )
        return status.dump()

    def _tell(self, raw: Raw, before: BackupBankStatus, verdict: BankVerdict) -> None:
        """Events and log lines for changes only."""
        ready = verdict.conditions[0]
        if not verdict.ready:
            self._on_error(ready.reason)
        told = _condition(before, "Ready")
        if told is not None and (told.status, told.reason) == (ready.status, ready.reason):
            return
        level = logging.INFO if verdict.ready else logging.WARNING
        log.log(level, "%s: %s", ready.reason, ready.message)
        self._say(raw, ready.reason, ready.message, not verdict.ready)

    def _warn(self, raw: Raw, before: BackupBankStatus, verdict: BankVerdict) -> None:
        """Of what does not stop the bank: when it begins."""
        for each in verdict.conditions[1:]:
            if each.type == SITE_SHARED and not _is_true(before, SITE_SHARED):
                self._on_error(each.reason)
                log.warning("%s: %s", each.reason, each.message)
                self._say(raw, each.reason, each.message, True)


def _counts(found: BackupCount, before: Counts | None) -> Counts:
    """What an operator that has just started has not counted yet stays as it was told last."""
    stored = found.stored_bytes
    if stored is None and before is not None:
        stored = before.stored_bytes
    return Counts(
        backups=found.backups,
        stored_bytes=stored,
        stored=None if stored is None else shown_bytes(stored),
        newest_backup_id=found.newest,
        newest_snapshot_time=found.newest_snapshot_at,
    )


def _still_shared(before: BackupBankStatus, verdict: BankVerdict) -> tuple[record.Condition, ...]:
    """A look that found nothing says nothing about who else writes."""
    told = _condition(before, SITE_SHARED)
    if verdict.found is not None or told is None:
        return ()
    return (record.Condition(told.type, told.status, told.reason, told.message),)


def read_bank_status(raw: Mapping[str, Any]) -> BackupBankStatus:
    """Raises InvalidSpec: a bankID that can not be read must not count as none."""
    return BackupBankStatus.read(raw.get("status"), "status")


def not_ready(status: BackupBankStatus) -> tuple[str, str] | None:
    """Reason and message of its condition Ready when that is False."""
    ready = _condition(status, "Ready")
    return None if ready is None or ready.status != "False" else (ready.reason, ready.message)


def is_stalled(status: BackupBankStatus) -> bool:
    """Whether a human is needed."""
    return _is_true(status, "Stalled")


def _is_true(status: BackupBankStatus, type_: str) -> bool:
    found = _condition(status, type_)
    return found is not None and found.status == "True"


def _condition(status: BackupBankStatus, type_: str) -> Condition | None:
    return next((each for each in status.conditions or () if each.type == type_), None)
