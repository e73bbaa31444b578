"""What a fake volume holds, in words, and what a real Cinder takes some of it for.

`data` is data. `vmdk of 512 MiB: data` are the bytes of a disk image with a disk of that size inside.
What becomes of such a volume was measured on the rig (cinder 29, glance 33): docs/transport.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BACKED = "qcow2-backed"
"""A qcow2 that names a backing file."""

UNPACKED = frozenset({"qcow2", "vmdk", "vhdx", "vdi"})
"""Copied as the disk that is inside, where Cinder converts."""

REFUSED = frozenset({BACKED, "vhd", "qed"})
"""Not copied at all, where Cinder converts."""

_IMAGE = re.compile(r"([a-z0-9-]+) of (\d+) MiB: (.*)")


@dataclass(frozen=True, slots=True)
class DiskImage:
    """A volume's content that is a disk image itself."""

    kind: str
    size_bytes: int
    inner: str

    @property
    def format(self) -> str:
        """As a manifest's content_format tells it."""
        return "qcow2" if self.kind == BACKED else self.kind


def disk_image(content: str) -> DiskImage | None:
    found = _IMAGE.fullmatch(content)
    return None if found is None else DiskImage(found[1], int(found[2]) << 20, found[3])


def content_format(content: str) -> str | None:
    image = disk_image(content)
    return None if image is None else image.format


def converted(content: str, size_bytes: int) -> tuple[str, int] | None:
    """Content and size of the disk that `qemu-img convert` makes of it; None: Cinder refuses."""
    image = disk_image(content)
    if image is None:
        return content, size_bytes
    if image.kind in UNPACKED:
        return image.inner, image.size_bytes
    return None


def uploaded(
    content: str, size_bytes: int, backend: str, disk_format: str
) -> tuple[str, int] | None:
    """Content and size of the disk in the image of a volume; None: the image vanishes."""
    image = disk_image(content)
    if backend == "rbd" and disk_format == "raw":
        # The only way without qemu-img; but Glance looks into it, and refuses a backing file.
        return None if image is not None and image.kind == BACKED else (content, size_bytes)
    if disk_format == "raw" and image is not None and image.kind == "luks":
        return content, size_bytes
    return converted(content, size_bytes)


def restored(content: str, backend: str, disk_format: str) -> str | None:
    """What the volume holds that Cinder makes of an image; None: it goes into an error."""
    image = disk_image(content)
    if image is None:
        return content
    if disk_format == "raw" and image.kind in UNPACKED | REFUSED:
        return None
    if backend == "nfs":
        # It takes the file that it has made for such an image, and resizes the disk inside.
        return f"resized {content}" if image.kind == "qcow2" else None
    return content
