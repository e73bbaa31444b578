"""A backup as the body of a request: an image, in order, as often as somebody iterates."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from cinderbank.bank.chunk import Envelope
from cinderbank.bank.index import Entry
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import DataCorrupt
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.image_hash import HashThread, Sha512
from cinderbank.transfer.salvage import Salvaged

HELD_BYTES = 28 << 20
MOST_FETCHED = 4

_Fetched = Future[Buffer | None]


@dataclass(frozen=True, slots=True)
class _Pending:
    """A chunk in its turn: the bytes that come (None: zeros), and whether those zeros are a loss."""

    index: int
    future: _Fetched | None
    lost: bool


def fetches_for(chunk_bytes: int) -> tuple[int, int]:
    """How many chunks are fetched and checked at once, and how many wait for their turn besides: what
    fits into the memory that ImageBody states."""
    held = max(2, min(16, HELD_BYTES // chunk_bytes))
    return min(MOST_FETCHED, max(1, held // 2 + held % 2)), held


class ImageBody(ABC):
    """`__len__` bytes; every `__iter__` starts at the first byte and verifies every chunk anew.

    Memory above an idle process, with 4 MiB chunks, whatever the size of the volume: 7 chunks that wait
    for their turn (28 MiB), the stored form of those that are fetched (`fetches_for`, 16), 8 MiB that
    wait to be hashed, a chunk of zeros (4), and an index part, stored and plain (8): 64 MiB.

    Holes cost no request. What a chunk raises ends the iteration, and so does an index that is not what
    the manifest says, so that the receiver never has all bytes; but with `salvage` what is damaged or
    missing is sent as zeros (an outage still raises), and `salvaged` tells of the last iteration what
    was lost.
    """

    def __init__(
        self,
        reader: BackupReader,
        meter: ProgressMeter,
        salvage: bool = False,
    ) -> None:
        self._reader = reader
        self._geometry = reader.geometry
        self._meter = meter
        self._fetched, self._held = fetches_for(reader.geometry.chunk_bytes)
        self._zeros = memoryview(bytes(reader.geometry.chunk_bytes))
        self._local = threading.local()
        self.salvaged: Salvaged | None = Salvaged() if salvage else None
        self.failure: BaseException | None = None
        """What ended the last iteration, for a sender that hides it."""
        self.sha512 = ""
        """Of what the last iteration gave, in hex; empty until it has come to its end."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _image(self, chunks: Iterator[tuple[int, Buffer | None]]) -> Iterator[Buffer]:
        """The image's bytes, from the index and the bytes (None: zeros) of each chunk."""
        ...

    def _is_mapped(self, entry: Entry) -> bool:
        """False when the image has no place for a chunk that is there now."""
        return True

    def __iter__(self) -> Iterator[Buffer]:
        self._meter.restart()
        self.failure, self.sha512 = None, ""
        if self.salvaged is not None:
            self.salvaged = Salvaged()
        pool = ThreadPoolExecutor(self._fetched, thread_name_prefix="chunk")
        whole = Sha512()
        try:
            with HashThread(whole) as hasher:
                yield from hasher.through(self._image(self._chunks(pool)))
            self.sha512 = whole.hexdigest()
        except Exception as error:
            self.failure = error
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _chunks(self, pool: ThreadPoolExecutor) -> Iterator[tuple[int, Buffer | None]]:
        window: deque[_Pending] = deque()
        fetching = 0
        reader = self._reader
        entries = reader.entries() if self.salvaged is None else reader.entries_left()
        for index, entry in enumerate(entries):
            future, lost = None, entry is None
            if entry is not None and not entry.is_hole:
                if self._is_mapped(entry):
                    future = pool.submit(self._fetch, entry)
                else:
                    lost = True
            window.append(_Pending(index, future, lost))
            fetching += future is not None
            # Holes wait in line, but only chunks hold memory; a bound on both keeps the line short.
            while fetching >= self._held or len(window) > 1024 or _starts_ready(window):
                pending = window.popleft()
                fetching -= pending.future is not None
                yield pending.index, self._arrived(pending)
        while window:
            pending = window.popleft()
            yield pending.index, self._arrived(pending)

    def _arrived(self, pending: _Pending) -> Buffer | None:
        length = self._geometry.chunk_length(pending.index)
        found = None if pending.future is None else pending.future.result()
        self._meter.add(length, 0, length if found is None else 0)
        if self.salvaged is not None:
            missed = pending.future is not None and found is None
            self.salvaged.add(length, pending.lost or missed)
        return found

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
    future = window[0].future
    return future is None or future.done()


class RawBody(ImageBody):
    """The volume itself, zeros and all."""

    def __len__(self) -> int:
        return self._geometry.size_bytes

    def _image(self, chunks: Iterator[tuple[int, Buffer | None]]) -> Iterator[Buffer]:
        for index, plain in chunks:
            if plain is None:
                yield self._zeros[: self._geometry.chunk_length(index)]
            else:
                yield plain
