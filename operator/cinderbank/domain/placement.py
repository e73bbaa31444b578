"""Which volume type and availability zone the new volume gets, and why.

| asked in spec.target | in spec.mappings | the target has the old name | choice |
|---|---|---|---|
| yes | | | that, or an error that names those that exist |
| no | yes | | what it maps to, or the same error |
| no | no | yes | the old name |
| no | no | no | the cloud's default, with a warning |

A zone that the chosen type is kept out of counts as one that the target does not have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.facts import VolumeFacts, VolumeTypeFacts

NAMES_SHOWN = 30


class Why(StrEnum):
    REQUESTED = "Requested"
    MAPPED = "Mapped"
    SAME_NAME = "SameName"
    DEFAULT = "Default"


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that the user should know and that stops nothing."""

    reason: str
    """CamelCase and stable."""
    message: str


@dataclass(frozen=True, slots=True)
class Offered:
    """What this project may choose from; zones None: this cloud does not say."""

    volume_types: Sequence[VolumeTypeFacts]
    availability_zones: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Placement:
    """What is asked of Cinder; None leaves it to the cloud's default."""

    volume_type: str | None
    volume_type_why: Why
    availability_zone: str | None
    availability_zone_why: Why
    warnings: tuple[Warned, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user said of both."""

    volume_type: str | None = None
    availability_zone: str | None = None
    volume_types: Mapping[str, str] | None = None
    """Old name to new one."""
    availability_zones: Mapping[str, str] | None = None


def place(wanted: Wanted, source: VolumeFacts, offered: Offered) -> Placement:
    """See the table above. Raises InvalidSpec: VolumeTypeNotFound, AvailabilityZoneNotFound."""
    names = [each.name for each in offered.volume_types]
    ids = frozenset(each.id for each in offered.volume_types)  # Cinder takes either
    volume_type, type_why = _choose(
        wanted.volume_type, wanted.volume_types, source.volume_type, names
    )
    if type_why in (Why.REQUESTED, Why.MAPPED) and volume_type not in ids:
        _known(volume_type, type_why, "volumeType", "volume type", names, "VolumeTypeNotFound")
    zones = offered.availability_zones
    allowed = _zones_of(volume_type, offered)
    zone, zone_why = _choose(
        wanted.availability_zone,
        wanted.availability_zones,
        source.availability_zone,
        [each for each in zones or () if allowed is None or each in allowed],
    )
    if zone_why in (Why.REQUESTED, Why.MAPPED) and zones is not None:
        what = "availability zone"
        _known(zone, zone_why, "availabilityZone", what, zones, "AvailabilityZoneNotFound")
    warnings = []
    if type_why is Why.DEFAULT and source.volume_type:
        message = _instead("volume type", source.volume_type, "volumeType")
        warnings.append(Warned("VolumeTypeSubstituted", message))
    if zone_why is Why.DEFAULT and source.availability_zone and zones is not None:
        message = _instead("availability zone", source.availability_zone, "availabilityZone")
        warnings.append(Warned("AvailabilityZoneSubstituted", message))
    return Placement(volume_type, type_why, zone, zone_why, tuple(warnings))


def _choose(
    asked: str | None, mapping: Mapping[str, str] | None, had: str, offered: Collection[str]
) -> tuple[str | None, Why]:
    if asked is not None:
        return asked, Why.REQUESTED
    if mapping and had in mapping:
        return mapping[had], Why.MAPPED
    return (had, Why.SAME_NAME) if had in offered else (None, Why.DEFAULT)


def _zones_of(volume_type: str | None, offered: Offered) -> Collection[str] | None:
    """The zones that a type may be in; None is any."""
    for each in offered.volume_types:
        if volume_type in (each.name, each.id):
            return each.availability_zones
    return None


def _known(
    name: str | None, why: Why, field: str, what: str, offered: Sequence[str], reason: str
) -> None:
    if name in offered:
        return
    said = f"spec.{'target' if why is Why.REQUESTED else 'mappings'}.{field}"
    shown = ", ".join(offered[:NAMES_SHOWN]) or "none"
    more = f" and {len(offered) - NAMES_SHOWN} more" if len(offered) > NAMES_SHOWN else ""
    raise InvalidSpec(
        f'{said} names the {what} "{name}", which this project does not have; it has {shown}{more}.'
        " Name one of them in a new VolumeRestore",
        reason=reason,
    )


def _instead(what: str, had: str, field: str) -> str:
    return (
        f'this site has no {what} "{had[:255]}" for it, which the volume had; its default is used.'
        f" Choose in spec.target.{field} or spec.mappings.{field}"
    )
