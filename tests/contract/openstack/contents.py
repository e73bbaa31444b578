"""The words of tests.fakes.contents as real bytes, made by qemu-img."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fakes.contents import BACKED, disk_image

QEMU_NAMES = {"vhd": "vpc", BACKED: "qcow2"}
OPTIONS = {BACKED: ["-b", "/etc/hostname", "-F", "raw"]}


def real_bytes(content: str) -> bytes:
    """The disk image that `content` names, without data in it; else the words again and again."""
    image = disk_image(content)
    if image is None:
        return content.encode() * 512
    if image.kind == "luks":
        return luks_header()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        kind = QEMU_NAMES.get(image.kind, image.kind)
        size = [f"{image.size_bytes}"]
        _qemu_img("create", "-q", "-f", kind, *OPTIONS.get(image.kind, []), f"{path}", *size)
        with open(path, "rb") as made:
            return made.read(4 << 20)


def luks_header() -> bytes:
    """Of LUKS 1 with one key. Not by qemu-img: it times its key derivation, and fails on a busy machine."""
    head = struct.pack(
        ">6sH32s32s32sII20s32sI40s",
        b"LUKS\xba\xbe", 1, b"aes", b"xts-plain64", b"sha256", 4096, 64, b"d" * 20, b"s" * 32,
        1000, b"11111111-2222-4333-8444-555555555555",
    )  # fmt: skip
    slots = b"".join(
        struct.pack(">II32sII", 0xDEAD if slot else 0xAC71F3, 1000, b"s" * 32, 8 + 504 * slot, 4000)
        for slot in range(8)
    )
    return head + slots


def wrapped(data: bytes, size_bytes: int) -> bytes:
    """A qcow2 image of a disk of this size that begins with `data`."""
    with TemporaryDirectory() as folder:
        raw, qcow2 = Path(folder) / "raw", Path(folder) / "qcow2"
        raw.write_bytes(data)
        with open(raw, "r+b") as disk:
            disk.truncate(size_bytes)
        _qemu_img("convert", "-f", "raw", "-O", "qcow2", f"{raw}", f"{qcow2}")
        return qcow2.read_bytes()


def _qemu_img(*arguments: str) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, timeout=60)
