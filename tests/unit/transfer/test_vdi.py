"""VDI images put together block by block, also wrong ones; tests/contract/qcow2 has qemu-img's own."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinderbank.domain.errors import CinderbankError, DataCorrupt, Unsupported
from cinderbank.transfer import vdi
from tests.fakes.qcow2_images import Rereads, cut, joined

MIB = vdi.BLOCK_BYTES
FIELDS = {
    "signature": (64, "I"),
    "version": (68, "I"),
    "kind": (76, "I"),
    "map_offset": (340, "I"),
    "data_offset": (344, "I"),
    "sector_bytes": (360, "I"),
    "disk_bytes": (368, "Q"),
    "block_bytes": (376, "I"),
    "extra_bytes": (380, "I"),
    "block_count": (384, "I"),
    "link": (424, "Q"),
    "parent": (440, "Q"),
}
"""Where each lies: VDIHeader of QEMU's block/vdi.c."""


def build(size: int, order: list[int], tail: int = 0, **wrong: int) -> bytes:
    """An image whose allocated blocks lie in `order`; block n is filled with n + 1."""
    count = -(-size // MIB)
    numbers = [order.index(n) if n in order else vdi.UNALLOCATED for n in range(count)]
    numbers[-1] = vdi.DISCARDED if numbers[-1] == vdi.UNALLOCATED else numbers[-1]
    table = struct.pack(f"<{count}I", *numbers)
    table += bytes(-len(table) % 512)
    fields: dict[str, int] = {
        "signature": vdi.SIGNATURE, "version": vdi.VERSION, "kind": 1, "map_offset": 512,
        "data_offset": 512 + len(table), "sector_bytes": 512, "disk_bytes": size,
        "block_bytes": MIB, "extra_bytes": 0, "block_count": count, "link": 0, "parent": 0,
    }  # fmt: skip
    head = bytearray(512)
    for name, value in {**fields, **wrong}.items():
        offset, form = FIELDS[name]
        struct.pack_into(f"<{form}", head, offset, value)
    data = b"".join(bytes([n + 1]) * MIB for n in order)
    return bytes(head) + table + data + bytes(tail)


def volume(size: int, order: list[int]) -> bytes:
    whole = b"".join(bytes([n + 1 if n in order else 0]) * MIB for n in range(-(-size // MIB)))
    return whole[:size]


def decoded(body: bytes, size: int, block_bytes: int = MIB) -> tuple[bytes, int]:
    rereads = Rereads(body)
    found = joined(vdi.decode(cut(body, block_bytes), len(body), size, rereads), size)
    return found, rereads.count


@given(
    count=st.integers(1, 6),
    less=st.sampled_from((0, 512, MIB - 512)),
    data=st.data(),
    block_bytes=st.sampled_from((700, 65536, 3 * MIB)),
)
def test_any_order_of_blocks(count: int, less: int, data: Any, block_bytes: int) -> None:
    size = count * MIB - less
    order = data.draw(st.lists(st.integers(0, count - 1), unique=True))
    found, rereads = decoded(build(size, order), size, block_bytes)
    assert found == volume(size, order)
    assert rereads == (0 if order == sorted(order) else 1)


def test_what_follows_the_data_is_read_too() -> None:
    """Glance's hash is over all of it."""
    body, passed = build(2 * MIB, [1], tail=4096), 0

    def blocks() -> Iterator[bytes]:
        nonlocal passed
        for block in cut(body, 1000):
            passed += len(block)
            yield block

    found = joined(vdi.decode(blocks(), len(body), 2 * MIB, Rereads(body)), 2 * MIB)
    assert (found, passed) == (volume(2 * MIB, [1]), len(body))


@pytest.mark.parametrize(
    ("wrong", "error", "reason"),
    [
        ({"signature": 1}, DataCorrupt, "ImageCorrupt"),
        ({"version": 2}, Unsupported, "ImageUnsupported"),
        ({"kind": 4}, Unsupported, "ImageUnsupported"),
        ({"link": 1}, Unsupported, "ImageUnsupported"),
        ({"parent": 1}, Unsupported, "ImageUnsupported"),
        ({"block_bytes": 4096}, Unsupported, "ImageUnsupported"),
        ({"block_bytes": 0}, Unsupported, "ImageUnsupported"),
        ({"extra_bytes": 512}, Unsupported, "ImageUnsupported"),
        ({"sector_bytes": 4096}, Unsupported, "ImageUnsupported"),
        ({"disk_bytes": 4 * MIB}, DataCorrupt, "ImageSizeMismatch"),
        ({"disk_bytes": 1 << 63}, DataCorrupt, "ImageSizeMismatch"),
        ({"block_count": 2}, DataCorrupt, "ImageCorrupt"),
        ({"block_count": (1 << 32) - 1}, DataCorrupt, "ImageCorrupt"),
        ({"map_offset": 0}, DataCorrupt, "ImageCorrupt"),
        ({"map_offset": 1024}, DataCorrupt, "ImageCorrupt"),
        ({"data_offset": 512}, DataCorrupt, "ImageCorrupt"),
        ({"data_offset": (1 << 32) - 1}, DataCorrupt, "ImageCorrupt"),
        ({"data_offset": 1024 + MIB}, DataCorrupt, "ImageCorrupt"),
    ],
)
def test_what_is_wrong_is_said(
    wrong: dict[str, int], error: type[CinderbankError], reason: str
) -> None:
    with pytest.raises(error) as raised:
        decoded(build(3 * MIB, [0, 2], **wrong), 3 * MIB)
    assert raised.value.reason == reason


@pytest.mark.parametrize("numbers", [(0, 0), (0, 2), (0, 0xFFFF_FFFD)])
def test_a_map_that_can_not_be(numbers: tuple[int, int]) -> None:
    body = bytearray(build(3 * MIB, [0, 1]))
    struct.pack_into("<2I", body, 512, *numbers)
    with pytest.raises(DataCorrupt, match="names a block twice, or one that is not there"):
        decoded(bytes(body), 3 * MIB)


@pytest.mark.parametrize("length", [0, 1, 511, 512, 600, 1024 + MIB - 1])
def test_an_image_that_was_cut_off(length: int) -> None:
    body = build(3 * MIB, [0, 1])[:length]
    with pytest.raises(DataCorrupt) as raised:
        decoded(body, 3 * MIB)
    assert raised.value.reason == "ImageCorrupt"


@pytest.mark.parametrize("change", [-1, 1])
def test_the_length_that_was_announced_does_not_hold(change: int) -> None:
    body = build(3 * MIB, [0, 1], tail=1)
    with pytest.raises(DataCorrupt) as raised:
        list(vdi.decode(cut(body, MIB), len(body) + change, 3 * MIB, Rereads(body)))
    assert raised.value.reason == "ImageCorrupt"
