"""What policies need of the world."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from cinderbank.domain.facts import VolumeFacts
from cinderbank.domain.policy.children import Child
from cinderbank.domain.policy.selection import Claimed
from cinderbank.kube.known import Key
from cinderbank.kube.policy_retention import RetentionWorlds
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.groups import Groups


class GroupWorlds(Protocol):
    """What a run of a Cinder group needs. Every method may raise CinderbankError."""

    def groups(self, namespace: str, secret_name: str, cloud_name: str) -> Groups: ...

    def children(self, key: Key) -> tuple[Child, ...]:
        """As the watches told them."""
        ...

    def children_of_run(self, key: Key, run_at: datetime) -> tuple[Child, ...]:
        """As the API server has them now."""
        ...

    def create_child(self, namespace: str, body: Raw) -> None:
        """Idempotent. Raises InvalidSpec: ChildNameTaken when another object has that name; or what
        the API server has against the template."""
        ...

    def hold(self, raw: Raw) -> Raw:
        """Our finalizer on it: from now on it goes only when it is released. The object as it is now."""
        ...

    def release(self, raw: Raw) -> None: ...

    def remember_status(self, raw: Raw, status: dict[str, Any]) -> Raw:
        """Durable when it returns; the object as it is now."""
        ...

    def write_status(self, raw: Raw, status: dict[str, Any]) -> None: ...
    def say(self, raw: Raw, reason: str, message: str, warning: bool) -> None: ...


class PolicyWorlds(GroupWorlds, RetentionWorlds, Protocol):
    """What a policy needs. Every method may raise CinderbankError."""

    def volumes(self, namespace: str, secret_name: str, cloud_name: str) -> Sequence[VolumeFacts]:
        """All volumes of the project; may be a minute old."""
        ...

    def claimed(self, namespace: str, labels: dict[str, str]) -> Claimed:
        """Volumes behind the PersistentVolumeClaims with these labels; may be a minute old."""
        ...

    def cancel_child(self, key: Key, child: Child) -> None: ...

    def policies_in(self, namespace: str) -> int: ...
