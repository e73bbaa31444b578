"""The self-test of a bank: prove the store before anybody relies on it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from cinderbank.bank import features, layout
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.removal import delete_or_raise
from cinderbank.bank.store import MAX_CONTROL_BYTES, ObjectStore
from cinderbank.domain.errors import Forbidden, Unsupported
from cinderbank.domain.facts import StoreCapabilities

RACERS = 8
RACED_KEYS = 3
"""So many PUTs at once for each of so many keys: enough to see a store that only looks before it
writes, and cheap enough for every look at a bank (about 40 small requests in all)."""


@dataclass(frozen=True, slots=True)
class BankHealth:
    """What the self-test found. `problems` are for the user; only `fit` decides whether to write."""

    bank_id: str
    format_version: int
    writable: bool
    capabilities: StoreCapabilities | None
    """None when nothing was written."""
    problems: tuple[str, ...] = ()


def validate(bank: StoredBank) -> BankHealth:
    """Credentials, bucket, format, and what the store does; some 40 small requests.

    Leaves no probe behind. Raises what `StoredBank.open` raises, and Forbidden (BankNotWritable) when the
    credentials may read and not write; a store that lies is in the answer.
    """
    # First: it tells a missing bucket and bad credentials apart, which a GET can not everywhere.
    next(iter(bank.store.list_keys(layout.BANK)), None)
    bank.store.get(layout.BANK, MAX_CONTROL_BYTES)
    # All that is read was read: what is refused from here on is a PUT or a DELETE.
    with _told_as_not_writable(bank):
        header = bank.open()
        capabilities = None if bank.read_only else probe(bank.store, bank.site)
    problems = [] if capabilities is None else _problems(bank.store, capabilities)
    return BankHealth(
        bank_id=header.bank_id,
        format_version=features.FORMAT_MAJOR,
        writable=not bank.read_only,
        capabilities=capabilities,
        problems=tuple(problems),
    )


@contextmanager
def _told_as_not_writable(bank: StoredBank) -> Iterator[None]:
    try:
        yield
    except Forbidden as error:
        if bank.read_only:
            raise
        raise Forbidden(
            f"these S3 keys may read and not write: {error.message}. To back up they need s3:PutObject"
            " and s3:DeleteObject there; to restore only, set accessMode: ReadOnly",
            reason="BankNotWritable",
        ) from error


def require_fit(bank: StoredBank) -> None:
    """Prove the store, before something is deleted or written by hand.

    Raises Unsupported (BankNotConsistent) when it shows stale reads or listings: no protocol of ours is
    safe on such a store.
    """
    found = probe(bank.store, bank.site)
    if not found.fit:
        raise Unsupported(_problems(bank.store, found)[0], reason="BankNotConsistent")


def _problems(store: ObjectStore, found: StoreCapabilities) -> list[str]:
    lies = [
        what
        for seen, what in (
            (found.read_after_write, "an object just written can not be read"),
            (found.list_after_write, "an object just written is not listed"),
            (found.delete_visible, "an object just deleted is still there"),
        )
        if not seen
    ]
    problems = []
    if lies:
        problems.append(
            f"the store at {store.where()} is not consistent: {', '.join(lies)}; a bank needs one "
            "cluster with read-after-write, not a cache or an asynchronous replica"
        )
    if not found.conditional_put:
        problems.append(
            f"the store at {store.where()} ignores If-None-Match: sessions of dead operators "
            "can be discarded, but not voided by a collection, and an attempt that was taken for dead "
            "can make its own backup unreadable (docs/bank-safety.md)"
        )
    return problems


def probe(store: ObjectStore, site: str) -> StoreCapabilities:
    """Write, read, list, race, delete. Leaves nothing behind unless the store loses the DELETE.

    Raises what the store raises when a request fails; a request that succeeds and lies is told.
    """
    keys = [layout.probe(site, str(uuid.uuid4())) for _ in range(1 + RACED_KEYS)]
    first, *raced = keys
    body = first.encode()
    try:
        store.put(first, body)
        read = store.get(first, MAX_CONTROL_BYTES) == body
        listed = first in {row.key for row in store.list_keys(first)}
        ranges = _sends_ranges(store, first, body)
        conditional = _keeps(store, first, body) and all(_race(store, key) for key in raced)
    finally:
        delete_or_raise(store, keys)
    deleted = store.get(first, MAX_CONTROL_BYTES) is None and not any(
        row.key == first for row in store.list_keys(first)
    )
    return StoreCapabilities(read, listed, deleted, conditional, ranges)


def _sends_ranges(store: ObjectStore, key: str, body: bytes) -> bool:
    try:
        return store.get_range(key, 3, 5) == body[3:8]
    except Unsupported:
        return False


def _keeps(store: ObjectStore, key: str, body: bytes) -> bool:
    created = store.put(key, body + b"2", if_absent=True)
    return not created and store.get(key, MAX_CONTROL_BYTES) == body


def _race(store: ObjectStore, key: str) -> bool:
    """True when one of many creators won, and what it wrote is there."""
    bodies = [f"{number} {key}".encode() for number in range(RACERS)]
    with ThreadPoolExecutor(RACERS, thread_name_prefix="race") as pool:
        won = list(pool.map(lambda body: store.put(key, body, if_absent=True), bodies))
    winners = [body for body, first in zip(bodies, won, strict=True) if first]
    # None may win: a retry of the client's own first try, whose answer was lost, is told that it lost.
    return len(winners) <= 1 and store.get(key, MAX_CONTROL_BYTES) in (winners or bodies)
