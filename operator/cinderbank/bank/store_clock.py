"""The store's own clock, and whether the store keeps its word about If-None-Match.

Ages in a bank are compared with what the store says is now: the clock of a site is never used, so
one that is wrong by a day breaks no session early.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from cinderbank.bank import layout
from cinderbank.bank.removal import delete_or_raise
from cinderbank.bank.store import MAX_CONTROL_BYTES, ObjectStore
from cinderbank.domain.errors import Unavailable


def touch(store: ObjectStore, key: str, body: bytes) -> datetime:
    """Put an object and ask when that was. Raises Unavailable when the store does not say."""
    store.put(key, body)
    for row in store.list_keys(key):
        if row.key == key and row.last_modified is not None:
            return row.last_modified
    raise Unavailable(
        f"the store at {store.where()} does not list an object that was just written, or not when that"
        " was; a bank needs one cluster with list-after-write",
        reason="BankUnavailable",
    )


class StoreClock:
    """Asks by a scratch object of its own; `close` removes it."""

    def __init__(self, store: ObjectStore, site: str) -> None:
        self._store = store
        self._token = str(uuid.uuid4())
        self._key = layout.probe(site, self._token)

    def now(self) -> datetime:
        """The store's time; two requests."""
        return touch(self._store, self._key, self._token.encode())

    def honours_conditions(self) -> bool:
        """Whether a PUT with If-None-Match leaves alone what is there; call `now` first."""
        stored = self._store.put(self._key, self._token.encode() + b"2", if_absent=True)
        kept = self._store.get(self._key, MAX_CONTROL_BYTES) == self._token.encode()
        return kept and not stored

    def close(self) -> None:
        delete_or_raise(self._store, [self._key])
