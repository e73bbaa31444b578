"""The real code under a schedule: every request of every actor is a step, and one decides who is next.

Each actor is a thread that holds a baton between two of its requests; all others wait. So the whole run
follows from the seed: nothing sleeps, and nothing races. An actor that is killed gets `Crash` at its
next request, and at every one that it still tries in a `finally`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from cinderbank.bank.store import Body, DeleteFailure, Listed, joined
from cinderbank.domain.errors import CinderbankError, Unavailable
from tests.fakes.object_store import Crash, MemoryStore

TURN_SECONDS = 240.0
"""No turn takes as long; a schedule that hangs fails instead."""


@dataclass
class Actor:
    """A thread and what it is about to ask for."""

    name: str
    work: Callable[[SteppedStore], object]
    pace: float = 1.0
    killed: bool = False
    done: bool = False
    request: tuple[str, str] = ("", "")
    outcome: object = None
    error: BaseException | None = None
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class Scheduler:
    """Runs actors on one MemoryStore, one request at a time."""

    def __init__(self, store: MemoryStore, seed: int = 0, page_rows: int = 1000) -> None:
        self.store = store
        self.chance = random.Random(seed)
        self.page_rows = page_rows
        self.late: list[Callable[[], object]] = []
        self.late_percent = 0
        """How many PUTs and DELETEs get no answer, and land later."""
        self.actors: list[Actor] = []
        self._back = threading.Semaphore(0)

    def start(self, name: str, work: Callable[[SteppedStore], object], pace: float = 1.0) -> Actor:
        """A new actor, stopped in front of its first request."""
        actor = Actor(name, work, pace)
        self.actors.append(actor)
        threading.Thread(target=self._live, args=(actor,), name=name, daemon=True).start()
        self._wait(actor)
        return actor

    def _live(self, actor: Actor) -> None:
        try:
            actor.outcome = actor.work(SteppedStore(self, actor))
        except Crash:
            pass
        except CinderbankError as error:
            actor.error = error
        # Anything else is a bug of ours; it must reach the test, not end with this thread.
        except BaseException as error:
            actor.error = error
        actor.done = True
        self._back.release()

    def _wait(self, actor: Actor) -> None:
        if not self._back.acquire(timeout=TURN_SECONDS):
            raise AssertionError(f"{actor.name} hangs behind {actor.request}")
        if actor.done and actor.error is not None and not isinstance(actor.error, CinderbankError):
            raise actor.error

    def pause(self, actor: Actor, verb: str, key: str) -> None:
        """Called by an actor in front of each request."""
        if actor.killed:
            raise Crash
        actor.request = (verb, key)
        self._back.release()
        actor.go.acquire()
        if actor.killed:
            raise Crash

    def step(self, actor: Actor) -> None:
        """Carry out one request of this actor."""
        actor.go.release()
        self._wait(actor)

    def kill(self, actor: Actor) -> None:
        if not actor.done:
            actor.killed = True
            self.step(actor)

    def living(self) -> list[Actor]:
        return [actor for actor in self.actors if not actor.done]

    def until(self, actor: Actor, verb: str, part: str) -> None:
        """Stop an actor in front of the next such request; it MUST come."""
        while not (actor.request[0] == verb and part in actor.request[1]):
            self.step(actor)
            assert not actor.done, f"{actor.name} ended without {verb} {part}: {actor.error}"

    def finish(self, actor: Actor) -> None:
        """Raises what the actor raised."""
        while not actor.done:
            self.step(actor)
        if actor.error is not None:
            raise actor.error

    def run(self, name: str, work: Callable[[SteppedStore], object]) -> object:
        """An actor from its beginning to its end, with nobody else moving."""
        actor = self.start(name, work)
        self.finish(actor)
        return actor.outcome

    def close(self) -> None:
        """No thread is left."""
        for actor in self.living():
            self.kill(actor)


class SteppedStore:
    """`bank.store.ObjectStore` of one actor: each request, and each page of a LIST, is a step."""

    def __init__(self, scheduler: Scheduler, actor: Actor) -> None:
        self._scheduler = scheduler
        self._actor = actor
        self._memory = scheduler.store

    def where(self) -> str:
        return self._memory.where()

    def _effect(self, verb: str, key: str, act: Callable[[], object]) -> object:
        """A request that changes something; sometimes it lands when its sender has given up."""
        self._scheduler.pause(self._actor, verb, key)
        if self._scheduler.chance.randrange(100) < self._scheduler.late_percent:
            self._scheduler.late.append(act)
            raise Unavailable("no answer", reason="BankUnavailable")
        return act()

    def get(self, key: str, max_bytes: int) -> bytes | None:
        self._scheduler.pause(self._actor, "GET", key)
        return self._memory.get(key, max_bytes)

    def get_range(self, key: str, first: int, count: int) -> bytes | None:
        self._scheduler.pause(self._actor, "GET", key)
        return self._memory.get_range(key, first, count)

    def head(self, key: str) -> int | None:
        self._scheduler.pause(self._actor, "HEAD", key)
        return self._memory.head(key)

    def put(self, key: str, body: Body, if_absent: bool = False) -> bool:
        body = joined(body)
        return bool(self._effect("PUT", key, lambda: self._memory.put(key, body, if_absent)))

    def delete_many(self, keys: Sequence[str]) -> list[DeleteFailure]:
        failures: list[DeleteFailure] = []
        # A batch is no transaction: others see it half done.
        for key in keys:
            found = self._effect("DELETE", key, lambda key=key: self._memory.delete_many([key]))  # type: ignore[misc]
            assert isinstance(found, list)
            failures += found
        return failures

    def list_keys(
        self, prefix: str, delimiter: str = "", start_after: str = ""
    ) -> Iterator[Listed]:
        while True:
            self._scheduler.pause(self._actor, "LIST", prefix)
            rows = list(self._memory.list_keys(prefix, delimiter, start_after))
            page = rows[: self._scheduler.page_rows]
            yield from page
            if len(rows) <= len(page):
                return
            start_after = page[-1].key
            if page[-1].is_prefix:
                start_after += "\U0010ffff"
