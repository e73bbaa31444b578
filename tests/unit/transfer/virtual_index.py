"""Writes and reads the index of a volume that does not exist, in a process of its own.

    python virtual_index.py TIB zero|data

Every chunk is a hole, or an entry of its own. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from cinderbank.bank.base import Base
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.index import Entry
from cinderbank.bank.layout import intent
from cinderbank.bank.manifest import SessionRef, SourceHash
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.scrub import Damage
from cinderbank.bank.writer import BackupWriter, StoredChunk
from tests.fakes.backups import BACKUP, SITE, VOLUME, describe
from tests.fakes.object_store import MemoryStore
from tests.unit.transfer.virtual_backup import peak_rss_mib

TIB = 1 << 40


def main() -> None:
    size, kind = int(float(sys.argv[1]) * TIB), sys.argv[2]
    store, geometry, session = MemoryStore(), Geometry(size), SessionRef(SITE, BACKUP)
    store.put(intent(SITE, BACKUP), b"{}")
    writer = BackupWriter(store, session, VOLUME, 1, geometry)
    for index in range(geometry.chunk_count):
        if kind == "zero":
            writer.put_holes(index)
        else:
            # One hash for all: the stored parts compress, so that what grows is not the fake's.
            writer.reuse(StoredChunk(session, Entry(index, bytes(31) + b"1", 1, 9, 0, 1)), 1)
    about = replace(describe(b""), size_bytes=size)
    manifest = writer.finish(about, "bank", 0, SourceHash())
    entries = sum(1 for _ in BackupReader(store, SITE, manifest).entries())
    assert entries == geometry.chunk_count
    lent = sum(1 for _ in Base(store, manifest, geometry, Damage()).lent())
    assert lent == geometry.chunk_count
    print(json.dumps({"rss_mib": peak_rss_mib(), "requests": len(store.requests)}))


if __name__ == "__main__":
    main()
