"""Whether one backup's chunks are there: its index read and proven, each chunk looked for in a listing.

Contents are not read: a restore compares them while it does, before any volume is made of them.
"""

from __future__ import annotations

from cinderbank.bank import scrub
from cinderbank.bank.chunk import HEADER_BYTES, max_object_bytes
from cinderbank.bank.chunk_listing import ChunkListing
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.scrub import AttemptRef, Damage
from cinderbank.bank.store import ObjectStore
from cinderbank.domain.errors import CinderbankError, DataCorrupt
from cinderbank.domain.facts import BackupId, ChunkLook

MAX_LOOKED = 1_000_000
"""Chunks, holes among them: a volume of 4 TiB in chunks of 4 MiB; some 1000 LISTs for each session
that it uses."""


def look_for_chunks(
    store: ObjectStore, site: str, backup_id: BackupId, keys: Keyring | None, damage: Damage
) -> ChunkLook:
    """`damage` counts as missing. Raises what BackupReader.open and the store raise."""
    reader = BackupReader.open(store, site, backup_id, keys)
    total, looked, missing = reader.geometry.chunk_count, 0, 0
    listing = ChunkListing(store)
    try:
        for entry in reader.entries():
            if looked == MAX_LOOKED:
                break
            looked += 1
            if entry.is_hole:
                continue
            session = reader.manifest.sessions[entry.session]
            ref = AttemptRef(session.site, session.backup_id, entry.attempt)
            stored = listing.size_of(ref, entry.index)
            longest = max_object_bytes(reader.geometry.chunk_length(entry.index))
            if (
                stored is None
                or not HEADER_BYTES < stored <= longest
                or damage.has_chunk(ref, entry.index)
            ):
                missing += 1
    except DataCorrupt as error:
        return ChunkLook(total, looked, missing, error.message)
    return ChunkLook(total, looked, missing)


def told_damage(store: ObjectStore) -> Damage:
    """What checks found, as far as their reports can be read: enough to choose by, not to reuse by."""
    damage = Damage()
    try:
        for _, report in scrub.read_reports(store):
            if not isinstance(report, CinderbankError):
                damage.add_all(report.damage)
    except DataCorrupt:  # more reports than we write: what was read so far counts
        pass
    return damage
