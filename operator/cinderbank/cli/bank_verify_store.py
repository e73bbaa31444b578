"""Prove that the S3 store does what a bank relies on; writes and deletes a few small objects.

Exit code 69 when the store shows stale reads or stale listings: no bank is safe there.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from cinderbank.bank.health import validate
from cinderbank.cli import bank_table as table
from cinderbank.cli.bank import OK, UNFIT
from cinderbank.cli.bank_file import open_bank


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace) -> int:
    with open_bank(arguments.bank, writes=True) as bank:
        health = validate(bank)
        where = bank.store.where()
    abilities = health.capabilities
    if arguments.output == "json":
        table.print_json(
            {
                "bankID": health.bank_id,
                "where": where,
                "writable": health.writable,
                "capabilities": None
                if abilities is None
                else {table.camel(name): value for name, value in asdict(abilities).items()},
                "problems": list(health.problems),
            }
        )
    else:
        print(f"{where}: bank {health.bank_id}, format {health.format_version}")
        if abilities is None:
            print("the bank is read-only here: nothing was written, so nothing was proven")
        else:
            rows = [
                (name.replace("_", " "), "yes" if v else "NO")
                for name, v in asdict(abilities).items()
            ]
            table.print_table(("THE STORE", "DOES IT"), rows)
        for problem in health.problems:
            print(problem, file=sys.stderr)
    return UNFIT if abilities is not None and not abilities.fit else OK
