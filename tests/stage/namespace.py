"""A namespace of one cluster, driven with kubectl as a user would."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

GROUP = "cinderbank.io/v1alpha1"
TERMINAL = ("Completed", "Failed", "Canceled")

Object = dict[str, Any]


class Refused(Exception):
    """kubectl said no; the message is what it said."""


class NotInTime(Exception):
    """An object did not come to what was awaited; the message shows its last status."""


class Namespace:
    """`kubectl -n NAME` with one kubeconfig."""

    def __init__(self, kubectl: Path, kubeconfig: Path, name: str) -> None:
        self.kubectl = kubectl
        self.kubeconfig = kubeconfig
        self.name = name

    def run(self, *words: str, stdin: str | None = None) -> str:
        """kubectl's output; Refused with what it said on stderr."""
        done = subprocess.run(
            [str(self.kubectl), "--kubeconfig", str(self.kubeconfig), "-n", self.name, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=240,
        )
        if done.returncode:
            raise Refused(done.stderr.strip())
        return done.stdout

    def create(self) -> None:
        """Make the namespace unless it is there."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}
        self.apply(body)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(items))

    def secret(self, name: str, content: Mapping[str, str]) -> None:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        self.apply({**body, "stringData": dict(content)})

    def get(self, kind: str, name: str) -> Object | None:
        """The object, or None when there is none."""
        said = self.run("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(said) if said.strip() else None

    def delete(self, kind: str, name: str) -> None:
        """Ask for it and return at once; none of that name is fine."""
        self.run("delete", kind, name, "--wait=false", "--ignore-not-found")

    def events(self, name: str) -> list[Object]:
        """Events about the object of that name."""
        said = json.loads(self.run("get", "events.events.k8s.io", "-o", "json"))
        return [item for item in said["items"] if item.get("regarding", {}).get("name") == name]

    def wait(
        self,
        kind: str,
        name: str,
        awaited: Callable[[Object], object],
        *,
        seconds: float,
        each: Callable[[Object], None] = lambda _: None,
    ) -> Object:
        """The object once `awaited` says yes; `each` sees every state on the way."""
        deadline = time.monotonic() + seconds
        seen: Object = {}
        while time.monotonic() < deadline:
            found = self.get(kind, name)
            if found is not None:
                seen = found
                each(seen)
                if awaited(seen):
                    return seen
            time.sleep(0.5)
        status = json.dumps(seen.get("status", {}), indent=1)
        raise NotInTime(f"{kind} {name}: not after {seconds:.0f} s; its status is\n{status}")

    def wait_gone(self, kind: str, name: str, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (found := self.get(kind, name)) is not None:
            if time.monotonic() > deadline:
                raise NotInTime(f"{kind} {name} is still there: {json.dumps(found, indent=1)}")
            time.sleep(0.5)

    def wait_phase(self, kind: str, name: str, phase: str, *, seconds: float) -> Object:
        """The object in that phase; ends early when it is in another terminal one."""
        found = self.wait(
            kind, name, lambda o: phase_of(o) == phase or phase_of(o) in TERMINAL, seconds=seconds
        )
        if phase_of(found) != phase:
            raise NotInTime(f"{kind} {name}: {json.dumps(found.get('status'), indent=1)}")
        return found


def phase_of(found: Object) -> str:
    return str(found.get("status", {}).get("phase", ""))


def condition(found: Object, kind: str) -> Object:
    """The condition of that type, or {} when there is none."""
    for each in found.get("status", {}).get("conditions", []):
        if each["type"] == kind:
            return dict(each)
    return {}
