"""Free what no backup needs: chunks of deleted backups, and sessions that died.

Without --run it only says what would go, and why. Safe beside running backups, restores, deletes and
other collections at every site. It refuses when something that may be needed can not be read.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from cinderbank.bank.collect import CollectReport, CollectRules, collect
from cinderbank.bank.health import require_fit
from cinderbank.cli import bank_table as table
from cinderbank.cli.bank import OK, REFUSED, TRY_AGAIN
from cinderbank.cli.bank_file import open_bank

MAX_TOLD_SESSIONS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", action="store_true", help="do it; without, nothing is written")
    rules = CollectRules()
    parser.add_argument(
        "--max-delete-percent", type=table.percent, default=rules.max_delete_percent, metavar="N",
        help=f"refuse to delete a greater share of all chunks (default {rules.max_delete_percent})",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="delete whatever the share")
    hours = int(rules.dead_after.total_seconds() // 3600)
    parser.add_argument(
        "--dead-after-hours", type=table.positive, default=hours, metavar="N",
        help=f"end sessions without a sign of life for so long (default {hours})",
    )  # fmt: skip
    # For the operator, which runs this as its child: JSON lines, and an end when it ends.
    parser.add_argument("--events", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    rules = CollectRules(
        dry_run=not arguments.run,
        max_delete_percent=arguments.max_delete_percent,
        forced=arguments.force,
        dead_after=timedelta(hours=arguments.dead_after_hours),
    )
    if arguments.events:
        from cinderbank.cli.bank_gc_events import run_for_operator

        return run_for_operator(arguments.bank, rules)
    bar = table.Bar()
    with open_bank(arguments.bank, writes=arguments.run) as bank:
        bank.open()
        if arguments.run:
            bank.require_writable()
            require_fit(bank)
        report = collect(bank.store, bank.site, bank.keys, rules, lambda text: bar.tell(0, text))
    bar.clear()
    if arguments.output == "json":
        table.print_json(_document(report))
    else:
        _tell(report)
    if report.refusal is None:
        return OK
    print(f"cinderbank bank gc: {report.refusal.reason}: {report.refusal.message}", file=sys.stderr)
    return TRY_AGAIN if report.refusal.retryable else REFUSED


def _document(report: CollectReport) -> dict[str, Any]:
    return {table.camel(name): _renamed(value) for name, value in asdict(report).items()}


def _renamed(value: Any) -> Any:
    """The fields of what is inside in camel case, too; ids as everywhere in these answers."""
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if isinstance(value, dict):
        return {
            table.camel(name) if name.islower() else name: _renamed(item)
            for name, item in value.items()
        }
    return value


def _tell(report: CollectReport) -> None:
    verb = "would go" if report.dry_run else "went"
    rows = [
        (row.backup_id, row.site, row.why, str(row.objects), table.shown_bytes(row.bytes))
        for row in report.sessions[:MAX_TOLD_SESSIONS]
    ]
    table.print_table(("SESSION", "SITE", "WHY", "OBJECTS", "BYTES"), rows, right=(3, 4))
    if rows:
        print()
    print(
        f"{report.freed_objects} objects, {table.shown_bytes(report.freed_bytes)} {verb} "
        f"({report.delete_percent:.1f} % of {report.chunks_seen} chunks); "
        f"{report.live_backups} backups stay"
    )
    for count, what in (
        (report.broken_sessions, "dead sessions ended"),
        (report.broken_readers, "dead readers ended"),
        (
            report.kept_dead_sessions,
            "dead sessions kept, as the store ignores If-None-Match or refuses us the right",
        ),
        (report.removed_tombs, "old tombs removed"),
        (report.foreign_keys, "objects are not ours and were left alone"),
    ):
        if count:
            print(f"{count} {what}")
    for code, count in report.refused_deletes.items():
        print(f"{count} deletes refused by the store ({code}), e.g. {report.refused_example}")
    if report.dry_run:
        print("nothing was deleted; add --run to do it", file=sys.stderr)
    elif not report.complete:
        print("there is more to free; run it again", file=sys.stderr)
