"""An object store in memory: linearizable, bounded by nothing, and able to fail on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

from cinderbank.bank.store import Body, DeleteFailure, Listed, joined
from cinderbank.domain.errors import DataCorrupt, Unavailable, Unsupported

When = Literal["before", "after"]


class Crash(BaseException):
    """The process dies here; nothing of ours may catch it."""


class MemoryStore:
    """`bank.store.ObjectStore`. Set `honours_conditions` to False for a store like rclone's."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.modified: dict[str, datetime] = {}
        self.now = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
        """The store's own clock; a test that needs time to pass sets it."""
        self.requests: list[tuple[str, str]] = []
        self.honours_conditions = True
        self.honours_ranges = True
        self.stale_reads = 0
        self.locked: set[str] = set()
        self.after_request: Callable[[int, str, str], None] = lambda count, verb, key: None
        self.before_request: Callable[[int, str, str], None] = lambda count, verb, key: None
        self._failures: dict[str, list[tuple[BaseException, When]]] = {}
        self._dropped: set[str] = set()
        self._hidden: dict[str, int] = {}
        self._list_lag = 0
        self._lock = threading.RLock()

    # Faults.

    def fail_next(
        self, verb: str, error: BaseException | None = None, when: When = "before"
    ) -> None:
        """The next request of this verb raises; with `after` it was carried out all the same."""
        fault = error or Unavailable("the store is away", reason="BankUnavailable")
        self._failures.setdefault(verb, []).append((fault, when))

    def drop(self, key: str) -> None:
        """Acknowledge PUTs of this key from now on, and forget them."""
        self._dropped.add(key)

    def lag_lists(self, lists: int) -> None:
        """Objects put from now on are missing from so many listings."""
        self._list_lag = lists

    def flip(self, key: str, bit: int) -> None:
        body = bytearray(self.objects[key])
        body[bit // 8] ^= 1 << bit % 8
        self.objects[key] = bytes(body)

    def _read(self, key: str) -> bytes | None:
        """What a cache in front of the store would answer while `stale_reads` lasts: nothing."""
        if self.stale_reads > 0 and key in self.objects:
            self.stale_reads -= 1
            return None
        return self.objects.get(key)

    # The contract.

    def where(self) -> str:
        return "memory://bank"

    def _do(self, verb: str, key: str, act: Callable[[], object]) -> object:
        with self._lock:
            count = len(self.requests)
            self.before_request(count, verb, key)
            self.requests.append((verb, key))
            planned = self._failures.get(verb)
            fault, when = planned.pop(0) if planned else (None, "before")
            if fault is not None and when == "before":
                raise fault
            answer = act()
            if fault is not None:
                raise fault
            self.after_request(count, verb, key)
            return answer

    def get(self, key: str, max_bytes: int) -> bytes | None:
        body = self._do("GET", key, lambda: self._read(key))
        assert body is None or isinstance(body, bytes)
        if body is not None and len(body) > max_bytes:
            raise DataCorrupt(f"{key} has {len(body)} bytes, at most {max_bytes} were expected")
        return body

    def get_range(self, key: str, first: int, count: int) -> bytes | None:
        body = self._do("GET", key, lambda: self._read(key))
        assert body is None or isinstance(body, bytes)
        if body is not None and not self.honours_ranges:
            raise Unsupported("the whole object was sent", reason="StoreWithoutRanges")
        return None if body is None else body[first : first + count]

    def head(self, key: str) -> int | None:
        body = self._do("HEAD", key, lambda: self.objects.get(key))
        assert body is None or isinstance(body, bytes)
        return None if body is None else len(body)

    def put(self, key: str, body: Body, if_absent: bool = False) -> bool:
        def act() -> bool:
            if if_absent and self.honours_conditions and key in self.objects:
                return False
            if key not in self._dropped:
                self.objects[key] = joined(body)
                self.modified[key] = self.now
                self._hidden[key] = self._list_lag
            return True

        return bool(self._do("PUT", key, act))

    def delete_many(self, keys: Sequence[str]) -> list[DeleteFailure]:
        assert len(keys) <= 1000

        def act() -> list[DeleteFailure]:
            for key in set(keys) - self.locked:
                self.objects.pop(key, None)
            return [DeleteFailure(key, "AccessDenied") for key in keys if key in self.locked]

        answer = self._do("DELETE", keys[0] if keys else "", act)
        assert isinstance(answer, list)
        return answer

    def list_keys(
        self, prefix: str, delimiter: str = "", start_after: str = ""
    ) -> Iterator[Listed]:
        rows = self._do("LIST", prefix, lambda: self._rows(prefix, delimiter, start_after))
        assert isinstance(rows, list)
        yield from rows

    def _rows(self, prefix: str, delimiter: str, start_after: str) -> list[Listed]:
        rows: dict[str, Listed] = {}
        for key, body in sorted(self.objects.items()):
            if not key.startswith(prefix) or key <= start_after:
                continue
            if self._hidden.get(key, 0) > 0:
                self._hidden[key] -= 1
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                common = prefix + rest.split(delimiter)[0] + delimiter
                rows[common] = Listed(common, is_prefix=True)
            else:
                rows[key] = Listed(key, len(body), last_modified=self.modified.get(key, self.now))
        return list(rows.values())
