"""Objects of one kind as an API server keeps them, for what `adapters.kube` asks of `KubeApi`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.domain.errors import Conflict, SourceGone

Object = dict[str, Any]


class KubeObjects(KubeApi):
    """Names are unique, uids new, versions grow, spec and status are written by different doors."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.requests: list[tuple[str, str]] = []
        self._version = 0

    def put(self, body: Mapping[str, Any]) -> Object:
        """As an administrator would."""
        made: Object = json.loads(json.dumps(body))
        made["metadata"].setdefault("uid", str(uuid4()))
        made["metadata"] |= {"resourceVersion": self._next(), "generation": 1}
        self.objects[made["metadata"]["name"]] = made
        return made

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    def _note(self, verb: str, path: str) -> str:
        self.requests.append((verb, path))
        return path.removesuffix("/status").rsplit("/", 1)[1]

    def get(self, path: str) -> Object | None:
        return self.objects.get(self._note("GET", path))

    def list_all(self, path: str, label_selector: str = "") -> Iterator[Object]:
        self._note("LIST", path)
        label, _, value = label_selector.partition("=")
        for each in list(self.objects.values()):
            if not label or each["metadata"].get("labels", {}).get(label) == value:
                yield each

    def create(self, path: str, body: Mapping[str, Any]) -> Object:
        self._note("POST", path)
        name = body["metadata"]["name"]
        if name in self.objects:
            raise Conflict(f"{name} already exists")
        return self.put({key: value for key, value in body.items() if key != "status"})

    def apply(self, path: str, body: Mapping[str, Any], field_manager: str) -> Object:
        assert path.endswith("/status")
        found = self.objects.get(self._note("PATCH", path))
        if found is None:
            raise SourceGone(f"{path} is not there")
        if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            raise Conflict(f"{path} has changed")
        found["status"] = json.loads(json.dumps(body["status"]))
        found["metadata"]["resourceVersion"] = self._next()
        return found

    def delete(self, path: str, uid: str, resource_version: str | None = None) -> None:
        name = self._note("DELETE", path)
        if name not in self.objects:
            raise SourceGone(f"{path} is not there")
        if self.objects[name]["metadata"]["uid"] != uid:
            raise Conflict(f"{path} is another one")
        if resource_version not in (None, self.objects[name]["metadata"]["resourceVersion"]):
            raise Conflict(f"{path} has changed")
        del self.objects[name]
