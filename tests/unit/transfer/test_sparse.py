"""A volume of 1 TiB with little in it costs like what is in it, there and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cinderbank.bank.bank import StoredBank
from cinderbank.bank.reader import BackupReader
from cinderbank.ports.transfers import RestoreTransfer
from cinderbank.transfer.backup import run_backup
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.qcow2.encode import Layout
from cinderbank.transfer.restore import run_restore
from tests.fakes.backups import BACKUP, IMAGE, SITE, VOLUME, backup_transfer, bank_on
from tests.fakes.glance_images import FakeGlance, Image
from tests.fakes.object_store import MemoryStore

MIB, TIB = 1 << 20, 1 << 40
CHUNK = 4 * MIB
CLUSTER = 64 << 10
USED = {0: 0b1, 1000: 0b1110, 65_535: 1 << 63, 65_536: 0b1, 262_143: (1 << 64) - 1}
"""Allocation maps of the chunks that are not holes; the last one is the volume's last chunk."""


def noise(index: int) -> bytes:
    """A chunk, with zeros where its map says so."""
    chunk, allocation = bytearray(CHUNK), USED[index]
    for bit in range(64):
        if allocation >> bit & 1:
            piece = np.random.default_rng(index * 64 + bit).bytes(CLUSTER)
            chunk[bit * CLUSTER : (bit + 1) * CLUSTER] = piece
    return bytes(chunk)


def image() -> bytes:
    maps = np.zeros(TIB // CHUNK, np.uint64)
    for index, allocation in USED.items():
        maps[index] = allocation
    made = Layout(TIB, CHUNK, maps)
    data = [noise(index)[a:b] for index in USED for a, b in made.runs(index)]
    return b"".join([*made.metadata(), *data])


def back_up(store: MemoryStore, glance: FakeGlance) -> tuple[StoredBank, ProgressMeter]:
    bank = bank_on(store)
    bank.open_session(SITE, BACKUP, VOLUME)
    meter = ProgressMeter(TIB, lambda progress: None)
    run_backup(replace(backup_transfer(b""), size_bytes=TIB), bank, glance.api(), meter)
    bank.seal(SITE, BACKUP, VOLUME)
    return bank, meter


@pytest.mark.timeout(180)
def test_1_tib_with_5_mib_in_it() -> None:
    store, glance, sent = MemoryStore(), FakeGlance(), image()
    glance.add(IMAGE, sent)
    glance.images[IMAGE].disk_format = "qcow2"
    bank, meter = back_up(store, glance)
    pieces = sum(allocation.bit_count() for allocation in USED.values())
    chunks = [key for verb, key in store.requests if "/chunks/" in key]
    assert len(chunks) == len(USED)
    assert len(store.requests) < 40, "4 index parts, a manifest, marks; nothing for holes"
    assert meter.now().bytes_processed == TIB
    about = BackupReader.open(store, SITE, BACKUP).manifest.description
    assert about.data_bytes == pieces * CLUSTER
    # Zeros beside data in a chunk are compressed away; noise is stored as it is.
    assert pieces * CLUSTER < about.stored_bytes < pieces * CLUSTER + 5 * CLUSTER

    store.requests.clear()
    glance.images[IMAGE] = Image(disk_format="qcow2")
    meter = ProgressMeter(TIB, lambda progress: None)
    run_restore(RestoreTransfer(SITE, BACKUP, 1, IMAGE, TIB), bank, glance.api(), meter)
    assert glance.images[IMAGE].data == sent, "the same image, byte by byte"
    assert len(sent) < pieces * CLUSTER + 8 * MIB
    assert sorted(key for verb, key in store.requests if "/chunks/" in key) == sorted(chunks)
    assert meter.now().bytes_processed == TIB
    assert meter.now().bytes_zero == TIB - len(USED) * CHUNK
