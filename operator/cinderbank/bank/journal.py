"""What the attempts of one session have stored already, so that the next one goes on from there.

A journal object holds index entries of chunks that one attempt has stored, sorted, each in one object
only. `first`, the lowest of them, is in the key: so none is written twice, and all can be read side by
side with the source in the order of its bytes (chunks are stored out of order, but not by much). Its
plain bytes, in an envelope, always 69,632 of them:

    offset size field
         0 4096 JSON object, padded with spaces
      4096 65536 up to 1024 index entries in the order of their chunks; the rest zeros

Nothing in a journal is needed to read a backup, and none of it is believed beyond this: a chunk of the
same bytes as one that is read from the source NOW need not be stored again. So a journal that is lost,
damaged, of another session or of another source costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from cinderbank.bank import features, layout
from cinderbank.bank.chunk import Envelope, EnvelopeKeys, max_object_bytes
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.index import ENTRY_BYTES, Entry, pack_entry, unpack_entry
from cinderbank.bank.json_object import Fields, canonical
from cinderbank.bank.manifest import SessionRef, to_json
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.writer import StoredChunk
from cinderbank.domain.errors import BrokenInvariant, DataCorrupt, InvalidSpec, Unsupported
from cinderbank.domain.facts import VolumeId

NAME = "cinderbank-journal"
HEADER_BYTES = 4096
MAX_ENTRIES = 1024
JOURNAL_BYTES = HEADER_BYTES + MAX_ENTRIES * ENTRY_BYTES
INTERVAL_SECONDS = 60.0

DELETE_BATCH = 1000

OPEN_AT_MOST = 32
"""Journal objects (68 KiB each) that speak of the same place, of attempts that overlap."""


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """What was read: only chunks of the very same image of the same snapshot are resumed."""

    volume_id: VolumeId
    snapshot_at: str
    size_bytes: int
    chunk_bytes: int
    image_id: str
    hash_algo: str | None
    hash_value: str | None
    hash_key: str | None = None
    """Id of the key that the chunk hashes are keyed by; None without encryption."""

    def digest(self) -> str:
        """64 hex digits; equal exactly when everything is."""
        return hashlib.sha256(canonical(asdict(self))).hexdigest()


class Journal:
    """The journal of one attempt; `note` is thread-safe. Memory: at most 1024 entries."""

    def __init__(
        self,
        store: ObjectStore,
        session: SessionRef,
        attempt: int,
        source: SourceIdentity,
        keys: EnvelopeKeys | None = None,
        *,
        most_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 1 <= most_entries <= MAX_ENTRIES:
            raise BrokenInvariant(f"{most_entries} entries do not fit a journal object")
        self._store = store
        self._session = session
        self._attempt = attempt
        self._source = source
        self._keys = keys
        self._most_entries = most_entries
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._told_at = clock()

    def note(self, entry: Entry) -> None:
        """This attempt has stored the chunk. Each once, in any order. Puts a journal object now and
        then: 1024 entries, or at the first one after 60 s. Raises what the store does."""
        with self._lock:
            self._entries.append(entry)
            late = self._clock() - self._told_at >= INTERVAL_SECONDS
            if len(self._entries) < self._most_entries and not late:
                return
            entries, self._entries = sorted(self._entries, key=lambda each: each.index), []
            self._told_at = self._clock()
        site, backup_id = self._session.site, self._session.backup_id
        key = layout.journal(site, backup_id, self._attempt, entries[0].index)
        body = Envelope(self._keys).encode(_plain(entries, self._source), key)
        self._store.put(key, body)


def _plain(entries: Sequence[Entry], source: SourceIdentity) -> bytes:
    header = to_json({"source": source.digest(), "entries": len(entries)}, NAME)
    packed = b"".join(pack_entry(entry) for entry in entries)
    return header.ljust(HEADER_BYTES) + packed.ljust(MAX_ENTRIES * ENTRY_BYTES, b"\0")


class Resumption:
    """What all earlier attempts of a session have stored, asked in ascending order of chunks.

    NOT thread-safe. Memory: one number for each journal object, and those few objects that speak of
    the present place.
    """

    def __init__(
        self,
        store: ObjectStore,
        session: SessionRef,
        attempt: int,
        source: SourceIdentity,
        geometry: Geometry,
        keys: EnvelopeKeys | None = None,
    ) -> None:
        """One LIST; none for a first attempt, which has nothing to go on from."""
        self._store = store
        self._session = session
        self._source = source
        self._geometry = geometry
        self._envelope = Envelope(keys)
        self._open: list[Iterator[Entry]] = []
        self._heads: list[Entry] = []
        prefix = layout.journal_prefix(session.site, session.backup_id)
        places = (
            layout.parse_session_object(prefix, row.key)
            for row in (store.list_keys(prefix) if attempt > 1 else ())
        )
        # The farthest first, so that the next one is popped from the end.
        self._coming = sorted(
            ((first, number) for number, first in filter(None, places) if number != attempt),
            reverse=True,
        )
        self.ignored = 0
        """Journal objects that were damaged, too new, or of another source."""

    def at(self, index: int) -> list[StoredChunk]:
        """What may be the chunk `index`, if the bytes are the same; mostly none or one."""
        while self._coming and self._coming[-1][0] <= index:
            self._load(*self._coming.pop())
        found: list[StoredChunk] = []
        for position in range(len(self._open) - 1, -1, -1):
            while self._heads[position].index < index:
                following = next(self._open[position], None)
                if following is None:
                    del self._open[position], self._heads[position]
                    break
                self._heads[position] = following
            else:
                if self._heads[position].index == index:
                    found.append(StoredChunk(self._session, self._heads[position]))
        return found

    def _load(self, first: int, attempt: int) -> None:
        key = layout.journal(self._session.site, self._session.backup_id, attempt, first)
        try:
            entries = self._read(key, first, attempt)
        except (DataCorrupt, Unsupported, InvalidSpec):
            self.ignored += 1
            return
        head = next(entries, None)
        if head is not None and len(self._open) < OPEN_AT_MOST:
            self._open.append(entries)
            self._heads.append(head)

    def _read(self, key: str, first: int, attempt: int) -> Iterator[Entry]:
        body = self._store.get(key, max_object_bytes(JOURNAL_BYTES))
        if body is None:
            raise DataCorrupt(f"{key}: was listed and is gone")
        plain = bytes(self._envelope.decode(body, JOURNAL_BYTES, key))
        document = Fields.parse(plain[:HEADER_BYTES], key)
        features.check_stamp(document, NAME)
        if document.hex("source", 64) != self._source.digest():
            raise DataCorrupt(f"{key}: is of another source")
        count = document.integer("entries", 1, MAX_ENTRIES)
        entries = list(islice(_entries(plain, self._geometry, key), count))
        if entries[0].index != first:
            raise DataCorrupt(f"{key}: begins with chunk {entries[0].index}")
        previous = first - 1
        for entry in entries:
            if entry.index <= previous or entry.is_hole:
                raise DataCorrupt(f"{key}: entry of chunk {entry.index} is out of its place")
            if entry.session != 0 or entry.attempt != attempt:
                raise DataCorrupt(f"{key}: entry of chunk {entry.index} is of another attempt")
            previous = entry.index
        return iter(entries)


def _entries(plain: bytes, geometry: Geometry, key: str) -> Iterator[Entry]:
    for offset in range(HEADER_BYTES, JOURNAL_BYTES, ENTRY_BYTES):
        yield unpack_entry(plain, offset, geometry, 1, key)


def sweep_journal(store: ObjectStore, session: SessionRef) -> None:
    """Delete what all attempts of a session have noted, once its manifest is there. Idempotent; what
    the store refuses to delete is left to a collection."""
    prefix = layout.journal_prefix(session.site, session.backup_id)
    keys = (
        row.key
        for row in store.list_keys(prefix)
        if layout.parse_session_object(prefix, row.key) is not None
    )
    while batch := list(islice(keys, DELETE_BATCH)):
        store.delete_many(batch)
