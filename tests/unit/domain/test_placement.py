"""Which type and zone: asked for, mapped, of the same name, or the default and told."""

from __future__ import annotations

from typing import Any

import pytest

from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.facts import VolumeTypeFacts
from cinderbank.domain.placement import Offered, Wanted, Why, place
from tests.builders import volume

NVME = VolumeTypeFacts("id-1", "nvme")
SSD = VolumeTypeFacts("id-2", "ssd")
BOUND = VolumeTypeFacts("id-3", "bound", ("az2",))
SOURCE = volume(volume_type="ssd", availability_zone="az1")


def offered(*types: VolumeTypeFacts, zones: list[str] | None = None) -> Offered:
    return Offered(types, ["az1", "az2"] if zones is None else zones)


ROWS: list[tuple[str, Wanted, Offered, tuple[Any, ...]]] = [
    ("same names", Wanted(), offered(NVME, SSD), ("ssd", Why.SAME_NAME, "az1", Why.SAME_NAME)),
    ("asked for", Wanted("nvme", "az2"), offered(NVME, SSD), ("nvme", Why.REQUESTED, "az2", Why.REQUESTED)),
    ("asked for by id", Wanted("id-1"), offered(NVME), ("id-1", Why.REQUESTED, "az1", Why.SAME_NAME)),
    ("mapped", Wanted(None, None, {"ssd": "nvme"}, {"az1": "az2"}), offered(NVME, SSD), ("nvme", Why.MAPPED, "az2", Why.MAPPED)),
    ("asked for goes first", Wanted("ssd", "az1", {"ssd": "nvme"}, {"az1": "az2"}), offered(NVME, SSD), ("ssd", Why.REQUESTED, "az1", Why.REQUESTED)),
    ("mapping of others", Wanted(None, None, {"hdd": "x"}, {"az9": "x"}), offered(SSD), ("ssd", Why.SAME_NAME, "az1", Why.SAME_NAME)),
    ("not here", Wanted(), offered(NVME, zones=["nova"]), (None, Why.DEFAULT, None, Why.DEFAULT)),
    ("zones are not told", Wanted(None, "az7"), Offered((SSD,), None), ("ssd", Why.SAME_NAME, "az7", Why.REQUESTED)),
    ("the type is kept out of the zone", Wanted("bound"), offered(BOUND), ("bound", Why.REQUESTED, None, Why.DEFAULT)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "offers", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_choice(wanted: Wanted, offers: Offered, expected: tuple[Any, ...]) -> None:
    found = place(wanted, SOURCE, offers)
    assert expected == (
        found.volume_type,
        found.volume_type_why,
        found.availability_zone,
        found.availability_zone_why,
    )


def test_a_default_is_told() -> None:
    found = place(Wanted(), SOURCE, offered(NVME, zones=["nova"]))
    assert [each.reason for each in found.warnings] == [
        "VolumeTypeSubstituted",
        "AvailabilityZoneSubstituted",
    ]
    assert '"ssd"' in found.warnings[0].message
    assert '"az1"' in found.warnings[1].message


def test_what_the_volume_never_had_is_not_missed() -> None:
    found = place(Wanted(), volume(volume_type="", availability_zone=""), offered(NVME))
    assert found.warnings == ()
    assert place(Wanted(), SOURCE, Offered((SSD,), None)).warnings == ()


@pytest.mark.parametrize(
    ("wanted", "reason", "says"),
    [
        (
            Wanted("gold"),
            "VolumeTypeNotFound",
            'spec.target.volumeType names the volume type "gold"',
        ),
        (Wanted(volume_types={"ssd": "gold"}), "VolumeTypeNotFound", "spec.mappings.volumeType"),
        (Wanted(availability_zone="x"), "AvailabilityZoneNotFound", "it has az1, az2"),
        (Wanted(availability_zones={"az1": "x"}), "AvailabilityZoneNotFound", "spec.mappings."),
    ],
)
def test_what_was_asked_for_and_is_not_here(wanted: Wanted, reason: str, says: str) -> None:
    with pytest.raises(InvalidSpec, match=says) as refused:
        place(wanted, SOURCE, offered(NVME, SSD))
    assert refused.value.reason == reason


def test_a_message_stays_short() -> None:
    many = [VolumeTypeFacts(f"id-{n}", f"type-{n}") for n in range(1000)]
    with pytest.raises(InvalidSpec, match="and 970 more"):
        place(Wanted("gold"), SOURCE, Offered(many, []))
