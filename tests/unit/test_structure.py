"""What holds for the house as a whole and no tool checks for us."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "operator").rglob("*.py"))
LONGEST_MODULE_LINES = 350
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def test_operator_is_no_package() -> None:
    """A package of that name at the root would shadow the standard library's `operator`."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    ask = "import operator, sys; sys.exit('eq' not in vars(operator))"
    assert subprocess.run([sys.executable, "-c", ask], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module(path: Path) -> None:
    assert path.stem not in BANNED_NAMES
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE_LINES, "is it one thing?"
    tree = ast.parse(text)
    if text.strip():
        assert ast.get_docstring(tree), "a module says what it decides or touches"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nobody_waits_inside_the_sdk(path: Path) -> None:
    """Waiting is a step of the engine; wait_for_status blocks a thread and knows only ERROR."""
    assert not re.search(r"\bwait_for_(status|delete|server|image|volume)\b", path.read_text())


def reasons_in_code() -> set[str]:
    """Every CamelCase reason that an error or a condition can carry."""
    found: set[str] = set()
    for path in SOURCES:
        text = path.read_text()
        found |= set(re.findall(r'\breason\s*=\s*"([A-Z][A-Za-z]+)"', text))
        found |= set(re.findall(r'\bdefault_reason\s*=\s*"([A-Z][A-Za-z]+)"', text))
    return found


def test_every_reason_has_its_way_out_in_the_docs() -> None:
    documented = set(
        re.findall(r"^\| `([A-Za-z]+)`", (ROOT / "docs/troubleshooting.md").read_text(), re.M)
    )
    assert reasons_in_code() - documented == set()
