"""A backup as the body of a request: the raw volume, in order, as often as somebody iterates."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from cinderbank.bank.chunk import Envelope
from cinderbank.bank.index import Entry
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import DataCorrupt
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.image_hash import HashThread, Sha512
from cinderbank.transfer.salvage import Salvaged

AHEAD = 4
"""Chunks that are fetched beyond those that the workers hold."""

_Fetched = Future[Buffer | None]

_Pending = tuple[int, "_Fetched | None", bool]
"""Length, the bytes that come (None: zeros), and whether they are zeros because they are lost."""


class VolumeBody:
    """`__len__` bytes; every `__iter__` starts at the first byte and verifies every chunk anew.

    Memory: (W + 4) chunks, stored and plain, one index part of 4 MiB, one chunk of zeros, and 8 MiB that
    wait to be hashed. Holes cost no request. What a chunk raises ends the iteration, so that the receiver never has all bytes; but
    with `salvage` what is damaged or missing is sent as zeros (an outage still raises), and `salvaged`
    tells of the last iteration what was lost.
    """

    def __init__(
        self, reader: BackupReader, meter: ProgressMeter, workers: int, salvage: bool = False
    ) -> None:
        self._reader = reader
        self._meter = meter
        self._workers = workers
        self._zeros = memoryview(bytes(reader.geometry.chunk_bytes))
        self._local = threading.local()
        self.salvaged: Salvaged | None = Salvaged() if salvage else None
        self.failure: BaseException | None = None
        """What ended the last iteration, for a sender that hides it."""
        self.sha512 = ""
        """Of what the last iteration gave, in hex; empty until it has come to its end."""

    def __len__(self) -> int:
        return self._reader.geometry.size_bytes

    def __iter__(self) -> Iterator[Buffer]:
        self._meter.restart()
        self.failure, self.sha512 = None, ""
        if self.salvaged is not None:
            self.salvaged = Salvaged()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="chunk")
        whole = Sha512()
        try:
            with HashThread(whole) as hasher:
                yield from hasher.through(self._ordered(pool))
            self.sha512 = whole.hexdigest()
        except Exception as error:
            self.failure = error
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _ordered(self, pool: ThreadPoolExecutor) -> Iterator[Buffer]:
        window: deque[_Pending] = deque()
        fetching = 0
        reader = self._reader
        entries = reader.entries() if self.salvaged is None else reader.entries_left()
        for index, entry in enumerate(entries):
            future: _Fetched | None = None
            if entry is not None and not entry.is_hole:
                future = pool.submit(self._fetch, entry)
            window.append((reader.geometry.chunk_length(index), future, entry is None))
            fetching += future is not None
            # Holes wait in line, but only chunks hold memory; a bound on both keeps the line short.
            while fetching > self._workers + AHEAD or len(window) > 1024 or _starts_ready(window):
                pending = window.popleft()
                fetching -= pending[1] is not None
                yield self._block(*pending)
        while window:
            yield self._block(*window.popleft())

    def _block(self, length: int, future: _Fetched | None, lost: bool) -> Buffer:
        found = None if future is None else future.result()
        block: Buffer = self._zeros[:length] if found is None else found
        self._meter.add(length, 0, length if found is None else 0)
        if self.salvaged is not None:
            self.salvaged.add(length, lost or (future is not None and found is None))
        return block

    def _fetch(self, entry: Entry) -> Buffer | None:
        envelope: Envelope | None = getattr(self._local, "envelope", None)
        if envelope is None:
            envelope = self._local.envelope = self._reader.envelope()
        try:
            return self._reader.read_chunk(entry, envelope)
        except DataCorrupt:
            if self.salvaged is None:
                raise
            return None


def _starts_ready(window: deque[_Pending]) -> bool:
    """A hole at the head of the line, or a chunk that has come: no reason to wait."""
    if not window:
        return False
    future = window[0][1]
    return future is None or future.done()
