"""Versions and features: what an old reader does with a bank of a newer writer.

An unknown major version or an unknown required feature is refused; unknown optional features and
unknown JSON fields are ignored.
"""

from __future__ import annotations

from typing import Any

from cinderbank.bank.json_object import Fields
from cinderbank.domain.errors import Unsupported

FORMAT_MAJOR = 1
ENCRYPTION = "encryption"
"""Stamped on the seal of an encrypted backup, so that a reader that can not decrypt says so."""

VOLUME_ENCRYPTION = "volume-encryption"
"""Stamped on the manifest of an encrypted volume's backup: who does not know it would make a volume of the
ciphertext without its key, which nobody could ever open."""

KNOWN_FEATURES: frozenset[str] = frozenset({ENCRYPTION, VOLUME_ENCRYPTION})
"""Features that this version can read; a plain full backup needs none."""


def stamp(name: str, *required: str) -> dict[str, Any]:
    """The `format` member that every JSON object of a bank carries; `required` are features without
    which a reader would get the object wrong."""
    return {"name": name, "major": FORMAT_MAJOR, "required": sorted(required), "optional": []}


def check_stamp(document: Fields, name: str) -> frozenset[str]:
    """The features that the object requires. Raises DataCorrupt for another kind of object, Unsupported
    (BankFormatUnknown) for a newer one."""
    fields = document.object("format")
    if fields.text("name") != name:
        raise fields.bad("name", f"not {name}")
    major = fields.integer("major", 1)
    required = frozenset(fields.texts("required"))
    unknown = sorted(required - KNOWN_FEATURES)
    if major != FORMAT_MAJOR or unknown:
        needs = f"features {', '.join(unknown)[:200]}" if unknown else f"format {major}"
        raise Unsupported(
            f"{document.where} needs {needs}, which this cinderbank does not know; use a newer one",
            reason="BankFormatUnknown",
        )
    return required
