"""cinder-backup with its S3 driver at site a, for `make bench`: what we are compared with.

An optional part: `up` brings it up only when it is named. There are two services, one for each
compression, and a backup chooses one by its availability zone. What the driver needs beside Cinder
(boto3) has a folder of its own, so that the environment of the sites is the same with and without.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig import s3
from tests.rig.commands import run
from tests.rig.locks import exclusive
from tests.rig.openstack import installation
from tests.rig.openstack.cinder_state import fresh_service
from tests.rig.openstack.services import READY_TIMEOUT_SECONDS, service_environment
from tests.rig.openstack.template import render
from tests.rig.part import Part
from tests.rig.service import Service

if TYPE_CHECKING:
    from tests.rig.openstack.site import Site
    from tests.rig.rig import Rig

NAME = "cinder-backup"
SITE = "a"
BUCKET = "cinder-backup"
COMPRESSIONS = ("zlib", "zstd")
"""zlib is Cinder's default; each is also the name of an availability zone of backups."""

LOCK_FILE = Path(__file__).with_name("cinder_backup.lock")


def service_name(compression: str) -> str:
    return f"site-{SITE}.{NAME}-{compression}"


def services(rig: Rig) -> list[Service]:
    return [_service(rig.site(SITE), compression) for compression in COMPRESSIONS]


def prepare(rig: Rig) -> None:
    """boto3 into the cache, unless it is there."""
    folder = _modules(rig)
    with exclusive(folder.with_name(f"{folder.name}.lock"), "boto3", rig.say):
        if (folder / ".complete").exists():
            return
        rig.say("installing boto3 for cinder-backup from PyPI (once per machine)")
        found = installation.find_python()
        assert found is not None, "preflight has looked for it"
        run(
            installation.uv(rig), "pip", "install", "--quiet", "--compile-bytecode", "--no-deps",
            "--python", found[0], "--target", folder, "--requirement", LOCK_FILE,
            timeout_seconds=300,
        )  # fmt: skip
        (folder / ".complete").touch()


def before_start(rig: Rig) -> None:
    store = s3.store(rig, s3.chosen())
    store.make_bucket(BUCKET)
    for compression in COMPRESSIONS:
        render(
            "cinder-backup.conf", _settings(rig.site(SITE), compression),
            SITE=SITE, COMPRESSION=compression, BUCKET=BUCKET, ENDPOINT=store.endpoint,
            ACCESS_KEY=store.keys.access_key, SECRET_KEY=store.keys.secret_key,
        )  # fmt: skip


def announce(rig: Rig) -> list[str]:
    folder = _modules(rig)
    return [] if (folder / ".complete").exists() else [f"boto3 from PyPI, into {folder}"]


def part() -> Part:
    return Part(
        NAME,
        needs=(f"site-{SITE}", "s3"),
        services=services,
        prepare=prepare,
        before_start=before_start,
        announce=announce,
        optional=True,
    )


def _service(site: Site, compression: str) -> Service:
    name = service_name(compression)
    environment = service_environment(site)
    modules = os.pathsep.join([environment["PYTHONPATH"], str(_modules(site.rig))])

    def ready() -> bool:
        began = site.rig.supervisor.started_at(name)
        host = f"rig-{SITE}-{compression}"
        return began is not None and fresh_service(site, NAME, began, host)

    return Service(
        name=name,
        argv=(
            str(installation.folder(site.rig) / "bin" / NAME),
            *("--config-file", str(site.settings("cinder"))),
            *("--config-file", str(_settings(site, compression))),
            *("--log-file", str(site.rig.log(f"{name}.app"))),
        ),
        cwd=site.folder,
        log=site.rig.log(name),
        env={**environment, "PYTHONPATH": modules},
        ready=ready,
        ready_timeout_seconds=READY_TIMEOUT_SECONDS,
        stop_timeout_seconds=5,
        in_namespace=True,
    )


def _settings(site: Site, compression: str) -> Path:
    return site.folder / "etc" / f"cinder-backup-{compression}.conf"


def _modules(rig: Rig) -> Path:
    made_of = LOCK_FILE.read_bytes() + repr(installation.find_python()).encode()
    return rig.cache / NAME / hashlib.sha256(made_of).hexdigest()[:16]
