"""What a header may say; each refusal with its class, its reason and the field in its words."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from cinderbank.domain.errors import CinderbankError, DataCorrupt, Unsupported
from cinderbank.transfer.qcow2.decode import decode
from cinderbank.transfer.qcow2.header import parse_header
from tests.fakes.qcow2_images import Image, Rereads, build, decoded

SIZE = 100 * 512
CLUSTERS = {0: b"a" * 512, 70: b"b" * 512}

REFUSED: list[tuple[str, Callable[[Image], object], type[CinderbankError], str, str]] = [
    ("magic", lambda i: i.put(0, "I", 1), DataCorrupt, "ImageCorrupt", "does not begin"),
    ("version 1", lambda i: i.put(4, "I", 1), Unsupported, "ImageUnsupported", "version 1"),
    ("version 4", lambda i: i.put(4, "I", 4), Unsupported, "ImageUnsupported", "version 4"),
    ("backing", lambda i: i.put(8, "Q", 400), Unsupported, "ImageUnsupported", "backing file"),
    ("clusters of 256", lambda i: i.put(20, "I", 8), DataCorrupt, "ImageCorrupt", "2^8"),
    ("clusters of 4 MiB", lambda i: i.put(20, "I", 22), DataCorrupt, "ImageCorrupt", "2^22"),
    ("huge cluster bits", lambda i: i.put(20, "I", 1 << 31), DataCorrupt, "ImageCorrupt", "2^"),
    ("other size", lambda i: i.put(24, "Q", SIZE + 512), DataCorrupt, "ImageSizeMismatch", "51712"),
    ("no size", lambda i: i.put(24, "Q", 0), DataCorrupt, "ImageSizeMismatch", "unpacks to 0"),
    ("AES", lambda i: i.put(32, "I", 1), Unsupported, "ImageUnsupported", "encryption"),
    ("LUKS", lambda i: i.put(32, "I", 2), Unsupported, "ImageUnsupported", "encryption"),
    ("short L1", lambda i: i.put(36, "I", 1), DataCorrupt, "ImageCorrupt", "L1 table has 1"),
    ("long L1", lambda i: i.put(36, "I", 2**32 - 1), DataCorrupt, "ImageCorrupt", "4294967295"),
    ("L1 at 0", lambda i: i.put(40, "Q", 0), DataCorrupt, "ImageCorrupt", "L1 table"),
    ("L1 behind", lambda i: i.put(40, "Q", 2**63), DataCorrupt, "ImageCorrupt", "L1 table"),
    ("L1 unaligned", lambda i: i.put(40, "Q", 1032), DataCorrupt, "ImageCorrupt", "L1 table"),
    ("L1 on refcounts", lambda i: i.put(40, "Q", 512), DataCorrupt, "ImageCorrupt", "something else"),
    ("refcounts at 0", lambda i: i.put(48, "Q", 0), DataCorrupt, "ImageCorrupt", "refcount"),
    ("refcounts behind", lambda i: i.put(48, "Q", 2**40), DataCorrupt, "ImageCorrupt", "refcount"),
    ("no refcounts", lambda i: i.put(56, "I", 0), DataCorrupt, "ImageCorrupt", "refcount"),
    ("many refcounts", lambda i: i.put(56, "I", 2**31), DataCorrupt, "ImageCorrupt", "refcount"),
    ("snapshots", lambda i: i.put(60, "I", 1), Unsupported, "ImageUnsupported", "snapshots"),
    ("dirty", lambda i: i.put(72, "Q", 1), Unsupported, "ImageUnsupported", "dirty"),
    ("corrupt", lambda i: i.put(72, "Q", 2), DataCorrupt, "ImageCorrupt", "marked as corrupt"),
    ("data file", lambda i: i.put(72, "Q", 4), Unsupported, "ImageUnsupported", "external data"),
    ("bit without type", lambda i: i.put(72, "Q", 8), DataCorrupt, "ImageCorrupt", "contradict"),
    ("extended L2", lambda i: i.put(72, "Q", 16), Unsupported, "ImageUnsupported", "extended L2"),
    ("unknown bit", lambda i: i.put(72, "Q", 1 << 63), Unsupported, "ImageUnsupported", "0x8"),
    ("refcounts of 128", lambda i: i.put(96, "I", 7), DataCorrupt, "ImageCorrupt", "2^7"),
    ("header of 72", lambda i: i.put(100, "I", 72), DataCorrupt, "ImageCorrupt", "72 bytes"),
    ("header of 109", lambda i: i.put(100, "I", 109), DataCorrupt, "ImageCorrupt", "109 bytes"),
    ("header of 1 KiB", lambda i: i.put(100, "I", 1024), DataCorrupt, "ImageCorrupt", "1024 bytes"),
    ("type without bit", lambda i: i.put(104, "B", 1), DataCorrupt, "ImageCorrupt", "contradict"),
    (
        "unknown type",
        lambda i: i.put(72, "Q", 8).put(104, "B", 2),
        Unsupported,
        "ImageUnsupported",
        "compression type 2",
    ),
    ("LUKS extension", lambda i: i.put(112, "I", 0x0537BE77), Unsupported, "ImageUnsupported", "LUKS"),
    ("file extension", lambda i: i.put(112, "I", 0x44415441), Unsupported, "ImageUnsupported", "data"),
    (
        "endless extension",
        lambda i: i.put(112, "I", 7).put(116, "I", 2**32 - 1),
        DataCorrupt,
        "ImageCorrupt",
        "extension",
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_refused(
    row: tuple[str, Callable[[Image], object], type[CinderbankError], str, str],
) -> None:
    _, mangle, kind, reason, word = row
    image = build(SIZE, CLUSTERS)
    mangle(image)
    with pytest.raises(kind) as raised:
        decoded(image)
    assert raised.value.reason == reason
    assert word in raised.value.message
    if kind is Unsupported:
        assert "transport: Raw" in raised.value.message


def test_the_same_image_unmangled_is_taken() -> None:
    image = build(SIZE, CLUSTERS)
    assert decoded(image)[0][:512] == b"a" * 512
    header = parse_header(image.body)
    assert (header.version, header.cluster_bytes, header.virtual_size_bytes) == (3, 512, SIZE)


def test_unknown_extensions_and_optional_features_are_passed() -> None:
    image = build(SIZE, CLUSTERS).put(80, "Q", 2**64 - 1).put(88, "Q", 2**64 - 1)
    image.put(112, "I", 0x6803F857).put(116, "I", 5).put(128, "I", 0x12345678).put(132, "I", 0)
    assert decoded(image)[0][:512] == b"a" * 512


def test_version_2_knows_nothing_behind_its_72_bytes() -> None:
    image = build(SIZE, CLUSTERS, version=2)
    struct.pack_into(">QQQII", image.body, 72, 0, 0, 0, 0, 0)
    assert decoded(image)[0][:512] == b"a" * 512


@pytest.mark.parametrize("length", [0, 3, 71, 72, 100, 104])
def test_a_head_that_is_cut_off(length: int) -> None:
    with pytest.raises(DataCorrupt, match=r"header|L1 table|ended after 0") as raised:
        body = bytes(build(SIZE, CLUSTERS).body[:length])
        list(decode([body], length, SIZE, Rereads(body)))
    assert raised.value.reason == "ImageCorrupt"


def test_another_size_is_told_before_anything_else_is_read() -> None:
    """Of 40 GiB that Cinder unpacked, one block is enough."""
    image = build(SIZE, CLUSTERS)

    def blocks():  # type: ignore[no-untyped-def]
        yield bytes(image.body[:512])
        raise AssertionError("more was read")

    with pytest.raises(DataCorrupt) as raised:
        list(decode(blocks(), 512, SIZE + 1, Rereads(b"")))
    assert raised.value.reason == "ImageSizeMismatch"


def test_more_image_than_any_volume_of_that_size_needs() -> None:
    image = build(SIZE, CLUSTERS)
    with pytest.raises(DataCorrupt, match="can need"):
        list(
            decode([image.body.ljust(65536, b"\0")], 2 * SIZE + (64 << 20) + 1, SIZE, Rereads(b""))
        )


def test_an_l1_table_too_long_for_memory() -> None:
    """1 TiB in clusters of 512 bytes would be an L1 table of 256 MiB."""
    image = build(SIZE, CLUSTERS).put(24, "Q", 1 << 40).put(36, "I", 1 << 25)
    with pytest.raises(Unsupported, match="too small for") as raised:
        list(decode([bytes(image.body)], len(image.body), 1 << 40, Rereads(b"")))
    assert raised.value.reason == "ImageUnsupported"
