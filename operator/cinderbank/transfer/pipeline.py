"""Extents of a volume into a backup: one thread reads, as many as there are cores compute, and as
many as help (`upload_limit`) send.

    extents ─► cut into chunks (the caller's thread) ─► queue ─► one of N threads for each chunk:
                                                    compute slot: zero? BLAKE3, known? zstd, AES
                                                    upload slot:  PUT
                                                    BackupWriter: index parts, in any order

A hole costs an index entry. A chunk is not copied: it is a view of the block that the source read, and
when it does not compress that is what is sent, behind a header of its own.

Memory above an idle process, with 4 MiB chunks, whatever the size of the volume and the number of
cores: `Limits.in_flight` chunks (24 MiB), one that is read or put together (4), a copy for each that is
compressed or encrypted (`Limits.computing`, 8), 8 MiB that wait for the image's hash, the index parts
that miss an entry or are stored (12), and what malloc keeps between them (8): 64 MiB, with an idle
process of 83 MiB less than 150. Larger chunks are fewer, but of 16 MiB it is 100. `known` brings what it
holds; a qcow2 image takes 2 bits for each cluster, and at most 8 MiB of tables that wait.

The number in flight is the only back-pressure: a slow bank stops the reader, and the reader stops Glance.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import NamedTuple

from cinderbank.bank.chunk import Envelope
from cinderbank.bank.geometry import allocation_map
from cinderbank.bank.store import Buffer
from cinderbank.bank.writer import BackupWriter, EncodedChunk, StoredChunk, encode_chunk
from cinderbank.transfer.chunking import Chunk, Holes, cut
from cinderbank.transfer.extent import Extent
from cinderbank.transfer.upload_limit import MOST, UploadSlots

Progress = Callable[[int, int, int, int], None]
"""Called with bytes processed, stored, zero and reused, from any thread."""

Known = Callable[[int], Sequence[StoredChunk]]
"""Chunks in the bank that may be the one of this index, best first; asked in ascending order, not for
holes, by one thread."""

IN_FLIGHT_BYTES = 24 << 20


@dataclass(frozen=True, slots=True)
class Unread:
    """A chunk that lies somewhere else; whichever thread stores it reads it."""

    index: int
    length: int
    allocation: int
    hash: bytes | None
    """Of its bytes, as the writer's index would have it; None when only they can tell."""
    read: Callable[[], Buffer]


class Limits(NamedTuple):
    """What one transfer may hold at once."""

    computing: int
    """Chunks that are hashed and compressed at once."""
    in_flight: int
    """Chunks between the reader and their last byte in the bank."""


