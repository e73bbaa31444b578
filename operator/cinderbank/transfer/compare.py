"""Glance image <-> bank: whether the image of a scratch volume holds what the backup does.

Each chunk of the volume is hashed, and the hash compared with the one in the backup's index, which is
proven by the manifest; the bank's chunks are read only where they differ, to tell the sectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cinderbank.bank.bank import StoredBank
from cinderbank.bank.chunk import Envelope
from cinderbank.bank.index import Entry
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import DataCorrupt, Unsupported
from cinderbank.domain.facts import ImageFacts, LostRanges
from cinderbank.ports.transfers import CompareTransfer
from cinderbank.transfer.chunking import Chunk, Holes, cut
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.extent import Extent
from cinderbank.transfer.glance_stream import Glance
from cinderbank.transfer.image_source import ImageSource
from cinderbank.transfer.restore import deleted_meanwhile
from cinderbank.transfer.salvage import Salvaged

SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of the image was read."""

    content_hash: str
    """Of the whole content as it was backed up."""
    different: LostRanges | None
    """Sectors that differ; None when none does."""


def run_compare(
    transfer: CompareTransfer, bank: StoredBank, glance: Glance, meter: ProgressMeter
) -> Comparison:
    """Read the whole image and compare it, zeros included. Changes nothing; idempotent.

    That they differ is an answer. Raises DataCorrupt when the index is not what the manifest says, or
    the image is none of the volume (ImageSizeMismatch) or did not come as Glance has it; SourceGone when
    image or backup is gone; Unsupported (an image of a kind that is not read, or of an
    encrypted volume); and what bank and Glance raise.
    """
    bank.open()
    with deleted_meanwhile(bank, transfer.site, transfer.backup_id):
        reader = BackupReader.open(bank.store, transfer.site, transfer.backup_id, bank.keys)
        size = reader.geometry.size_bytes
        if size != transfer.size_bytes or transfer.volume_bytes < size:
            raise DataCorrupt(
                f"backup {transfer.backup_id} has {size} bytes, {transfer.size_bytes} were asked for"
                f" in a volume of {transfer.volume_bytes}"
            )
        meter.restart()
        source = ImageSource(glance, _plain(glance.show(transfer.image_id)), transfer.volume_bytes)
        compared = _Compared(reader, meter)
        with source.extents(reader.geometry.chunk_bytes) as extents:
            compared.run(_clipped(extents, size))
        source.compare()
    return Comparison(reader.manifest.description.content_hash, compared.found.lost())


def _plain(image: ImageFacts) -> ImageFacts:
    """The image itself. Ciphertext differs in every byte, which says nothing about the backup."""
    if image.encryption_key_id is None:
        return image
    raise Unsupported(
        f"image {image.id} is the ciphertext of an encrypted volume and can not be compared; drill into a"
        " volume type that is not encrypted",
        reason="EncryptedVolume",
    )


def _clipped(extents: Iterable[Extent], size_bytes: int) -> Iterator[Extent]:
    """Without what lies behind the backup's end; all of it is taken, so that it is hashed."""
    for offset, data in extents:
        if offset + len(data) <= size_bytes:
            yield Extent(offset, data)
        elif offset < size_bytes:
            yield Extent(offset, memoryview(data)[: size_bytes - offset])


class _Compared:
    """One pass over the volume, in order. Memory: a chunk of the image, and where they differ three more."""

    def __init__(self, reader: BackupReader, meter: ProgressMeter) -> None:
        self._reader = reader
        self._geometry = reader.geometry
        self._envelope: Envelope = reader.envelope()
        self._meter = meter
        self.found = Salvaged()

    def run(self, extents: Iterable[Extent]) -> None:
        entries = self._reader.entries()
        for piece in cut(extents, self._geometry):
            match piece:
                case Chunk(plain=plain):
                    self._chunk(_next(entries), plain)
                case Holes(count=count):
                    for _ in range(count):
                        self._chunk(_next(entries), None)
        for surplus in entries:  # to its end, where the whole index is proven
            raise DataCorrupt(f"the index has a chunk {surplus.index} behind the end of the volume")

    def _chunk(self, entry: Entry, plain: Buffer | None) -> None:
        length = self._geometry.chunk_length(entry.index)
        if plain is None:
            same = entry.is_hole
        elif entry.is_hole:
            same = not np.frombuffer(plain, np.uint8).any()
        else:
            same = self._envelope.digest(plain) == entry.hash
        self._meter.add(length, 0, length if plain is None else 0)
        if same:
            self.found.add(length, False)
            return
        for count, differs in _runs(self._expected(entry, length), plain or bytes(length)):
            self.found.add(count, differs)

    def _expected(self, entry: Entry, length: int) -> Buffer | None:
        """None when the bank can not tell by now: then all of the chunk counts as different."""
        if entry.is_hole:
            return bytes(length)
        try:
            return self._reader.read_chunk(entry, self._envelope)
        except DataCorrupt:
            return None


def _next(entries: Iterator[Entry]) -> Entry:
    entry = next(entries, None)
    if entry is None:
        raise DataCorrupt("the index ends before the volume does")
    return entry


def _runs(expected: Buffer | None, found: Buffer) -> Iterator[tuple[int, bool]]:
    """Bytes in order that are the same, or that lie in sectors that differ."""
    length = len(found)
    if expected is None:
        yield length, True
        return
    differs = np.frombuffer(expected, np.uint8) != np.frombuffer(found, np.uint8)
    padded = np.pad(differs, (0, -length % SECTOR_BYTES)).reshape(-1, SECTOR_BYTES)
    sectors = np.logical_or.reduce(padded, axis=1).tolist()
    edges = [at for at in range(1, len(sectors)) if sectors[at] != sectors[at - 1]]
    for first, end in pairwise([0, *edges, len(sectors)]):
        stop = min(end * SECTOR_BYTES, length)
        yield stop - first * SECTOR_BYTES, sectors[first]
