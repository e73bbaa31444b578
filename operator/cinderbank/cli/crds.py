"""`cinderbank crds`: print the CRDs, or write them and their reference page where they belong."""

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
    if arguments.write is not None:
        for path, text in _files(arguments.write).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return 0
    if arguments.check is not None:
        return _check(_files(arguments.check))
    sys.stdout.write("".join(render_all().values()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cinderbank crds",
        description="Print the CustomResourceDefinitions: cinderbank crds | kubectl apply -f -",
    )
    instead = parser.add_mutually_exclusive_group()
    for option, what in (
        ("--write", "write crds/ and docs/reference/custom-resources.md of that source tree"),
        ("--check", "exit with 1 when one of these files would change"),
    ):
        instead.add_argument(
            option, metavar="TREE", nargs="?", const=Path(), type=Path, help=f"{what} (default: .)"
        )
    return parser


def _files(tree: Path) -> dict[Path, str]:
    crds = {tree / "crds" / name: text for name, text in render_all().items()}
    return {**crds, tree / "docs" / "reference" / "custom-resources.md": render_reference()}


def _check(files: dict[Path, str]) -> int:
    stale = [
        path
        for path, text in files.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{path} is not what the models make: run `make crds`", file=sys.stderr)
    return 1 if stale else 0
