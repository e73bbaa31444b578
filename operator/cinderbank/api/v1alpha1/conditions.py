"""metav1 Conditions: the model, and keeping lastTransitionTime as Kubernetes means it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from cinderbank.api.v1alpha1.model import ApiModel, Time, clipped
from cinderbank.domain import record

_MESSAGE_LIMIT = 32768

_NEVER = "1970-01-01T00:00:00Z"


class Condition(ApiModel):
    """One statement about the object; kubectl wait and GitOps tools read them."""

    type: Annotated[str, Field(max_length=316)] = Field(
        description="What is stated: Ready, Reconciling, Stalled and others."
    )
    status: Literal["True", "False", "Unknown"] = Field(
        description="Whether it holds: True, False or Unknown."
    )
    reason: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="Why, in one CamelCase word; stable, so a script may compare it."
    )
    message: Annotated[str, Field(max_length=_MESSAGE_LIMIT)] = Field(
        description="Why, for a human, with the way out; may be reworded in any release."
    )
    last_transition_time: Time = Field(description="When status last changed.")
    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="The metadata.generation that this was found for."
    )


Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]

WAITING = [
    {
        "type": "Ready",
        "status": "Unknown",
        "reason": "Pending",
        "message": "Waiting for the operator",
        "lastTransitionTime": _NEVER,
    }
]
"""Default of status.conditions: without it kstatus calls an object that nobody has seen Current."""


def merge_conditions(
    found: Iterable[record.Condition], previous: object, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """`found` with times: a condition whose status is as in `previous` keeps its lastTransitionTime.

    `previous` is status.conditions as read, whatever it is; what can not be read counts as absent.
    """
    since = _transition_times(previous)
    return tuple(
        Condition(
            type=each.type,
            status=_status(each.status),
            reason=clipped(each.reason, 1024) or "Unknown",
            message=clipped(each.message, _MESSAGE_LIMIT),
            last_transition_time=since.get((each.type, each.status), now.replace(microsecond=0)),
            observed_generation=generation,
        )
        for each in found
    )


def _status(text: str) -> Literal["True", "False", "Unknown"]:
    match text:
        case "True" | "False":
            return text
        case _:
            return "Unknown"


def _transition_times(previous: object) -> dict[tuple[str, str], datetime]:
    found: dict[tuple[str, str], datetime] = {}
    for raw in previous if isinstance(previous, (list, tuple)) else ():
        condition = _readable(raw)
        if condition is not None:
            found[condition.type, condition.status] = condition.last_transition_time
    return found


def _readable(raw: Any) -> Condition | None:
    try:
        return Condition.model_validate(raw)
    except ValueError:  # pydantic's ValidationError is one
        return None
