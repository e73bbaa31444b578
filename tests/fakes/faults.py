"""What goes wrong with a fake: errors before or after an effect, and crashes of the operator.

Every effect of every fake passes `effect`, in one numbered row, so that a test can crash the operator
before or after the n-th.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

When = Literal["before", "after"]


class Crash(BaseException):
    """kill -9: nothing may catch it but the test."""


@dataclass
class Faults:
    effects: list[str] = field(default_factory=list)
    """Verbs in the order in which they were done."""
    crashes: set[tuple[int, When]] = field(default_factory=set)
    _failures: list[tuple[str, BaseException, When]] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    """As effects, with those that failed."""

    @property
    def begun(self) -> int:
        return len(self.tried)

    def fail_next(
        self, verb: str, error: BaseException, *, when: When = "before", times: int = 1
    ) -> None:
        """`after`: it happens, and its answer is lost."""
        self._failures += [(verb, error, when)] * times

    def read(self, verb: str) -> None:
        self._raise(verb, "before")

    @contextmanager
    def effect(self, verb: str) -> Iterator[None]:
        number = self.begun
        self.tried.append(verb)
        self._crash(number, "before")
        self._raise(verb, "before")
        try:
            yield
        except Exception:  # it was refused, and the operator dies before it can say so
            self._crash(number, "after")
            raise
        self.effects.append(verb)
        self._crash(number, "after")
        self._raise(verb, "after")

    def _crash(self, number: int, when: When) -> None:
        if (number, when) in self.crashes:
            self.crashes.discard((number, when))
            raise Crash(f"{when} effect {number}")

    def _raise(self, verb: str, when: When) -> None:
        for index, (failing, error, at) in enumerate(self._failures):
            if failing == verb and at == when:
                del self._failures[index]
                raise error
