"""Barbican at both sites, and an encrypted volume type at each: volumes whose keys it holds.

An optional part: the tests that need it bring it up (`up(only=("barbican",))`), beside a rig that is
up. The sites' Cinder and Glance name it in their settings always, and ask it only for encrypted volumes.
What it needs beside requirements.lock has a folder of its own, as cinder-backup's.

Cinder's NFS driver encrypts inside a qcow2 file, and LUKS of a block device fits nowhere there: a site
on NFS gets RBD as its second back end for the encrypted type.

Measured here, Cinder 29, Glance 33, Barbican 23, castellan 5.8, application credentials:
- Only `raw` is taken by os-volume_upload_image of an encrypted volume; any other format is a 400.
- The image of a volume that was made empty on RBD is 2,068,480 bytes longer than the volume (the LUKS1
  header). Cinder makes a volume of it only with the next GiB: `Size of specified image 2GB is larger`.
  One that was made of an image has its exact size.
- The image, the clone of the snapshot and a volume made of an image each get a key of their own with the
  same payload (32 bytes; the passphrase is its hex text). Cinder clones algorithm, bit length, payload and
  name; the secret's `mode` is lost.
- Deleting the image does not delete its key when the token is of an application credential, whatever
  cinder_encryption_key_deletion_policy says: castellan asks Keystone for another token with that one, and
  gets a 403. With a password it does.
- A volume made of such an image with a type without encryption goes into error, with no user message.
- GET /volumes/{id}/encryption tells a project's member provider, cipher, key_size and key id; the
  encryption of a volume type is for administrators only (403).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.commands import run
from tests.rig.locks import exclusive
from tests.rig.openstack import databases, installation, seed
from tests.rig.openstack.services import READY_TIMEOUT_SECONDS, service_environment
from tests.rig.part import Part
from tests.rig.service import Service

if TYPE_CHECKING:
    from tests.rig.openstack.site import Site
    from tests.rig.rig import Rig

NAME = "barbican"
DRIVERS = Path(__file__).with_name("drivers")
LOCK_FILE = Path(__file__).with_name("barbican.lock")


def prepare(rig: Rig) -> None:
    """Barbican into the cache, unless it is there."""
    folder = _modules(rig)
    with exclusive(folder.with_name(f"{folder.name}.lock"), "Barbican", rig.say):
        if (folder / ".complete").exists():
            return
        rig.say("installing Barbican from PyPI (once per machine)")
        found = installation.find_python()
        assert found is not None, "preflight has looked for it"
        run(
            installation.uv(rig), "pip", "install", "--quiet", "--compile-bytecode", "--no-deps",
            "--python", found[0], "--target", folder, "--requirement", LOCK_FILE,
            timeout_seconds=300,
        )  # fmt: skip
        (folder / ".complete").touch()


def announce(rig: Rig) -> list[str]:
    folder = _modules(rig)
    return [] if (folder / ".complete").exists() else [f"Barbican from PyPI, into {folder}"]


def services(rig: Rig) -> list[Service]:
    return [_service(site) for site in rig.sites]


def before_start(rig: Rig) -> None:
    for site in rig.sites:
        # Not `make_empty` by itself: a second `up` must find the secrets of the first.
        databases.sql(rig, f"create database if not exists {NAME}_{site.letter}")
        site.render_settings()


def after_start(rig: Rig) -> None:
    """The encrypted type at both sites."""
    for site in rig.sites:
        if not site.encrypted_volumes.exists():
            site.encrypted_volumes.touch()
            if site.backend != "rbd":
                site.render_settings()
                site.restart("cinder")
        seed.volume_types(site)


def part() -> Part:
    return Part(
        NAME,
        needs=("site-a", "site-b"),
        services=services,
        prepare=prepare,
        before_start=before_start,
        after_start=after_start,
        announce=announce,
        optional=True,
    )


def _service(site: Site) -> Service:
    name = f"{site.name}.{NAME}"
    environment = service_environment(site)
    modules = _modules(site.rig)
    return Service(
        name=name,
        argv=(str(installation.folder(site.rig) / "bin" / "gunicorn"),),
        cwd=site.folder,
        log=site.rig.log(name),
        env={
            **environment,
            "PYTHONPATH": os.pathsep.join([environment["PYTHONPATH"], str(modules)]),
            "GUNICORN_CMD_ARGS": f"--config {DRIVERS / 'gunicorn_settings.py'}",
            "RIG_APPLICATION": "rig_barbican:application",
            "RIG_BIND": f"127.0.0.1:{site.port(NAME)}",
            "RIG_THREADS": "4",
            "RIG_PASTE": str(modules / "etc" / "barbican" / "barbican-api-paste.ini"),
            # oslo.config looks for barbican.conf in these places alone: Barbican passes on no file.
            "HOME": str(site.folder / "etc"),
        },
        ports=(site.port(NAME),),
        ready=lambda: site.answers(f"{site.key_manager_url}/", 200, 300),
        ready_timeout_seconds=READY_TIMEOUT_SECONDS,
    )


def _modules(rig: Rig) -> Path:
    made_of = LOCK_FILE.read_bytes() + repr(installation.find_python()).encode()
    return rig.cache / NAME / hashlib.sha256(made_of).hexdigest()[:16]
