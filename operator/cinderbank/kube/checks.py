"""BankCheck: one child process that looks, what it says as status, and never twice once it has ended.

No finalizer: a check that goes leaves nothing behind but its notes in the bank, which are true.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Protocol

from cinderbank.api.v1alpha1.bank_check import BankCheckSpec, BankCheckStatus
from cinderbank.api.v1alpha1.check_status import (
    CheckReport,
    damaged_of,
    ended_conditions,
    error_of,
    failed_conditions,
    progress_of,
    waiting_conditions,
    working_conditions,
)
from cinderbank.api.v1alpha1.conditions import merge_conditions
from cinderbank.domain.errors import CinderbankError, Retryable
from cinderbank.kube.known import Key
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.checks import (
    CheckAbsent,
    CheckEnded,
    CheckFailed,
    CheckRunning,
    Checks,
)
from cinderbank.ports.clock import Clock

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 15.0
LONGEST_RETRY_SECONDS = 900.0
LOOK_AGAIN_SECONDS = 60.0
"""Its end wakes us; this is for a wake that was lost."""


class CheckWorlds(Protocol):
    """What a run needs of the world."""

    def checks(self, key: Key, bank_name: str) -> Checks:
        """Raises CinderbankError with a reason when the bank can not be used."""
        ...

    def write_status(self, raw: Raw, status: dict[str, Any]) -> None: ...
    def say(self, raw: Raw, reason: str, message: str, warning: bool) -> None: ...


class CheckRuns:
    """The work of kind BankCheck."""

    def __init__(
        self,
        worlds: CheckWorlds,
        clock: Clock,
        forget: Callable[[Key], None],
        on_error: Callable[[str], None],
        blocked_retry_seconds: float,
    ) -> None:
        self._worlds = worlds
        self._clock = clock
        self._forget = forget
        self._on_error = on_error
        self._blocked_retry_seconds = blocked_retry_seconds

    def run(self, key: Key, raw: Raw) -> float | None:
        """Seconds until the next run. Raises InvalidSpec for a status that can not be read."""
        before = BankCheckStatus.read(raw.get("status"), "status")
        if "deletionTimestamp" in raw["metadata"] or before.phase in ("Completed", "Failed"):
            self._forget(key)
            return None
        spec = BankCheckSpec.read(raw.get("spec"), "spec")
        try:
            checks = self._worlds.checks(key, spec.bank_ref.name)
        except CinderbankError as error:
            return self._blocked(raw, before, error)
        match checks.observe():
            case CheckAbsent():
                return self._start(raw, before, spec, checks)
            case CheckRunning() as running:
                report = CheckReport(
                    "Running",
                    working_conditions(),
                    progress_of(running.progress) or before.progress,
                    damaged_of(running.damaged),
                )
                self._tell(raw, before, report)
                return LOOK_AGAIN_SECONDS
            case CheckEnded() as ended:
                return self._ended(raw, before, ended)
            case CheckFailed() as failed:
                return self._failed(raw, before, spec, checks, failed)

    def _start(
        self, raw: Raw, before: BankCheckStatus, spec: BankCheckSpec, checks: Checks
    ) -> float:
        now = self._now()
        if before.next_try_time is not None and before.next_try_time > now:
            return (before.next_try_time - now).total_seconds()
        given = (before.seed, spec.seed, seed_of(raw["metadata"]["uid"]))
        seed = next(each for each in given if each is not None)
        try:
            checks.start(spec.to_request(seed))
        except CinderbankError as error:
            self._tell(raw, before, CheckReport("Pending", waiting_conditions(error)))
            return self._blocked_retry_seconds
        started = before.model_copy(
            update={
                "seed": seed,
                "attempts": (before.attempts or 0) + 1,
                "started_time": before.started_time or now,
                "next_try_time": None,
            }
        )
        self._tell(raw, started, CheckReport("Running", working_conditions()))
        return LOOK_AGAIN_SECONDS

    def _ended(self, raw: Raw, before: BankCheckStatus, ended: CheckEnded) -> float | None:
        conditions = ended_conditions(ended)
        report = CheckReport(
            "Completed", conditions, progress_of(ended.progress), damaged_of(ended.damaged)
        )
        self._tell(raw, before.model_copy(update={"completed_time": self._now()}), report)
        intact = conditions[1]
        self._worlds.say(raw, intact.reason, intact.message, intact.status != "True")
        return None

    def _failed(
        self,
        raw: Raw,
        before: BankCheckStatus,
        spec: BankCheckSpec,
        checks: Checks,
        failed: CheckFailed,
    ) -> float | None:
        now = self._now()
        self._on_error(failed.reason)
        if not failed.retryable:
            ended = before.model_copy(
                update={"completed_time": now, "last_error": error_of(failed, now)}
            )
            self._tell(raw, ended, CheckReport("Failed", failed_conditions(failed)))
            self._worlds.say(raw, failed.reason, failed.message, True)
            return None
        tried_at = before.next_try_time
        if tried_at is not None and tried_at <= now:
            return self._start(raw, before, spec, checks)
        if tried_at is None:
            pause = min(
                LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(before.attempts or 1, 8)
            )
            tried_at = now + timedelta(seconds=pause)
        waiting = before.model_copy(
            update={"next_try_time": tried_at, "last_error": error_of(failed, now)}
        )
        error = Retryable(failed.message, reason=failed.reason)
        self._tell(raw, waiting, CheckReport("Pending", waiting_conditions(error)))
        return (tried_at - now).total_seconds()

    def _blocked(self, raw: Raw, before: BankCheckStatus, error: CinderbankError) -> float:
        """A Secret or a BackupBank is mended in place: it goes on by itself."""
        self._on_error(error.reason)
        phase = "Running" if before.phase == "Running" else "Pending"
        self._tell(raw, before, CheckReport(phase, waiting_conditions(error)))
        return self._blocked_retry_seconds

    def _now(self) -> datetime:
        return self._clock.now().replace(microsecond=0)

    def _tell(self, raw: Raw, before: BankCheckStatus, report: CheckReport) -> None:
        generation = raw["metadata"].get("generation", 0)
        previous = (raw.get("status") or {}).get("conditions")
        status = before.model_copy(
            update={
                "observed_generation": generation,
                "phase": report.phase,
                "conditions": merge_conditions(
                    report.conditions, previous, generation, self._clock.now()
                ),
                "progress": report.progress or before.progress,
                "damaged": report.damaged or before.damaged,
            }
        )
        self._worlds.write_status(raw, status.dump())


def seed_of(uid: str) -> int:
    """Of an object's own uid: the same after a restart, and another one for each object."""
    return int.from_bytes(blake2b(uid.encode(), digest_size=4).digest(), "little")
