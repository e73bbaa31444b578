"""The rules of the finalizer and of `kubectl delete`, for backups and restores.

| object | deletionTimestamp | what happens |
|---|---|---|
| under way | no | finalizer on before the first side effect |
| under way | yes | canceled, cleaned up, then released |
| ended, its end product goes with it (policy Delete, onDelete Delete) | no | finalizer stays |
| same | yes | the end product is deleted, unless held, then released |
| ended, otherwise | any | finalizer off: deleting the object costs nothing and waits for nobody |

None of it needs the source volume to exist. The cloud and the bank must be reachable as long as
something of ours may be in them; until then the finalizer stays and a condition names what is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cinderbank.domain.record import Identity
from cinderbank.domain.steps import AddFinalizer, Idle, RemoveFinalizer, Wait

E = TypeVar("E")

HELD = "Held"
HELD_BEAT_SECONDS = 300.0


def ended_step(
    identity: Identity, *, keeps_end_product: bool, delete_end_product: Callable[[], E | None]
) -> E | AddFinalizer | RemoveFinalizer | Idle:
    """What is left to do for an object whose outcome is final.

    `keeps_end_product`: deleting the object must delete what it made. `delete_end_product` is asked
    only then and only while the object is being deleted; None means that nothing is left.
    """
    if identity.deleting:
        if not identity.has_finalizer:
            return Idle()
        if keeps_end_product and (step := delete_end_product()) is not None:
            return step
        return RemoveFinalizer()
    if keeps_end_product != identity.has_finalizer:
        return AddFinalizer() if keeps_end_product else RemoveFinalizer()
    return Idle()


def held_step(name: str) -> Wait:
    return Wait(
        HELD_BEAT_SECONDS,
        HELD,
        f"{name} is on hold, so its data in the bank is kept and the object stays; set spec.hold to "
        "false to let it be deleted, or spec.deletionPolicy to Retain to let only the object go",
    )
