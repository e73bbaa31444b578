"""Writers, deleters, readers and collections made of the real code, and what must hold after each step."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta

from cinderbank.bank import base, commit, layout, state
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.chunk import Envelope
from cinderbank.bank.collect import CollectReport, CollectRules, collect
from cinderbank.bank.geometry import Geometry, allocation_map
from cinderbank.bank.manifest import SessionRef, SourceHash
from cinderbank.bank.marks import BaseRef
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.scrub import Damage
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.writer import BackupWriter, encode_chunk
from cinderbank.domain.errors import DataCorrupt, SourceGone
from cinderbank.domain.facts import BackupId
from tests.crash.bank.scheduler import SteppedStore
from tests.fakes.backups import CHUNK, VOLUME, bank_on, describe
from tests.fakes.object_store import MemoryStore

SITES = ("site-a", "site-b")
CHUNKS = 5
PART_ENTRIES = 2
RULES = CollectRules(max_delete_percent=100, longest_run=timedelta(days=20))


class Lost(AssertionError):
    """The bank has lost something."""


def new_id(chance: random.Random) -> BackupId:
    """A ULID in no order of time: sites have clocks of their own."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    return BackupId("0" + "".join(chance.choice(alphabet) for _ in range(25)))


def content_of(chance: random.Random) -> bytes:
    """Chunks of few kinds, so that most backups find some that did not change; 0 is a hole."""
    return b"".join(bytes([chance.randrange(4)]) * CHUNK for _ in range(CHUNKS))


def sealed_backups(store: MemoryStore) -> list[layout.SealKey]:
    keys = (layout.parse_seal(key) for key in sorted(store.objects))
    return [
        key
        for key in keys
        if key is not None
        and b'"OK"' in store.objects[layout.seal(key.site, key.backup_id, key.volume_id)]
    ]


@dataclass
class Invariant:
    """P11 after every step: a sealed backup without a tomb has every object that it needs."""

    store: MemoryStore
    completed: set[layout.SealKey] = field(default_factory=set)
    deleted: set[layout.SealKey] = field(default_factory=set)
    _needs: dict[layout.SealKey, set[str]] = field(default_factory=dict)

    def check(self) -> None:
        objects = self.store.objects
        for key in sealed_backups(self.store):
            if layout.tomb(key.site, key.backup_id) in objects:
                continue
            if key not in self._needs:
                self._needs[key] = needs(self.store, key)
            missing = self._needs[key] - objects.keys()
            if missing:
                raise Lost(f"backup {key.backup_id} has lost {sorted(missing)}")
        for key in self.completed - self.deleted:
            tomb = layout.tomb(key.site, key.backup_id)
            if (
                layout.seal(key.site, key.backup_id, key.volume_id) not in objects
                or tomb in objects
            ):
                raise Lost(f"backup {key.backup_id} was Completed, and is none any more")


def needs(store: MemoryStore, key: layout.SealKey) -> set[str]:
    """The keys of all objects that restoring a backup reads."""
    site, volume, backup_id = key.site, key.volume_id, key.backup_id
    reader = BackupReader.open(store, site, backup_id)
    found = {layout.manifest(site, volume, backup_id)}
    for number, part in enumerate(reader.manifest.parts):
        found.add(layout.index_part(site, volume, backup_id, part.attempt, number))
    for entry in reader.entries():
        if not entry.is_hole:
            session = reader.manifest.sessions[entry.session]
            found.add(layout.chunk(session.site, session.backup_id, entry.attempt, entry.index))
    return found


def write(
    store: ObjectStore,
    site: str,
    backup_id: BackupId,
    content: bytes,
    bases: tuple[BaseRef, ...] = (),
    attempt: int = 1,
) -> None:
    """W1 to W7, with the bank's own parts; chunks that a pinned base has are borrowed (W2)."""
    bank = bank_on(store, site)
    bank_id = bank.open().bank_id
    commit.open_session(store, site, backup_id, VOLUME, lambda: bases)
    bank.beat(backup_id, site)
    if not bank.observe(site, backup_id).manifest:
        write_chunks(store, site, backup_id, content, bank_id, attempt)
    bank.seal(site, backup_id, VOLUME)


def write_chunks(
    store: ObjectStore, site: str, backup_id: BackupId, content: bytes, bank_id: str, attempt: int
) -> None:
    intent = state.read_intent(store, site, backup_id)
    if intent is None:
        raise SourceGone("the session is broken", reason="SessionBroken")
    geometry = Geometry(len(content), CHUNK, PART_ENTRIES)
    lenders = [base.open_base(store, ref, VOLUME, geometry, Damage()) for ref in intent.bases]
    lent = [iter(lender.lent()) for lender in lenders if lender is not None]
    writer = BackupWriter(store, SessionRef(site, backup_id), VOLUME, attempt, geometry)
    envelope = Envelope()
    for index in range(geometry.chunk_count):
        plain = content[index * CHUNK : (index + 1) * CHUNK]
        allocation = allocation_map(plain)
        offers = [offer for rows in lent if (offer := next(rows, None)) is not None]
        same = [o for o in offers if o.entry.hash == envelope.digest(plain)]
        if not allocation:
            writer.put_holes(index)
        elif not same or not writer.reuse(same[0], allocation):
            key = writer.chunk_key(index)
            writer.put_chunk(encode_chunk(envelope, index, plain, allocation, key))
    about = replace(describe(content, backup_id=backup_id), site=site)
    writer.finish(about, bank_id, 0, SourceHash())


def restore(store: SteppedStore, memory: MemoryStore, site: str, key: layout.SealKey) -> None:
    """A restore whose pin nobody took away finds every byte."""
    bank, reader_id = (
        bank_on(store, site),
        str(uuid.uuid5(uuid.NAMESPACE_OID, f"{site} {key.backup_id}")),
    )
    bank.pin(key.site, key.backup_id, reader_id)
    try:
        reader = BackupReader.open(store, key.site, key.backup_id)
        envelope = reader.envelope()
        for entry in reader.entries():
            if not entry.is_hole:
                reader.read_chunk(entry, envelope)
    except DataCorrupt as error:
        if layout.read_pin(site, reader_id) in memory.objects:
            raise Lost(f"a pinned restore failed: {error.message}") from error
    bank.unpin(key.backup_id, reader_id)


def collection(store: ObjectStore, site: str, rules: CollectRules = RULES) -> CollectReport:
    StoredBank(store, site).open()
    return collect(store, site, rules=rules)
