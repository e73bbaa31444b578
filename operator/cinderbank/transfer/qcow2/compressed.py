"""One compressed cluster: never more memory than a cluster, whatever its bytes say."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import zstandard

from cinderbank.bank.store import Buffer
from cinderbank.transfer.qcow2.header import Header, corrupt

_WINDOW_BITS = -12
"""Raw deflate with a window of 4 KiB: the format says so."""
_MAX_ZSTD_WINDOW_BYTES = 8 << 20
"""What every decoder of zstd is expected to take; QEMU's frames need a cluster."""


def decompressor(header: Header) -> Callable[[Buffer], bytes]:
    """A function from what is stored (and what pads it) to exactly one cluster; it raises DataCorrupt
    (ImageCorrupt). NOT thread-safe."""
    cluster_bytes = header.cluster_bytes
    unpack = _zstd() if header.zstd else _deflate

    def one(stored: Buffer) -> bytes:
        try:
            plain = unpack(stored, cluster_bytes + 1)
        except (zlib.error, zstandard.ZstdError) as error:
            raise corrupt(f"a compressed cluster does not unpack ({error})") from error
        if len(plain) != cluster_bytes:
            raise corrupt(f"a compressed cluster does not unpack to {cluster_bytes} bytes")
        return plain

    return one


def _deflate(stored: Buffer, most_bytes: int) -> bytes:
    return zlib.decompressobj(_WINDOW_BITS).decompress(stored, most_bytes)


def _zstd() -> Callable[[Buffer, int], bytes]:
    context = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW_BYTES)

    def unpack(stored: Buffer, most_bytes: int) -> bytes:
        # One read ends with the frame; the next would take what pads it for another frame.
        return context.stream_reader(io.BytesIO(stored)).read(most_bytes)

    return unpack
