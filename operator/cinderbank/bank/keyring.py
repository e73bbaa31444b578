"""The data keys of one bank as this process can open them, unwrapped once and never written anywhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cinderbank.bank import key_layout
from cinderbank.bank.crypto import DataKey, KeyEncryptionKey
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.wrapped_keys import (
    KeyListing,
    list_keys,
    named,
    put_wrapped,
    unwrap,
)
from cinderbank.domain.errors import BrokenInvariant, DataCorrupt, InvalidSpec

EPOCH_SECONDS = 90 * 24 * 3600
"""New backups take a new data key after that long, so that one lost data key opens no more."""


class Keyring:
    """All that our key-encryption keys (KEKs, at least one) open in one bank. Thread-safe.

    `accepts_plain`: whether backups that are not encrypted may be read from this bank. Who can write to
    the bucket could put one of his own in place of an encrypted one, so it is off unless asked for.
    """

    def __init__(
        self,
        store: ObjectStore,
        bank_id: str,
        keks: Sequence[KeyEncryptionKey],
        *,
        accepts_plain: bool = False,
        now_seconds: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.bank_id = bank_id
        self.keks = tuple(keks)
        self.accepts_plain = accepts_plain
        self._now_seconds = now_seconds
        self._lock = threading.Lock()
        self._opened: dict[str, DataKey] = {}

    def data_key(self, data_key_id: bytes) -> DataKey:
        """Raises InvalidSpec (BankKeyWrong) when none of our KEKs opens it, DataCorrupt."""
        name = data_key_id.hex()
        with self._lock:
            known = self._opened.get(name)
        if known is not None:
            return known
        found = self._unwrapped(name)
        if found is None:
            raise self._wrong(name)
        with self._lock:
            return self._opened.setdefault(name, found)

    def _unwrapped(self, name: str) -> DataKey | None:
        damage: DataCorrupt | None = None
        for kek in self.keks:
            try:
                found = unwrap(self.store, self.bank_id, name, kek)
            except DataCorrupt as error:
                damage = error  # another KEK may still open it
                continue
            if found is not None:
                return found
        if damage is not None:
            raise damage
        return None

    def opens_stored(self, data_key_id: str) -> bool:
        """Whether what lies in the bank right now opens by a KEK of ours. Raises DataCorrupt."""
        return self._unwrapped(data_key_id) is not None

    def _wrong(self, name: str) -> InvalidSpec | DataCorrupt:
        rows = self.store.list_keys(key_layout.data_key_prefix(name))
        pairs = (key_layout.parse_wrapped_key(row.key) for row in rows)
        there = {pair[1] for pair in pairs if pair is not None}
        if not there:
            return DataCorrupt(f"data key {name} is not in the bank at {self.store.where()}")
        return InvalidSpec(
            f"data key {name} of the bank at {self.store.where()} is opened by key(s) {named(there)}, "
            f"the configured one(s) are {named(kek.id for kek in self.keks)}: configure one of the "
            "former, or let who has it run `cinderbank bank key add`",
            reason="BankKeyWrong",
        )

    def reading(self, hash_key_id: str | None = None) -> BackupKeys:
        """The keys of a backup whose manifest names this hash key (None: only to decrypt)."""
        hash_key = None
        if hash_key_id is not None:
            hash_key = self.data_key(bytes.fromhex(hash_key_id)).hash_key()
        return BackupKeys(self, None, hash_key_id, hash_key)

    def writing(self) -> BackupKeys:
        """The keys for a new backup; makes a data key when there is none, or the last one is old.

        Also wraps every data key that we can open by every KEK of ours, so that a KEK which was added
        to a Secret opens all. Idempotent. Raises InvalidSpec (BankKeyWrong, BankKeyRetired).
        """
        listing = list_keys(self.store)
        opened = self.ensure_wrapped(listing)
        if listing.wrapped and not opened:
            raise self._wrong(max(listing.wrapped))
        newest = opened[-1] if opened else None
        if newest is None or self._now_seconds() - newest.made_seconds > EPOCH_SECONDS:
            newest = self.new_data_key(listing)
        # The oldest one that we can open, for all epochs: equal chunks are found across them.
        first = opened[0] if opened else newest
        return BackupKeys(self, newest, first.id.hex(), first.hash_key())

    def ensure_wrapped(self, listing: KeyListing) -> list[DataKey]:
        """Wrap what we can open by each KEK of ours that is not retired; those keys, oldest first."""
        mine = {kek.id for kek in self.keks}
        opened = []
        for name, kek_ids in listing.wrapped.items():
            if not mine & kek_ids:
                continue
            data_key = self.data_key(bytes.fromhex(name))
            opened.append(data_key)
            for kek in self.keks:
                if kek.id not in kek_ids | listing.retired:
                    self._wrap(data_key, [kek])
        return opened

    def new_data_key(self, listing: KeyListing) -> DataKey:
        """Begin an epoch: a fresh data key, wrapped by all our KEKs that are not retired."""
        keks = [kek for kek in self.keks if kek.id not in listing.retired]
        if not keks:
            raise self._retired()
        # Above all that are there: the newest id is the current one, whatever a clock says.
        newest = max(listing.wrapped, default="0" * 32)
        after = int(newest[:12], 16) + 1
        data_key = DataKey.new(self.bank_id, max(int(self._now_seconds() * 1000), after))
        self._wrap(data_key, keks)
        with self._lock:
            self._opened[data_key.id.hex()] = data_key
        return data_key

    def _wrap(self, data_key: DataKey, keks: Sequence[KeyEncryptionKey]) -> None:
        for kek in keks:
            put_wrapped(self.store, data_key, kek)
        # Whoever retires a KEK puts the mark, then looks for what it wraps; we wrap, then look for the
        # mark: one of us sees the other.
        retired = list_keys(self.store).retired
        gone = [kek for kek in keks if kek.id in retired]
        keys = [key_layout.wrapped_key(data_key.id.hex(), kek.id) for kek in gone]
        if keys:
            self.store.delete_many(keys)
            raise self._retired()

    def _retired(self) -> InvalidSpec:
        return InvalidSpec(
            f"key(s) {named(kek.id for kek in self.keks)} were removed from the bank at "
            f"{self.store.where()}, and a removed key never comes back; configure a new one",
            reason="BankKeyRetired",
        )


@dataclass(frozen=True, slots=True)
class BackupKeys:
    """`chunk.EnvelopeKeys` of one backup."""

    ring: Keyring
    _current: DataKey | None
    hash_key_id: str | None
    """Id of the data key that the chunk hashes are keyed by. Only backups of one such id share chunks."""
    _hash_key: bytes | None = field(repr=False)

    @property
    def current(self) -> DataKey:
        if self._current is None:
            raise BrokenInvariant("keys that were opened to read are used to write")
        return self._current

    @property
    def hash_key(self) -> bytes:
        if self._hash_key is None:
            raise BrokenInvariant("keys that were opened to decrypt are used to hash")
        return self._hash_key

    def data_key(self, data_key_id: bytes) -> DataKey:
        return self.ring.data_key(data_key_id)
