"""The store of the model: single keys are linearizable, a LIST is read page by page, requests come late."""

from __future__ import annotations

import random
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Key(NamedTuple):
    """`chunk`, `intent`, `tomb`, `seal` or `manifest` of a session. Sessions are random numbers, so
    that a new one may lie before or behind the page that somebody is reading."""

    kind: str
    session: int
    part: int = 0
    """The number of a chunk; 0 for the others."""


class Request(NamedTuple):
    """What an actor is about to send; a directed schedule stops at it."""

    verb: str
    kind: str
    session: int | None = None


@dataclass(frozen=True)
class Intent:
    bases: tuple[int, ...]
    reads_only: bool = False


OK, VOID = "OK", "VOID"
LATE_PERCENT = 8


class Store:
    """`late`: requests whose sender got no answer, and whose effect lands when the schedule says so."""

    def __init__(self, chance: random.Random, *, loses_answers: bool = True) -> None:
        self.chance = chance
        self.objects: dict[Key, Any] = {}
        self.late: list[Callable[[], object]] = []
        self.changed = False
        self._order: defaultdict[str, list[Key]] = defaultdict(list)
        self._loses_answers = loses_answers

    def get(self, kind: str, session: int) -> Any:
        return self.objects.get(Key(kind, session))

    def put(self, key: Key, value: Any) -> None:
        if key not in self.objects:
            insort(self._order[key.kind], key)
        self.objects[key] = value
        self.changed = True

    def create(self, key: Key, value: Any) -> bool:
        """If-None-Match: *."""
        if key in self.objects:
            return False
        self.put(key, value)
        return True

    def delete(self, key: Key) -> None:
        if key in self.objects:
            del self.objects[key]
            self._order[key.kind].remove(key)
            self.changed = True

    def page(self, kind: str, after: Key | None, rows: int) -> list[Key]:
        keys = self._order[kind]
        first = 0 if after is None else bisect_right(keys, after)
        return keys[first : first + rows]

    def answered(self, effect: Callable[[], object]) -> bool:
        """Carry out a request; False when its sender hears nothing, and it lands later or never."""
        if self._loses_answers and self.chance.randrange(100) < LATE_PERCENT:
            self.late.append(effect)
            return False
        effect()
        return True
