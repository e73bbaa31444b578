"""Copies a volume that exists only as a pattern into a bank with keys, in a process of its own.

    python virtual_copy.py MIB

Chunks are kept by neither bank, so that what grows is ours. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

from cinderbank.bank.chunk import Envelope
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.manifest import SessionRef, SourceHash
from cinderbank.bank.writer import BackupWriter, encode_chunk
from cinderbank.ports.transfers import CopyTransfer
from cinderbank.transfer.copy import run_copy
from cinderbank.transfer.events import ProgressMeter
from tests.fakes.backups import BACKUP, SITE, VOLUME, bank_on, describe
from tests.unit.transfer.virtual_backup import MIB, DiscardingStore, blocks, peak_rss_mib

ALL_DATA = (1 << 64) - 1


def main() -> None:
    mib = int(sys.argv[1])
    source, target = DiscardingStore(), DiscardingStore()
    bank = bank_on(source)
    bank.open_session(SITE, BACKUP, VOLUME)
    writer = BackupWriter(source, SessionRef(SITE, BACKUP), VOLUME, 1, Geometry(mib * MIB))
    meter = ProgressMeter(mib * MIB, lambda progress: None)
    envelope, chunk = Envelope(), b"".join(blocks(4, "pattern"))
    for index in range(mib // 4):
        key = writer.chunk_key(index)
        writer.put_chunk(encode_chunk(envelope, index, chunk, ALL_DATA, key))
    about = replace(describe(b"x"), size_bytes=mib * MIB)
    writer.finish(about, bank.open().bank_id, 0, SourceHash())
    bank.seal(SITE, BACKUP, VOLUME)
    idle = peak_rss_mib()
    copy = run_copy(
        CopyTransfer(SITE, BACKUP, BACKUP, mib * MIB),
        bank,
        bank_on(target, keks=[KeyEncryptionKey(os.urandom(32))]),
        meter,
    )
    told = {
        "rss_mib": peak_rss_mib(),
        "idle_mib": idle,
        "stored_bytes": copy.description.stored_bytes,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
