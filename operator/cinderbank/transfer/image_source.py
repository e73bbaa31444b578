"""The image of a volume, as Glance has it, read as extents of the volume and hashed as it was sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from cinderbank.bank.manifest import SourceHash
from cinderbank.domain.errors import DataCorrupt, Unsupported
from cinderbank.domain.facts import ImageFacts
from cinderbank.transfer import vdi
from cinderbank.transfer.chunking import raw_extents
from cinderbank.transfer.extent import Extent
from cinderbank.transfer.glance_stream import Glance, require_active
from cinderbank.transfer.image_hash import HashThread, ImageHash
from cinderbank.transfer.image_stream import RandomAccess
from cinderbank.transfer.qcow2.decode import decode
from cinderbank.transfer.spool import Spool

TRANSPORTS = {"raw": "Raw", "qcow2": "Qcow2", "vdi": "Vdi"}
"""By Glance's disk_format."""

WAITING_TABLES_BYTES = 8 << 20
"""Of tables that come before their data: enough for 14 TiB whose data lies in long runs."""

SPOOL_BYTES = 24 << 20
"""Two transfers at once fit so much each into the 64 MiB of memory that deploy/ gives to /tmp."""


class ImageSource:
    """One image of a volume of `size_bytes`."""

    def __init__(self, glance: Glance, image: ImageFacts, size_bytes: int) -> None:
        """Raises unless it is active, raw, qcow2 or vdi, and (raw) exactly of the volume's size: Unavailable,
        SourceGone, Forbidden, Unsupported, DataCorrupt (ImageSizeMismatch)."""
        require_active(image)
        self._glance = glance
        self._image = image
        self._size_bytes = size_bytes
        self._hashes = ImageHash(image)
        self._image_bytes = _checked_size(image, size_bytes)
        self.transport = TRANSPORTS[image.disk_format]
        self._unhashed = False

    @contextmanager
    def extents(self, block_bytes: int) -> Iterator[Iterator[Extent]]:
        """Of the volume, in order; raw ones are blocks of `block_bytes`. Once.

        The image has been read to its end when they are exhausted. DataCorrupt when it is longer or
        shorter, is no image of this volume (ImageSizeMismatch, before the first extent) or is damaged
        (ImageCorrupt); Unsupported (ImageUnsupported, ImageNotInOrder); and what Glance raises.
        """
        image = self._image
        with (
            ExitStack() as closing,
            self._glance.download(image.id, self._image_bytes, block_bytes) as blocks,
            HashThread(self._hashes) as hasher,
        ):
            sent = hasher.through(blocks)
            if self.transport == "Raw":
                yield raw_extents(sent, self._size_bytes)
            elif self.transport == "Vdi":
                yield vdi.decode(
                    sent, self._image_bytes, self._size_bytes, lambda: self._reread(closing)
                )
            else:
                yield decode(
                    sent,
                    self._image_bytes,
                    self._size_bytes,
                    lambda: self._reread(closing),
                    WAITING_TABLES_BYTES,
                )

    def compare(self) -> SourceHash:
        """Once `extents` is left: see ImageHash.compare. Not verified when some of it came by ranges."""
        found = self._hashes.compare()
        return replace(found, verified=found.verified and not self._unhashed)

    def _reread(self, closing: ExitStack) -> RandomAccess:
        """The image in any order: by ranges where Glance's store has them, else from a file."""
        if self._glance.has_ranges(self._image.id, self._image_bytes):
            self._unhashed = True
            return _Ranges(self._glance, self._image, self._image_bytes)
        spool = closing.enter_context(Spool(self._image_bytes, SPOOL_BYTES))
        again = ImageHash(self._image)
        with (
            self._glance.download(self._image.id, self._image_bytes) as blocks,
            HashThread(again) as hasher,
        ):
            spool.fill(hasher.through(blocks))
        again.compare()
        return spool


class _Ranges:
    """`RandomAccess` by requests. The hash was of the image's first reading: what a range answers is
    trusted as far as the connection is."""

    def __init__(self, glance: Glance, image: ImageFacts, image_bytes: int) -> None:
        self._glance = glance
        self._image = image
        self._image_bytes = image_bytes

    def read_at(self, offset: int, length: int) -> bytes:
        return self._glance.read_range(self._image.id, offset, length, self._image_bytes)


def _checked_size(image: ImageFacts, size_bytes: int) -> int:
    if image.disk_format not in TRANSPORTS:
        raise Unsupported(
            f"image {image.id} is {image.disk_format or 'of no format'}, neither raw nor qcow2 nor vdi"
        )
    if image.size_bytes is None:
        raise DataCorrupt(f"image {image.id} is active and Glance does not say its size")
    if image.disk_format == "raw" and image.size_bytes != size_bytes:
        raise DataCorrupt(
            f"image {image.id} has {image.size_bytes} bytes, its volume {size_bytes}. The volume "
            "probably holds a disk image (qcow2, vmdk, ...) as its content, and Cinder has unpacked "
            "it while it uploaded: the image is not the volume, and is not backed up",
            reason="ImageSizeMismatch",
        )
    return image.size_bytes
