"""Delete backups for good. Without --yes it only says what would go.

What no other backup borrows is freed at once, or by the next `cinderbank bank gc --run`.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cinderbank.bank.bank import StoredBank
from cinderbank.bank.health import require_fit
from cinderbank.cli import bank_table as table
from cinderbank.cli.bank import OK, USAGE
from cinderbank.cli.bank_backup import add_site_argument, find_seal
from cinderbank.cli.bank_file import open_bank
from cinderbank.domain.facts import BackupId


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backup", type=table.backup_id, metavar="BACKUP_ID", nargs="+")
    add_site_argument(parser)
    parser.add_argument("--yes", action="store_true", help="do it")


def run(arguments: argparse.Namespace) -> int:
    with open_bank(arguments.bank, writes=True) as bank:
        # All are looked up first: one wrong id deletes nothing.
        found = [_find(bank, backup_id, arguments.site) for backup_id in arguments.backup]
        if arguments.yes:
            require_fit(bank)
            for row in found:
                _delete(bank, row)
    if arguments.output == "json":
        table.print_json({"deleted": arguments.yes, "backups": found})
    else:
        rows = [(r["backupID"], r["site"], r["volumeID"], _size(r)) for r in found]
        table.print_table(("BACKUP", "SITE", "VOLUME", "STORED"), rows, right=(3,))
    if not arguments.yes:
        print("nothing was deleted; add --yes to delete these for good", file=sys.stderr)
        return USAGE
    return OK


def _size(row: dict[str, Any]) -> str:
    return table.shown_bytes(row["storedBytes"])


def _find(bank: StoredBank, backup_id: BackupId, site: str | None) -> dict[str, Any]:
    sealed = find_seal(bank, backup_id, site)
    return {
        "backupID": backup_id,
        "site": sealed.key.site,
        "volumeID": sealed.key.volume_id,
        "sizeBytes": sealed.seal.size_bytes,
        "storedBytes": sealed.seal.stored_bytes,
    }


def _delete(bank: StoredBank, row: dict[str, Any]) -> None:
    while not bank.delete(row["site"], row["backupID"]):
        pass
