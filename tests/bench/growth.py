"""Part `growth`: what time follows, the size of a volume or what is used of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tests.bench.bench import Bench
from tests.bench.cinderbank_job import CinderbankJob
from tests.bench.ground import SITE, running_operator
from tests.bench.measurement import Measurement
from tests.bench.names import BY_SIZE, BY_USE, FULL, OWN, RESTORE
from tests.bench.peers import content
from tests.stage.site import Stage

SIZES_USED_PERCENT = 5
"""Of the volumes of different sizes."""


def volumes(quick: bool) -> list[tuple[str, int, int]]:
    """Which curve, size in GiB, percent used."""
    sizes, size, uses = ((1, 2), 1, (10, 100)) if quick else ((1, 2, 4, 8), 2, (10, 50, 100))
    return [
        *((BY_SIZE, size_gib, SIZES_USED_PERCENT) for size_gib in sizes),
        *((BY_USE, size, percent) for percent in uses),
    ]


def run(bench: Bench, stage: Stage) -> None:
    """Once each: the curve is what is looked at, not the point."""
    site = stage.site(SITE)
    with running_operator(site) as operator:
        for curve, size_gib, percent in volumes(bench.options.quick):
            bench.calibrate()
            case = f"{curve}: {size_gib} GiB, {percent} % used"
            bench.say(f"making a volume, {case}")
            used_gib = size_gib * percent / 100
            about = Measurement("", OWN, case, size_gib=size_gib, used_gib=used_gib)
            job = CinderbankJob(site, operator)
            volume_id = site.cloud.make_volume("bench-growth", content(size_gib, percent))
            try:
                job.begin(volume_id)
                try:
                    if bench.measure(replace(about, action=FULL), job.full, job.watch()):
                        bench.measure(replace(about, action=RESTORE), job.restore, job.watch())
                finally:
                    bench.tidy(job.end)
            finally:
                bench.tidy(partial(site.cloud.delete_volume, volume_id))
