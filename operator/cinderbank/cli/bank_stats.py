"""Count backups and bytes, by site. With --objects every object in the bank is counted, too."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cinderbank.bank import catalog, layout
from cinderbank.bank.bank import StoredBank
from cinderbank.cli import bank_table as table
from cinderbank.cli.bank_file import open_bank
from cinderbank.cli.bank_ls import add_filter, filter_of, state_of, told_damage

KINDS = ("chunks", "backups", "journal", "seals", "tombs", "intents", "beats", "probes", "writers")


@dataclass(slots=True)
class SiteCount:
    backups: int = 0
    degraded: int = 0
    unreadable: int = 0
    size_bytes: int = 0
    stored_bytes: int = 0
    first: datetime | None = None
    last: datetime | None = None
    objects: Counter[str] = field(default_factory=Counter)
    object_bytes: Counter[str] = field(default_factory=Counter)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_filter(parser)
    parser.add_argument(
        "--objects",
        action="store_true",
        help="list the whole bank and count its objects by kind (one LIST per 1000 objects)",
    )


def run(arguments: argparse.Namespace) -> int:
    with open_bank(arguments.bank) as bank:
        sites = _count(bank, arguments)
        if arguments.objects:
            _count_objects(bank, arguments.site, sites)
        bank_id = bank.open().bank_id
    if arguments.output == "json":
        rows = {site: _document(count, arguments.objects) for site, count in sorted(sites.items())}
        table.print_json({"bankID": bank_id, "sites": rows})
        return 0
    head = ("SITE", "BACKUPS", "DEGRADED", "SIZE", "STORED", "FIRST", "LAST")
    table.print_table(
        head, [_row(site, count) for site, count in sorted(sites.items())], right=(1, 2, 3, 4)
    )
    if arguments.objects:
        print()
        told = [
            (site, kind, str(count.objects[kind]), table.shown_bytes(count.object_bytes[kind]))
            for site, count in sorted(sites.items())
            for kind in sorted(count.objects)
        ]
        table.print_table(("SITE", "KIND", "OBJECTS", "BYTES"), told, right=(2, 3))
    return 0


def _count(bank: StoredBank, arguments: argparse.Namespace) -> dict[str, SiteCount]:
    damage, sites = told_damage(bank), dict[str, SiteCount]()
    for entry in catalog.oldest_first(bank.store, filter_of(arguments)):
        count = sites.setdefault(entry.site, SiteCount())
        count.backups += 1
        state = state_of(entry, damage)
        count.degraded += state == "Degraded"
        count.unreadable += state == "Unreadable"
        count.size_bytes += entry.size_bytes or 0
        count.stored_bytes += entry.stored_bytes or 0
        count.first = count.first or entry.begun
        count.last = entry.begun
    return sites


def _count_objects(bank: StoredBank, site: str | None, sites: dict[str, SiteCount]) -> None:
    prefix = layout.SITES if site is None else layout.site_prefix(site)
    for row in bank.store.list_keys(prefix):
        fields = row.key.split("/", 3)
        whose = fields[1] if len(fields) == 4 and layout.is_site(fields[1]) else "(foreign)"
        known = len(fields) == 4 and fields[2] in KINDS
        kind = fields[2] if known else "(foreign)"
        count = sites.setdefault(whose, SiteCount())
        count.objects[kind] += 1
        count.object_bytes[kind] += row.size_bytes


def _row(site: str, count: SiteCount) -> tuple[str, ...]:
    return (
        site,
        str(count.backups),
        str(count.degraded + count.unreadable),
        table.shown_bytes(count.size_bytes),
        table.shown_bytes(count.stored_bytes),
        "" if count.first is None else table.shown_time(count.first),
        "" if count.last is None else table.shown_time(count.last),
    )


def _document(count: SiteCount, with_objects: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "backups": count.backups,
        "degraded": count.degraded,
        "unreadable": count.unreadable,
        "sizeBytes": count.size_bytes,
        "storedBytes": count.stored_bytes,
        "first": None if count.first is None else table.json_time(count.first),
        "last": None if count.last is None else table.json_time(count.last),
    }
    if with_objects:
        document["objects"] = {
            kind: {"count": count.objects[kind], "bytes": count.object_bytes[kind]}
            for kind in sorted(count.objects)
        }
    return document
