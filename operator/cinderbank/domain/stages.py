"""What the stages of a backup and of a restore share: patience, fresh tries, and where these end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from cinderbank.domain import intents
from cinderbank.domain.backoff import again_seconds
from cinderbank.domain.cleanup import D, paced
from cinderbank.domain.errors import CinderbankError
from cinderbank.domain.facts import ImageFacts, SnapshotFacts, VolumeFacts
from cinderbank.domain.record import Identity, Memory, Outcome, Phase
from cinderbank.domain.steps import Conclude, Wait

USELESS_VOLUME = frozenset({"error", "error_deleting", "deleting"})
USELESS_SNAPSHOT = frozenset({"error", "error_deleting", "deleting"})
USELESS_IMAGE = frozenset({"killed", "deactivated"})

R = TypeVar("R", SnapshotFacts, VolumeFacts, ImageFacts)


class _Request(Protocol):
    @property
    def retry_limit(self) -> int: ...


class Look(Protocol):
    """The part of BackupObserved and RestoreObserved that is asked here."""

    @property
    def identity(self) -> Identity: ...
    @property
    def request(self) -> _Request: ...
    @property
    def memory(self) -> Memory: ...
    @property
    def now(self) -> datetime: ...


def first_usable(resources: Sequence[R], useless: frozenset[str]) -> R | None:
    """The oldest that is not useless, else the oldest: of two that both carry our tag, the first counts."""
    usable = [resource for resource in resources if resource.status not in useless]
    return next(iter(usable or resources), None)


def fail(o: Look, error: CinderbankError) -> Conclude:
    return Conclude(Outcome(Phase.FAILED, error.reason, error.message, o.now))


def age_seconds(o: Look, step: str) -> float:
    """Since `step` was begun; 0 when it never was."""
    intent = intents.find(o.memory, step)
    return 0.0 if intent is None else intents.age_seconds(intent, o.now)


def settling(o: Look, step: str) -> Wait | None:
    """While a create without an answer may still turn up."""
    seconds = intents.unsettled_seconds(o.memory, step, o.now)
    if seconds <= 0:
        return None
    return Wait(min(seconds, 5.0), "Settling", f"looking for the {step} that was asked for")


def remove_failed(o: Look, step: str, delete: D, error: CinderbankError) -> D | Wait | Conclude:
    """Take away what `step` made and what is useless, so that it is made anew; or the end."""
    if intents.tries(o.memory, step) > o.request.retry_limit:
        return fail(o, error)
    return paced(delete, o.memory, o.now, o.identity.uid)


def before_fresh_try(o: Look, step: str, error: CinderbankError) -> Wait | Conclude | None:
    """What comes first when `step` has made something that is gone, as `error` says; None: make it."""
    if not intents.made_something(o.memory, step):
        return None
    tries = intents.tries(o.memory, step)
    if tries > o.request.retry_limit:
        return fail(o, error)
    seconds = again_seconds(tries, o.identity.uid) - age_seconds(o, step)
    if seconds <= 0:
        return None
    return Wait(seconds, error.reason, f"trying again in {seconds:.0f} s: {error.message}")
