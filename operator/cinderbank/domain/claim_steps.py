"""What a restore into a claim sees of Kubernetes, and the steps that only it takes."""

from __future__ import annotations

from dataclasses import dataclass

from cinderbank.domain import intents
from cinderbank.domain.claim import (
    ClaimedVolume,
    ClaimFacts,
    NewClaim,
    NewPersistentVolume,
    PersistentVolumeFacts,
)
from cinderbank.domain.steps import DeleteClaim, DeletePersistentVolume, Effect, Step


@dataclass(frozen=True, slots=True)
class ClaimLook:
    """The claim of the asked name and the persistent volume of ours; None where there is none."""

    claim: ClaimFacts | None = None
    persistent_volume: PersistentVolumeFacts | None = None
    has_nodes_in_zone: bool = False
    """Whether the driver says of any node that it is in the new volume's zone; looked up only when the
    persistent volume is about to be made."""


@dataclass(frozen=True, slots=True)
class PinClaim(Step):
    """Memory only: how the claim is to be. Said once, so that what changes later does not change it."""

    claim: ClaimedVolume


@dataclass(frozen=True, slots=True)
class CreatePersistentVolume(Effect):
    intent = intents.PERSISTENT_VOLUME
    durable = True
    wanted: NewPersistentVolume


@dataclass(frozen=True, slots=True)
class CreateClaim(Effect):
    intent = intents.CLAIM
    durable = True
    wanted: NewClaim


ClaimStep = PinClaim | CreatePersistentVolume | CreateClaim | DeleteClaim | DeletePersistentVolume
