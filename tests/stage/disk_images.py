"""Bytes that a volume may begin with and that a cloud may take for something else than bytes."""

from __future__ import annotations

import struct
import subprocess
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

QEMU_FORMATS = {"qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc", "vhdx": "vhdx", "vdi": "vdi", "qed": "qed"}  # fmt: skip
"""As qemu-img calls them."""

FORMATS = (*QEMU_FORMATS, "luks", "gpt", "iso")
INNER_BYTES = 64 << 20
"""Virtual size of the disk inside, if nothing else is said."""


def head(disk_format: str, size_bytes: int = INNER_BYTES, options: Sequence[str] = ()) -> bytes:
    """The first bytes of a disk of that format: its headers, and next to no data. `options` are more
    words for `qemu-img create`."""
    if disk_format == "iso":
        # ECMA-119: the primary volume descriptor is sector 16 of 2048 bytes.
        return bytes(16 * 2048) + b"\x01CD001\x01" + bytes(2041)
    if disk_format == "luks":
        return _luks()
    if disk_format == "gpt":
        return _gpt()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "disk")
        create = ["qemu-img", "create", "-q", "-f", QEMU_FORMATS[disk_format], *options]
        subprocess.run([*create, str(path), str(size_bytes)], check=True, timeout=60)
        with path.open("rb") as file:
            return file.read(16 << 20)


def _gpt() -> bytes:
    """Protective MBR, GPT header and one Linux partition of a disk of 1 GiB (UEFI 2.10, chapter 5)."""
    last = (1 << 30) // 512 - 1
    mbr = bytes(446) + struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, last)
    linux, own = bytes.fromhex("af3dc60f838472478e793d69d8477de4"), bytes(range(16))
    entry = struct.pack("<16s16sQQQ72s", linux, own, 2048, last - 2048, 0, b"")
    entries = entry.ljust(128 * 128, b"\0")

    def header(crc: int) -> bytes:
        places = (1, last, 34, last - 33)
        table = (own, 2, 128, 128, zlib.crc32(entries))
        return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 1 << 16, 92, crc, 0, *places, *table)

    first = mbr.ljust(510, b"\0") + b"\x55\xaa"
    return first + header(zlib.crc32(header(0))).ljust(512, b"\0") + entries


def _luks() -> bytes:
    """A LUKS 1 header with one key, by its on-disk specification. Not by qemu-img: it times its key
    derivation, and fails on a busy machine."""
    head = struct.pack(
        ">6sH32s32s32sII20s32sI40s",
        b"LUKS\xba\xbe", 1, b"aes", b"xts-plain64", b"sha256", 4096, 64, b"d" * 20, b"s" * 32,
        1000, b"11111111-2222-4333-8444-555555555555",
    )  # fmt: skip
    slots = b"".join(
        struct.pack(">II32sII", 0xDEAD if slot else 0xAC71F3, 1000, b"s" * 32, 8 + 504 * slot, 4000)
        for slot in range(8)
    )
    return (head + slots).ljust(4096, b"\0")
