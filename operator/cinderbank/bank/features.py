"""Versions and features: what an old reader does with a bank of a newer writer.

An unknown major version or an unknown required feature is refused; unknown optional features and
unknown JSON fields are ignored.
"""

from __future__ import annotations

from typing import Any

from cinderbank.bank.json_object import Fields
from cinderbank.domain.errors import Unsupported

FORMAT_MAJOR = 1
KNOWN_FEATURES: frozenset[str] = frozenset()
"""Features that this version can read; format 1 as such needs none."""


def stamp(name: str) -> dict[str, Any]:
    """The `format` member that every JSON object of a bank carries."""
    return {"name": name, "major": FORMAT_MAJOR, "required": [], "optional": []}


def check_stamp(document: Fields, name: str) -> None:
    """Raise DataCorrupt for another kind of object, Unsupported (BankFormatUnknown) for a newer one."""
    fields = document.object("format")
    if fields.text("name") != name:
        raise fields.bad("name", f"not {name}")
    major = fields.integer("major", 1)
    unknown = sorted(set(fields.texts("required")) - KNOWN_FEATURES)
    if major != FORMAT_MAJOR or unknown:
        needs = f"features {', '.join(unknown)[:200]}" if unknown else f"format {major}"
        raise Unsupported(
            f"{document.where} needs {needs}, which this cinderbank does not know; use a newer one",
            reason="BankFormatUnknown",
        )
