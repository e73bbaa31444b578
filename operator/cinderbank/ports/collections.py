"""Collecting a bank (freeing what no backup needs), in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CollectionRequest:
    max_delete_percent: int
    """Refuse to delete a greater share of all chunks."""


@dataclass(frozen=True, slots=True)
class CollectionAbsent:
    """No process works on it, and none has ended since this operator started or since `forget`."""


@dataclass(frozen=True, slots=True)
class CollectionRunning:
    """It has not ended yet."""


@dataclass(frozen=True, slots=True)
class CollectionEnded:
    """It looked at the whole bank and deleted what it may."""

    freed_objects: int
    freed_bytes: int
    refused_deletes: int
    """Objects that the store kept: an object lock, a policy."""
    complete: bool
    """False: there is more to free."""


@dataclass(frozen=True, slots=True)
class CollectionRefused:
    """Nothing was deleted, or it ended half way, which is as safe."""

    reason: str
    message: str
    retryable: bool


CollectionFacts = CollectionAbsent | CollectionRunning | CollectionEnded | CollectionRefused


class Collections(Protocol):
    """The collection of one bank, at most one at a time."""

    def observe(self) -> CollectionFacts:
        """What the last started one does."""
        ...

    def start(self, request: CollectionRequest) -> None:
        """Start it; returns at once. Raises Conflict while it runs, Unavailable (NoCollectionSlot)
        while another bank is collected."""
        ...

    def forget(self) -> None:
        """End what runs, and what it told is not told again. Idempotent."""
        ...
