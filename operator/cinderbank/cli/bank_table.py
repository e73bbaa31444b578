"""How a shell is answered: aligned tables for people, one stable JSON document for programs."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

from cinderbank.api.v1alpha1.progress import shown_bytes
from cinderbank.bank import layout
from cinderbank.domain.facts import BackupId, VolumeId

JSON_VERSION = 1
"""`version` of every JSON answer; fields are added within one version, never changed."""

ROWS_AT_ONCE = 1000
BAR_CHARACTERS = 30
BAR_SECONDS = 0.2

__all__ = ["shown_bytes"]


def clean(text: str) -> str:
    """Text of a bank for a terminal: no control characters, so that no name can move the cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


def shown_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def json_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()
) -> int:
    """Print rows as they come, aligned in blocks of 1000; how many there were."""
    rights, count, widths = set(right), 0, [len(name) for name in head]
    for block in _blocks(rows):
        cells = [[clean(cell) for cell in row] for row in block]
        widths = [max([w, *(len(r[i]) for r in cells)]) for i, w in enumerate(widths)]
        if count == 0:
            _print_row(head, widths, rights)
        for row in cells:
            _print_row(row, widths, rights)
        count += len(cells)
    return count


def _blocks(rows: Iterable[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    block: list[Sequence[str]] = []
    for row in rows:
        block.append(row)
        if len(block) == ROWS_AT_ONCE:
            yield block
            block = []
    if block:
        yield block


def _print_row(cells: Sequence[str], widths: Sequence[int], rights: set[int]) -> None:
    padded = (
        cell.rjust(width) if number in rights else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    print("  ".join(padded).rstrip())


def print_fields(pairs: Iterable[tuple[str, str]]) -> None:
    found = list(pairs)
    width = max(len(name) for name, _ in found) + 1
    for name, value in found:
        print(f"{name + ':':<{width}}  {clean(value)}".rstrip())


def json_text(document: dict[str, Any]) -> str:
    return json.dumps({"version": JSON_VERSION, **document}, indent=2)


def print_json(document: dict[str, Any]) -> None:
    print(json_text(document))


def print_json_rows(name: str, rows: Iterable[dict[str, Any]], tail: dict[str, Any]) -> None:
    """One document with a long list in it, written as the rows come; `tail` is read at the end."""
    print(f'{{"version": {JSON_VERSION}, "{name}": [', end="")
    separator = "\n "
    for row in rows:
        print(separator + json.dumps(row), end="")
        separator = ",\n "
    rest = "".join(f', "{key}": {json.dumps(value)}' for key, value in tail.items())
    print(f"\n]{rest}}}")


class Bar:
    """A line on stderr that is written over, when that is a terminal; else nothing at all."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._on = self._stream.isatty()
        self._told_at = 0.0
        self._length = 0

    def tell(self, percent: float, text: str) -> None:
        now = time.monotonic()
        if not self._on or (now - self._told_at < BAR_SECONDS and percent < 100):
            return
        self._told_at = now
        full = int(BAR_CHARACTERS * min(percent, 100) / 100)
        line = f"[{'#' * full}{'.' * (BAR_CHARACTERS - full)}] {percent:5.1f} %  {text}"
        self._stream.write("\r" + line.ljust(self._length))
        self._stream.flush()
        self._length = len(line)

    def clear(self) -> None:
        """Before anything else is printed."""
        if self._on and self._length:
            self._stream.write("\r" + " " * self._length + "\r")
            self._stream.flush()
            self._length = 0


# Types of options: argparse shows the text of ArgumentTypeError.


def backup_id(text: str) -> BackupId:
    if not layout.is_backup_id(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no backup id (26 letters and digits)")
    return BackupId(text)


def volume_id(text: str) -> VolumeId:
    if not layout.is_volume_id(text.lower()):
        raise argparse.ArgumentTypeError(f"{text!r} is no volume id (a UUID)")
    return VolumeId(text.lower())


def site_name(text: str) -> str:
    if not layout.is_site(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no site name")
    return text


_AGE = re.compile(r"([0-9]{1,5})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


def moment(text: str) -> datetime:
    """`2026-11-22`, `2026-11-22T20:00Z`, or an age: `36h`, `7d`, `4w`. Without an offset it is UTC."""
    age = _AGE.fullmatch(text)
    if age is not None:
        return datetime.now(UTC) - timedelta(hours=int(age[1]) * _HOURS[age[2]])
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2026-11-22, 2026-11-22T20:00Z or an age like 7d"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000000")
    return int(text)


def percent(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 100")
    return int(text)


def workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 64")
    return int(text)


def default_workers() -> int:
    """Threads that wait for the store most of their time."""
    return max(4, os.cpu_count() or 1)


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join("ID" if word == "id" else word.capitalize() for word in rest)
