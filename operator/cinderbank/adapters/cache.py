"""A bounded cache of what is costly to open: connections and clients."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """The last `size` values that were asked for; thread-safe.

    Two threads that ask for one key at once get one value. `close` is called for what falls out; a
    caller may still hold it, so closing MUST leave it usable (a session drops its idle sockets).
    """

    def __init__(self, size: int, close: Callable[[V], None] = lambda value: None) -> None:
        self._size = size
        self._close = close
        self._values: OrderedDict[K, V] = OrderedDict()
        self._opening: dict[K, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: K, open_: Callable[[], V]) -> V:
        """The value of `key`, opened when it is not there; what `open_` raises is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            opening = self._opening.setdefault(key, threading.Lock())
        with opening:
            with self._lock:
                if key in self._values:
                    return self._values[key]
            try:
                value = open_()
            finally:
                with self._lock:
                    self._opening.pop(key, None)
            self._keep(key, value)
            return value

    def clear(self) -> None:
        with self._lock:
            dropped = list(self._values.values())
            self._values.clear()
        self._close_all(dropped)

    def _keep(self, key: K, value: V) -> None:
        dropped = []
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._size:
                dropped.append(self._values.popitem(last=False)[1])
        self._close_all(dropped)

    def _close_all(self, dropped: list[V]) -> None:
        for value in dropped:
            try:
                self._close(value)
            except Exception:
                log.exception("closing what fell out of a cache failed")
