"""What a salvage sends, and what of it is zeros because the bank has lost it."""

from __future__ import annotations

from cinderbank.domain.facts import MAX_LOST_RANGES, LostRanges


class Salvaged:
    """One pass over a volume, in order. Memory: at most MAX_LOST_RANGES ranges."""

    def __init__(self) -> None:
        self._position = 0
        self._ranges: list[tuple[int, int]] = []
        self._count = 0
        self._lost_bytes = 0
        self._last_lost = -1

    def add(self, length: int, lost: bool) -> None:
        """The next bytes of the volume; `lost`: they are zeros in place of what was there."""
        first, self._position = self._position, self._position + length
        if not lost:
            return
        last = self._position - 1
        if self._count and first == self._last_lost + 1:
            if self._count <= MAX_LOST_RANGES:
                self._ranges[-1] = (self._ranges[-1][0], last)
        else:
            self._count += 1
            if self._count <= MAX_LOST_RANGES:
                self._ranges.append((first, last))
        self._last_lost = last
        self._lost_bytes += length

    def lost(self) -> LostRanges | None:
        """None when nothing is."""
        if not self._count:
            return None
        return LostRanges(self._count, self._lost_bytes, tuple(self._ranges))
