"""Two operators in one bank at once; a bit of it here, 15 minutes in `make nightly PARTS=two-sites`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import Running, Scene
from tests.soak.two_sites import soak
from tests.stage.site import Stage

pytestmark = pytest.mark.timeout(0 if os.environ.get("CINDERBANK_NIGHTLY") else 2400)

SECONDS = float(os.environ.get("CINDERBANK_TWO_SITES_SECONDS", "20"))
SEED = int(os.environ.get("CINDERBANK_TWO_SITES_SEED", "1"))


def test_nothing_is_lost_and_nothing_of_the_other_is_touched(
    scene: Scene, a: Running, b: Running, stage: Stage, tmp_path: Path
) -> None:
    sites = {"a": (a.site, scene.at_a), "b": (b.site, scene.at_b)}
    soak(stage, sites, scene.prefix, tmp_path, seconds=SECONDS, seed=SEED)
