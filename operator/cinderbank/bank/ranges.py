"""Sets of chunk indexes as ranges: a lost disk is one pair of numbers, not a million."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Pair = tuple[int, int]
"""First and last, both included."""


class Ranges:
    """A growing set of non-negative integers; NOT thread-safe. Memory follows the number of gaps."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in pairs:
            self.add(first, last)

    def add(self, first: int, last: int | None = None) -> None:
        """Take in `first` to `last` (only `first` when it is None)."""
        last = first if last is None else last
        # Everything that overlaps or touches becomes one.
        left = bisect_left(self._lasts, first - 1)
        right = bisect_right(self._firsts, last + 1)
        if left < right:
            first = min(first, self._firsts[left])
            last = max(last, self._lasts[right - 1])
        self._firsts[left:right] = [first]
        self._lasts[left:right] = [last]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __iter__(self) -> Iterator[Pair]:
        return zip(self._firsts, self._lasts, strict=True)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    def __hash__(self) -> int:
        raise TypeError("it changes")

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

    def count(self) -> int:
        """How many numbers are in it."""
        return sum(last - first + 1 for first, last in self)

    def gaps(self) -> int:
        """How many pairs it takes."""
        return len(self._firsts)

    def minus(self, other: Ranges) -> Ranges:
        """What is in this and not in `other`."""
        left = Ranges()
        for first, last in self:
            at = first
            for cut_first, cut_last in other:
                if cut_last < at:
                    continue
                if cut_first > last:
                    break
                if cut_first > at:
                    left.add(at, cut_first - 1)
                at = cut_last + 1
            if at <= last:
                left.add(at, last)
        return left

    def both(self, other: Ranges) -> Ranges:
        """What is in both."""
        return self.minus(self.minus(other))
