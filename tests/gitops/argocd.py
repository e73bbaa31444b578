"""Argo CD's side of Lua: a script of ours run as Argo CD's util/lua/lua.go and health.go run it.

Lua 5.1 (gopher-lua) with the libraries base, package and table, and of `os` only time and date by
`require`; nothing else is open to a customization. `obj` is the object; integers are numbers, null is nil.
What is being deleted is Progressing before any script is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from lupa.lua51 import LuaRuntime, lua_type

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "gitops" / "argocd"
HEALTH = "resource.customizations.health."
ACTIONS = "resource.customizations.actions."
HEALTHS = {"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"}

SANDBOX = """
local time, date = os.time, os.date
package.loaded.os, package.preload.os = nil, function() return {time = time, date = date} end
os, io, string, math, debug, coroutine = nil, nil, nil, nil, nil, nil
dofile, loadfile = nil, nil
"""


@cache
def config_map() -> dict[str, str]:
    """The entries of argocd-cm that deploy/gitops/argocd makes: key -> text."""
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    [generator] = kustomization["configMapGenerator"]
    pairs = [each.split("=", 1) for each in generator["files"]]
    return {key: (FOLDER / file).read_text() for key, file in pairs}


def actions_of(kind: str) -> dict[str, Any]:
    """discovery.lua and definitions of a kind."""
    found: dict[str, Any] = yaml.safe_load(config_map()[f"{ACTIONS}cinderbank.io_{kind}"])
    return found


def health(found: Mapping[str, Any]) -> tuple[str, str]:
    """Status and message of the object."""
    if found["metadata"].get("deletionTimestamp"):
        return "Progressing", "Pending deletion"
    said = run(config_map()[f"{HEALTH}cinderbank.io_{found['kind']}"], found)
    assert said["status"] in HEALTHS
    return said["status"], said["message"]


def discovered(found: Mapping[str, Any]) -> dict[str, Any]:
    """Action -> what Argo CD shows of it."""
    return dict(run(actions_of(found["kind"])["discovery.lua"], found))


def act(found: Mapping[str, Any], name: str) -> Any:
    """What an action gives back: the changed object, or a list of impacted resources."""
    [script] = [
        each["action.lua"]
        for each in actions_of(found["kind"])["definitions"]
        if each["name"] == name
    ]
    made = run(script, found)
    return _cleaned(made, found) if isinstance(made, dict) else made


def _cleaned(made: Any, found: Any) -> Any:
    """Lua knows no empty object: what was one before stays one (lua.go, `cleanReturnedObj`)."""
    if isinstance(made, dict) and isinstance(found, dict):
        return {name: _cleaned(each, found.get(name)) for name, each in made.items()}
    if isinstance(made, list) and isinstance(found, list):
        return [_cleaned(*pair) for pair in zip(made, found, strict=False)]
    return {} if made == [] and found == {} else made


def run(script: str, found: Mapping[str, Any]) -> Any:
    """What the script returns, as JSON values. Raises LuaError."""
    lua = LuaRuntime(register_eval=False, register_builtins=False, unpack_returned_tuples=True)
    lua.execute('getmetatable("").__index = nil')
    lua.execute(SANDBOX)
    lua.globals().python = None
    lua.globals().obj = _to_lua(lua, json.loads(json.dumps(found)))
    return _from_lua(lua.execute(script))


def _to_lua(lua: LuaRuntime, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({key: _to_lua(lua, each) for key, each in value.items()})
    if isinstance(value, list):
        return lua.table_from([_to_lua(lua, each) for each in value])
    return value


def _from_lua(value: Any) -> Any:
    """As gopher-json does: a table with a first element is a list, and so is an empty one."""
    if lua_type(value) != "table":
        return value
    items = dict(value.items())
    if not items or 1 in items:
        return [_from_lua(items[number]) for number in sorted(items)]
    return {str(key): _from_lua(each) for key, each in items.items()}
