"""List the backups of all sites, newest first. STATE is Degraded when a check found damage."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Any

from cinderbank.bank import catalog, scrub
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.catalog import CatalogEntry, Filter
from cinderbank.bank.scrub import Damage
from cinderbank.cli import bank_table as table
from cinderbank.cli.bank_file import open_bank
from cinderbank.domain.errors import CinderbankError

DEFAULT_LIMIT = 100
HEAD = ("BACKUP", "BEGUN", "SITE", "VOLUME", "SIZE", "STORED", "STATE")


def add_filter(parser: argparse.ArgumentParser) -> None:
    """The options that choose among backups; read them with `filter_of`."""
    parser.add_argument("--site", type=table.site_name, help="only those that this site wrote")
    parser.add_argument(
        "--volume", type=table.volume_id, metavar="ID", help="only those of this Cinder volume"
    )
    for name, what in (("--since", "at or after"), ("--until", "before")):
        parser.add_argument(
            name,
            type=table.moment,
            metavar="TIME",
            help=f"only those begun {what} this time: 2026-11-22, 2026-11-22T20:00Z, or an age: 36h, 7d",
        )


def filter_of(arguments: argparse.Namespace) -> Filter:
    return Filter(arguments.site, arguments.volume, arguments.since, arguments.until)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_filter(parser)
    many = parser.add_mutually_exclusive_group()
    many.add_argument(
        "--limit",
        type=table.positive,
        default=DEFAULT_LIMIT,
        metavar="N",
        help=f"at most so many of the newest (default {DEFAULT_LIMIT})",
    )
    many.add_argument(
        "--all", action="store_true", help="all, oldest first, at constant memory (S3's own order)"
    )


def run(arguments: argparse.Namespace) -> int:
    with open_bank(arguments.bank) as bank:
        damage = told_damage(bank)
        found, more = _found(bank, arguments)
        if arguments.output == "json":
            rows = (_document(entry, damage) for entry in found)
            table.print_json_rows("backups", rows, {"more": more})
            return 0
        rows_told = table.print_table(HEAD, (_row(e, damage) for e in found), right=(4, 5))
        if rows_told == 0:
            print("no backups", file=sys.stderr)
        if more:
            print(f"the newest {arguments.limit} are shown; --limit N or --all", file=sys.stderr)
    return 0


def _found(bank: StoredBank, arguments: argparse.Namespace) -> tuple[Iterable[CatalogEntry], bool]:
    wanted = filter_of(arguments)
    if arguments.all:
        return catalog.oldest_first(bank.store, wanted), False
    return catalog.newest_first(bank.store, arguments.limit, wanted)


def told_damage(bank: StoredBank) -> Damage:
    """What checks have found; a report that can not be read is told on stderr and passed over."""
    damage = Damage()
    for key, report in scrub.read_reports(bank.store):
        if isinstance(report, CinderbankError):
            print(f"report {key} can not be read: {report.message}", file=sys.stderr)
        else:
            damage.add_all(report.damage)
    return damage


def state_of(entry: CatalogEntry, damage: Damage) -> str:
    if entry.problem is not None:
        return "Unreadable"
    return "Degraded" if damage.has_backup(entry.site, entry.backup_id) else "OK"


def _row(entry: CatalogEntry, damage: Damage) -> tuple[str, ...]:
    return (
        entry.backup_id,
        table.shown_time(entry.begun),
        entry.site,
        entry.volume_id,
        "?" if entry.size_bytes is None else table.shown_bytes(entry.size_bytes),
        "?" if entry.stored_bytes is None else table.shown_bytes(entry.stored_bytes),
        state_of(entry, damage),
    )


def _document(entry: CatalogEntry, damage: Damage) -> dict[str, Any]:
    return {
        "backupID": entry.backup_id,
        "begun": table.json_time(entry.begun),
        "site": entry.site,
        "volumeID": entry.volume_id,
        "sizeBytes": entry.size_bytes,
        "storedBytes": entry.stored_bytes,
        "state": state_of(entry, damage),
        "problem": entry.problem,
    }
