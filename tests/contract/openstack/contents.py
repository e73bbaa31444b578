"""The words of tests.fakes.contents as real bytes, made by qemu-img."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fakes.contents import BACKED, disk_image
from tests.stage.disk_images import head


def real_bytes(content: str) -> bytes:
    """The disk image that `content` names, without data in it; else the words again and again."""
    image = disk_image(content)
    if image is None:
        return content.encode() * 512
    if image.kind == BACKED:
        return head("qcow2", image.size_bytes, ["-b", "/etc/hostname", "-F", "raw"])
    return head(image.kind, image.size_bytes)


def wrapped(data: bytes, size_bytes: int) -> bytes:
    """A qcow2 image of a disk of this size that begins with `data`."""
    with TemporaryDirectory() as folder:
        raw, qcow2 = Path(folder) / "raw", Path(folder) / "qcow2"
        raw.write_bytes(data)
        with open(raw, "r+b") as disk:
            disk.truncate(size_bytes)
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", f"{raw}", f"{qcow2}"]
        subprocess.run(convert, check=True, timeout=60)
        return qcow2.read_bytes()
