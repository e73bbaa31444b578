"""Write the bytes of a backup to a file or to stdout ("-"), every byte checked.

A new file becomes sparse where the volume was zero; it has its name only once all of it is there and
every chunk, and the hash over all of them, is the backup's. With --salvage, what is lost is written as
zeros and told, and the exit code is 1. A block device, or a file that is there, is written over with
--overwrite only.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cinderbank.bank.bank import StoredBank
from cinderbank.cli import bank_table as table
from cinderbank.cli.bank import DAMAGED, OK
from cinderbank.cli.bank_backup import add_site_argument, open_backup
from cinderbank.cli.bank_file import open_bank
from cinderbank.cli.export_sink import open_sink
from cinderbank.cli.export_stream import Export
from cinderbank.domain.errors import Forbidden
from cinderbank.ports.bank import BackupDescription

MAX_TOLD_RANGES = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backup", type=table.backup_id, metavar="BACKUP_ID")
    add_site_argument(parser)
    parser.add_argument("file", metavar="FILE", help="where to; - is stdout")
    parser.add_argument(
        "--salvage", action="store_true", help="write zeros in place of what is lost, and go on"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="write over a file or a block device that is there"
    )
    parser.add_argument(
        "--workers", type=table.workers, default=table.default_workers(), metavar="1..64",
        help="chunks that are read at once",
    )  # fmt: skip


@dataclass(slots=True)
class _Result:
    about: BackupDescription
    export: Export

    @property
    def whole(self) -> bool:
        return not self.export.lost


def run(arguments: argparse.Namespace) -> int:
    # With - stdout is the volume: what is told goes elsewhere.
    told = sys.stderr if arguments.file == "-" else sys.stdout
    with open_bank(arguments.bank, writes=True) as bank:
        backup = open_backup(bank, arguments.backup, arguments.site)
        about, reader_uid = backup.manifest.description, str(uuid.uuid4())
        pinned, bar = _pin(bank, about, reader_uid), table.Bar()
        try:
            with open_sink(arguments.file, about.size_bytes, arguments.overwrite) as sink:
                export = Export(backup, sink, arguments.workers, arguments.salvage)
                export.run(lambda done: bar.tell(*_progress(done, about.size_bytes)))
                bar.clear()
                sink.keep()
                result = _Result(about, export)
        finally:
            bar.clear()
            if pinned:
                bank.unpin(about.backup_id, reader_uid)
    _tell(result, arguments, lambda text: print(text, file=told))
    return OK if result.whole else DAMAGED


def _pin(bank: StoredBank, about: BackupDescription, reader_uid: str) -> bool:
    """Keys that may only read must not stand between a person and the last copy."""
    try:
        bank.pin(about.site, about.backup_id, reader_uid)
    except Forbidden as error:
        print(f"without a read pin, so do not collect meanwhile: {error.message}", file=sys.stderr)
        return False
    return True


def _progress(done: int, size: int) -> tuple[float, str]:
    return 100.0 * done / size, f"{table.shown_bytes(done)} of {table.shown_bytes(size)}"


def _tell(result: _Result, arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    lost = list(result.export.lost_bytes())
    total = sum(last - first + 1 for first, last in lost)
    if arguments.output == "json":
        document: dict[str, Any] = {
            "backupID": arguments.backup,
            "file": arguments.file,
            "sizeBytes": result.about.size_bytes,
            "contentHash": result.about.content_hash,
            "whole": result.whole,
            "isCiphertext": result.about.encryption is not None,
            "lostBytes": total,
            "lost": [{"first": first, "last": last} for first, last in lost[:MAX_TOLD_RANGES]],
        }
        say(table.json_text(document))
        return
    size = table.shown_bytes(result.about.size_bytes)
    if result.about.encryption is not None:
        say(
            f"{arguments.file} is CIPHERTEXT: a LUKS container, as Cinder had encrypted the volume; its key is"
            " in the bank, and a restore into an encrypted volume type puts it back"
        )
    if result.whole:
        say(f"{arguments.file}: {size}, content hash {result.about.content_hash} as in the backup")
        return
    say(
        f"{arguments.file}: {size}, of which {table.shown_bytes(total)} are LOST and were written as zeros"
    )
    for first, last in lost[:MAX_TOLD_RANGES]:
        say(f"  lost: bytes {first}-{last} of the volume")
    for problem in result.export.problems:
        print(problem, file=sys.stderr)
