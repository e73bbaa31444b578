"""One stream of bytes into a backup: a reader, a hasher, W workers, bounded buffers.

    source blocks ─► reader (the caller's thread): fills a buffer of the free list
                        │ queue of blocks ─► hasher: SHA-512 of the whole, in order
                        │ queue of chunks
                        ▼
                     W workers: zero? BLAKE3, known already? zstd ─ buffer back to the free list ─ PUT
                        │
                        ▼
                     BackupWriter: index parts, in any order

Memory: (2 W + 1) buffers of one chunk, W encoded chunks with the compressor's copy of each, 8 blocks
for the hasher, and the index parts that miss an entry (at most W + 1, 4 MiB each): with 4 MiB chunks
and W = 2 that is 20 + 16 + 8 + 12 MiB above an idle process, whatever the size of the volume; `known`
brings what it holds. The free list is the only back-pressure: a slow bank stops the reader, and the
reader stops Glance.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue

from cinderbank.bank.chunk import Envelope
from cinderbank.bank.geometry import allocation_map
from cinderbank.bank.writer import BackupWriter, StoredChunk, encode_chunk
from cinderbank.domain.errors import DataCorrupt
from cinderbank.transfer.content_hash import ContentHash, HashThread

Progress = Callable[[int, int, int, int], None]
"""Called with bytes processed, stored, zero and reused, from any thread."""

Known = Callable[[int], Sequence[StoredChunk]]
"""Chunks in the bank that may be the one of this index, best first; asked in order, by one thread."""


def default_workers() -> int:
    """Cores of this machine, at least 2: PUTs wait while another worker computes."""
    return max(2, os.cpu_count() or 1)


def nothing_known(index: int) -> Sequence[StoredChunk]:
    return ()


class Pipeline:
    """Runs once. The counts of bytes are right when `run` has returned."""

    def __init__(
        self,
        writer: BackupWriter,
        hashes: ContentHash,
        progress: Progress,
        workers: int,
        known: Known = nothing_known,
    ) -> None:
        self._writer = writer
        self._geometry = writer.geometry
        self._hashes = hashes
        self._progress = progress
        self._workers = workers
        self._known = known
        # None in `_free` wakes a reader that waits for a buffer that will not come any more.
        self._free: SimpleQueue[bytearray | None] = SimpleQueue()
        self._full: SimpleQueue[tuple[int, bytearray, Sequence[StoredChunk]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self.stored_bytes = 0
        """Bytes of chunk objects of this session, those of earlier attempts too."""
        self.zero_bytes = 0
        self.reused_bytes = 0
        """Bytes of the volume whose chunks are another session's."""

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
            with HashThread(self._hashes) as hasher:
                self._read(blocks, hasher)
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

    def _read(self, blocks: Iterable[bytes], hasher: HashThread) -> None:
        size = self._geometry.size_bytes
        index = filled = total = 0
        buffer: bytearray | None = None
        for block in blocks:
            hasher.update(block)
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
                # A slice of the bytearray itself would be assigned through a copy of `rest`.
                with memoryview(buffer) as view:
                    view[filled : filled + take] = rest[:take]
                filled += take
                rest = rest[take:]
                if filled == self._geometry.chunk_length(index):
                    self._full.put((index, buffer, self._known(index)))
                    buffer, filled, index = None, 0, index + 1
        if total != size:
            raise DataCorrupt(f"the image ended after {total} of {size} bytes")

    def _work(self) -> None:
        envelope = Envelope(self._writer.keys)
        while (item := self._full.get()) is not None:
            if self._failure is not None:
                continue
            try:
                self._chunk(envelope, *item)
            # Whatever it is, it must reach the caller's thread, not die with this one.
            except BaseException as error:  # noqa: BLE001
                self._fail(error)

    def _chunk(
        self, envelope: Envelope, index: int, buffer: bytearray, known: Sequence[StoredChunk]
    ) -> None:
        length = self._geometry.chunk_length(index)
        # The buffer had another chunk in it before: pad a short last one.
        buffer[length:] = bytes(len(buffer) - length)
        allocation = allocation_map(buffer)
        if allocation == 0:
            self._free.put(buffer)
            self._writer.put_hole(index)
            self._count(length, zero=length)
            return
        with memoryview(buffer) as view, view[:length] as plain:
            digest = envelope.digest(plain)
            same = self._reused(known, digest, allocation)
            if same is None:
                key = self._writer.chunk_key(index)
                encoded = encode_chunk(envelope, index, plain, allocation, key, digest)
        self._free.put(buffer)
        if same is None:
            self._count(length, stored=self._writer.put_chunk(encoded))
        elif same.session == self._writer.session:
            self._count(length, stored=same.entry.stored_bytes)
        else:
            self._count(length, reused=length)

    def _reused(
        self, known: Sequence[StoredChunk], digest: bytes, allocation: int
    ) -> StoredChunk | None:
        """The one that holds the same bytes, named in the index now."""
        for candidate in known:
            if candidate.entry.hash == digest and self._writer.reuse(candidate, allocation):
                return candidate
        return None

    def _count(self, length: int, stored: int = 0, zero: int = 0, reused: int = 0) -> None:
        with self._lock:
            self.stored_bytes += stored
            self.zero_bytes += zero
            self.reused_bytes += reused
        self._progress(length, stored, zero, reused)
