"""Copy backups from one bank into another, each whole and under the other bank's own keys.

Both banks are given as bank files. The file of --to must say `site:` as the site that wrote the backup,
because a copy stays that site's own. What is there already is compared and not copied again; what was
interrupted goes on where it was. The exit status is 0 when all of them are copied.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cinderbank.adapters.system import SystemClock, UlidMint
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.health import require_fit
from cinderbank.bank.manifest import Manifest
from cinderbank.cli import bank_table as table
from cinderbank.cli.bank import OK
from cinderbank.cli.bank_backup import add_site_argument, open_backup
from cinderbank.cli.bank_file import open_bank
from cinderbank.domain.facts import BackupId, TransferProgress
from cinderbank.ports.bank import BackupDescription
from cinderbank.ports.transfers import CopyTransfer
from cinderbank.transfer.copy import run_copy
from cinderbank.transfer.copy_session import refuse_wrong_pair
from cinderbank.transfer.events import ProgressMeter

HEAD = ("BACKUP", "SITE", "VOLUME", "SIZE", "STORED", "SHARED", "COPY")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backup", type=table.backup_id, metavar="BACKUP_ID", nargs="+")
    add_site_argument(parser)
    parser.add_argument(
        "--from", dest="bank", type=Path, metavar="FILE",
        help="bank file of the bank that has them: another word for --bank",
    )  # fmt: skip
    parser.add_argument(
        "--to", dest="target", type=Path, required=True, metavar="FILE",
        help="bank file of the bank that they go to",
    )  # fmt: skip
    parser.add_argument(
        "--create", action="store_true", help="make a bank where --to holds none yet"
    )
    parser.add_argument(
        "--allow-plain", action="store_true",
        help="write what is encrypted into a bank without keys, readable for everybody there",
    )  # fmt: skip
    parser.add_argument(
        "--new-id", action="store_true",
        help="give each copy a new id: for a bank in which this one was deleted or broken off",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Copied:
    about: BackupDescription
    """The original."""
    copy: Manifest


def run(arguments: argparse.Namespace) -> int:
    with (
        open_bank(arguments.bank, writes=True) as source,
        open_bank(arguments.target, writes=True, creates=arguments.create) as target,
    ):
        # All are looked up first: one wrong id copies nothing.
        found = [
            open_backup(source, each, arguments.site).manifest.description
            for each in arguments.backup
        ]
        for about in found:
            refuse_wrong_pair(about.site, source, target)
        require_fit(target)
        copied = [_copy(about, source, target, arguments) for about in found]
    _tell(copied, arguments.output)
    return OK


def _copy(
    about: BackupDescription,
    source: StoredBank,
    target: StoredBank,
    arguments: argparse.Namespace,
) -> _Copied:
    bar = table.Bar()

    def tell(progress: TransferProgress) -> None:
        share = 100 * progress.bytes_processed / progress.bytes_total
        rate = table.shown_bytes(int(progress.rate_bytes_per_second))
        bar.tell(share, f"{about.backup_id}  {rate}/s")

    copy_id = UlidMint(SystemClock()).mint_backup_id() if arguments.new_id else about.backup_id
    transfer = CopyTransfer(
        about.site, about.backup_id, BackupId(copy_id), about.size_bytes, arguments.allow_plain
    )
    try:
        copy = run_copy(transfer, source, target, ProgressMeter(about.size_bytes, tell))
    finally:
        bar.clear()
    return _Copied(about, copy)


def _tell(copied: Sequence[_Copied], output: str) -> None:
    if output == "json":
        table.print_json({"backups": [_document(each) for each in copied]})
        return
    rows = [_row(each) for each in copied]
    table.print_table(HEAD, rows, right=(3, 4, 5))


def _row(copied: _Copied) -> tuple[str, ...]:
    about, copy = copied.about, copied.copy.description
    sizes = (copy.size_bytes, copy.stored_bytes, copy.reused_bytes)
    return (
        about.backup_id,
        about.site,
        about.volume_id,
        *map(table.shown_bytes, sizes),
        copy.backup_id,
    )


def _document(copied: _Copied) -> dict[str, Any]:
    about, copy = copied.about, copied.copy.description
    return {
        "backupID": about.backup_id,
        "copyID": copy.backup_id,
        "bankID": copied.copy.bank_id,
        "site": about.site,
        "volumeID": about.volume_id,
        "sizeBytes": copy.size_bytes,
        "storedBytes": copy.stored_bytes,
        "sharedBytes": copy.reused_bytes,
        "encrypted": copied.copy.hash_key is not None,
        "contentHash": copy.content_hash,
    }
