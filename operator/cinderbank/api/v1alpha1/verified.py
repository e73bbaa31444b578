"""What a VolumeBackup tells of proofs in its bank: condition Verified, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cinderbank.api.v1alpha1.conditions import merge_conditions
from cinderbank.domain.proofs import VERIFIED, Standing, condition


def verified_time_of(status: object) -> datetime | None:
    """As it was told last; None when it can not be read."""
    told = status.get("verifiedTime") if isinstance(status, Mapping) else None
    try:
        found = datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        return None
    return None if found is None or found.tzinfo is None else found.astimezone(UTC)


def told_of(status: object) -> tuple[str, datetime | None]:
    """What `status` tells now, to be compared with `wanted`."""
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    for each in conditions if isinstance(conditions, list) else ():
        if isinstance(each, Mapping) and each.get("type") == VERIFIED:
            return str(each.get("reason")), verified_time_of(status)
    return "", verified_time_of(status)


def wanted(standing: Standing) -> tuple[str, datetime | None]:
    """What a status should tell: the reason of the condition (empty: none), and verifiedTime."""
    found = condition(standing)
    return "" if found is None else found.reason, _time(standing)


def status_with(
    raw: Mapping[str, Any], standing: Standing, generation: int, now: datetime
) -> dict[str, Any]:
    """The whole status `raw` with what is known now."""
    previous = raw.get("conditions")
    others = [
        each
        for each in (previous if isinstance(previous, list) else ())
        if not (isinstance(each, Mapping) and each.get("type") == VERIFIED)
    ]
    found = condition(standing)
    ours = merge_conditions(() if found is None else (found,), previous, generation, now)
    status = {**raw, "conditions": [*others, *(each.dump() for each in ours)]}
    status.pop("verifiedTime", None)
    if (at := _time(standing)) is not None:
        status["verifiedTime"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return status


def _time(standing: Standing) -> datetime | None:
    return standing.verified_at if standing.is_verified else None
