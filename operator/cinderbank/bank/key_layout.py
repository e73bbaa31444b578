"""The keys below `keys/` of a bank: data keys as key-encryption keys wrap them, and those retired.

As in layout.py an id is checked before it becomes a part of a key, and again when it comes out of a listing.
"""

from __future__ import annotations

import re

from cinderbank.bank.layout import checked

KEYS = "keys/"

_DATA_KEY = re.compile(r"[0-9a-f]{32}", re.ASCII)
_KEK = re.compile(r"[0-9a-f]{16}", re.ASCII)
_RETIRED = "retired"


def is_kek_id(text: str) -> bool:
    """True for the id of a key-encryption key: 16 hex digits."""
    return _KEK.fullmatch(text) is not None


def is_data_key_id(text: str) -> bool:
    """True for the id of a data key: 32 hex digits."""
    return _DATA_KEY.fullmatch(text) is not None


def data_key_prefix(data_key_id: str) -> str:
    return f"{KEYS}{checked(data_key_id, is_data_key_id(data_key_id), 'data key id')}/"


def wrapped_key(data_key_id: str, kek_id: str) -> str:
    """A data key as one key-encryption key wraps it."""
    return data_key_prefix(data_key_id) + checked(kek_id, is_kek_id(kek_id), "kek id")


def retired_keys_prefix() -> str:
    return f"{KEYS}{_RETIRED}/"


def retired_key(kek_id: str) -> str:
    """The mark that a key-encryption key was removed, and is never to come back."""
    return retired_keys_prefix() + checked(kek_id, is_kek_id(kek_id), "kek id")


def parse_wrapped_key(key: str) -> tuple[str, str] | None:
    """Data key and kek of a listed wrapped key; None when it is foreign."""
    fields = key.split("/")
    if len(fields) != 3 or f"{fields[0]}/" != KEYS:
        return None
    return (fields[1], fields[2]) if is_data_key_id(fields[1]) and is_kek_id(fields[2]) else None


def parse_retired_key(key: str) -> str | None:
    """The kek of a listed mark of retirement; None when it is foreign."""
    kek_id = key.removeprefix(retired_keys_prefix())
    return kek_id if key.startswith(retired_keys_prefix()) and is_kek_id(kek_id) else None
