"""The domain imports the standard library and cronsim only, and neither clock nor chance nor input nor output."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import cinderbank.domain

MODULES = sorted(Path(cinderbank.domain.__file__).parent.rglob("*.py"))
IMPURE = {"logging", "os", "random", "secrets", "socket", "subprocess", "threading", "time", "uuid"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_imports(path: Path) -> None:
    for name in imported(path):
        top = name.split(".")[0]
        known = top in sys.stdlib_module_names or name.startswith("cinderbank.domain")
        assert known or top == "cronsim", name  # it reads expressions: no clock, input or output
        assert top not in IMPURE, name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_clock(path: Path) -> None:
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not called & {"now", "utcnow", "today"}
