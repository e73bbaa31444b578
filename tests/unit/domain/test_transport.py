"""How a volume goes through Glance: the tables of domain.transport, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cinderbank.domain import transport as t
from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.facts import GIB, PreviousBackup
from cinderbank.domain.qcow2_size import max_length_bytes
from cinderbank.domain.record import Memory, Transport
from tests.builders import image, restore_memory, seen

AUTO, RAW, QCOW2, VDI = Transport.AUTO, Transport.RAW, Transport.QCOW2, Transport.VDI
MIB = 1 << 20

BACKUPS = [
    (RAW, None, RAW, "Requested"),
    (QCOW2, None, QCOW2, "Requested"),
    (QCOW2, PreviousBackup(GIB, GIB, "vmdk"), QCOW2, "Requested"),
    (VDI, PreviousBackup(GIB, GIB, "vmdk"), VDI, "Requested"),
    (AUTO, None, VDI, "FirstBackup"),
    (AUTO, PreviousBackup(GIB), VDI, "FirstBackup"),
    (AUTO, PreviousBackup(GIB, 0), VDI, "MostlyEmpty"),
    (AUTO, PreviousBackup(10 * GIB, 9 * GIB - 1), VDI, "MostlyEmpty"),
    (AUTO, PreviousBackup(10 * GIB, 9 * GIB), RAW, "MostlyUsed"),
    (AUTO, PreviousBackup(GIB, GIB), RAW, "MostlyUsed"),
    *((AUTO, PreviousBackup(GIB, 0, it), VDI, "MostlyEmpty") for it in ("raw", "gpt", "mbr")),
    *((AUTO, PreviousBackup(GIB, 0, it), VDI, "MostlyEmpty") for it in ("iso", "")),
    *((AUTO, PreviousBackup(GIB, 0, it), RAW, "ContentIsImage") for it in ("qcow2", "vmdk")),
    *((AUTO, PreviousBackup(GIB, 0, it), RAW, "ContentIsImage") for it in ("vhd", "vpc", "vhdx")),
    *((AUTO, PreviousBackup(GIB, 0, it), RAW, "ContentIsImage") for it in ("vdi", "qed", "luks")),
    (AUTO, PreviousBackup(GIB, 0, "of-next-year"), RAW, "ContentIsImage"),
]


@pytest.mark.parametrize(("asked", "previous", "chosen", "reason"), BACKUPS)
def test_of_a_backup(
    asked: Transport, previous: PreviousBackup | None, chosen: Transport, reason: str
) -> None:
    choice = t.for_backup(asked, previous)
    assert (choice.transport, choice.reason) == (chosen, reason)
    assert choice.message


def test_most_of_an_empty_volume_is_nothing() -> None:
    assert t.for_backup(AUTO, PreviousBackup(0, 0)).transport is VDI


RESTORES = [
    (AUTO, 0, None, 4, QCOW2, "OnlyUsedData"),
    (AUTO, 4 * GIB, None, 5, QCOW2, "OnlyUsedData"),
    (AUTO, None, None, 5, QCOW2, "OnlyUsedData"),
    (AUTO, 4 * GIB, None, 4, RAW, "NearlyFull"),
    (AUTO, None, None, 4, RAW, "NearlyFull"),
    (AUTO, 4 * GIB, "gpt", 4, RAW, "NearlyFull"),
    (AUTO, 4 * GIB, "luks", 4, RAW, "NearlyFull"),
    (RAW, 0, None, 4, RAW, "Requested"),
    (RAW, 0, "luks", 4, RAW, "Requested"),
    (QCOW2, 0, "vmdk", 4, QCOW2, "Requested"),
    (QCOW2, 4 * GIB, None, 5, QCOW2, "Requested"),
    (QCOW2, 4 * GIB, "qcow2", 5, QCOW2, "Requested"),
]


@pytest.mark.parametrize(("asked", "data", "content", "gib", "chosen", "reason"), RESTORES)
def test_of_a_restore(
    asked: Transport,
    data: int | None,
    content: str | None,
    gib: int,
    chosen: Transport,
    reason: str,
) -> None:
    choice = t.for_restore(
        asked, size_bytes=4 * GIB, data_bytes=data, content_format=content, target_gib=gib
    )
    assert (choice.transport, choice.reason) == (chosen, reason)
    assert choice.message


IMPOSSIBLE = [
    (AUTO, 0, "qed", "ContentIsImage", "spec.transport: Qcow2"),
    (AUTO, 4 * GIB, "vmdk", "ContentIsImage", "sizeGiB: 5"),
    (AUTO, None, "vhd", "ContentIsImage", "sizeGiB: 5"),
    (QCOW2, 4 * GIB, None, "TargetTooSmall", "sizeGiB: 5"),
    (QCOW2, None, None, "TargetTooSmall", "sizeGiB: 5"),
    (RAW, 0, "qcow2", "ContentIsImage", "spec.transport: Qcow2"),
    (RAW, 4 * GIB, "qcow2", "ContentIsImage", "sizeGiB: 5"),
]


@pytest.mark.parametrize(("asked", "data", "content", "reason", "way_out"), IMPOSSIBLE)
def test_what_can_not_be_restored_is_refused_with_a_way_out(
    asked: Transport, data: int | None, content: str | None, reason: str, way_out: str
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        t.for_restore(
            asked, size_bytes=4 * GIB, data_bytes=data, content_format=content, target_gib=4
        )
    assert refused.value.reason == reason
    assert way_out in refused.value.message
    mended = t.for_restore(
        QCOW2, size_bytes=4 * GIB, data_bytes=data, content_format=content, target_gib=5
    )
    assert mended.transport is QCOW2


def test_auto_is_qcow2_as_long_as_the_image_fits_the_volume() -> None:
    """Cinder compares the image's length, rounded up to GiB, with the volume's size."""
    for data_mib in range(0, 1025, 64):
        choice = t.for_restore(
            AUTO,
            size_bytes=GIB,
            data_bytes=data_mib * MIB,
            content_format=None,
            target_gib=1,
        )
        fits = max_length_bytes(GIB, data_mib * MIB) <= GIB
        assert (choice.transport is QCOW2) is fits


@pytest.mark.parametrize(
    ("asked", "now", "content", "falls_back"),
    [
        (AUTO, QCOW2, None, True),
        (AUTO, QCOW2, "luks", True),
        (AUTO, RAW, None, False),
        (AUTO, None, None, False),
        (QCOW2, QCOW2, None, False),
        (RAW, RAW, None, False),
    ],
)
def test_only_auto_falls_back_and_only_to_what_is_restored_exactly(
    asked: Transport, now: Transport | None, content: str | None, falls_back: bool
) -> None:
    memory = restore_memory(transport=now, content_format=content)
    choice = t.fallback(asked, memory, "ConversionFailed", "it failed")
    assert (choice is not None) is falls_back
    if choice is not None:
        assert (choice.transport, choice.reason) == (RAW, "ConversionFailed")


def test_a_fallback_forgets_tries_and_proof_and_nothing_else() -> None:
    memory = restore_memory(
        seen("image", tries=3), seen("volume", tries=2), transport=QCOW2, image_proven="image"
    )
    choice = t.fallback(AUTO, memory, "ConversionFailed", "it failed")
    assert choice is not None
    after = t.fallen_back(memory, choice)
    assert (after.transport, after.transport_reason) == (RAW, "ConversionFailed")
    assert after.image_proven is None
    assert [(i.step, i.tries, i.seen) for i in after.intents] == [
        ("pin", 1, True),
        ("image", 0, True),
        ("volume", 0, True),
    ]


def test_vdi_goes_on_as_qcow2_where_only_the_format_is_refused() -> None:
    memory = replace(Memory(), transport=VDI)
    for reason, then in (("ImageFormatRefused", QCOW2), ("ConversionFailed", RAW), ("x", RAW)):
        choice = t.fallback(AUTO, memory, reason, "it failed")
        assert choice is not None and (choice.transport, choice.reason) == (then, reason)
    assert t.fallback(VDI, memory, "ImageFormatRefused", "it failed") is None


def test_what_is_left_over_was_converted_and_to_another_format() -> None:
    raw, qcow2, vdi = image(), image(disk_format="qcow2"), image(disk_format="vdi")
    assert t.unwanted([raw, vdi], restore_memory(transport=RAW)) == vdi
    assert t.unwanted([raw, vdi], restore_memory(transport=QCOW2)) == vdi
    assert t.unwanted([raw, vdi], restore_memory(transport=VDI)) is None
    assert t.unwanted([raw, qcow2], restore_memory(transport=RAW)) == qcow2
    assert t.unwanted([raw], restore_memory(transport=RAW)) is None
    assert t.unwanted([raw, qcow2], restore_memory(transport=QCOW2)) is None
    assert t.unwanted([raw, qcow2], restore_memory(transport=None)) is None
