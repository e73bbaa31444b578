"""`cinderbank bank VERB`: look into a bank and care for it, with no Kubernetes and no OpenStack.

Exit codes: 0 done; 1 damaged backups were found; 64 the command line or the bank file is wrong; 65 the
backup is not there, is damaged, or is of a newer cinderbank; 66 the bank refuses (credentials, rights,
keys, ReadOnly, another bank than expected); 69 the store can not be relied upon; 70 a bug of ours;
74 a local file can not be read or written; 75 worth another try; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from cinderbank.domain.errors import (
    AuthRefused,
    BrokenInvariant,
    CinderbankError,
    Forbidden,
    InvalidSpec,
    Retryable,
)

OK, DAMAGED, USAGE, DATA, REFUSED, UNFIT = 0, 1, 64, 65, 66, 69
BUG, LOCAL_FILE, TRY_AGAIN, INTERRUPTED = 70, 74, 75, 130

FILE_VARIABLE = "CINDERBANK_BANK_FILE"

VERBS = {
    "ls": "list the backups, newest first",
    "show": "tell everything of one backup",
    "stats": "count backups and bytes, by site",
    "check": "look whether backups are whole",
    "export": "write the bytes of a backup to a file or to stdout",
    "copy": "copy backups into another bank",
    "delete": "delete backups",
    "gc": "free what no backup needs any more (a dry run unless --run)",
    "key": "list, add, rotate and remove the keys that open an encrypted bank",
    "verify-store": "prove that the S3 store does what a bank relies on",
}


class Parser(argparse.ArgumentParser):
    """argparse, but with EX_USAGE: 2 would be no code of ours."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def run(argv: Sequence[str]) -> int:
    """Run one verb; its exit code. Answers go to stdout, everything else to stderr."""
    arguments = list(argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(), file=sys.stdout if arguments else sys.stderr)
        return OK if arguments else USAGE
    verb = arguments[0]
    if verb not in VERBS:
        print(f"{_usage()}\n\ncinderbank bank: there is no {verb!r}", file=sys.stderr)
        return USAGE
    try:
        return _run_verb(verb, arguments[1:])
    except CinderbankError as error:
        print(f"cinderbank bank {verb}: {error.reason}: {error.message}", file=sys.stderr)
        return exit_code(error)
    except KeyboardInterrupt:
        print(f"cinderbank bank {verb}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # `| head` has seen enough. Nothing of ours may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return LOCAL_FILE if verb == "export" else OK
    except OSError as error:
        print(
            f"cinderbank bank {verb}: {error.filename or 'output'}: {error.strerror}",
            file=sys.stderr,
        )
        return LOCAL_FILE


def _run_verb(verb: str, arguments: Sequence[str]) -> int:
    module = import_module(f"cinderbank.cli.bank_{verb.replace('-', '_')}")
    parser = Parser(
        prog=f"cinderbank bank {verb}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bank",
        type=Path,
        metavar="FILE",
        default=os.environ.get(FILE_VARIABLE),
        help=f"the bank file (YAML; docs/bank-cli.md); by default the one that {FILE_VARIABLE} names",
    )
    parser.add_argument(
        "-o", dest="output", choices=("table", "json"), default="table", help="how to answer"
    )
    module.add_arguments(parser)
    parsed = parser.parse_args(arguments)
    if parsed.bank is None and not getattr(parsed, "needs_no_bank", False):
        parser.error(f"which bank? Give --bank FILE, or set {FILE_VARIABLE}")
    code: int = module.run(parsed)
    return code


def _usage() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {text}" for name, text in VERBS.items())
    return (
        "usage: cinderbank bank VERB --bank FILE [-o table|json] [OPTIONS]\n\n"
        f"{verbs}\n\n`cinderbank bank VERB --help` tells the options; docs/bank-cli.md has examples."
    )


def exit_code(error: CinderbankError) -> int:
    """See the module's docstring."""
    if isinstance(error, BrokenInvariant):
        return BUG
    if error.reason == "BankNotConsistent":
        return UNFIT
    if isinstance(error, AuthRefused | Forbidden) or error.reason == "BucketNotFound":
        return REFUSED
    if isinstance(error, InvalidSpec):
        return REFUSED if error.reason.startswith("Bank") else USAGE
    if isinstance(error, Retryable):
        return TRY_AGAIN
    return DATA
