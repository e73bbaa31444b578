"""Whether chunks exist, asked in ascending order: one LIST per 1000 of them, not one HEAD each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from cinderbank.bank import layout
from cinderbank.bank.scrub import AttemptRef
from cinderbank.bank.store import ObjectStore

OPEN_LISTINGS = 32
"""Each holds a page of at most 1000 rows; a volume's increments may come from hundreds of sessions."""


class ChunkListing:
    """Sizes of stored chunks. NOT thread-safe. Asking for a lower index lists again from there."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._open: OrderedDict[AttemptRef, _Attempt] = OrderedDict()

    def size_of(self, ref: AttemptRef, index: int) -> int | None:
        """Bytes of the stored object; None when it is not there."""
        attempt = self._open.pop(ref, None)
        if attempt is None or index < attempt.index:
            attempt = _Attempt(self._store, ref, index)
        self._open[ref] = attempt
        if len(self._open) > OPEN_LISTINGS:
            self._open.popitem(last=False)
        return attempt.size_of(index)


class _Attempt:
    def __init__(self, store: ObjectStore, ref: AttemptRef, first: int) -> None:
        prefix = layout.session_chunks_prefix(ref.site, ref.backup_id)
        folder = f"{prefix}{ref.attempt:04x}/"
        before = layout.chunk(ref.site, ref.backup_id, ref.attempt, first - 1) if first else ""
        self._rows: Iterator[tuple[int, int]] = (
            (found[1], row.size_bytes)
            for row in store.list_keys(folder, start_after=before)
            if (found := layout.parse_session_object(prefix, row.key)) is not None
        )
        self.index = first
        self._at: tuple[int, int] | None = (-1, 0)

    def size_of(self, index: int) -> int | None:
        self.index = index
        while self._at is not None and self._at[0] < index:
            self._at = next(self._rows, None)
        return self._at[1] if self._at is not None and self._at[0] == index else None
