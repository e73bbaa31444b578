"""One backup of a check: its manifest, its index, its chunks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from math import ceil

from cinderbank.bank import layout
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.check_plan import Level, Outcome, Plan, Tally, Verdict
from cinderbank.bank.chunk import HEADER_BYTES, Envelope, max_object_bytes
from cinderbank.bank.chunk_listing import ChunkListing
from cinderbank.bank.index import Entry
from cinderbank.bank.ranges import Ranges
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.scrub import AttemptRef, Damage
from cinderbank.bank.scrub_ledger import Ledger
from cinderbank.domain.errors import DataCorrupt

PROGRESS_CHUNKS = 256


@dataclass(slots=True)
class Run:
    """What all backups of one check share."""

    bank: StoredBank
    plan: Plan
    pool: ThreadPoolExecutor
    progress: Callable[[float], None]
    """Told how much of the present backup is done, 0 to 1."""
    ledger: Ledger
    tally: Tally
    _local: threading.local = field(default_factory=threading.local)

    def envelope(self, reader: BackupReader) -> Envelope:
        """One per thread and backup: zstd contexts are not thread-safe, keys are the backup's."""
        held: tuple[BackupReader, Envelope] | None = getattr(self._local, "held", None)
        if held is None or held[0] is not reader:
            held = self._local.held = (reader, reader.envelope())
        return held[1]

    def is_sampled(self, ref: AttemptRef, index: int) -> bool:
        if self.plan.level is not Level.SAMPLE:
            return self.plan.level is Level.FULL
        # Each chunk has its place on a ring; a seed is an arc of it, and the next seed the arc behind that.
        name = f"{ref.site}/{ref.backup_id}/{ref.attempt}/{index}"
        place = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
        arc = ceil(self.plan.sample_percent / 100.0 * 2**64)
        return (place - self.plan.seed * arc) % 2**64 < arc


class SharedChunks:
    """What is known of the chunks of one volume's backups, so that each is looked at once."""

    def __init__(self, listing: ChunkListing) -> None:
        self.listing = listing
        self.missing, self.bad = Damage(), Damage()
        self._seen: dict[tuple[AttemptRef, int], bytearray] = {}

    _PAGE_BITS = 4096

    def is_new(self, ref: AttemptRef, index: int) -> bool:
        """True once. One bit each, in pages, as an increment has few of many."""
        page, bit = divmod(index, self._PAGE_BITS)
        bits = self._seen.setdefault((ref, page), bytearray(self._PAGE_BITS // 8))
        mask = 1 << bit % 8
        new = not bits[bit // 8] & mask
        bits[bit // 8] |= mask
        return new


@dataclass(slots=True)
class _Reading:
    """A chunk whose bytes are being compared."""

    ref: AttemptRef
    index: int
    stored: Future[int]


class BackupCheck:
    """Looks once. `damage` then holds the chunks that it misses, by who wrote them."""

    def __init__(self, run: Run, shared: SharedChunks, key: layout.SealKey) -> None:
        """Raises what BackupReader.open raises."""
        self._run = run
        self._shared = shared
        self._key = key
        self._reader = BackupReader.open(run.bank.store, key.site, key.backup_id, run.bank.keys)
        self._missing, self._bad = Ranges(), Ranges()
        self._reading: deque[_Reading] = deque()
        self._has_chunks = self._was_read = False
        self.damage = Damage()

    @property
    def proves(self) -> bool:
        """Whether bytes of it were read, or it has none: a sample may be all of other backups."""
        return self._was_read or not self._has_chunks

    def look(self) -> Verdict:
        """Raises what is no damage: a store that is away, a key that is not here."""
        geometry, problem, number = self._reader.geometry, "", -1
        try:
            for number, entry in enumerate(self._reader.entries()):
                if number % PROGRESS_CHUNKS == 0:
                    self._run.progress(number / geometry.chunk_count)
                if not entry.is_hole:
                    self._chunk(entry)
        except DataCorrupt as error:
            problem = error.message
            # Without its index nobody knows where the rest lies.
            if number + 1 < geometry.chunk_count:
                self._missing.add(number + 1, geometry.chunk_count - 1)
        while self._reading:
            self._take(self._reading.popleft())
        missing, bad = self._missing, self._bad
        if not problem and (missing or bad):
            problem = f"{missing.count()} chunks are missing, {bad.count()} are not what they were"
        return Verdict(
            self._key.site,
            self._key.backup_id,
            self._key.volume_id,
            Outcome.DAMAGED if problem else Outcome.OK,
            problem,
            missing,
            bad,
            geometry.chunk_bytes,
            geometry.size_bytes,
        )

    def _chunk(self, entry: Entry) -> None:
        run, index = self._run, entry.index
        session = self._reader.manifest.sessions[entry.session]
        ref = AttemptRef(session.site, session.backup_id, entry.attempt)
        suspect = run.ledger.known.has_chunk(ref, index)
        if run.plan.level is Level.MANIFEST:
            if suspect:
                self._is_bad(ref, index)
            return
        self._has_chunks = True
        if not self._shared.is_new(ref, index):
            self._was_read = self._was_read or run.is_sampled(ref, index)
            if self._shared.missing.has_chunk(ref, index):
                self._is_missing(ref, index)
            elif self._shared.bad.has_chunk(ref, index):
                self._is_bad(ref, index)
            return
        run.tally.chunks += 1
        stored = self._shared.listing.size_of(ref, index)
        longest = max_object_bytes(self._reader.geometry.chunk_length(index))
        if stored is None:
            self._is_missing(ref, index)
        elif not HEADER_BYTES < stored <= longest:
            self._is_bad(ref, index)
        # A size other than the writer's is no proof, but a reason to look.
        elif suspect or stored != entry.stored_bytes or run.is_sampled(ref, index):
            while len(self._reading) >= 2 * run.plan.workers:
                self._take(self._reading.popleft())
            self._was_read = True
            result = run.pool.submit(self._read, entry, stored)
            self._reading.append(_Reading(ref, index, result))

    def _read(self, entry: Entry, stored: int) -> int:
        self._reader.read_chunk(entry, self._run.envelope(self._reader))
        return stored

    def _take(self, done: _Reading) -> None:
        run = self._run
        run.tally.chunks_read += 1
        try:
            run.tally.bytes_read += done.stored.result()
        except DataCorrupt:
            name = layout.chunk(done.ref.site, done.ref.backup_id, done.ref.attempt, done.index)
            if run.bank.store.head(name) is None:
                self._is_missing(done.ref, done.index)
            else:
                self._is_bad(done.ref, done.index)
        else:
            run.ledger.is_good(done.ref, done.index)

    def _is_missing(self, ref: AttemptRef, index: int) -> None:
        self._missing.add(index)
        self._shared.missing.add_chunk(ref, index)
        self.damage.add_chunk(ref, index)

    def _is_bad(self, ref: AttemptRef, index: int) -> None:
        self._bad.add(index)
        self._shared.bad.add_chunk(ref, index)
        self.damage.add_chunk(ref, index)
