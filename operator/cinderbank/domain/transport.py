"""How a volume goes through Glance, as a raw image, a qcow2 or a VDI one, and why. docs/transport.md.

Of a backup, by the newest usable backup of the same volume at this site:

| spec.transport | that backup | choice |
|---|---|---|
| Raw, Qcow2, Vdi | whatever | what was asked for: Requested |
| Auto | none, or it did not count its data | Vdi: FirstBackup |
| Auto | its content looks like a disk image | Raw: ContentIsImage |
| Auto | nine tenths of it were data | Raw: MostlyUsed |
| Auto | less | Vdi: MostlyEmpty |

Of a restore, by the backup: Qcow2, unless a qcow2 of so much data is larger than the new volume, which
Cinder refuses; then Raw. A content that looks like a disk image (REFUSED_AS_RAW: not LUKS) is
restored only when Qcow2 was asked for.

Auto falls back where the cloud does not take part: from Vdi to Qcow2 where the format is refused, else to
Raw, which is the end of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cinderbank.domain import intents
from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.facts import GIB, ImageFacts, PreviousBackup
from cinderbank.domain.qcow2_size import max_length_bytes
from cinderbank.domain.record import Memory, Transport, TransportChoice

IMAGE_FORMAT_REFUSED = "ImageFormatRefused"
"""Reason of a create or an upload of an image that the cloud refuses because of its disk_format."""

CONVERTED = frozenset({"qcow2", "vdi"})
"""Disk formats of images that Cinder makes by qemu-img."""

NOT_MISTAKEN = frozenset({"raw", "gpt", "mbr", "iso"})
"""Contents that Cinder copies as they are. Whatever else has a name it may unpack or refuse."""

REFUSED_AS_RAW = frozenset({"qcow2", "vmdk", "vhd", "vpc", "vhdx", "vdi", "qed"})
"""Contents of a raw image of which Cinder makes no volume (measured, cinder 29). LUKS is not among
them: it is copied as it is."""

MOSTLY_USED = 0.9
"""From this share of data on a conversion costs more than it saves. Measured, upload and download of 2 GiB:
half full raw 22 s, vdi 11 s; full raw 21 s, vdi 26 s (docs/adr/0008-vdi-for-backups.md)."""


def for_backup(asked: Transport, previous: PreviousBackup | None) -> TransportChoice:
    """The choice before the first upload; see the table above."""
    if asked is not Transport.AUTO:
        return _requested(asked)
    if previous is None or previous.data_bytes is None:
        message = "how much of the volume is used is not known yet; Cinder is asked for a VDI image"
        return TransportChoice(Transport.VDI, "FirstBackup", message)
    if looks_like_an_image(previous.content_format):
        message = (
            f"in its last backup the volume's own bytes looked like a {previous.content_format} image, "
            "which Cinder would unpack or refuse when it converts it"
        )
        return TransportChoice(Transport.RAW, "ContentIsImage", message)
    used = previous.data_bytes / max(previous.size_bytes, 1)
    message = f"{used:.0%} of the volume were used in its last backup"
    if used >= MOSTLY_USED:
        return TransportChoice(Transport.RAW, "MostlyUsed", message)
    return TransportChoice(Transport.VDI, "MostlyEmpty", message)


def for_restore(
    asked: Transport,
    *,
    size_bytes: int,
    data_bytes: int | None,
    content_format: str | None,
    target_gib: int,
) -> TransportChoice:
    """The choice when the backup is pinned. Data that was not counted counts as full.

    Raises InvalidSpec (TargetTooSmall, ContentIsImage) when the new volume could not be made in the
    end; it names the field that mends it.
    """
    data = size_bytes if data_bytes is None else min(data_bytes, size_bytes)
    needed_gib = -(-max_length_bytes(size_bytes, data) // GIB)
    fits = needed_gib <= target_gib
    larger = f"set spec.target.sizeGiB: {needed_gib} in a new VolumeRestore"
    if content_format in REFUSED_AS_RAW and asked is not Transport.QCOW2:
        raise InvalidSpec(
            f"the backup's content looks like a {content_format} image. Cinder makes no volume of such a "
            "raw image, and of a qcow2 image with it only a back end that is not made of files (Ceph, not "
            "NFS: there the bytes would change). On such a back end set spec.transport: Qcow2 in a new "
            f"VolumeRestore{'' if fits else f', and spec.target.sizeGiB: {needed_gib}'}",
            reason="ContentIsImage",
        )
    if asked is Transport.RAW or (asked is Transport.QCOW2 and fits):
        return _requested(asked)
    if fits:
        return TransportChoice(Transport.QCOW2, "OnlyUsedData", "only what is used is moved")
    large = (
        f"so much of the backup is data that a qcow2 image of it may need {needed_gib} GiB, and Cinder "
        f"makes no volume of {target_gib} GiB of that"
    )
    if asked is Transport.QCOW2:
        raise InvalidSpec(
            f"spec.transport is Qcow2: {large}. {larger[0].upper()}{larger[1:]}",
            reason="TargetTooSmall",
        )
    return TransportChoice(Transport.RAW, "NearlyFull", large)


def _requested(asked: Transport) -> TransportChoice:
    return TransportChoice(asked, "Requested", f"spec.transport asks for {asked}")


def looks_like_an_image(content_format: str | None) -> bool:
    return bool(content_format) and content_format not in NOT_MISTAKEN


def fallback(asked: Transport, memory: Memory, reason: str, what: str) -> TransportChoice | None:
    """What takes the place of what Auto had chosen; None when it was asked for, or is Raw already.

    Glance may know qcow2 and not vdi; but a Cinder that can not convert to one can not to the other.
    """
    if asked is not Transport.AUTO or memory.transport is None or not memory.transport.is_sparse:
        return None
    if memory.transport is Transport.VDI and reason == IMAGE_FORMAT_REFUSED:
        return TransportChoice(Transport.QCOW2, reason, f"{what}; it goes on as a qcow2 image")
    return TransportChoice(Transport.RAW, reason, f"{what}; it goes on as a raw image")


def fallen_back(memory: Memory, choice: TransportChoice) -> Memory:
    """Memory that goes on with `choice`; what failed on the way there does not count."""
    for step in (intents.IMAGE, intents.VOLUME):
        memory = intents.forgiven(memory, step)
    return with_choice(replace(memory, image_proven=None), choice)


def with_choice(memory: Memory, choice: TransportChoice) -> Memory:
    return replace(memory, transport=choice.transport, transport_reason=choice.reason)


def with_way_out(message: str, asked: Transport) -> str:
    """The message of a failure that another transport might have spared the user."""
    if asked.is_sparse:
        return (
            f"{message}. spec.transport is {asked}: make a new object with transport Raw, or Auto"
        )
    return message


def unwanted(images: Sequence[ImageFacts], memory: Memory) -> ImageFacts | None:
    """The first image that had to be converted, and not to the format that is wanted: left from before a
    fall-back.

    A cloud that made raw of what was asked for as qcow2 has done no harm.
    """
    if memory.transport is None:
        return None
    left = CONVERTED - {memory.transport.disk_format}
    return next((image for image in images if image.disk_format in left), None)
