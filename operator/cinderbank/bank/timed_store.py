"""A store for one look that must come to its end: nobody's bank holds a thread of the operator for long.

How much there is to list and to read is up to those who write the bank, and how slowly it comes is up to
whoever runs the store. One request is bounded by the client; all of them together are bounded here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from cinderbank.bank.store import Body, DeleteFailure, Listed, ObjectStore
from cinderbank.domain.errors import Unavailable


class OutOfTime(Unavailable):
    """The look took too long; a later one may be faster."""

    default_reason = "BankTooSlow"


class TimedStore:
    """`store`, whose reads and rows raise OutOfTime once `seconds` have passed since it was made."""

    def __init__(self, store: ObjectStore, now: Callable[[], datetime], seconds: float) -> None:
        self._store = store
        self._now = now
        self._seconds = seconds
        self._ends_at = now() + timedelta(seconds=seconds)

    def _check(self) -> None:
        if self._now() >= self._ends_at:
            raise OutOfTime(
                f"the bank at {self._store.where()} was read for {self._seconds:.0f} s, and that was not"
                " enough: the store is slow, or somebody has put very much into the bank"
            )

    def where(self) -> str:
        return self._store.where()

    def get(self, key: str, max_bytes: int) -> bytes | None:
        self._check()
        return self._store.get(key, max_bytes)

    def get_range(self, key: str, first: int, count: int) -> bytes | None:
        self._check()
        return self._store.get_range(key, first, count)

    def head(self, key: str) -> int | None:
        self._check()
        return self._store.head(key)

    def put(self, key: str, body: Body, if_absent: bool = False) -> bool:
        return self._store.put(key, body, if_absent)

    def delete_many(self, keys: Sequence[str]) -> list[DeleteFailure]:
        return self._store.delete_many(keys)

    def list_keys(
        self, prefix: str, delimiter: str = "", start_after: str = ""
    ) -> Iterator[Listed]:
        self._check()
        for row in self._store.list_keys(prefix, delimiter, start_after):
            self._check()  # also for rows that whoever lists passes over
            yield row
