"""One volume over several backups: through the real transfer, on a fake store and a fake Glance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cinderbank.bank import state
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.reader import BackupReader
from cinderbank.domain.facts import BackupId, ImageFacts, ImageId, TransferProgress
from cinderbank.transfer.backup import run_backup
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.pipeline import Limits
from tests.fakes.backups import CHUNK, SITE, VOLUME, backup_transfer, bank_on
from tests.fakes.glance_images import FakeGlance
from tests.fakes.object_store import MemoryStore

BACKUPS = tuple(BackupId(f"01KAPZ5J3VQ6Z0C4M8T2R7W9{n:02d}") for n in range(40))


@dataclass
class Volume:
    """`content` may be changed between backups; each is number 0, 1, ... and read from its own image."""

    content: bytes
    store: MemoryStore = field(default_factory=MemoryStore)
    part_entries: int = 3
    journal_entries: int = 1
    contents: dict[int, bytes] = field(default_factory=dict)
    damaged_on_the_way: bool = False

    def write(self, offset: int, data: bytes) -> None:
        self.content = self.content[:offset] + data + self.content[offset + len(data) :]

    def transfer(self, number: int, attempt: int = 1, image: str | None = None) -> TransferProgress:
        """One attempt, W1 to W4, as the engine and its child do it."""
        bank, backup_id = bank_on(self.store), BACKUPS[number]
        if state.read_intent(self.store, SITE, backup_id) is None:
            bank.open_session(SITE, backup_id, VOLUME)
        glance, image_id = FakeGlance(), ImageId(image or f"image-{number}")
        glance.add(image_id, self.content)
        if self.damaged_on_the_way:
            glance.images[image_id].data = b"?" + self.content[1:]
        asked = replace(
            backup_transfer(self.content, attempt),
            backup_id=backup_id,
            image=ImageFacts(image_id, "image", "active"),
        )
        meter = ProgressMeter(len(self.content), lambda progress: None)
        geometry = Geometry(len(self.content), CHUNK, self.part_entries)
        run_backup(
            asked,
            bank,
            glance.api(),
            meter,
            geometry,
            journal_entries=self.journal_entries,
            limits=Limits(1, 1),
        )
        return meter.now()

    def back_up(self, number: int, attempt: int = 1) -> TransferProgress:
        """W1 to W7."""
        progress = self.transfer(number, attempt)
        bank_on(self.store).seal(SITE, BACKUPS[number], VOLUME)
        self.contents[number] = self.content
        return progress

    def read(self, number: int) -> bytes:
        """Every byte of a backup, as a restore reads it."""
        return read_backup(self.store, BACKUPS[number])

    def chunk_puts(self) -> list[str]:
        return [key for verb, key in self.store.requests if verb == "PUT" and "/chunks/" in key]


def read_backup(store: MemoryStore, backup_id: BackupId) -> bytes:
    reader = BackupReader.open(store, SITE, backup_id)
    envelope, blocks = reader.envelope(), []
    for entry in reader.entries():
        length = reader.geometry.chunk_length(entry.index)
        blocks.append(bytes(length) if entry.is_hole else bytes(reader.read_chunk(entry, envelope)))
    return b"".join(blocks)
