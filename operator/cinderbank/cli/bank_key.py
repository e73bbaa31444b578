"""List, add, rotate and remove the keys that open an encrypted bank.

  generate FILE         draw a key and write it to a new file (0600); needs no bank
  ls                    data keys, the keys that open each, and whether ours do
  add FILE              let the key in FILE open the bank, too
  rotate OLD-ID FILE    let the key in FILE open the bank instead of key OLD-ID
  remove ID             take a key away; refused unless another key of ours opens all

Our keys are those of `keyFiles` in the bank file. Keys are read from files only, never given on the
command line. The work is in the number of data keys (one for 90 days); no chunk is written again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cinderbank.bank import key_layout, keys
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.keyring import Keyring
from cinderbank.bank.wrapped_keys import list_keys
from cinderbank.cli.bank_file import open_bank
from cinderbank.cli.bank_table import json_time, print_json, print_table, shown_time
from cinderbank.domain.errors import InvalidSpec

OK = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("ls", help="list the data keys and the keys that open them")
    generate = actions.add_parser("generate", help="draw a key and write it to a new file")
    generate.add_argument("file", type=Path, help="the file to make; refused when it is there")
    add = actions.add_parser("add", help="let one more key open the bank")
    add.add_argument("file", type=Path, help="the file of the key to add")
    rotate = actions.add_parser("rotate", help="let a new key open the bank instead of an old one")
    rotate.add_argument("old_id", metavar="OLD-ID", type=_kek_id, help="id of the key to replace")
    rotate.add_argument("file", type=Path, help="the file of the new key")
    remove = actions.add_parser("remove", help="take a key away")
    remove.add_argument("id", metavar="ID", type=_kek_id, help="id of the key, as ls tells it")
    generate.set_defaults(needs_no_bank=True)
    for action in actions.choices.values():
        # Behind the action, too; SUPPRESS, or the default would undo what stood before it.
        action.add_argument("--bank", type=Path, metavar="FILE", default=argparse.SUPPRESS)
        action.add_argument(
            "-o", dest="output", choices=("table", "json"), default=argparse.SUPPRESS
        )


def _kek_id(text: str) -> str:
    if not key_layout.is_kek_id(text):
        raise argparse.ArgumentTypeError("not the id of a key: 16 hex digits")
    return text


def run(arguments: argparse.Namespace) -> int:
    """Do one action; its exit code. Raises what cinderbank.bank.keys raises."""
    if arguments.action == "generate":
        made = keys.generate(arguments.file)
        return _told(
            arguments, {"key": made.id, "file": str(arguments.file)}, "made key {key} in {file}"
        )
    if arguments.action == "ls":
        with open_bank(arguments.bank) as bank:
            return _list(bank, arguments)
    with open_bank(arguments.bank, writes=True) as bank:
        return _change(bank, arguments)


def _list(bank: StoredBank, arguments: argparse.Namespace) -> int:
    rows = keys.rows(bank.store, bank.keys)
    ours = sorted(kek.id for kek in bank.keys.keks) if bank.keys else []
    retired = sorted(list_keys(bank.store).retired)
    if arguments.output == "json":
        print_json(
            {
                "dataKeys": [
                    {
                        "id": row.data_key_id,
                        "madeAt": json_time(row.made_at),
                        "keys": list(row.kek_ids),
                        "current": row.current,
                        "opened": row.opened,
                    }
                    for row in rows
                ],
                "ours": ours,
                "retired": retired,
            }
        )
        return OK
    print_table(
        ("DATA KEY", "MADE", "CURRENT", "OPENED BY OURS", "KEYS"),
        (
            (
                row.data_key_id,
                shown_time(row.made_at),
                "yes" if row.current else "",
                {True: "yes", False: "NO", None: "-"}[row.opened],
                " ".join(row.kek_ids),
            )
            for row in rows
        ),
    )
    if not rows:
        print("no backup of this bank is encrypted yet", file=sys.stderr)
    print(
        f"our keys: {' '.join(ours) or 'none'}; removed: {' '.join(retired) or 'none'}",
        file=sys.stderr,
    )
    return OK


def _change(bank: StoredBank, arguments: argparse.Namespace) -> int:
    if arguments.action == "add":
        new = keys.read_key_file(arguments.file)
        count = keys.add(_ring(bank, new), new)
        return _told(
            arguments,
            {"key": new.id, "dataKeys": count},
            "key {key} opens all {dataKeys} data keys",
        )
    if arguments.action == "rotate":
        new = keys.read_key_file(arguments.file)
        count = keys.rotate(_ring(bank, new), arguments.old_id, new)
        told = {"key": new.id, "removed": arguments.old_id, "dataKeys": count}
        return _told(
            arguments, told, "key {key} opens all {dataKeys} data keys, key {removed} none any more"
        )
    if bank.keys is None:
        raise InvalidSpec(
            "no keyFiles in the bank file: give those of the keys that stay, so that it is proven that"
            " they open the bank",
            reason="BankKeyMissing",
        )
    count = keys.remove(bank.keys, arguments.id)
    return _told(
        arguments,
        {"removed": arguments.id, "dataKeys": count},
        "key {removed} opens nothing any more; it opened {dataKeys} data keys",
    )


def _ring(bank: StoredBank, new: KeyEncryptionKey) -> Keyring:
    """What we hold already; a bank without any encryption begins with the new key alone."""
    return bank.keys or Keyring(bank.store, bank.open().bank_id, [new])


def _told(arguments: argparse.Namespace, fields: dict[str, object], sentence: str) -> int:
    if arguments.output == "json":
        print_json(fields)
    else:
        print(sentence.format(**fields))
    return OK
