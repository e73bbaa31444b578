"""What a volume's first bytes are taken for; and what is harmless."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.transfer.content_format import LOOKED_AT_BYTES, ContentLook, content_format
from cinderbank.transfer.extent import Extent


def at(offset: int, mark: bytes, length: int = LOOKED_AT_BYTES) -> bytes:
    return (bytes(offset) + mark).ljust(length, b"\0")


QCOW2 = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0, 0, 16, 1 << 30)
MBR = at(446, bytes([0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0]) + b"\xff" * 4, 510) + b"U\xaa"
VMDK_TEXT = b'# Disk DescriptorFile\nversion=1\nCID=fffffffe\ncreateType="monolithicFlat"\n'


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"", None),
        (bytes(LOOKED_AT_BYTES), None),
        (b"all work and no play " * 4000, None),
        (MBR, None),
        (at(32 * 1024, b"\x01CD001\x01"), None),
        (QCOW2, "qcow2"),
        (b"KDMV" + bytes(508), "vmdk"),
        (b"KDMV" + b"\xff" * 60_000, "vmdk"),
        (b"vhdxfile", "vhdx"),
        (b"conectix" + bytes(504), "vhd"),
        (at(0x40, b"\x7f\x10\xda\xbe"), "vdi"),
        (b"QED\0" + bytes(508), "qed"),
        (b"LUKS\xba\xbe\x00\x01" + bytes(600), "luks"),
        (b"LUKS\xba\xbe\x00\x02" + b"\xff" * 600, "luks"),
    ],
)
def test_formats(first: bytes, expected: str | None) -> None:
    assert content_format(first) == expected
    # A disk image in a volume with a partition table of its own is still one.
    if expected == "qcow2":
        assert content_format(first[:400].ljust(510, b"\0") + b"U\xaa") == "qcow2"


@given(st.binary(max_size=1024), st.sampled_from([b"", b"QFI\xfb", b"KDMV", b"vhdxfile", b"LUKS"]))
def test_whatever_the_bytes_it_never_raises(noise: bytes, mark: bytes) -> None:
    content_format(mark + noise)


@pytest.mark.parametrize("block", [1, 7, 512, LOOKED_AT_BYTES, 1 << 20])
def test_it_looks_on_while_extents_pass(block: int) -> None:
    content = QCOW2.ljust(LOOKED_AT_BYTES + 100, b"x")[: max(2000, block)]
    extents = [
        Extent(first, content[first : first + block]) for first in range(0, len(content), block)
    ]
    look = ContentLook()
    assert list(look.over(iter(extents))) == extents
    assert look.format() == "qcow2"


def test_gaps_are_zeros_and_what_comes_later_is_not_kept() -> None:
    look = ContentLook()
    extents = [Extent(0x40, b"\x7f\x10\xda\xbe"), Extent(1 << 40, b"y" * 100)]
    assert list(look.over(extents)) == extents
    assert look.format() == "vdi"
    assert len(look._first) < 100
