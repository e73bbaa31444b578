"""`cinderbank crds`: print the CRDs, write them into a folder, or write their reference page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cinderbank.api.crd import render_all
from cinderbank.api.reference import render_reference


def run(argv: Sequence[str]) -> int:
    """Exit code: 0, or 1 when --check finds a file that is not what the models make."""
    arguments = _parser().parse_args(argv)
    files = _files(arguments)
    if not files:
        sys.stdout.write("".join(render_all().values()))
        return 0
    if arguments.check:
        return _check(files)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cinderbank crds", description=__doc__)
    parser.add_argument("--write", metavar="FOLDER", type=Path, help="write one file per CRD there")
    parser.add_argument(
        "--reference", metavar="FILE", type=Path, help="write the reference of all fields there"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when a file would change"
    )
    return parser


def _files(arguments: argparse.Namespace) -> dict[Path, str]:
    files: dict[Path, str] = {}
    if arguments.write is not None:
        files |= {arguments.write / name: text for name, text in render_all().items()}
    if arguments.reference is not None:
        files[arguments.reference] = render_reference()
    return files


def _check(files: dict[Path, str]) -> int:
    stale = [
        path
        for path, text in files.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{path} is not what the models make: run `make crds`", file=sys.stderr)
    return 1 if stale else 0
