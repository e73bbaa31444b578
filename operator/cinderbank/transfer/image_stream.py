"""How an image is read: once as a stream of blocks with a position, or in any order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import DataCorrupt


class RandomAccess(Protocol):
    """The same image once more, not as a stream."""

    def read_at(self, offset: int, length: int) -> Buffer:
        """Exactly `length` bytes from `offset` on, which are within the image. Asked with rising offsets
        for neighbouring data, and for a table now and then. May raise what its source raises."""
        ...


class BlockStream:
    """Skip, look ahead, take; nothing is copied that is only passed.

    Exactly `total_bytes` bytes in blocks of any size; DataCorrupt (ImageCorrupt) when it has fewer or
    more. Memory: what was looked ahead, and one block."""

    def __init__(self, blocks: Iterable[Buffer], total_bytes: int) -> None:
        self._blocks = iter(blocks)
        self._total = total_bytes
        self._come = 0
        self._held: deque[memoryview] = deque()
        self._held_bytes = 0
        self.position = 0
        """Offset of the byte that comes next."""

    def _pull(self) -> bool:
        """One more block that is not empty; False at the end."""
        block = next((block for block in self._blocks if len(block)), None)
        if block is None:
            return False
        self._come += len(block)
        if self._come > self._total:
            raise DataCorrupt(
                f"the image has more bytes than the {self._total} that were announced",
                reason="ImageCorrupt",
            )
        self._held.append(memoryview(block))
        self._held_bytes += len(block)
        return True

    def _need(self) -> None:
        if not self._pull():
            raise DataCorrupt(
                f"the image ended after {self._come} of {self._total} bytes", reason="ImageCorrupt"
            )

    def peek(self, length: int) -> memoryview:
        """The next `length` bytes, at least 1; the position stays."""
        if not self._held:
            self._need()
        if len(self._held[0]) >= length:
            return self._held[0][:length]
        # Joined once, so that tiny blocks cost no more than what they hold.
        joined = bytearray().join(self._held)
        self._held.clear()
        while len(joined) < length:
            self._need()
            joined += self._held.popleft()
        self._held.append(memoryview(joined))
        self._held_bytes = len(joined)
        return self._held[0][:length]

    def take(self, length: int) -> Iterator[memoryview]:
        """The next `length` bytes, as the blocks have come."""
        while length:
            if not self._held:
                self._need()
                continue
            block = self._held.popleft()
            if len(block) > length:
                self._held.appendleft(block[length:])
                block = block[:length]
            length -= len(block)
            self._held_bytes -= len(block)
            self.position += len(block)
            yield block

    def skip_to(self, offset: int) -> None:
        """Pass everything before `offset`, which is not behind the position."""
        for _ in self.take(offset - self.position):
            pass

    def drain(self) -> None:
        """Pass everything to the end, and the end itself."""
        self.skip_to(self._total)
        while self._pull():
            pass
