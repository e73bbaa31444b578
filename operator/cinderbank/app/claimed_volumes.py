"""Volumes behind PersistentVolumeClaims, by the labels of these: for policies that select so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cinderbank.adapters.kube.client import KubeApi
from cinderbank.adapters.kube.paths import claim_path, persistent_volume_path
from cinderbank.domain.claim import CSI_DRIVER
from cinderbank.domain.facts import VolumeId
from cinderbank.domain.policy.selection import MOST_CLAIMS, Claimed

YOUNG_SECONDS = 60.0
"""Policies that name the same labels list the claims once a minute."""
FORGOTTEN_SECONDS = 1500.0
"""Of labels that nobody asks for any more: a policy at rest asks every ten minutes."""

State = tuple[str, str]
"""uid and resourceVersion of a claim."""


@dataclass
class _Listing:
    lock: threading.Lock = field(default_factory=threading.Lock)
    at: float = float("-inf")
    asked_at: float = 0.0
    behind: Mapping[State, VolumeId | None] = field(default_factory=dict)
    cut: bool = False


class ClaimedVolumes:
    """At most a minute old; thread-safe.

    A PersistentVolume is read once for each state of its claim. That is enough: a bound claim's volume
    can not be deleted or replaced, nor its source be changed, and when it is torn away all the same,
    Kubernetes makes the claim Lost, which is another state of it.
    """

    def __init__(self, api: KubeApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._listings: dict[tuple[str, str], _Listing] = {}
        self._lock = threading.Lock()

    def claimed(self, namespace: str, labels: Mapping[str, str]) -> Claimed:
        """Only claims that are bound, and whose volume says so, too: a claim may name any volume.
        Raises what the API server's answers raise."""
        wanted = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        with self._lock:
            listing = self._listings.setdefault((namespace, wanted), _Listing())
            listing.asked_at = self._clock()
            self._forget_old()
        with listing.lock:
            if self._clock() - listing.at > YOUNG_SECONDS:
                self._look(listing, namespace, wanted)
                listing.at = self._clock()
            found = frozenset(each for each in listing.behind.values() if each is not None)
            return Claimed(found, listing.cut)

    def _look(self, listing: _Listing, namespace: str, wanted: str) -> None:
        behind, cut = dict[State, VolumeId | None](), False
        for number, claim in enumerate(self._api.list_all(claim_path(namespace), wanted)):
            if number == MOST_CLAIMS:
                cut = True
                break
            state = claim["metadata"]["uid"], claim["metadata"]["resourceVersion"]
            if state in listing.behind:
                behind[state] = listing.behind[state]
            elif (volume := self._bound_to(claim)) is not None:
                found = _volume_id(volume, claim)
                if found is not None or _csi(volume).get("driver") != CSI_DRIVER:
                    behind[state] = found
        listing.behind, listing.cut = behind, cut

    def _bound_to(self, claim: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The PersistentVolume; None while there is none."""
        name = (claim.get("spec") or {}).get("volumeName")
        if not name or (claim.get("status") or {}).get("phase") != "Bound":
            return None
        return self._api.get(persistent_volume_path(name))

    def _forget_old(self) -> None:
        limit = self._clock() - FORGOTTEN_SECONDS
        for key, listing in list(self._listings.items()):
            if listing.asked_at < limit:
                del self._listings[key]


def _csi(volume: Mapping[str, Any]) -> Mapping[str, Any]:
    return (volume.get("spec") or {}).get("csi") or {}


def _volume_id(volume: Mapping[str, Any], claim: Mapping[str, Any]) -> VolumeId | None:
    """None for another driver's, and for one that is bound to another claim."""
    csi = _csi(volume)
    bound_to = ((volume.get("spec") or {}).get("claimRef") or {}).get("uid")
    if bound_to != claim["metadata"]["uid"] or csi.get("driver") != CSI_DRIVER:
        return None
    handle = csi.get("volumeHandle")
    return VolumeId(handle.lower()) if isinstance(handle, str) else None
