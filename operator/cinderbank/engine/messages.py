"""Asking Cinder why something of ours has failed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from cinderbank.domain import intents
from cinderbank.domain.errors import CinderbankError
from cinderbank.domain.facts import SnapshotFacts, UserMessage, VolumeFacts
from cinderbank.domain.record import Memory
from cinderbank.ports.cinder import Cinder

CLOCK_SKEW = timedelta(minutes=1)
"""Cinder stamps its messages with its own clock."""


def messages_about(
    suspects: Iterable[tuple[SnapshotFacts | VolumeFacts, str]], memory: Memory, cinder: Cinder
) -> tuple[UserMessage, ...]:
    """What Cinder says of each since the step that made it was begun; never raises for want of it."""
    found: list[UserMessage] = []
    for resource, step in suspects:
        intent = intents.find(memory, step)
        if intent is None:
            continue
        try:
            found += cinder.messages(resource.id, since=intent.at - CLOCK_SKEW)
        except CinderbankError:
            continue  # they only explain; the failure itself is seen without them
    return tuple(found)
