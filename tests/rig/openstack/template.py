"""Fills the @NAMES@ of a settings template."""

from __future__ import annotations

import os
import re
from pathlib import Path

TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, target: Path, appended: str = "", **values: object) -> None:
    """Writes `template` to `target`; a name without a value is an error and nothing is written."""
    text = (TEMPLATES / template).read_text()
    filled = re.sub(r"@([A-Z0-9_]+)@", lambda match: str(values[match.group(1)]), text)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.new")
    aside.write_text(filled + appended)
    os.replace(aside, target)
