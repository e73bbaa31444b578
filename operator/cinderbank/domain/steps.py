"""The steps that backups and restores share; each names one effect, or none.

`intent` is the name under which `Memory.intents` keeps that the step was begun. A `durable` intent is
written to the object, with its optimistic lock, before the effect: creates need that, because Cinder
and Glance have no idempotency token and a lost answer must be looked for. Other intents are only
published afterwards: they pace repeats and count them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cinderbank.domain.errors import CinderbankError
from cinderbank.domain.facts import ImageId, SnapshotId, VolumeId
from cinderbank.domain.record import Outcome, TransportChoice


class Step:
    """Base of all steps; what a step means for memory."""

    __slots__ = ()
    intent: ClassVar[str] = ""
    durable: ClassVar[bool] = False
    waits_for_back_off: ClassVar[bool] = False
    """True for effects on a cloud or a bank: not before `Memory.next_try_at`."""


class Effect(Step):
    __slots__ = ()
    waits_for_back_off = True


@dataclass(frozen=True, slots=True)
class Idle(Step):
    """Nothing to do until the object changes."""


@dataclass(frozen=True, slots=True)
class Wait(Step):
    """Nothing to do for `seconds`; `reason` is CamelCase, `message` is for the user."""

    seconds: float
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class GiveBack(Step):
    """Not possible now: treated like the error that the effect would have raised."""

    waits_for_back_off = True
    error: CinderbankError


@dataclass(frozen=True, slots=True)
class AddFinalizer(Step):
    """Before the first side effect, so that `kubectl delete` can not leave anything behind."""


@dataclass(frozen=True, slots=True)
class RemoveFinalizer(Step):
    """Nothing of ours is left that deleting the object should take along."""


@dataclass(frozen=True, slots=True)
class Conclude(Step):
    """Memory only: how it will end, once everything temporary is gone."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Finish(Step):
    """Memory only: it has ended; never changes again."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class CancelTransfer(Effect):
    """End a running transfer, or forget one that has ended; nothing counts as failed."""


@dataclass(frozen=True, slots=True)
class ForgetTransfer(Effect):
    """Like CancelTransfer, and the error is noted, so that the next attempt waits for its back-off."""

    waits_for_back_off = False
    error: CinderbankError
    counts: bool
    """Whether it uses up one of `retry_limit`; an outage of a system never does."""


@dataclass(frozen=True, slots=True)
class FallBack(Effect):
    """Go on as `choice` says, not counted as a failure; ends the transfer of what was tried before,
    whose image is deleted next."""

    choice: TransportChoice


@dataclass(frozen=True, slots=True)
class DeleteImage(Effect):
    intent = "delete-image"
    kind: ClassVar[str] = "image"
    resource_id: ImageId
    because: CinderbankError | None = None
    """The failure that makes it useless, to be told to the user; None when it has just served."""


@dataclass(frozen=True, slots=True)
class DeleteSecret(Effect):
    """A key in the key manager: the temporary image's, or the one that a restore has put there."""

    intent = "delete-secret"
    kind: ClassVar[str] = "secret"
    resource_id: str


@dataclass(frozen=True, slots=True)
class DeleteVolume(Effect):
    intent = "delete-volume"
    kind: ClassVar[str] = "volume"
    resource_id: VolumeId
    because: CinderbankError | None = None


@dataclass(frozen=True, slots=True)
class DeleteClaim(Effect):
    """A PersistentVolumeClaim that we have made."""

    intent = "delete-claim"
    kind: ClassVar[str] = "persistentvolumeclaim"
    name: str
    resource_id: str
    """Its uid, so that one of the same name that came after it stays."""


@dataclass(frozen=True, slots=True)
class DeletePersistentVolume(Effect):
    """A PersistentVolume that we have made; its Cinder volume is not touched by that."""

    intent = "delete-persistent-volume"
    kind: ClassVar[str] = "persistentvolume"
    name: str
    resource_id: str


@dataclass(frozen=True, slots=True)
class DeleteSnapshot(Effect):
    intent = "delete-snapshot"
    kind: ClassVar[str] = "snapshot"
    resource_id: SnapshotId
    because: CinderbankError | None = None
