"""A backup as the body of a request, in qcow2: what is not all zeros, and where it lies."""

from __future__ import annotations

from collections.abc import Iterator

from cinderbank.bank.index import Entry
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import Unsupported
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.qcow2.encode import Layout
from cinderbank.transfer.volume_body import ImageBody

MOST_CHUNKS = 8 << 20
"""Their allocation maps take 64 MiB: 32 TiB in chunks of 4 MiB. Only the manifest says how many there are,
and a hostile one may say billions."""


class Qcow2Body(ImageBody):
    """The same backup gives the same bytes each time.

    The index is read twice: when this is made, for its allocation maps (8 bytes a chunk, which are kept),
    and once more with the data. Of a chunk only the allocated clusters are sent, but all of it is read
    and verified.
    """

    def __init__(
        self,
        reader: BackupReader,
        meter: ProgressMeter,
        salvage: bool = False,
    ) -> None:
        """Raises what the index does (an outage only, with `salvage`: what is lost has no data then), and
        Unsupported (SizeNotInSectors, TooManyChunks)."""
        super().__init__(reader, meter, salvage)
        if reader.geometry.chunk_count > MOST_CHUNKS:
            raise Unsupported(
                f"the backup has {reader.geometry.chunk_count} chunks, and a qcow2 image is made of at most "
                f"{MOST_CHUNKS}; use `transport: Raw`",
                reason="TooManyChunks",
            )
        self._maps = reader.allocation_maps(salvage)
        geometry = reader.geometry
        self._layout = Layout(geometry.size_bytes, geometry.chunk_bytes, self._maps)

    def __len__(self) -> int:
        return self._layout.length_bytes

    def _is_mapped(self, entry: Entry) -> bool:
        # Its index part could not be read when the image was laid out, and can be now.
        return bool(self._maps[entry.index])

    def _image(self, chunks: Iterator[tuple[int, Buffer | None]]) -> Iterator[Buffer]:
        yield from self._layout.metadata()
        for index, plain in chunks:
            if not self._maps[index]:
                continue
            # Lost since the image was laid out, or damaged: zeros in their place.
            view = self._zeros if plain is None else memoryview(plain)
            for first, end in self._layout.runs(index):
                yield view[first:end]
        if self._layout.padding_bytes:
            yield bytes(self._layout.padding_bytes)
