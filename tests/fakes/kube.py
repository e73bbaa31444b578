"""An API server that keeps objects in memory: versions, uids, preconditions, finalizers, label selectors.

As `adapters.kube.client.KubeApi`, in what is used of it; what a real one does beyond that is tested on
a real one (tests/integration).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from cinderbank.domain.errors import CinderbankError, Conflict, SourceGone

Object = dict[str, Any]


class FakeKube:
    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.writes: list[tuple[str, str]] = []
        """(verb, path) of everything that changed something."""
        self.failing: dict[str, CinderbankError] = {}
        """By verb: raised instead of doing anything."""
        self.lists: list[tuple[str, str]] = []
        """(path, label selector) of every list."""
        self.refused: dict[str, CinderbankError] = {}
        """By plural: raised instead of creating one."""
        self._version = 0

    def put(self, path: str, body: Mapping[str, Any]) -> Object:
        """As a user does."""
        found = copy.deepcopy(dict(body))
        metadata = found.setdefault("metadata", {})
        self._version += 1
        metadata.setdefault("uid", f"uid-{self._version}")
        metadata["resourceVersion"] = str(self._version)
        metadata.setdefault("generation", 1)
        self.objects[path] = found
        return copy.deepcopy(found)

    def get(self, path: str) -> Object | None:
        return copy.deepcopy(self.objects.get(path))

    def list_all(self, path: str, labels: str = "") -> Iterator[Object]:
        self.lists.append((path, labels))
        for where, found in sorted(self.objects.items()):
            if where.rpartition("/")[0] == path and _selects(labels, found):
                yield copy.deepcopy(found)

    def create(self, path: str, body: Mapping[str, Any]) -> Object:
        where = f"{path}/{body['metadata']['name']}"
        if (refusal := self.refused.get(path.rpartition("/")[2])) is not None:
            raise refusal
        self._wrote("create", where)
        if where in self.objects:
            raise Conflict(f"{where} already exists")
        return self.put(where, body)

    def apply(self, path: str, body: Mapping[str, Any], field_manager: str) -> Object:
        where = path.removesuffix("/status")
        self._wrote("status", where)
        found = self._changeable(where, body["metadata"])
        found["status"] = copy.deepcopy(body["status"])
        return self._changed(where, found)

    def merge_patch(self, path: str, body: Mapping[str, Any]) -> Object:
        self._wrote("patch", path)
        found = self._changeable(path, body.get("metadata", {}))
        before = copy.deepcopy(found["spec"])
        _merge(found, body)
        if found["spec"] != before:
            found["metadata"]["generation"] += 1
        return self._changed(path, found)

    def delete(self, path: str, uid: str, resource_version: str | None = None) -> None:
        self._wrote("delete", path)
        if path not in self.objects:
            return
        versions = {} if resource_version is None else {"resourceVersion": resource_version}
        found = self._changeable(path, {"uid": uid, **versions})
        if found["metadata"].get("finalizers"):
            found["metadata"]["deletionTimestamp"] = "2026-11-22T20:00:00Z"
            self._changed(path, found)
        else:
            del self.objects[path]

    def names(self, collection: str) -> list[str]:
        return [each["metadata"]["name"] for each in self.list_all(collection)]

    def _wrote(self, verb: str, path: str) -> None:
        if verb in self.failing:
            raise self.failing[verb]
        self.writes.append((verb, unquote(path)))

    def _changeable(self, path: str, metadata: Mapping[str, Any]) -> Object:
        if path not in self.objects:
            raise SourceGone(f"{path} is not there")
        found = copy.deepcopy(self.objects[path])
        for name in ("uid", "resourceVersion"):
            if name in metadata and metadata[name] != found["metadata"][name]:
                raise Conflict(f"{path}: {name} differs")
        return found

    def _changed(self, path: str, found: Object) -> Object:
        self._version += 1
        found["metadata"]["resourceVersion"] = str(self._version)
        self.objects[path] = found
        return copy.deepcopy(found)


_TERM = re.compile(r"(?P<key>[^=, ]+)(?:=(?P<value>[^,]*)| in \((?P<values>[^)]*)\))(?:,|$)")


def _selects(selector: str, found: Object) -> bool:
    """Terms `key=value` and `key in (a,b)`."""
    labels = found["metadata"].get("labels") or {}
    position = 0
    while position < len(selector):
        term = _TERM.match(selector, position)
        assert term is not None, selector
        values = term["values"].split(",") if term["values"] is not None else [term["value"]]
        if labels.get(term["key"]) not in values:
            return False
        position = term.end()
    return True


def _merge(into: Object, patch: Mapping[str, Any]) -> None:
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        elif name not in ("uid", "resourceVersion"):
            into[name] = copy.deepcopy(value)
