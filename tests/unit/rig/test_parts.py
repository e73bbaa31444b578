"""Which parts an `up` brings up."""

from __future__ import annotations

import pytest

from tests.rig.up import GROUPS, UpFailed, chosen, parts


def names(*only: str) -> set[str]:
    return {part.name for part in chosen(parts(), only)}


def test_what_is_optional_comes_only_when_it_is_named() -> None:
    assert "cinder-backup" not in names()
    assert names("peers") == {"cinder-backup"}
    assert names("cinder-backup", "s3") == {"cinder-backup", *GROUPS["s3"]}


def test_every_part_that_a_part_needs_is_there() -> None:
    every = {part.name for part in parts()}
    assert {name for part in parts() for name in part.needs} <= every


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(UpFailed, match="no part is called nonsense"):
        names("nonsense")
