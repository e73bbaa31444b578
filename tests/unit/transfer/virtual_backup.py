"""Backs up a volume that exists only as a pattern, in a process of its own; says what it cost.

    python virtual_backup.py MIB zero|pattern|mixed [discard|s3|restore|slow-sink|slow-source|incremental]

`discard` keeps no chunk, so that what grows is ours; `slow-sink` sends as much at once as may be to
a bank that takes its time, `incremental` has a base that lends everything. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cinderbank.bank import layout
from cinderbank.bank.chunk import Envelope
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.index import Entry
from cinderbank.bank.manifest import SessionRef, SourceHash
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.store import Body, Buffer
from cinderbank.bank.writer import BackupWriter, StoredChunk
from cinderbank.domain.facts import ImageFacts, ImageId
from cinderbank.transfer.chunking import raw_extents
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.image_hash import HashThread, ImageHash
from cinderbank.transfer.pipeline import Known, Pipeline, limits_for, nothing_known
from cinderbank.transfer.upload_limit import UploadSlots
from cinderbank.transfer.volume_body import RawBody
from tests.fakes.backups import BACKUP, OTHER_BACKUP, SITE, VOLUME, describe
from tests.fakes.object_store import MemoryStore

MIB = 1 << 20


class DiscardingStore(MemoryStore):
    """Keeps all but chunks, and of those the last: with `pattern` they are all the same."""

    _chunk: Body = b""
    seconds_per_put = 0.0

    def put(self, key: str, body: Body, if_absent: bool = False) -> bool:
        if "/chunks/" not in key:
            return super().put(key, body, if_absent)
        time.sleep(self.seconds_per_put)
        self._chunk = body  # not copied: a socket does not either
        return True

    def get(self, key: str, max_bytes: int) -> bytes | None:
        # One copy, as a network would make it.
        return b"".join(self._pieces()) if "/chunks/" in key else super().get(key, max_bytes)

    def _pieces(self) -> tuple[Buffer, ...]:
        return self._chunk if isinstance(self._chunk, tuple) else (self._chunk,)


def blocks(mib: int, kind: str) -> Iterator[bytes]:
    """Blocks of 1 MiB, made once: zeros, noise, or 2/5 zeros, 2/5 text-like, 1/5 noise by chunks."""
    zero, noise = bytes(MIB), np.random.default_rng(1).bytes(MIB)
    words = np.random.default_rng(2).integers(0, 4096, MIB // 16)
    text = b"".join(b"%016d" % word for word in words)
    for number in range(mib):
        chunk = number // 4 % 5
        if kind == "zero":
            yield zero
        elif kind == "pattern":
            yield noise
        else:
            yield (zero, zero, text, text, noise)[chunk]


def slowly(source: Iterator[bytes]) -> Iterator[bytes]:
    for block in source:
        time.sleep(0.002)
        yield block


def lent(mib: int) -> Known:
    """A base of the same content, of which every chunk is there."""
    chunk = b"".join(blocks(4, "pattern"))
    session = SessionRef(SITE, OTHER_BACKUP)
    digest = Envelope().digest(chunk)

    def known(index: int) -> list[StoredChunk]:
        return [StoredChunk(session, Entry(index, digest, 1, 4 * MIB, 0, 1))]

    return known


def main() -> None:
    mib, kind = int(sys.argv[1]), sys.argv[2]
    how = sys.argv[3] if sys.argv[3:] else "discard"
    store = _s3() if how == "s3" else DiscardingStore()
    limits, uploads = limits_for(4 * MIB), UploadSlots()
    source = blocks(mib, kind)
    if how == "slow-sink":
        store.seconds_per_put = 0.05
        uploads = UploadSlots(most=limits.in_flight, fewest=limits.in_flight)
    if how == "slow-source":
        source = slowly(source)
    writer = BackupWriter(store, SessionRef(SITE, BACKUP), VOLUME, 1, Geometry(mib * MIB))
    meter = ProgressMeter(mib * MIB, lambda progress: None)
    size = mib * MIB
    # Glance tells a hash, so that it is computed; it is not compared.
    hashes = ImageHash(ImageFacts(ImageId("x"), "x", "active", hash_algo="sha512", hash_value="x"))
    known = lent(mib) if how == "incremental" else nothing_known
    pipeline = Pipeline(writer, meter.add, limits, uploads, known)
    idle = peak_rss_mib()
    wall, cpu = time.perf_counter(), time.process_time()
    with HashThread(hashes) as hasher:
        pipeline.run(raw_extents(hasher.through(source), size))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if how == "restore":
        wall = time.perf_counter()
        _restore(store, writer)
        wall = time.perf_counter() - wall
    print(
        json.dumps(
            {
                "rss_mib": peak_rss_mib(),
                "idle_mib": idle,
                "mb_per_second": mib * MIB / 1e6 / wall,
                "cpu_seconds": cpu,
                "stored_bytes": pipeline.stored_bytes,
                "zero_bytes": pipeline.zero_bytes,
                "reused_bytes": pipeline.reused_bytes,
                "requests": len(store.requests) if isinstance(store, MemoryStore) else None,
            }
        )
    )


def peak_rss_mib() -> float:
    # Not ru_maxrss: that is never less than what the parent had when it forked, also after exec.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _restore(store: MemoryStore, writer: BackupWriter) -> None:
    size = writer.geometry.size_bytes
    about = replace(describe(b""), size_bytes=size)
    store.put(layout.intent(SITE, BACKUP), b"{}")
    manifest = writer.finish(about, "bank", 0, SourceHash())
    body = RawBody(BackupReader(store, SITE, manifest), ProgressMeter(size, lambda progress: None))
    assert sum(map(len, body)) == size


def _s3() -> Any:
    from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store

    location = S3Location(
        os.environ["S3_ENDPOINT"], os.environ["S3_BUCKET"], f"bench/{os.getpid()}"
    )
    return S3Store(
        location, S3Credentials(os.environ["S3_ACCESS_KEY"], os.environ["S3_SECRET_KEY"])
    )


if __name__ == "__main__":
    main()