def limits_for(chunk_bytes: int, cores: int | None = None) -> Limits:
    """As many as fit into the memory that the module's docstring states."""
    in_flight = max(2, min(MOST, IN_FLIGHT_BYTES // chunk_bytes))
    # Each that computes may take one more of its size.
    computing = min(cores or os.cpu_count() or 1, in_flight // 3)
    return Limits(max(1, computing), in_flight)


def nothing_known(index: int) -> Sequence[StoredChunk]:
    return ()


class Pipeline:
    """Runs once. The counts of bytes are right when `run` has returned."""

    def __init__(
        self,
        writer: BackupWriter,
        progress: Progress,
        limits: Limits,
        uploads: UploadSlots,
        known: Known = nothing_known,
    ) -> None:
        self._writer = writer
        self._geometry = writer.geometry
        self._progress = progress
        self._limits = limits
        self._uploads = uploads
        self._known = known
        self._room = threading.Semaphore(limits.in_flight)
        self._queue: SimpleQueue[tuple[Chunk | Unread, Sequence[StoredChunk]] | None]
        self._queue = SimpleQueue()
        # A slot to compute is one of these: their zstd contexts take memory and are for one thread.
        self._envelopes: SimpleQueue[Envelope] = SimpleQueue()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self.stored_bytes = 0
        """Bytes of chunk objects of this session, those of earlier attempts too."""
        self.zero_bytes = 0
        self.reused_bytes = 0
        """Bytes of the volume whose chunks are another session's."""

    def run(self, extents: Iterable[Extent]) -> None:
        """As `run_pieces`; DataCorrupt when the extents are not the geometry's (see `cut`)."""
        self.run_pieces(cut(extents, self._geometry))

    def run_pieces(self, pieces: Iterable[Chunk | Unread | Holes]) -> None:
        """Consume the pieces, each chunk of the volume once, in order; returns when every chunk and index
        part is stored. The first failure of any thread ends all; no thread is left."""
        threads = [
            threading.Thread(target=self._work, name=f"chunk-{i}", daemon=True)
            for i in range(self._limits.in_flight)
        ]
        for _ in range(self._limits.computing):
            self._envelopes.put(Envelope(self._writer.keys))
        for thread in threads:
            thread.start()
        try:
            self._read(pieces)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            for _ in threads:
                self._queue.put(None)
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or error

    def _read(self, pieces: Iterable[Chunk | Unread | Holes]) -> None:
        for piece in pieces:
            if isinstance(piece, Holes):
                self._holes(piece)
                continue
            known = self._known(piece.index)
            if self._named_unread(piece, known):
                continue
            self._room.acquire()
            if self._failure is not None:
                return
            self._queue.put((piece, known))

    def _named_unread(self, piece: Chunk | Unread, known: Sequence[StoredChunk]) -> bool:
        """Whether its bytes need not even be read: they are there, and hash and map say so."""
        if isinstance(piece, Chunk) or piece.hash is None:
            return False
        wanted = piece.hash, piece.allocation
        same = [each for each in known if (each.entry.hash, each.entry.allocation) == wanted]
        return self._reused(same, piece.allocation, piece.length)

    def _holes(self, holes: Holes) -> None:
        self._writer.put_holes(holes.first, holes.count)
        step = self._geometry.chunk_bytes
        end = min((holes.first + holes.count) * step, self._geometry.size_bytes)
        self._count(end - holes.first * step, zero=end - holes.first * step)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                if self._failure is None:
                    piece, known = item
                    chunk = piece if isinstance(piece, Chunk) else Chunk(piece.index, piece.read())
                    encoded = self._prepared(chunk, known)
                    length = len(chunk.plain)
                    del item, piece, chunk  # what is sent may be another copy of it
                    if encoded is not None:
                        self._upload(encoded, length)
                        del encoded
            # Whatever it is, it must reach the caller's thread, not die with this one.
            except BaseException as error:  # noqa: BLE001
                self._fail(error)
            self._room.release()

    def _prepared(self, chunk: Chunk, known: Sequence[StoredChunk]) -> EncodedChunk | None:
        """What is to be stored; None when it is zeros, or is there already and was named in the index."""
        envelope = self._envelopes.get()
        try:
            allocation = allocation_map(self._padded(chunk.plain))
            if not allocation:
                self._holes(Holes(chunk.index, 1))
                return None
            digest = envelope.digest(chunk.plain)
            same = [each for each in known if each.entry.hash == digest]
            if self._reused(same, allocation, len(chunk.plain)):
                return None
            key = self._writer.chunk_key(chunk.index)
            return encode_chunk(envelope, chunk.index, chunk.plain, allocation, key, digest)
        finally:
            self._envelopes.put(envelope)

    def _upload(self, encoded: EncodedChunk, length: int) -> None:
        with self._uploads.slot(encoded.stored_bytes):
            if self._failure is None:
                self._count(length, stored=self._writer.put_chunk(encoded))

    def _padded(self, plain: Buffer) -> Buffer:
        missing = self._geometry.chunk_bytes - len(plain)
        return b"".join((plain, bytes(missing))) if missing else plain

    def _reused(self, same: Sequence[StoredChunk], allocation: int, length: int) -> bool:
        """Whether the index names one of those that hold the same bytes now."""
        for candidate in same:
            if self._writer.reuse(candidate, allocation):
                if candidate.session == self._writer.session:
                    self._count(length, stored=candidate.entry.stored_bytes)
                else:
                    self._count(length, reused=length)
                return True
        return False

    def _count(self, length: int, stored: int = 0, zero: int = 0, reused: int = 0) -> None:
        with self._lock:
            self.stored_bytes += stored
            self.zero_bytes += zero
            self.reused_bytes += reused
        self._progress(length, stored, zero, reused)
