"""Collecting with S3 keys of one site only, as docs/security.md asks for: the other's part stays its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from cinderbank.bank import layout
from cinderbank.bank.collect import CollectReport, CollectRules, collect
from cinderbank.bank.marks import Tomb
from cinderbank.bank.store import Body, DeleteFailure
from cinderbank.domain.errors import Forbidden
from cinderbank.domain.facts import BackupId
from tests.fakes.backups import (
    BACKUP,
    OTHER_BACKUP,
    VOLUME,
    back_up,
    bank_on,
    sample,
    write_chunks,
)
from tests.fakes.object_store import MemoryStore

CONTENT = sample("trt")
OPEN, LOST = (BackupId(f"01KAPZ5J3VQ6Z0C4M8T2R7W9{end}") for end in ("XG", "XH"))
RULES = CollectRules(max_delete_percent=100)


class SiteStore(MemoryStore):
    """The objects of `whole`, with keys that write and delete below one site only."""

    def __init__(self, whole: MemoryStore, site: str) -> None:
        super().__init__()
        self.objects, self.modified, self.now = whole.objects, whole.modified, whole.now
        self._own = layout.site_prefix(site)

    def put(self, key: str, body: Body, if_absent: bool = False) -> bool:
        if not key.startswith(self._own):
            raise Forbidden(f"PUT {key}: access denied", reason="BankAccessDenied")
        return super().put(key, body, if_absent)

    def delete_many(self, keys: Sequence[str]) -> list[DeleteFailure]:
        refused = [DeleteFailure(key, "AccessDenied") for key in keys if self._own not in key]
        return refused + super().delete_many([key for key in keys if self._own in key])


def bank_of_two() -> MemoryStore:
    """Of each site: a backup that is there, one with a tomb, and two sessions that died a month ago."""
    store = MemoryStore()
    for site in ("site-a", "site-b"):
        for backup in (BACKUP, OTHER_BACKUP):
            back_up(store, CONTENT, backup_id=backup, site=site)
        bank = bank_on(store, site)
        for dead in (OPEN, LOST):
            bank.open_session(site, dead, VOLUME, incremental=False)
            write_chunks(store, CONTENT, bank_id=bank.open().bank_id, backup_id=dead, site=site)
        # Its manifest is there, and nobody will ever seal it.
        del store.objects[layout.intent(site, LOST)]
        store.put(layout.tomb(site, OTHER_BACKUP), Tomb(VOLUME).dump())
    # Its chunks are gone already: what is left is to bury it.
    for key in [key for key in store.objects if f"site-b/chunks/{OTHER_BACKUP}" in key]:
        del store.objects[key]
    store.now += timedelta(days=31)
    return store


def of(store: MemoryStore, site: str) -> dict[str, bytes]:
    return {k: v for k, v in store.objects.items() if k.startswith(layout.site_prefix(site))}


def collected(store: MemoryStore, site: str) -> CollectReport:
    """The first report of two: what one collection voids (G6b), the next one frees."""
    reports = [collect(SiteStore(store, site), site, rules=RULES) for _ in range(2)]
    assert [report.refusal for report in reports] == [None, None], "the rest goes on"
    return reports[0]


def left_besides_its_backup(store: MemoryStore, site: str) -> set[str]:
    keys = (key for key in of(store, site) if BACKUP not in key)
    return {key for key in keys if key.split("/")[2] not in ("tombs", "seals")}


def test_each_site_frees_its_own_and_leaves_the_other_alone() -> None:
    store = bank_of_two()
    others = of(store, "site-b")
    report = collected(store, "site-a")
    assert left_besides_its_backup(store, "site-a") == set()
    assert of(store, "site-b") == others
    assert report.kept_dead_sessions == 1
    assert report.refused_deletes
    assert "site-b" in report.refused_example

    others = of(store, "site-a")
    collected(store, "site-b")
    assert left_besides_its_backup(store, "site-b") == set()
    assert of(store, "site-a") == others


def test_one_that_may_write_everywhere_frees_all() -> None:
    store = bank_of_two()
    report = collect(store, "site-a", rules=RULES)
    assert (report.refusal, report.kept_dead_sessions, report.refused_deletes) == (None, 0, {})
    collect(store, "site-a", rules=RULES)
    assert left_besides_its_backup(store, "site-a") == set()
    assert left_besides_its_backup(store, "site-b") == set()
