"""Bytes that a volume may begin with and that a cloud may take for something else than bytes."""

from __future__ import annotations

import struct
import subprocess
import tempfile
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
            _partitioned(path)
        else:
            create = ["qemu-img", "create", "-q", "-f", QEMU_FORMATS[disk_format]]
            subprocess.run([*create, str(path), f"{INNER_MIB}M"], check=True)
        with path.open("rb") as file:
            return file.read(16 << 20)


def _partitioned(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)  # the protective MBR tells the size
    table = "label: gpt\n,64M,L\n,,L\n"
    subprocess.run(["/sbin/sfdisk", "-q", str(path)], input=table, text=True, check=True)


def _luks() -> bytes:
    """A LUKS1 header by its on-disk specification; `qemu-img create -f luks` fails on a busy machine,
    where it can not measure how long its key derivation takes."""
    names = b"".join(name.ljust(32, b"\0") for name in (b"aes", b"xts-plain64", b"sha256"))
    numbers = struct.pack(">II20s32sI40s", 4096, 32, b"digest", b"salt", 1000, b"00000000-0000")
    free_slot = struct.pack(">II32sII", 0x0000DEAD, 0, b"", 8, 4000)
    return (b"LUKS\xba\xbe" + struct.pack(">H", 1) + names + numbers + 8 * free_slot).ljust(4096, b"\0")
