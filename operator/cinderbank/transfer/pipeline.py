"""One stream of bytes into a backup: a reader, W workers, bounded buffers.

    source blocks ─► reader (the caller's thread): fills a buffer of the free list, hashes it whole
                        │ queue
                        ▼
                     W workers: zero? BLAKE3, allocation map, zstd ─ buffer back to the free list ─ PUT
                        │
                        ▼
                     BackupWriter: index parts, in any order

Memory: (2 W + 1) buffers of one chunk, W encoded chunks with the compressor's copy of each, and the
index parts that miss an entry (at most W + 1, 4 MiB each): with 4 MiB chunks and W = 2 that is
20 + 16 + 12 MiB above an idle process, whatever the size of the volume. The free list is the only
back-pressure: a slow bank stops the reader, and the reader stops Glance.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue

from cinderbank.bank.chunk import Envelope
from cinderbank.bank.geometry import allocation_map
from cinderbank.bank.writer import BackupWriter, encode_chunk
from cinderbank.domain.errors import DataCorrupt
from cinderbank.transfer.content_hash import ContentHash

Progress = Callable[[int, int, int], None]
"""Called with bytes processed, stored and zero, from any thread."""


def default_workers() -> int:
    """Cores of this machine, at least 2: PUTs wait while another worker computes."""
    return max(2, os.cpu_count() or 1)


class Pipeline:
    """Runs once. `stored_bytes` and `zero_bytes` are right when `run` has returned."""

    def __init__(
        self, writer: BackupWriter, hashes: ContentHash, progress: Progress, workers: int
    ) -> None:
        self._writer = writer
        self._geometry = writer.geometry
        self._hashes = hashes
        self._progress = progress
        self._workers = workers
        # None in `_free` wakes a reader that waits for a buffer that will not come any more.
        self._free: SimpleQueue[bytearray | None] = SimpleQueue()
        self._full: SimpleQueue[tuple[int, bytearray] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self.stored_bytes = 0
        self.zero_bytes = 0

    def run(self, blocks: Iterable[bytes]) -> None:
        """Consume the blocks; returns when every chunk and index part is stored.

        DataCorrupt when there are fewer or more bytes than the geometry says. The first failure of
        any thread ends all; no thread is left.
        """
        threads = [
            threading.Thread(target=self._work, name=f"chunk-{i}", daemon=True)
            for i in range(self._workers)
        ]
        for _ in range(2 * self._workers + 1):
            self._free.put(bytearray(self._geometry.chunk_bytes))
        for thread in threads:
            thread.start()
        try:
            self._read(blocks)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            for _ in threads:
                self._full.put(None)
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or error
        self._free.put(None)

    def _read(self, blocks: Iterable[bytes]) -> None:
        size = self._geometry.size_bytes
        index = filled = total = 0
        buffer: bytearray | None = None
        for block in blocks:
            self._hashes.update(block)
            total += len(block)
            if total > size:
                raise DataCorrupt(f"the image has more bytes than the {size} that were announced")
            rest = memoryview(block)
            while rest:
                if buffer is None:
                    buffer = self._free.get()
                    if buffer is None:
                        return
                take = min(len(rest), self._geometry.chunk_length(index) - filled)
                buffer[filled : filled + take] = rest[:take]
                filled += take
                rest = rest[take:]
                if filled == self._geometry.chunk_length(index):
                    self._full.put((index, buffer))
                    buffer, filled, index = None, 0, index + 1
        if total != size:
            raise DataCorrupt(f"the image ended after {total} of {size} bytes")

    def _work(self) -> None:
        envelope = Envelope()
        while (item := self._full.get()) is not None:
            if self._failure is not None:
                continue
            try:
                self._chunk(envelope, *item)
            # Whatever it is, it must reach the caller's thread, not die with this one.
            except BaseException as error:  # noqa: BLE001
                self._fail(error)

    def _chunk(self, envelope: Envelope, index: int, buffer: bytearray) -> None:
        length = self._geometry.chunk_length(index)
        # The buffer had another chunk in it before: pad a short last one.
        buffer[length:] = bytes(len(buffer) - length)
        allocation = allocation_map(buffer)
        if allocation == 0:
            self._free.put(buffer)
            self._writer.put_hole(index)
            stored = 0
        else:
            with memoryview(buffer) as view, view[:length] as plain:
                key = self._writer.chunk_key(index)
                encoded = encode_chunk(envelope, index, plain, allocation, key)
            self._free.put(buffer)
            stored = self._writer.put_chunk(encoded)
        zero = 0 if allocation else length
        with self._lock:
            self.stored_bytes += stored
            self.zero_bytes += zero
        self._progress(length, stored, zero)
