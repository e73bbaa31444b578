"""What was begun: the arithmetic over `Memory.intents`.

A create whose answer was lost may still turn up. Within SETTLE_SECONDS of its intent "not seen"
therefore means wait; after it, it never happened. Clean-up waits the same window out, so that a late
resource is caught and deleted, not leaked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from cinderbank.domain.record import Intent, Memory

SETTLE_SECONDS = 30.0
"""Longer than any API request of ours may take (its timeout), and than a lagging read replica."""

SNAPSHOT = "snapshot"
VOLUME = "volume"
IMAGE = "image"
SESSION = "session"
SEAL = "seal"
TRANSFER = "transfer"
PIN = "pin"
BUSY = "busy"
"""Not an effect: since when the source volume has been busy."""
TRANSFER_ERRORS = "transfer-errors"
"""Not an effect: `tries` counts the failed attempts that `retry_limit` bounds."""
TRANSFER_OUTAGES = "transfer-outages"
"""Not an effect: `tries` counts attempts in a row that an outage ended; only the back-off grows by it."""
DISCARD = "discard"
FREE = "free"
UNPIN = "unpin"
BOOTABLE = "bootable"
SECRET = "secret"  # noqa: S105  a word, as the others
PERSISTENT_VOLUME = "persistent-volume"
CLAIM = "claim"
IMAGE_METADATA = "image-metadata"
SET_IMAGE_METADATA = "set-image-metadata"
DRILL_IMAGE = "drill-image"
COMPARE = "compare"
RELEASE = "release-image"
COPY = "copy"
FLATTEN = "flatten"
VERDICT = "verdict"


def find(memory: Memory, step: str) -> Intent | None:
    return next((intent for intent in memory.intents if intent.step == step), None)


def put(memory: Memory, intent: Intent) -> Memory:
    """Memory with this intent in place of the one of the same step; the order stays, to save writes."""
    old = find(memory, intent.step)
    if old is None:
        return replace(memory, intents=(*memory.intents, intent))
    return replace(memory, intents=tuple(intent if i is old else i for i in memory.intents))


def drop(memory: Memory, step: str) -> Memory:
    return replace(memory, intents=tuple(i for i in memory.intents if i.step != step))


def begun(memory: Memory, step: str, now: datetime, *, creates: bool) -> Memory:
    """Memory that says that `step` begins now.

    A create counts as a further try only when an earlier one is known to have made something: a
    request that never arrived cost nothing and proves nothing about the cloud.
    """
    old = find(memory, step)
    tries = 1
    if old is not None:
        made_something = old.seen or bool(old.resource_id) or not creates
        tries = old.tries + (1 if made_something else 0)
    return put(memory, Intent(step=step, at=now, tries=tries))


def answered(memory: Memory, step: str, resource_id: str) -> Memory:
    """Memory with the id that the cloud answered; ids are saved before anything is waited for."""
    intent = find(memory, step)
    return memory if intent is None else put(memory, replace(intent, resource_id=resource_id))


def done(memory: Memory, step: str) -> Memory:
    """Memory that says that the effect of `step` has happened for sure."""
    intent = find(memory, step)
    return memory if intent is None else put(memory, replace(intent, seen=True))


def is_done(memory: Memory, step: str) -> bool:
    intent = find(memory, step)
    return intent is not None and intent.seen


def sighted(memory: Memory, step: str, ids: Iterable[str]) -> Memory:
    """Memory after a listing that showed `ids`, oldest first."""
    found = list(ids)
    intent = find(memory, step)
    if intent is None or not found:
        return memory
    if intent.resource_id and intent.resource_id not in found:
        return memory  # an older one of ours; the one that was answered is still to come
    return put(memory, replace(intent, resource_id=intent.resource_id or found[-1], seen=True))


def unsettled_seconds(memory: Memory, step: str, now: datetime) -> float:
    """How much longer the effect of `step` may turn up unseen; 0 when nothing can."""
    intent = find(memory, step)
    if intent is None or intent.seen:
        return 0.0
    return max(0.0, SETTLE_SECONDS - age_seconds(intent, now))


def age_seconds(intent: Intent, now: datetime) -> float:
    """Never negative: a clock that was put back must not make us wait for ever."""
    return max(0.0, (now - intent.at).total_seconds())


def tries(memory: Memory, step: str) -> int:
    intent = find(memory, step)
    return 0 if intent is None else intent.tries


def made_something(memory: Memory, step: str) -> bool:
    """Whether the newest try of this step is known to have made something, now there or not."""
    intent = find(memory, step)
    return intent is not None and (intent.seen or bool(intent.resource_id))


def forgiven(memory: Memory, step: str) -> Memory:
    """Memory in which the tries of `step` so far do not count, and nothing else is forgotten."""
    intent = find(memory, step)
    return memory if intent is None else put(memory, replace(intent, tries=0))


def delete_begun(memory: Memory, step: str, resource_id: str, now: datetime) -> Memory:
    """Memory that says that this resource is being deleted; repeats for the same one are counted."""
    old = find(memory, step)
    repeats = old.tries if old is not None and old.resource_id == resource_id else 0
    return put(memory, Intent(step=step, at=now, tries=repeats + 1, resource_id=resource_id))
