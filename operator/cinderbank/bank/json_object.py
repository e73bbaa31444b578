"""JSON of a bank: one canonical form when it is written, no trust when it is read.

Written: keys sorted, no white space, ASCII only, so that equal content is equal bytes. Read: bounded,
no duplicate keys, no NaN, every field by name, type and range; failures are DataCorrupt and name the
object's key and the field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from cinderbank.domain.errors import DataCorrupt

MAX_TEXT = 4096
MAX_MAP_ENTRIES = 1024
MAX_INTEGER = (1 << 63) - 1
MAX_STRUCTURE = 1_000_000
"""Of `[`, `{` and `,` in one object: 16 MiB of `{},` would become 400 MiB of Python objects."""

_HEX = re.compile(r"[0-9a-f]*", re.ASCII)


def canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode("ascii")


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("duplicate key")
    return fields


class Fields:
    """One JSON object, read field by field; unknown fields are ignored (a newer writer's optional ones)."""

    def __init__(self, fields: Mapping[str, Any], where: str) -> None:
        self._fields = fields
        self.where = where

    @classmethod
    def parse(cls, body: bytes, where: str) -> Fields:
        """Parse an object's body, whose size the caller has bounded already."""
        if body.count(b"[") + body.count(b"{") + body.count(b",") > MAX_STRUCTURE:
            raise DataCorrupt(f"{where}: not JSON of ours: more than {MAX_STRUCTURE} of [ {{ and ,")
        try:
            document = json.loads(
                body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
            )
        # ValueError: bad JSON, bad UTF-8, a number of too many digits; RecursionError: nested deep.
        except (ValueError, RecursionError) as error:
            raise DataCorrupt(f"{where}: not JSON: {str(error)[:200]}") from error
        if not isinstance(document, dict):
            raise DataCorrupt(f"{where}: not a JSON object")
        return cls(document, where)

    def bad(self, name: str, why: str) -> DataCorrupt:
        """The error for a field that is there and wrong; to be raised by the caller."""
        return DataCorrupt(f"{self.where}: field {name}: {why}")

    def _get(self, name: str) -> Any:
        if name not in self._fields:
            raise self.bad(name, "missing")
        return self._fields[name]

    def text(self, name: str, longest: int = MAX_TEXT) -> str:
        value = self._get(name)
        if not isinstance(value, str) or len(value) > longest:
            raise self.bad(name, f"not a string of at most {longest} characters")
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self._fields.get(name) is None else self.text(name)

    def checked(self, name: str, valid: Callable[[str], bool], what: str) -> str:
        """A string that fits a pattern."""
        value = self.text(name)
        if not valid(value):
            raise self.bad(name, f"not a {what}")
        return value

    def checked_or_none(self, name: str, valid: Callable[[str], bool], what: str) -> str | None:
        return None if self._fields.get(name) is None else self.checked(name, valid, what)

    def hex(self, name: str, digits: int) -> str:
        value = self.text(name)
        if len(value) != digits or not _HEX.fullmatch(value):
            raise self.bad(name, f"not {digits} lower-case hex digits")
        return value

    def integer(self, name: str, lowest: int = 0, highest: int = MAX_INTEGER) -> int:
        value = self._get(name)
        # bool is an int in Python, and not in JSON.
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise self.bad(name, f"not an integer in {lowest}..{highest}")
        return value

    def integer_or(self, name: str, default: int) -> int:
        """An integer that an older writer did not know."""
        return default if self._fields.get(name) is None else self.integer(name)

    def boolean(self, name: str) -> bool:
        value = self._get(name)
        if not isinstance(value, bool):
            raise self.bad(name, "not true or false")
        return value

    def object(self, name: str) -> Fields:
        value = self._get(name)
        if not isinstance(value, dict):
            raise self.bad(name, "not an object")
        return Fields(value, f"{self.where}: {name}")

    def objects(self, name: str, most: int) -> list[Fields]:
        value = self._get(name)
        if not isinstance(value, list) or len(value) > most:
            raise self.bad(name, f"not a list of at most {most}")
        if not all(isinstance(item, dict) for item in value):
            raise self.bad(name, "holds something that is no object")
        return [Fields(item, f"{self.where}: {name}[{i}]") for i, item in enumerate(value)]

    def texts(self, name: str, most: int = 64) -> tuple[str, ...]:
        value = self._get(name)
        if not isinstance(value, list) or len(value) > most:
            raise self.bad(name, f"not a list of at most {most}")
        if not all(isinstance(item, str) and len(item) <= MAX_TEXT for item in value):
            raise self.bad(name, "holds something that is no short string")
        return tuple(value)

    def text_map(self, name: str) -> dict[str, str]:
        value = self._get(name)
        if not isinstance(value, dict) or len(value) > MAX_MAP_ENTRIES:
            raise self.bad(name, f"not an object of at most {MAX_MAP_ENTRIES} entries")
        for key, item in value.items():
            if not isinstance(item, str) or max(len(key), len(item)) > MAX_TEXT:
                raise self.bad(name, "holds something that is no short string")
        return dict(value)
