"""Bytes that a volume may begin with and that a cloud may take for something else than bytes."""

from __future__ import annotations

import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

QEMU_FORMATS = {"qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc", "vhdx": "vhdx", "vdi": "vdi", "qed": "qed"}  # fmt: skip
"""As qemu-img calls them."""

FORMATS = (*QEMU_FORMATS, "luks", "gpt", "iso")
INNER_MIB = 64
"""Virtual size of the disk inside."""


def head(disk_format: str) -> bytes:
    """The first bytes of a disk of that format: its headers, and next to no data."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "disk")
        if disk_format == "iso":
            # ECMA-119: the primary volume descriptor is sector 16 of 2048 bytes.
            return bytes(16 * 2048) + b"\x01CD001\x01" + bytes(2041)
        if disk_format == "luks":
            return _luks()
        if disk_format == "gpt":
            return _gpt()
        create = ["qemu-img", "create", "-q", "-f", QEMU_FORMATS[disk_format]]
        subprocess.run([*create, str(path), f"{INNER_MIB}M"], check=True)
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
    """A LUKS1 header by its on-disk specification; `qemu-img create -f luks` fails on a busy machine,
    where it can not measure how long its key derivation takes."""
    names = b"".join(name.ljust(32, b"\0") for name in (b"aes", b"xts-plain64", b"sha256"))
    numbers = struct.pack(">II20s32sI40s", 4096, 32, b"digest", b"salt", 1000, b"00000000-0000")
    free = (struct.pack(">II32sII", 0x0000DEAD, 0, b"", 8 + 256 * i, 4000) for i in range(8))
    return (b"LUKS\xba\xbe" + struct.pack(">H", 1) + names + numbers + b"".join(free)).ljust(
        4096, b"\0"
    )
