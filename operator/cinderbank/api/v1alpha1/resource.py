"""One kind as its CRD needs it; what `api.crd` renders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cinderbank.api.v1alpha1.model import ApiModel, rule

GROUP = "cinderbank.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/protect"
CATEGORY = "cinderbank"

NAME_RULE = rule(
    "self.metadata.name.size() <= 63",
    "metadata.name must be at most 63 characters, so that it fits into labels and metrics",
)


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column; `wide` ones are shown by `kubectl get -o wide` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False


AGE = Column("Age", ".metadata.creationTimestamp", "Age of this object", type="date")
MESSAGE = Column(
    "Message",
    '.status.conditions[?(@.type=="Ready")].message',
    "Why it is ready or not",
    wide=True,
)


@dataclass(frozen=True, slots=True)
class Resource:
    kind: str
    plural: str
    short_name: str
    description: str
    spec: type[ApiModel]
    status: type[ApiModel]
    columns: tuple[Column, ...]
    status_default: dict[str, Any] = field(default_factory=dict)
    """What an object's status is before the operator has seen it."""
    watched: bool = True
    """False for what the operator makes itself and never works on: it may be ten thousand of them."""

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{GROUP}"
