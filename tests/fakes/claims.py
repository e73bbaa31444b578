"""One namespace's claims, with what Kubernetes and the Cinder CSI driver do about them by themselves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from cinderbank.domain.claim import (
    CSI_DRIVER,
    ClaimFacts,
    NewClaim,
    NewPersistentVolume,
    PersistentVolumeFacts,
    ReclaimPolicy,
)
from cinderbank.domain.errors import Conflict, Forbidden
from cinderbank.domain.facts import GIB, VolumeId
from tests.fakes.cloud import FakeCloud
from tests.fakes.faults import Faults

NAMESPACE = "shop"


@dataclass
class FakeClaims:
    """Binds what belongs together `bind_seconds` after both are there; deletes as the policy says."""

    cloud: FakeCloud
    faults: Faults
    bind_seconds: float = 2.0
    zones: set[str] = field(default_factory=set)
    """Where the driver's nodes are."""
    allowed: bool = True
    claims: dict[str, ClaimFacts] = field(default_factory=dict)
    volumes: dict[str, PersistentVolumeFacts] = field(default_factory=dict)
    made: list[NewPersistentVolume | NewClaim] = field(default_factory=list)
    strange_deletes: list[str] = field(default_factory=list)
    """Names of claims and volumes deleted that no restore had made."""
    _policies: dict[str, ReclaimPolicy] = field(default_factory=dict)
    _together_since: dict[str, datetime] = field(default_factory=dict)
    _uids: int = 0

    def add_claim(self, name: str, **changes: object) -> ClaimFacts:
        """Somebody makes one."""
        claim = ClaimFacts(NAMESPACE, name, self._uid(), access_modes=("ReadWriteOnce",))
        self.claims[name] = replace(claim, **changes)  # type: ignore[arg-type]
        return self.claims[name]

    def add_bound_claim(self, name: str, volume_id: str, **changes: object) -> None:
        """A claim with a volume as the driver makes it."""
        volume_name = f"pvc-{name}"
        claim = self.add_claim(name, phase="Bound", volume_name=volume_name, **changes)
        self.volumes[volume_name] = PersistentVolumeFacts(
            volume_name,
            self._uid(),
            "Bound",
            CSI_DRIVER,
            volume_id,
            NAMESPACE,
            name,
            claim.uid,
            "xfs",
        )

    def _uid(self) -> str:
        self._uids += 1
        return f"kube-{self._uids}"

    # The port.

    def check_allowed(self) -> None:
        if not self.allowed:
            raise Forbidden("not from this cloud", reason="ClaimsNotAllowed")

    def find_claim(self, name: str) -> ClaimFacts | None:
        self.faults.read("find_claim")
        self._settle()
        return self.claims.get(name)

    def find_persistent_volume(self, name: str) -> PersistentVolumeFacts | None:
        self.faults.read("find_persistent_volume")
        self._settle()
        return self.volumes.get(name)

    def has_nodes_in(self, zone: str) -> bool:
        self.faults.read("has_nodes_in")
        return zone in self.zones

    def create_persistent_volume(self, wanted: NewPersistentVolume) -> str:
        name = wanted.claim.persistent_volume
        with self.faults.effect("create_persistent_volume"):
            if name in self.volumes:
                raise Conflict(f"{name} already exists")
            self.made.append(wanted)
            self._policies[name] = wanted.reclaim_policy
            self.volumes[name] = PersistentVolumeFacts(
                name,
                self._uid(),
                "Available",
                CSI_DRIVER,
                wanted.volume_id,
                NAMESPACE,
                wanted.claim.name,
                fs_type=wanted.claim.fs_type,
                restore_uid=wanted.restore_uid,
            )
        return self.volumes[name].uid

    def create_claim(self, wanted: NewClaim) -> str:
        with self.faults.effect("create_claim"):
            if wanted.claim.name in self.claims:
                raise Conflict(f"{wanted.claim.name} already exists")
            self.made.append(wanted)
            made = self.add_claim(
                wanted.claim.name,
                volume_name=wanted.claim.persistent_volume,
                storage_class=wanted.claim.storage_class,
                access_modes=wanted.claim.access_modes,
                volume_mode=wanted.claim.volume_mode,
                requested_bytes=wanted.size_gib * GIB,
                restore_uid=wanted.restore_uid,
            )
        return made.uid

    def delete_persistent_volume(self, name: str, uid: str) -> None:
        with self.faults.effect("delete_persistent_volume"):
            found = self.volumes.get(name)
            if found is None:
                return
            if found.uid != uid:
                raise Conflict(f"{name} is another one")
            if not found.restore_uid:
                self.strange_deletes.append(name)
            del self.volumes[name]

    def delete_claim(self, name: str, uid: str) -> None:
        with self.faults.effect("delete_claim"):
            found = self.claims.get(name)
            if found is None:
                return
            if found.uid != uid:
                raise Conflict(f"{name} is another one")
            if not found.restore_uid:
                self.strange_deletes.append(name)
            del self.claims[name]
            self._release(found)

    # What Kubernetes does.

    def _release(self, claim: ClaimFacts) -> None:
        volume = self.volumes.get(claim.volume_name)
        if volume is None or volume.claim_uid != claim.uid:
            return
        if self._policies.get(volume.name) is ReclaimPolicy.DELETE:
            del self.volumes[volume.name]
            self.cloud.volumes.pop(VolumeId(volume.volume_handle), None)
        else:
            self.volumes[volume.name] = replace(volume, phase="Released")

    def _settle(self) -> None:
        for volume in list(self.volumes.values()):
            claim = self.claims.get(volume.claim_name)
            if claim is None or volume.claim_uid or claim.volume_name not in ("", volume.name):
                continue
            since = self._together_since.setdefault(volume.uid + claim.uid, self.cloud.clock.now())
            if (self.cloud.clock.now() - since).total_seconds() < self.bind_seconds:
                continue
            self.volumes[volume.name] = replace(volume, claim_uid=claim.uid, phase="Bound")
            self.claims[claim.name] = replace(claim, volume_name=volume.name, phase="Bound")
