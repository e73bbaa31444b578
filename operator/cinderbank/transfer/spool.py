"""An image in a temporary file: random access where Glance's store has no ranges."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import DataCorrupt, OverQuota, Unsupported

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Spool:
    """A file without a name, gone with the process or the `with` block. Reading is thread-safe."""

    def __init__(self, image_bytes: int, limit_bytes: int, folder: Path | None = None) -> None:
        """Raises Unsupported (ImageNotInOrder) when the image is larger than the limit; nothing is
        written then."""
        if image_bytes > limit_bytes:
            raise Unsupported(
                f"the data of this image is not in order, and its {image_bytes} bytes do not "
                f"fit the {limit_bytes} bytes that may be kept in a file; use "
                "`transport: Raw`",
                reason="ImageNotInOrder",
            )
        self._image_bytes = image_bytes
        # In a folder that cannot hold an unnamed file it is unlinked at once.
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - `close` ends it

    def fill(self, blocks: Iterable[Buffer]) -> None:
        """Write the whole image. Raises DataCorrupt (ImageCorrupt) when it has not exactly the announced
        length, OverQuota (SpoolFull) when the file system is full, and what `blocks` raises."""
        come = 0
        for block in blocks:
            come += len(block)
            if come > self._image_bytes:
                raise _corrupt(f"has more than the {self._image_bytes} bytes that were announced")
            self._write(block)
        if come != self._image_bytes:
            raise _corrupt(f"ended after {come} of {self._image_bytes} bytes")

    def _write(self, block: Buffer) -> None:
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[os.write(self._file.fileno(), rest) :]
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise OverQuota(
                f"the temporary file of an image of {self._image_bytes} bytes does not fit its file "
                "system; give it more room, or use `transport: Raw`",
                reason="SpoolFull",
            ) from error

    def read_at(self, offset: int, length: int) -> bytes:
        """Fewer bytes only at the end of what was written."""
        parts = []
        while length and (part := os.pread(self._file.fileno(), length, offset)):
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _corrupt(message: str) -> DataCorrupt:
    return DataCorrupt(f"the image {message}", reason="ImageCorrupt")
