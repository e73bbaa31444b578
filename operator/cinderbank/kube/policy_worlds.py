"""What policies need of the world."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from cinderbank.domain.facts import VolumeFacts, VolumeId
from cinderbank.domain.policy.children import Child
from cinderbank.kube.known import Key
from cinderbank.kube.reconcile import Raw
from cinderbank.ports.groups import Groups


class GroupWorlds(Protocol):
    """What a run of a Cinder group needs. Every method may raise CinderbankError."""

    def groups(self, namespace: str, secret_name: str, cloud_name: str) -> Groups: ...

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


class PolicyWorlds(GroupWorlds, Protocol):
    """What a policy needs. Every method may raise CinderbankError."""

    def volumes(self, namespace: str, secret_name: str, cloud_name: str) -> Sequence[VolumeFacts]:
        """All volumes of the project; may be a minute old."""
        ...

    def claimed(self, namespace: str, labels: dict[str, str]) -> frozenset[VolumeId]:
        """Volumes behind the PersistentVolumeClaims with these labels."""
        ...

    def children(self, key: Key) -> tuple[Child, ...]:
        """As the watches told them."""
        ...

    def children_in_truth(
        self, key: Key, volumes: frozenset[VolumeId], min_good: int
    ) -> tuple[Child, ...]:
        """Those of `volumes`, as the API server has them now; the newest `min_good` good ones of each
        are proven to be in the bank, and what is not there is LOST, as is what a check found damaged."""
        ...

    def is_as_it_was(self, raw: Raw) -> bool:
        """Whether the policy is there, is not being deleted, and says the same as in `raw`."""
        ...

    def cancel_child(self, key: Key, child: Child) -> None: ...

    def give_up_child(self, key: Key, child: Child) -> bool:
        """Delete it, and its data in the bank with it; False when it is not as it was judged."""
        ...

    def policies_in(self, namespace: str) -> int: ...
