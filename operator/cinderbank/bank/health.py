"""The self-test of a bank: prove the store before anybody relies on it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from cinderbank.bank import features, layout
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.removal import delete_or_raise
from cinderbank.bank.store import MAX_CONTROL_BYTES
from cinderbank.bank.wrapped_keys import key_missing, list_keys, named
from cinderbank.domain.errors import Unavailable

MAX_COUNTED_SEALS = 10_000


@dataclass(frozen=True, slots=True)
class BankHealth:
    """What the self-test found. `problems` are for the user and do not stop the bank from working."""

    bank_id: str
    format_version: int
    writable: bool
    conditional_put: bool | None
    """Whether the store honours If-None-Match; None when nothing was written."""
    backups: int
    """Seals of all sites; at most MAX_COUNTED_SEALS."""
    backups_counted_all: bool
    problems: tuple[str, ...] = ()
    encrypted: bool = False
    """New backups are encrypted."""
    key_ids: tuple[str, ...] = ()
    """Of the keys that open the bank."""


def validate(bank: StoredBank) -> BankHealth:
    """Credentials, bucket, format, reads and lists after writes; a handful of requests.

    Leaves no probe behind. Raises what `StoredBank.open` raises, and Unavailable (BankUnavailable) when
    the store shows stale reads or listings: no protocol of ours is safe on such a store.
    """
    # First: it tells a missing bucket and bad credentials apart, which a GET can not everywhere.
    next(iter(bank.store.list_keys(layout.BANK)), None)
    header = bank.open()
    problems: list[str] = []
    key_ids = _opening_keys(bank, problems)
    conditional = None if bank.read_only else _probe(bank)
    if conditional is False:
        problems.append(
            f"the store at {bank.store.where()} ignores If-None-Match: sessions of dead operators "
            "can be discarded, but not voided by a collection"
        )
    count = foreign = 0
    for seal in bank.seals():
        count += seal is not None
        foreign += seal is None
        if count + foreign >= MAX_COUNTED_SEALS:
            break
    if foreign:
        problems.append(f"{foreign} objects among the seals are not ours and are ignored")
    return BankHealth(
        bank_id=header.bank_id,
        format_version=features.FORMAT_MAJOR,
        writable=not bank.read_only,
        conditional_put=conditional,
        backups=count,
        backups_counted_all=count + foreign < MAX_COUNTED_SEALS,
        problems=tuple(problems),
        encrypted=bank.keys is not None,
        key_ids=key_ids,
    )


def _opening_keys(bank: StoredBank, problems: list[str]) -> tuple[str, ...]:
    """Ids of the keys that open the bank; proves that one of ours does. Raises InvalidSpec:
    BankKeyMissing, BankKeyWrong."""
    listing, keys = list_keys(bank.store), bank.keys
    if keys is None:
        if listing.wrapped:
            raise key_missing(bank.store, "this bank")
        return ()
    retired = sorted({kek.id for kek in keys.keks} & listing.retired)
    if retired:
        problems.append(f"key(s) {named(retired)} were removed from the bank; drop them here, too")
    if not listing.wrapped:
        return tuple(sorted(kek.id for kek in keys.keks))
    keys.data_key(bytes.fromhex(max(listing.wrapped)))
    return tuple(sorted(listing.kek_ids))


def _probe(bank: StoredBank) -> bool:
    """Write, read, list, write again on condition, delete; True when the condition was honoured."""
    store, token = bank.store, str(uuid.uuid4())
    key, body = layout.probe(bank.site, token), token.encode()
    store.put(key, body)
    try:
        if store.get(key, MAX_CONTROL_BYTES) != body:
            raise _stale(bank, "an object just written can not be read")
        if key not in (row.key for row in store.list_keys(key)):
            raise _stale(bank, "an object just written is not listed")
        stored_again = store.put(key, body + b"2", if_absent=True)
        kept = store.get(key, MAX_CONTROL_BYTES) == body
    finally:
        delete_or_raise(store, [key])
    if store.get(key, MAX_CONTROL_BYTES) is not None:
        raise _stale(bank, "an object just deleted can still be read")
    return kept and not stored_again


def _stale(bank: StoredBank, what: str) -> Unavailable:
    return Unavailable(
        f"the store at {bank.store.where()} is not consistent: {what}; a bank needs one cluster with "
        "read-after-write, not a cache or an asynchronous replica",
        reason="BankUnavailable",
    )
