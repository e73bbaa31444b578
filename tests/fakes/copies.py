"""Two banks on stores in memory, and a copy from one into the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cinderbank.bank.bank import StoredBank
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.manifest import Manifest
from cinderbank.bank.reader import BackupReader
from cinderbank.domain.facts import BackupId, TransferProgress
from cinderbank.ports.transfers import CopyTransfer
from cinderbank.transfer.copy import run_copy
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.pipeline import Limits
from tests.fakes.backups import BACKUP, SITE, bank_on
from tests.fakes.object_store import MemoryStore


@dataclass
class Pair:
    """Bank A, which has backups, and bank B, which gets copies."""

    source: MemoryStore = field(default_factory=MemoryStore)
    target: MemoryStore = field(default_factory=MemoryStore)
    source_keks: Sequence[KeyEncryptionKey] = ()
    target_keks: Sequence[KeyEncryptionKey] = ()
    progress: TransferProgress | None = None

    def bank_a(self, **options: Any) -> StoredBank:
        return bank_on(self.source, **{"keks": self.source_keks, **options})

    def bank_b(self, **options: Any) -> StoredBank:
        return bank_on(self.target, **{"keks": self.target_keks, **options})

    def copy(
        self,
        size_bytes: int,
        backup_id: BackupId = BACKUP,
        *,
        copy_id: BackupId | None = None,
        allow_plain: bool = False,
        source: StoredBank | None = None,
        target: StoredBank | None = None,
        limits: Limits | None = None,
    ) -> Manifest:
        """One attempt; a journal object for each chunk."""
        meter = ProgressMeter(size_bytes, lambda progress: None)
        done = run_copy(
            CopyTransfer(SITE, backup_id, copy_id or backup_id, size_bytes, allow_plain),
            source or self.bank_a(),
            target or self.bank_b(),
            meter,
            limits=limits or Limits(1, 1),
            journal_entries=1,
        )
        self.progress = meter.now()
        return done

    def read(self, backup_id: BackupId = BACKUP) -> bytes:
        """Every byte of the copy, as a restore reads it, from bank B alone."""
        return read_all(self.bank_b(), backup_id)


def read_all(bank: StoredBank, backup_id: BackupId) -> bytes:
    reader = BackupReader.open(bank.store, SITE, backup_id, bank.keys)
    envelope, blocks = reader.envelope(), []
    for entry in reader.entries():
        length = reader.geometry.chunk_length(entry.index)
        blocks.append(bytes(length) if entry.is_hole else bytes(reader.read_chunk(entry, envelope)))
    return b"".join(blocks)


def chunk_gets(store: MemoryStore) -> list[str]:
    return [key for verb, key in store.requests if verb == "GET" and "/chunks/" in key]


def chunk_puts(store: MemoryStore) -> list[str]:
    return [key for verb, key in store.requests if verb == "PUT" and "/chunks/" in key]
