"""What kstatus says of a custom resource: the library that Flux, kpt and others judge objects by.

Its rules, in our own words, from kubernetes-sigs/cli-utils, pkg/kstatus/status: generic.go
(`checkGenericProperties`, `checkGeneration`), core.go (no rule for our group) and status.go
(`Compute`, `checkReadyCondition`). The first that holds decides:

1. metadata.deletionTimestamp is set: Terminating.
2. status.observedGeneration is there and is not metadata.generation: InProgress.
3. The first condition, in the order of the list, that is Reconciling=True: InProgress, or
   Stalled=True: Failed.
4. A condition Ready: True is Current, False and Unknown are InProgress.
5. Anything else: Current. So an object whose status nobody has written counts as done.

An object that is not well formed (a generation that is no number, conditions that are no list) is an
error there, and raises here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CURRENT = "Current"
IN_PROGRESS = "InProgress"
FAILED = "Failed"
TERMINATING = "Terminating"


def verdict(found: Mapping[str, Any]) -> str:
    """CURRENT, IN_PROGRESS, FAILED or TERMINATING."""
    if found["metadata"].get("deletionTimestamp"):
        return TERMINATING
    status = found.get("status") or {}
    generation, observed = found["metadata"].get("generation"), status.get("observedGeneration")
    for number in (generation, observed):
        assert number is None or type(number) is int, "metadata.generation or its observed one"
    if generation is not None and observed is not None and generation != observed:
        return IN_PROGRESS
    conditions = status.get("conditions") or []
    assert isinstance(conditions, list)
    for each in conditions:
        if each["status"] == "True" and each["type"] == "Reconciling":
            return IN_PROGRESS
        if each["status"] == "True" and each["type"] == "Stalled":
            return FAILED
    for each in conditions:
        if each["type"] == "Ready":
            return CURRENT if each["status"] == "True" else IN_PROGRESS
    return CURRENT
