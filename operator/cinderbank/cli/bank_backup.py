"""Which backup an id of the command line means: what one site wrote, and nobody's guess."""

from __future__ import annotations

import argparse

from cinderbank.bank import one_site
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.state import Sealed
from cinderbank.cli import bank_table as table
from cinderbank.domain.errors import SourceGone
from cinderbank.domain.facts import BackupId


def add_site_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--site", type=table.site_name, help="which site wrote it; needed when several have this id"
    )


def open_backup(bank: StoredBank, backup_id: BackupId, site: str | None) -> BackupReader:
    """The backup of this id, of this site. Raises SourceGone (BackupNotFound; BackupAmbiguous when no site
    is named and several have it), DataCorrupt, InvalidSpec (BankKeyMissing, BankKeyWrong, ...)."""
    found = site or _only_site(bank, backup_id)
    return BackupReader.open(bank.store, found, backup_id, bank.keys)


def find_seal(bank: StoredBank, backup_id: BackupId, site: str | None) -> Sealed:
    """The same, for whoever needs no more than its seal. Raises SourceGone as `open_backup`, DataCorrupt."""
    found = site or _only_site(bank, backup_id)
    sealed = one_site.committed(bank.store, found, backup_id)
    if sealed is None:
        raise _not_found(bank, backup_id, f" of site {found}")
    return sealed


def _only_site(bank: StoredBank, backup_id: BackupId) -> str:
    site = one_site.holding(bank.store, backup_id, way_out="Say which one is meant with --site")
    if site is None:
        raise _not_found(bank, backup_id)
    return site


def _not_found(bank: StoredBank, backup_id: BackupId, of_site: str = "") -> SourceGone:
    return SourceGone(
        f"the bank at {bank.store.where()} holds no backup {backup_id}{of_site};"
        " `cinderbank bank ls` lists them",
        reason="BackupNotFound",
    )
