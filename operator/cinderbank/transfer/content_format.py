"""Whether a volume's own bytes look like a disk image, to whoever guesses formats by their first bytes.

qemu-img does, below Cinder: a volume that holds a qcow2 file is unpacked while it is uploaded as qcow2,
and what looks like LUKS does not upload so at all. docs/transport.md has the measurements. Told by the
inspectors of oslo.utils, which are those of Cinder and Glance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from cinderbank.transfer.extent import Extent

LOOKED_AT_BYTES = 64 << 10
"""Every format is told by less: the farthest mark is ISO 9660's, at 32 KiB."""

HARMLESS = frozenset({"raw", "gpt", "iso"})
"""What Cinder and Glance take for raw: nearly every volume has a partition table."""


class ContentLook:
    """Looks on while the extents of a volume pass by; keeps its first 64 KiB."""

    def __init__(self) -> None:
        self._first = bytearray()

    def over(self, extents: Iterable[Extent]) -> Iterator[Extent]:
        """The same extents."""
        for extent in extents:
            if extent.offset < LOOKED_AT_BYTES:
                self._see(extent)
            yield extent

    def _see(self, extent: Extent) -> None:
        self._first += bytes(extent.offset - len(self._first))
        self._first += memoryview(extent.data)[: LOOKED_AT_BYTES - extent.offset]

    def format(self) -> str | None:
        """The name of the first disk image's format that matches, as oslo.utils calls it; None for none."""
        return content_format(bytes(self._first))


def content_format(first: bytes) -> str | None:
    """What a volume that begins with these bytes is taken for. Never raises."""
    # Here and not above: a restore does not need it.
    from oslo_utils.imageutils import format_inspector

    padded = first.ljust(LOOKED_AT_BYTES, b"\0")
    for name, inspector_of in format_inspector.ALL_FORMATS.items():
        if name in HARMLESS:
            continue
        inspector = inspector_of()
        # What its header says counts, also when the rest is nonsense: qemu-img looks at no more either.
        # Hostile bytes in a parser of somebody else's may raise anything.
        with suppress(Exception):
            inspector.eat_chunk(padded)
        with suppress(Exception):
            if inspector.format_match:
                return str(name)
    return None
