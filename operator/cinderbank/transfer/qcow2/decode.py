"""A qcow2 image as extents of the volume: in one pass over a stream, or in random access.

One pass is enough when the L1 table lies before the L2 tables, each of these before the data it maps,
and the data in the order of the volume: so does `qemu-img convert` write, which Cinder calls
(docs/adr/0006-qcow2-in-one-pass.md). A table that comes before its turn waits as runs. When the order
does not hold, the rest of the stream is passed and the walk goes on in random access where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from cinderbank.bank.store import Buffer
from cinderbank.transfer.extent import Extent
from cinderbank.transfer.image_stream import BlockStream, RandomAccess
from cinderbank.transfer.qcow2.compressed import decompressor
from cinderbank.transfer.qcow2.header import HEADER_BYTES, check_sizes, corrupt, parse_header
from cinderbank.transfer.qcow2.tables import Claims, Numbers, plain_rows, read_l1, read_l2

MAX_WAITING_BYTES = 32 << 20
"""Of runs whose data has not come yet; more, and the walk goes on in random access. A transfer allows
less (`image_source.WAITING_TABLES_BYTES`)."""
_TABLE_OVERHEAD_BYTES = 256
PIECE_BYTES = 1 << 20
"""At most so many bytes are read at a time in random access."""


class _OutOfOrderError(Exception):
    """The stream is past what is needed now, or too much of it would have to wait."""


def decode(
    blocks: Iterable[Buffer],
    image_bytes: int,
    size_bytes: int,
    reread: Callable[[], RandomAccess],
    max_waiting_bytes: int = MAX_WAITING_BYTES,
) -> Iterator[Extent]:
    """The extents of a volume of `size_bytes`, from an image of `image_bytes` whose bytes are `blocks`.

    Ascending, never overlapping; what lies between is zeros. Data of plain clusters are slices of the
    blocks, which MUST NOT be changed while they are used. The stream has been consumed to its end,
    and its length compared, when the iteration ends; `reread` is called at most once, after that, and
    only when the image is not in order.

    Raises DataCorrupt (ImageSizeMismatch as soon as the header is there; ImageCorrupt), Unsupported
    (ImageUnsupported), and what `blocks` and `reread` raise. Memory: `max_waiting_bytes`, 2 bits for
    each cluster of the image, the L1 table, one L2 table, one compressed cluster.
    """
    walk = _Walk(BlockStream(blocks, image_bytes), image_bytes, size_bytes, max_waiting_bytes)
    try:
        yield from walk.stream()
    except _OutOfOrderError:
        walk.drain()
        yield from walk.random(reread())
    else:
        walk.drain()


class _Walk:
    """The L1 table in the order of the volume, and in each of its L2 tables run by run."""

    def __init__(
        self, stream: BlockStream, image_bytes: int, size_bytes: int, max_waiting_bytes: int
    ) -> None:
        self._stream = stream
        self._image_bytes = image_bytes
        self._max_waiting_bytes = max_waiting_bytes
        header = parse_header(stream.peek(min(HEADER_BYTES, image_bytes)))
        check_sizes(header, image_bytes, size_bytes)
        self._header = header
        self._unpack = decompressor(header)
        self._claims = Claims(header.cluster_bytes, image_bytes)
        self._claims.span(0, header.cluster_bytes, "the header")
        self._claims.span(header.l1_offset, header.l1_entries * 8, "the L1 table")
        refcount_bytes = header.refcount_table_clusters * header.cluster_bytes
        self._claims.span(header.refcount_table_offset, refcount_bytes, "the refcount table")
        stream.skip_to(header.l1_offset)
        tables = read_l1(stream.peek(header.l1_entries * 8), header, image_bytes)
        self._numbers: list[int] = np.flatnonzero(tables).tolist()
        # Plain integers: numpy's own make every comparison slow.
        self._tables = dict(zip(self._numbers, tables[self._numbers].tolist(), strict=True))
        self._claims.whole(tables[self._numbers], "an L2 table")
        # What the stream will meet, in the order of the image.
        behind = [n for n in self._numbers if self._tables[n] >= stream.position]
        self._coming = iter(sorted(behind, key=self._tables.__getitem__))
        self._next = next(self._coming, None)
        self._waiting: dict[int, Numbers] = {}
        self._waiting_bytes = 0
        self._claimed = bytearray(header.l1_entries)
        self._reached = 0

    def drain(self) -> None:
        self._waiting.clear()
        self._stream.drain()

    # One pass over the stream.

    def stream(self) -> Iterator[Extent]:
        for number in self._numbers:
            for guest, host, length, compressed in plain_rows(self._streamed_table(number)):
                self._reached = guest
                self._pass_to(host)
                if compressed:
                    yield self._extent(guest, self._stream.peek(length))
                    continue
                shift = guest - host
                for piece in self._stream.take(length):
                    yield Extent(self._stream.position - len(piece) + shift, piece)
            self._reached = (number + 1) * self._header.table_span_bytes

    def _streamed_table(self, number: int) -> Numbers:
        if number not in self._waiting:
            self._pass_to(self._tables[number] + 1)
            if number not in self._waiting:
                raise _OutOfOrderError
        runs = self._waiting.pop(number)
        self._waiting_bytes -= runs.nbytes + _TABLE_OVERHEAD_BYTES
        return runs

    def _pass_to(self, offset: int) -> None:
        """Move on to `offset`, and keep every L2 table that lies before it."""
        if offset < self._stream.position:
            raise _OutOfOrderError
        while self._next is not None and self._tables[self._next] < offset:
            number, self._next = self._next, next(self._coming, None)
            self._stream.skip_to(self._tables[number])
            runs = self._runs(number, self._stream.peek(self._header.cluster_bytes))
            self._waiting[number] = runs
            self._waiting_bytes += runs.nbytes + _TABLE_OVERHEAD_BYTES
            if self._waiting_bytes > self._max_waiting_bytes:
                raise _OutOfOrderError
        if offset > self._stream.position:
            self._stream.skip_to(offset)

    # Random access.

    def random(self, image: RandomAccess) -> Iterator[Extent]:
        """What was not reached yet."""
        begin, cluster_bytes = self._reached, self._header.cluster_bytes
        for number in self._numbers:
            if (number + 1) * self._header.table_span_bytes <= begin:
                continue
            table = self._read_at(image, self._tables[number], cluster_bytes)
            for guest, host, length, compressed in plain_rows(self._runs(number, table)):
                if guest < begin:
                    continue
                if compressed:
                    yield self._extent(guest, self._read_at(image, host, length))
                    continue
                for start in range(0, length, PIECE_BYTES):
                    piece = min(PIECE_BYTES, length - start)
                    yield Extent(guest + start, self._read_at(image, host + start, piece))

    def _read_at(self, image: RandomAccess, offset: int, length: int) -> Buffer:
        body = image.read_at(offset, length)
        if len(body) != length:
            raise corrupt(f"{len(body)} bytes instead of {length} were read at {offset}")
        return body

    # Both.

    def _runs(self, number: int, table: Buffer) -> Numbers:
        """Its clusters are claimed the first time only: random access reads some tables again."""
        claims = None if self._claimed[number] else self._claims
        self._claimed[number] = 1
        return read_l2(table, number, self._header, self._image_bytes, claims)

    def _extent(self, guest: int, stored: Buffer) -> Extent:
        plain = self._unpack(stored)
        return Extent(guest, memoryview(plain)[: self._header.virtual_size_bytes - guest])
