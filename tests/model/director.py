"""Directed schedules: an actor is driven up to a request, and held in front of it."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.model.actors import Actor, World, deleter, writer
from tests.model.collection import Collection
from tests.model.protocol import Protocol
from tests.model.store import Request, Store


class Player:
    """An actor and the request that it is about to send."""

    def __init__(self, actor: Actor, after_step: Callable[[], None]) -> None:
        self._actor = actor
        self._after_step = after_step
        self.next: Request | None = next(actor, None)

    def step(self) -> None:
        self.next = next(self._actor, None)
        self._after_step()

    def until(self, verb: str, kind: str, session: int | None = None) -> Player:
        """Stop in front of the next such request; it MUST come."""
        while True:
            assert self.next is not None, f"it ended without {verb} {kind} {session}"
            if (self.next.verb, self.next.kind) == (verb, kind) and session in (
                None,
                self.next.session,
            ):
                return self
            self.step()

    def finish(self) -> None:
        while self.next is not None:
            self.step()


class Stage:
    """A store without surprises, and actors on it; every step is checked (Violation)."""

    def __init__(self, protocol: Protocol) -> None:
        self.world = World(Store(random.Random(0), loses_answers=False), protocol)

    def play(self, actor: Actor) -> Player:
        return Player(actor, self.world.check)

    def writer(self, session: int, *bases: int) -> Player:
        return self.play(writer(self.world, session, bases))

    def collection(self, breaks_percent: int = 0) -> Player:
        """Reads one key a page."""
        return self.play(Collection(self.world, breaks_percent, page_rows=1).run())

    def back_up(self, session: int, *bases: int) -> None:
        self.writer(session, *bases).finish()

    def delete(self, session: int) -> None:
        self.play(deleter(self.world, session)).finish()

    def collect(self, breaks_percent: int = 0) -> None:
        self.collection(breaks_percent).finish()
