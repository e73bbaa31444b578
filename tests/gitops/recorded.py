"""One object as an API server has it, its status written by our own code, and what is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cinderbank.api.v1alpha1 import RESOURCES
from cinderbank.api.v1alpha1.resource import API_VERSION
from tests.gitops.kstatus import IN_PROGRESS

DELETED_AT = "2026-11-22T20:00:00Z"


@dataclass(frozen=True)
class Recorded:
    situation: str
    found: dict[str, Any]
    """The whole object."""
    expected: str
    """kstatus' word for it."""
    unsound: bool = False
    """It ended well and found damage: no kstatus word says so, and Argo CD and Flux are to."""

    @property
    def kind(self) -> str:
        return str(self.found["kind"])


def an_object(
    kind: str,
    status: dict[str, Any],
    *,
    generation: int = 1,
    deleting: bool = False,
    spec: dict[str, Any] | None = None,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "namespace": "shop",
        "name": "db",
        "uid": "uid-1",
        "generation": generation,
    }
    if deleting:
        metadata["deletionTimestamp"] = DELETED_AT
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "spec": spec or {},
        "status": status,
    }


def unseen(kind: str) -> Recorded:
    """As the API server makes it of a manifest, before any operator has looked."""
    [resource] = [each for each in RESOURCES if each.kind == kind]
    return Recorded("unseen", an_object(kind, resource.status_default), IN_PROGRESS)
