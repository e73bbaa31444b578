"""PersistentVolumeClaims and PersistentVolumes as the engine needs them."""

from __future__ import annotations

from typing import Protocol

from cinderbank.domain.claim import (
    ClaimFacts,
    NewClaim,
    NewPersistentVolume,
    PersistentVolumeFacts,
)


class Claims(Protocol):
    """The claims of ONE namespace, and the persistent volumes of its cluster.

    Every method MAY raise Unavailable, AuthRefused, Forbidden (reason PersistentVolumesForbidden when
    the right to persistent volumes is missing: it names what to apply). Reads are idempotent and never
    from a cache. Names are chosen by the caller and unique, so that a create may be repeated: it raises
    Conflict when there is one of the name already. Deletes take the uid along: one of that name and
    another uid SHOULD stay (Conflict); 404 is success; gone when a later read says so.
    """

    def check_allowed(self) -> None:
        """Raises Forbidden (reason ClaimsNotAllowed) when no persistent volume may be made of volumes of
        this object's cloud: MUST be asked before anything is made for one."""
        ...

    def find_claim(self, name: str) -> ClaimFacts | None: ...

    def find_persistent_volume(self, name: str) -> PersistentVolumeFacts | None: ...

    def has_nodes_in(self, zone: str) -> bool:
        """Whether the driver says of any node that it is in this zone of Cinder's."""
        ...

    def create_persistent_volume(self, wanted: NewPersistentVolume) -> str:
        """Reserved for the claim of its name in this namespace; returns the uid. Also raises InvalidSpec."""
        ...

    def create_claim(self, wanted: NewClaim) -> str:
        """Returns the uid. Also raises InvalidSpec, SourceGone (the namespace is gone)."""
        ...

    def delete_persistent_volume(self, name: str, uid: str) -> None: ...

    def delete_claim(self, name: str, uid: str) -> None: ...
