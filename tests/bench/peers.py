"""Part `peers`: the whole job against cinder-backup, same volumes, same S3 server, turn by turn."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tests.bench.bench import Bench
from tests.bench.by_hand_job import ByHandJob
from tests.bench.cinder_backup_job import CinderBackupJob
from tests.bench.cinderbank_job import CinderbankJob
from tests.bench.ground import SITE, running_operator
from tests.bench.measurement import Measurement
from tests.bench.names import FULL, INCREMENTAL, RESTORE, USED_PERCENT
from tests.rig.openstack.cinder_backup import COMPRESSIONS
from tests.stage.cloud import Content
from tests.stage.site import Site, Stage

Job = CinderbankJob | CinderBackupJob

SEED = 7
SIZES_GIB = {"sparse": 4, "half": 2, "full": 2}


def content(size_gib: int, used_percent: int, seed: int = SEED) -> Content:
    """Random, incompressible data in pieces of 1 MiB, scattered; always the same."""
    return Content(size_gib, size_gib * 1024 * used_percent // 100, seed)


def run(bench: Bench, stage: Stage) -> None:
    site = stage.site(SITE)
    quick = bench.options.quick
    volumes: dict[str, str] = {}
    sizes_gib = {"sparse": 1, "full": 1} if quick else SIZES_GIB
    try:
        for case, size_gib in sizes_gib.items():
            percent = USED_PERCENT[case]
            bench.say(f"making volume {case}: {size_gib} GiB, {percent} % of it used")
            volumes[case] = site.cloud.make_volume(f"bench-{case}", content(size_gib, percent))
        with running_operator(site) as operator:
            peers = [CinderBackupJob(site, compression) for compression in COMPRESSIONS]
            for peer in peers:
                bench.say(f"waiting until Cinder knows {peer.tool}")
                peer.warm_up(volumes["sparse"])
            sha256 = site.volume_sha256(volumes["sparse"])
            jobs: list[Job] = [CinderbankJob(site, operator), *peers]
            for turn in range(bench.options.rounds):
                for case, volume_id in volumes.items():
                    for job in jobs[turn % len(jobs) :] + jobs[: turn % len(jobs)]:
                        bench.calibrate()
                        about = _about(job, case, turn, sizes_gib[case])
                        expected = sha256 if turn == 0 and case == "sparse" else None
                        _turn(bench, site, job, about, volume_id, expected)
                    _by_hand(bench, site, case, turn, sizes_gib[case], sha256)
    finally:
        for volume_id in volumes.values():
            bench.tidy(partial(site.cloud.delete_volume, volume_id))


def _by_hand(bench: Bench, site: Site, case: str, turn: int, size_gib: int, sha256: str) -> None:
    job = ByHandJob(site)
    about = _about(job, case, turn, size_gib)
    bench.calibrate()
    try:
        job.begin(content(size_gib, USED_PERCENT[case]))
        restored = bench.measure(_as(about, RESTORE), job.restore, job.watch())
        if restored and case == "sparse" and site.volume_sha256(job.restored_volume) != sha256:
            raise ValueError("what goes by hand is another content: no time of it means anything")
    finally:
        bench.tidy(job.end)


def _about(job: Job | ByHandJob, case: str, turn: int, size_gib: int) -> Measurement:
    used_gib = size_gib * USED_PERCENT[case] / 100
    return Measurement("", job.tool, case, turn, size_gib=size_gib, used_gib=used_gib)


def _turn(
    bench: Bench, site: Site, job: Job, about: Measurement, volume_id: str, sha256: str | None
) -> None:
    """One tool with one volume: full backup, another one, restore; is it what has that SHA-256?

    A failure ends the turn alone.
    """
    try:
        job.begin(volume_id)
    except Exception as error:
        bench.failed(_as(about, FULL), error)
        return
    try:
        if not bench.measure(_as(about, FULL), job.full, job.watch()):
            return
        bench.measure(_as(about, INCREMENTAL), job.incremental, job.watch())
        if bench.measure(_as(about, RESTORE), job.restore, job.watch()) and sha256:
            same = site.volume_sha256(job.restored_volume) == sha256
            bench.say(f"{job.tool}: the restored volume is {'the same' if same else 'ANOTHER ONE'}")
            if not same:
                raise ValueError(f"{job.tool} restored other bytes: no time of it means anything")
    finally:
        bench.tidy(job.end)


def _as(about: Measurement, action: str) -> Measurement:
    return replace(about, action=action)
