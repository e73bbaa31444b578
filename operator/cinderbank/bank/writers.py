"""Who writes as a site: each writer leaves a mark of its own at every look, so that two that were given
one name by mistake see each other.

    sites/<site>/writers/<writer>      put again and again, always with the same bytes

Two that write as one site lose nothing: ids of sessions are unique, and no step of the protocol asks who
wrote (docs/bank-safety.md, "Two sites of one name"). But each may then delete what the other has, and
figures and selectors of the site are of both. So it is told, and nothing stops.

That the other one *was* there is no proof: a cluster that was built anew follows its predecessor under the
same name, and so it should. The proof is that both write in turn: the other's mark is younger than our own
last one. Both are by the store's clock, so no clock of a site is asked and nothing is remembered here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from cinderbank.bank import layout
from cinderbank.bank.manifest import to_json
from cinderbank.bank.removal import delete_or_raise
from cinderbank.bank.store import ObjectStore
from cinderbank.bank.store_clock import touch

WRITER_NAME = "cinderbank-writer"
MOST_WRITERS = 1000
"""A page of a listing: one that is longer is not ours, and marks go when they are old."""
SILENT_AFTER = timedelta(hours=24)
"""Who left no mark for so long writes no more."""
KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class OtherWriters:
    """Who else writes as our site: ids of clusters, or of BackupBanks (see `app.writers`)."""

    beside_us: tuple[str, ...] = ()
    """Left a mark since we last left ours: there are two."""
    lately: tuple[str, ...] = ()
    """Left one within a day: a successor of ours, a predecessor, or one of two."""


def sign(store: ObjectStore, site: str, writer: str) -> OtherWriters:
    """Leave our mark, and see who else does. Three or four requests; idempotent.

    Raises Unavailable when the store does not say when an object was put, and what the store raises.
    """
    ours = layout.writer(site, writer)
    found: dict[str, datetime] = {}
    for row in islice(store.list_keys(layout.writers_prefix(site)), MOST_WRITERS):
        token = row.key.removeprefix(layout.writers_prefix(site))
        if layout.is_reader(token) and row.last_modified is not None:
            found[token] = row.last_modified
    before = found.pop(writer, None)
    now = touch(store, ours, to_json({}, WRITER_NAME))
    delete_or_raise(store, [layout.writer(site, w) for w, at in found.items() if now - at > KEPT])
    return OtherWriters(
        beside_us=tuple(sorted(w for w, at in found.items() if before is not None and at > before)),
        lately=tuple(sorted(w for w, at in found.items() if now - at < SILENT_AFTER)),
    )
