"""The command line: one door, and only what a command needs is imported.

A transfer process must stay small: its memory is counted per transfer, and neither kopf nor the
Kubernetes client has anything to do in it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "operator": "run the operator: watch VolumeBackups, VolumeRestores and BackupBanks and work on them",
    "transfer": "move the bytes of one backup or restore (started by the operator)",
    "bank": "look into a bank and care for it: ls, show, check, export, delete, gc, key, stats",
    "crds": "print or write the CustomResourceDefinitions",
    "version": "print the version",
}

USAGE_ERROR = 64
"""EX_USAGE of sysexits.h: the command line or the settings are wrong; trying again does not help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else ""
    if command == "version":
        return _print_version()
    if command in COMMANDS:
        module = import_module(f"cinderbank.cli.{command}")
        code: int = module.run(arguments[1:])
        return code
    if command in ("-h", "--help"):
        _parser().print_help()
        return 0
    _parser().print_help(sys.stderr)
    if command:
        print(f"\ncinderbank: there is no command {command!r}", file=sys.stderr)
    return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return argparse.ArgumentParser(
        prog="cinderbank",
        usage="cinderbank COMMAND [OPTIONS]",
        description="Back up OpenStack Cinder volumes through Glance into an S3 bank, and restore\n"
        "them at any site that can read it.\n\ncommands:\n" + listing,
        epilog="`cinderbank COMMAND --help` tells the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _print_version() -> int:
    from cinderbank.config import installed_version

    print(f"cinderbank {installed_version()}")
    return 0
