"""A backup as a stream of bytes in order: chunks are fetched ahead by threads and compared as they come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from cinderbank.bank.chunk import Envelope
from cinderbank.bank.index import Entry
from cinderbank.bank.ranges import Ranges
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.store import Buffer
from cinderbank.cli.export_sink import Sink
from cinderbank.domain.errors import DataCorrupt

MAX_PROBLEMS = 20


class Export:
    """Runs once. Memory: 2 chunks for each worker, and one index part."""

    def __init__(self, backup: BackupReader, sink: Sink, workers: int, salvage: bool) -> None:
        self._backup = backup
        self._geometry = backup.geometry
        self._sink = sink
        self._workers = workers
        self._salvage = salvage
        self._local = threading.local()
        self._done = 0
        self.lost = Ranges()
        """Chunks that could not be read; with `salvage` they were written as zeros."""
        self.problems: list[str] = []

    def run(self, progress: Callable[[int], None]) -> None:
        """Write everything; `progress` is told how many bytes are written.

        Raises DataCorrupt (with `salvage` only ContentHashMismatch: all is there, and is not what was
        backed up), OSError of the sink, and what the store raises.
        """
        ahead: deque[tuple[Entry, Future[Buffer] | None]] = deque()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="export") as pool:
            try:
                for entry in self._entries():
                    wanted = None if entry.is_hole else pool.submit(self._fetch, entry)
                    ahead.append((entry, wanted))
                    if len(ahead) > 2 * self._workers:
                        self._write(*ahead.popleft())
                        progress(self._done)
                while ahead:
                    self._write(*ahead.popleft())
            finally:
                # A failure must not wait for chunks that nobody will write.
                pool.shutdown(wait=True, cancel_futures=True)
        self._lose_rest()
        progress(self._done)

    def lost_bytes(self) -> Iterator[tuple[int, int]]:
        """First and last byte of each range of the volume that is lost."""
        size, chunk = self._geometry.size_bytes, self._geometry.chunk_bytes
        for first, last in self.lost:
            yield first * chunk, min((last + 1) * chunk, size) - 1

    def _entries(self) -> Iterator[Entry]:
        try:
            yield from self._backup.entries()
        except DataCorrupt as error:
            if error.reason == "ContentHashMismatch":
                raise
            self._problem(error)

    def _fetch(self, entry: Entry) -> Buffer:
        envelope: Envelope | None = getattr(self._local, "envelope", None)
        if envelope is None:
            envelope = self._local.envelope = self._backup.envelope()
        return self._backup.read_chunk(entry, envelope)

    def _write(self, entry: Entry, wanted: Future[Buffer] | None) -> None:
        length = self._geometry.chunk_length(entry.index)
        plain: Buffer | None = None
        if wanted is not None:
            try:
                plain = wanted.result()
            except DataCorrupt as error:
                self._problem(error)
                self.lost.add(entry.index)
        self._put(plain, length)

    def _put(self, plain: Buffer | None, length: int) -> None:
        if plain is None:
            self._sink.zeros(length)
        else:
            self._sink.write(plain)
        self._done += length

    def _lose_rest(self) -> None:
        """Without its index nobody knows where the rest lies."""
        index = self._done // self._geometry.chunk_bytes
        while self._done < self._geometry.size_bytes:
            self.lost.add(index)
            self._put(None, self._geometry.chunk_length(index))
            index += 1

    def _problem(self, error: DataCorrupt) -> None:
        if not self._salvage:
            raise error
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(error.message)
