"""What is inside an encrypted volume, by its ciphertext and its key, with qemu-io: no dm-crypt is needed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

HEADER_BYTES = 2_068_480
"""Of what `qemu-img create -f luks` makes, as Cinder's RBD driver does; the data begins behind it."""

PIECE_BYTES = 1 << 20


class NotThatContent(Exception):
    """The key opens nothing, or other data; the message is what qemu-io said, never the key."""


@dataclass(frozen=True)
class Pieces:
    """Offset in the plain data -> the byte that 1 MiB from there is full of."""

    at: Mapping[int, int]


@contextmanager
def container(blocks: Iterable[bytes]) -> Iterator[Path]:
    """The ciphertext as a sparse file."""
    with TemporaryDirectory(dir="/var/tmp") as folder:
        path, length = Path(folder, "container"), 0
        with path.open("wb") as file:
            for block in blocks:
                if any(block):
                    file.seek(length)
                    file.write(block)
                length += len(block)
            file.truncate(length)
        yield path


def write(path: Path, payload: bytes, pieces: Pieces) -> dict[int, bytes]:
    """Writes them into the container; what has changed in it, by offset."""
    _qemu_io(
        path, payload, [f"write -P {value} {at} {PIECE_BYTES}" for at, value in pieces.at.items()]
    )
    changed = {}
    with path.open("rb") as file:
        for at in pieces.at:
            file.seek(HEADER_BYTES + at)
            changed[HEADER_BYTES + at] = file.read(PIECE_BYTES)
    return changed


def compare(path: Path, payload: bytes, pieces: Pieces) -> None:
    """Raises NotThatContent."""
    _qemu_io(
        path, payload, [f"read -P {value} {at} {PIECE_BYTES}" for at, value in pieces.at.items()]
    )


def _qemu_io(path: Path, payload: bytes, commands: list[str]) -> None:
    passphrase = path.with_name("passphrase")
    # Cinder's passphrase is the hex text of the key.
    passphrase.write_text(payload.hex())
    words = ["qemu-io", "--object", f"secret,id=key,file={passphrase}"]
    words += ["--image-opts", f"driver=luks,key-secret=key,file.filename={path}"]
    words += [word for command in commands for word in ("-c", command)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    said = done.stdout + done.stderr
    if done.returncode or "failed" in said or "error" in said.lower():
        raise NotThatContent(said[-500:])
