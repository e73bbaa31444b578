"""Random schedules: who is next, who sleeps for long, who dies, what lands late."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.model.actors import Actor, Violation, World, deleter, reader, sealed, writer
from tests.model.collection import Collection
from tests.model.protocol import PROTOCOL, Protocol
from tests.model.store import Store

STEPS = 600
MOST_ACTORS = 7
PACES = (1.0, 1.0, 0.3, 0.05)
"""How often an actor is called; the slowest is frozen for about a run."""


@dataclass
class Process:
    actor: Actor
    pace: float


class Schedule:
    """One run of the model, the same for the same seed and rules."""

    def __init__(self, seed: int, protocol: Protocol = PROTOCOL) -> None:
        self._chance = random.Random(seed)
        self.world = World(Store(self._chance), protocol)
        self._processes: list[Process] = []

    def run(self, steps: int = STEPS) -> int:
        """How many backups were Completed; raises Violation."""
        for _ in range(steps):
            self._spawn_maybe()
            self._land_maybe()
            self._step()
            if self.world.store.changed:
                self.world.store.changed = False
                self.world.check()
        return len(self.world.completed)

    def _spawn_maybe(self) -> None:
        if self._chance.random() < 0.05 and len(self._processes) < MOST_ACTORS:
            actor = self._new()
            if actor is not None:
                self._processes.append(Process(actor, self._chance.choice(PACES)))
        if self._processes and self._chance.random() < 0.02:
            self._chance.choice(self._processes).pace = self._chance.choice((1.0, 0.3, 0.02))

    def _land_maybe(self) -> None:
        late = self.world.store.late
        if late and self._chance.random() < 0.03:
            late.pop(self._chance.randrange(len(late)))()

    def _new(self) -> Actor | None:
        kind = self._chance.choice(
            ("writer", "writer", "writer", "again", "deleter", "gc", "gc", "reader")
        )
        backups = sealed(self.world)
        if kind == "writer":
            session = self._chance.getrandbits(40)
            self.world.started.append(session)
            count = min(len(backups), self._chance.randint(0, 2))
            return writer(self.world, session, tuple(self._chance.sample(backups, count)))
        if kind == "again" and self.world.started and self.world.protocol.sessions_go_on:
            # The operator was started again; its old transfer may still be sleeping somewhere.
            return writer(self.world, self._chance.choice(self.world.started), (), attempt=2)
        if kind == "deleter" and backups:
            return deleter(self.world, self._chance.choice(backups))
        if kind == "reader" and backups:
            return reader(self.world, self._chance.getrandbits(40), self._chance.choice(backups))
        if kind == "gc":
            return Collection(self.world, page_rows=self._chance.choice((2, 4, 8))).run()
        return None

    def _step(self) -> None:
        if not self._processes:
            return
        paces = [process.pace for process in self._processes]
        index = self._chance.choices(range(len(paces)), paces)[0]
        # kill -9: rarely, and anywhere.
        if self._chance.random() < 0.005:
            del self._processes[index]
            return
        try:
            next(self._processes[index].actor)
        except StopIteration:
            del self._processes[index]


def violation(seed: int, protocol: Protocol = PROTOCOL) -> str | None:
    """What a schedule lost; None when nothing."""
    try:
        Schedule(seed, protocol).run()
    except Violation as lost:
        return str(lost)
    return None
