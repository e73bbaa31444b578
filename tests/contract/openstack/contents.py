"""The words of tests.fakes.contents as real bytes, made by qemu-img."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fakes.contents import BACKED, disk_image

QEMU_NAMES = {"vhd": "vpc", BACKED: "qcow2"}
OPTIONS = {
    BACKED: ["-b", "/etc/hostname", "-F", "raw"],
    "luks": ["--object", "secret,id=key,data=rig", "-o", "key-secret=key,iter-time=10"],
}


def real_bytes(content: str) -> bytes:
    """The disk image that `content` names, without data in it; else the words again and again."""
    image = disk_image(content)
    if image is None:
        return content.encode() * 512
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        kind = QEMU_NAMES.get(image.kind, image.kind)
        size = [f"{image.size_bytes}"]
        _qemu_img("create", "-q", "-f", kind, *OPTIONS.get(image.kind, []), f"{path}", *size)
        with open(path, "rb") as made:
            return made.read(4 << 20)  # LUKS: its header; the rest is a hole


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
