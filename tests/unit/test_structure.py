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


def named(node: ast.expr) -> str:
    """The last part of a name: `f` of f and of module.f."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def parameters(node: ast.AST) -> list[str]:
    """What a call of this definition gives by position."""
    if isinstance(node, ast.FunctionDef):
        return [a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg != "self"]
    if isinstance(node, ast.ClassDef) and node.decorator_list:
        return [
            line.target.id
            for line in node.body
            if isinstance(line, ast.AnnAssign)
            and isinstance(line.target, ast.Name)
            and "ClassVar" not in ast.unparse(line.annotation)
        ]
    return []


def reasons_in_code() -> set[str]:
    """Every CamelCase reason that an error, an outcome, a condition or an Event is given.

    By name or by position, as a literal or as a constant of a module. A reason that is computed, or
    that a function returns, is not seen.
    """
    nodes = [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))]
    place: dict[str, int] = {}
    constants: dict[str, str] = {}
    for node in nodes:
        if "reason" in (words := parameters(node)):
            assert isinstance(node, ast.FunctionDef | ast.ClassDef)
            place[node.name] = words.index("reason")
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            constants |= {named(target): str(node.value.value) for target in node.targets}
    given: list[ast.expr] = []
    for node in nodes:
        if isinstance(node, ast.Call):
            given += [word.value for word in node.keywords if word.arg == "reason"]
            at = place.get(named(node.func))
            given += node.args[at : at + 1] if at is not None else []
        if isinstance(node, ast.Assign) and named(node.targets[0]) == "default_reason":
            given.append(node.value)
    found = {
        str(value.value) if isinstance(value, ast.Constant) else constants.get(named(value), "")
        for value in given
    }
    # "None" is the reason that a call without one is given.
    return {reason for reason in found - {"None"} if re.fullmatch("[A-Z][A-Za-z]*[a-z]", reason)}


def test_every_reason_has_its_way_out_in_the_docs() -> None:
    lines = (ROOT / "docs/troubleshooting.md").read_text().splitlines()
    told = " ".join(line.split("|")[1] for line in lines if line.startswith("| `"))
    assert reasons_in_code() - set(re.findall("`([A-Za-z]+)`", told)) == set()
