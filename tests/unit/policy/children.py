"""Backups of a policy, for tests."""

from __future__ import annotations

from datetime import datetime, timedelta

from cinderbank.domain.facts import VolumeFacts, VolumeId
from cinderbank.domain.policy.children import Child, ChildState, child_name
from tests.fakes.clock import START

DAY = timedelta(days=1)


def volume_id(number: int) -> VolumeId:
    return VolumeId(f"{number:08x}-0000-4000-8000-000000000000")


def volume(number: int, name: str = "", **fields: object) -> VolumeFacts:
    facts = {"status": "in-use", "size_gib": 1, **fields}
    return VolumeFacts(id=volume_id(number), name=name or f"v{number}", **facts)  # type: ignore[arg-type]


def child(
    days: float,
    state: ChildState = ChildState.GOOD,
    *,
    of: int = 1,
    hold: bool = False,
    policy: str = "nightly",
) -> Child:
    """A backup that was taken so many days after START."""
    at = START + timedelta(days=days)
    return made_at(at, state, of=of, hold=hold, policy=policy)


def made_at(
    at: datetime,
    state: ChildState,
    *,
    of: int = 1,
    hold: bool = False,
    policy: str = "nightly",
    trigger: str = "",
) -> Child:
    name = child_name(policy, volume_id(of), at)
    return Child(name, f"uid-{name}", volume_id(of), at, state, at, None, hold, trigger)
