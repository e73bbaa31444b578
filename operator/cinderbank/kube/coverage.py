"""Which volumes of a project no policy of a namespace selects; a view of what the ticks last found.

It is empty after a start and tells nothing until every policy of the namespace has been looked at once.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from cinderbank.domain.facts import VolumeId
from cinderbank.kube.known import Key


@dataclass(frozen=True, slots=True)
class Project:
    """The credentials by which a namespace sees a project."""

    namespace: str
    secret_name: str
    cloud_name: str


class Coverage:
    """Thread-safe."""

    def __init__(self) -> None:
        self._selected: dict[Key, tuple[Project | None, frozenset[VolumeId]]] = {}
        self._unprotected: dict[Project, int] = {}
        self._lock = threading.Lock()

    def selects(self, key: Key, project: Project, volumes: frozenset[VolumeId]) -> None:
        with self._lock:
            self._selected[key] = (project, volumes)

    def cannot_say(self, key: Key) -> None:
        """A policy that can not be looked at: what it selected before still counts."""
        with self._lock:
            self._selected.setdefault(key, (None, frozenset()))

    def forget(self, key: Key) -> None:
        with self._lock:
            self._selected.pop(key, None)
            projects = {project for project, _ in self._selected.values()}
            for project in [each for each in self._unprotected if each not in projects]:
                del self._unprotected[project]

    def speaks_for(self, key: Key, project: Project) -> bool:
        """One policy tells for all that share a project: the first by name."""
        with self._lock:
            names = [each.name for each, (of, _) in self._selected.items() if of == project]
        return key.name == min(names, default=None)

    def unprotected(
        self, project: Project, volumes: frozenset[VolumeId], policies: int
    ) -> frozenset[VolumeId] | None:
        """`policies`: how many the namespace has. None while some of them were not looked at."""
        with self._lock:
            here = [each for each in self._selected if each.namespace == project.namespace]
            if len(here) < policies:
                return None
            chosen = [ids for of, ids in self._selected.values() if of == project]
            found = volumes.difference(*chosen)
            self._unprotected[project] = len(found)
            return found

    def figures(self) -> dict[tuple[str, str, str], int]:
        """By namespace, Secret and cloud."""
        with self._lock:
            return {
                (of.namespace, of.secret_name, of.cloud_name): count
                for of, count in self._unprotected.items()
            }
