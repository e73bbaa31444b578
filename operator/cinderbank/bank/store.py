"""What the bank needs of an object store: six verbs on one flat namespace.

Keys are relative to the bank (the implementation adds bucket and prefix). The store MUST be
linearizable per key and its LIST MUST show every PUT that ended before the LIST began. Every method
MAY raise what `ports.bank.Bank` names; an implementation retries what is worth it by itself, so that
the bank never does. Each verb may be repeated without harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

Buffer = bytes | bytearray | memoryview

Body = Buffer | tuple[Buffer, ...]
"""What is stored as one object: its bytes, or pieces that follow one another."""

MAX_CONTROL_BYTES = 64 * 1024
"""No intent, seal, tomb or bank.json is larger; a larger one is not ours."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of a listing: an object, or (with a delimiter) a common prefix."""

    key: str
    size_bytes: int = 0
    is_prefix: bool = False
    last_modified: datetime | None = field(default=None, compare=False)
    """When it was last put, by the store's own clock (aware); None for a prefix, or when the store
    does not say. Good for age only, never for order."""


@dataclass(frozen=True, slots=True)
class DeleteFailure:
    """One key that the store refused to delete."""

    key: str
    code: str


def joined(body: Body) -> bytes:
    """All bytes of it, copied unless they are bytes already."""
    return b"".join(body) if isinstance(body, tuple) else bytes(body)


def body_bytes(body: Body) -> int:
    """How many bytes it has."""
    return sum(map(len, body)) if isinstance(body, tuple) else len(body)


class ObjectStore(Protocol):
    """An S3 bucket and prefix, or its stand-in."""

    def where(self) -> str:
        """Endpoint, bucket and prefix for messages; no secret."""
        ...

    def get(self, key: str, max_bytes: int) -> bytes | None:
        """The whole object; None when it is absent. DataCorrupt when it is larger than `max_bytes`
        (known before the body is read)."""
        ...

    def get_range(self, key: str, first: int, count: int) -> bytes | None:
        """`count` bytes from `first` on (0 is the first byte; fewer at the end of the object); None when
        it is absent. Unsupported (StoreWithoutRanges) when the store sends something else."""
        ...

    def head(self, key: str) -> int | None:
        """Its size in bytes; None when it is absent."""
        ...

    def put(self, key: str, body: Body, if_absent: bool = False) -> bool:
        """Store it whole. False when `if_absent` and it is there already: maybe by this very call,
        sent twice by a retry, so the caller MUST read and compare before it decides anything.
        A store that does not know the condition overwrites and says True."""
        ...

    def delete_many(self, keys: Sequence[str]) -> list[DeleteFailure]:
        """Delete up to 1000 keys; absent ones count as deleted. Answers those that were refused."""
        ...

    def list_keys(
        self, prefix: str, delimiter: str = "", start_after: str = ""
    ) -> Iterator[Listed]:
        """Stream all rows under the prefix; memory does not grow with their number. Objects come in
        the order of their keys; common prefixes may come after the objects of their page."""
        ...
