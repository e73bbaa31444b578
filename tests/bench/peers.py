"""Part `peers`: the whole job against cinder-backup, same volumes, same S3 server, turn by turn.

Ours comes twice: where Glance keeps its images in files, and where it has them on the Ceph of the volumes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.by_hand_job import ByHandJob
from tests.bench.cinder_backup_job import CinderBackupJob
from tests.bench.cinderbank_job import CinderbankJob
from tests.bench.ground import SITE, running_operator
from tests.bench.measurement import Measurement
from tests.bench.names import (
    BY_HAND_ON_CEPH,
    FULL,
    INCREMENTAL,
    OWN_ON_CEPH,
    RESTORE,
    USED_PERCENT,
)
from tests.rig.openstack.cinder_backup import COMPRESSIONS
from tests.rig.openstack.images_on_ceph import empty_trash, images_on_ceph, parent_of
from tests.stage.cloud import MIB, Content
from tests.stage.site import Site, Stage

Job = CinderbankJob | CinderBackupJob

SEED = 7
SIZES_GIB = {"sparse": 4, "half": 2, "full": 2}
COMPARED = ("sparse", "full")
"""What the first round restores of these is compared with the source: the one travels as qcow2, the other raw."""


def content(size_gib: int, used_percent: int, seed: int = SEED) -> Content:
    """Random, incompressible data in pieces of 1 MiB, scattered; always the same."""
    return Content(size_gib, size_gib * 1024 * used_percent // 100, seed)


def run(bench: Bench, stage: Stage) -> None:
    site = stage.site(SITE)
    quick = bench.options.quick
    on_ceph = partial(_on_ceph, bench, site)
    volumes: dict[str, str] = {}
    sizes_gib = {"sparse": 1, "full": 1} if quick else SIZES_GIB
    try:
        for case, size_gib in sizes_gib.items():
            percent = USED_PERCENT[case]
            bench.say(f"making volume {case}: {size_gib} GiB, {percent} % of it used")
            volumes[case] = site.cloud.make_volume(f"bench-{case}", content(size_gib, percent))
        with running_operator(site) as operator:
            bench.say("a backup and a restore that are not measured")
            CinderbankJob(site, operator).warm_up(volumes["full"])
            peers = [CinderBackupJob(site, compression) for compression in COMPRESSIONS]
            for peer in peers:
                bench.say(f"waiting until Cinder knows {peer.tool}")
                peer.warm_up(volumes["sparse"])
            sha256 = {case: site.volume_sha256(volumes[case]) for case in COMPARED}
            jobs: list[Job] = [
                CinderbankJob(site, operator),
                CinderbankJob(site, operator, OWN_ON_CEPH, on_ceph),
                *peers,
            ]
            by_hand = [ByHandJob(site), ByHandJob(site, BY_HAND_ON_CEPH, on_ceph)]
            for turn in range(bench.options.rounds):
                for case, volume_id in volumes.items():
                    expected = sha256.get(case, "") if turn == 0 else ""
                    for job in jobs[turn % len(jobs) :] + jobs[: turn % len(jobs)]:
                        about = _about(job, case, turn, sizes_gib[case])
                        _turn(bench, site, job, about, volume_id, expected)
                    for hand in by_hand:
                        about = _about(hand, case, turn, sizes_gib[case])
                        _by_hand(bench, site, hand, about, expected)
    finally:
        for volume_id in volumes.values():
            bench.tidy(partial(site.cloud.delete_volume, volume_id))


@contextmanager
def _on_ceph(bench: Bench, site: Site) -> Iterator[None]:
    """Inside, Glance keeps images on the Ceph of the volumes. At both ends it is restarted and warmed up."""
    rig_site = site.stage.rig.site(site.letter)
    with images_on_ceph(rig_site, clone_format=2):
        _warm_up(site)
        try:
            yield
        finally:
            bench.tidy(partial(empty_trash, rig_site))
    _warm_up(site)


def _warm_up(site: Site) -> None:
    """The first upload after a start of Glance is not to be one that is measured."""
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        file.write(bytes(MIB))
        file.flush()
        image = site.cloud.make_image("bench-warm-up", Path(file.name), "raw")
    site.cloud.connection.image.delete_image(image)


def _about(job: Job | ByHandJob, case: str, turn: int, size_gib: int) -> Measurement:
    used_gib = size_gib * USED_PERCENT[case] / 100
    return Measurement("", job.tool, case, turn, size_gib=size_gib, used_gib=used_gib)


def _turn(
    bench: Bench, site: Site, job: Job, about: Measurement, volume_id: str, sha256: str
) -> None:
    """One tool with one volume: full backup, another one, restore. A failure ends the turn alone."""
    bench.calibrate()
    try:
        job.begin(volume_id)
    except Exception as error:
        bench.failed(_as(about, FULL), error)
        return
    try:
        if not bench.measure(_as(about, FULL), job.full, job.watch()):
            return
        bench.measure(_as(about, INCREMENTAL), job.incremental, job.watch())
        if bench.measure(_as(about, RESTORE), job.restore, job.watch()):
            _check(bench, site, job, about, sha256)
    finally:
        bench.tidy(job.end)


def _by_hand(bench: Bench, site: Site, job: ByHandJob, about: Measurement, sha256: str) -> None:
    """The restore alone. A failure ends the turn alone."""
    bench.calibrate()
    size_gib = int(about.size_gib or 0)
    try:
        job.begin(content(size_gib, USED_PERCENT[about.case]))
    except Exception as error:
        bench.failed(_as(about, RESTORE), error)
        return
    try:
        if bench.measure(_as(about, RESTORE), job.restore, job.watch()):
            _check(bench, site, job, about, sha256)
    finally:
        bench.tidy(job.end)


def _check(bench: Bench, site: Site, job: Job | ByHandJob, about: Measurement, sha256: str) -> None:
    """Whether the restored volume has that SHA-256, and is the clone that the report calls it.

    ValueError when not, which ends the part; nothing is looked at without a SHA-256.
    """
    if not sha256:
        return
    if site.volume_sha256(job.restored_volume) != sha256:
        raise ValueError(f"{job.tool} restored other bytes: no time of it means anything")
    parent = parent_of(site.stage.rig.site(site.letter), job.restored_volume)
    bench.say(f"{job.tool}: the restored volume is the same, cloned from {parent or 'nothing'}")
    raw_on_ceph = job.tool in (OWN_ON_CEPH, BY_HAND_ON_CEPH) and about.case == "full"
    if bool(parent) != raw_on_ceph:
        raise ValueError(
            f"{job.tool}, {about.case}: cloned from {parent or 'nothing'}, which the report denies"
        )


def _as(about: Measurement, action: str) -> Measurement:
    return replace(about, action=action)
