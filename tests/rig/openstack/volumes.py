"""Reads volumes straight from the back end: what a test compares a restored volume with."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.openstack import ceph

if TYPE_CHECKING:
    from tests.rig.openstack.site import Site

BLOCK_BYTES = 4 * 1024**2


class VolumeUnreadable(Exception):
    """The back end does not have the volume, or could not read it."""


def blocks(site: Site, volume_id: str) -> Iterator[bytes]:
    """The volume's bytes in order. An encrypted volume's are the encrypted ones."""
    if site.backend == "rbd":
        return _rbd(site, volume_id)
    return _file(nfs_file(site, volume_id))


def sha256(site: Site, volume_id: str) -> str:
    digest = hashlib.sha256()
    for block in blocks(site, volume_id):
        digest.update(block)
    return digest.hexdigest()


def nfs_file(site: Site, volume_id: str) -> Path:
    """The raw file of a volume of an NFS site, in the folder that the site's share is."""
    path = site.folder / "export" / f"volume-{volume_id}"
    if not path.exists():
        raise VolumeUnreadable(f"{site.name} has no file {path}")
    return path


def _file(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as source:
        while block := source.read(BLOCK_BYTES):
            yield block


def _rbd(site: Site, volume_id: str) -> Iterator[bytes]:
    image = f"{ceph.pool(site.letter)}/volume-{volume_id}"
    command = [
        "rbd", "--conf", str(ceph.settings(site.rig)), "export", "--no-progress", image, "-",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as export:
        assert export.stdout is not None and export.stderr is not None
        try:
            while block := export.stdout.read(BLOCK_BYTES):
                yield block
        finally:
            export.stdout.close()
        if export.wait() != 0:
            said = export.stderr.read().decode(errors="replace").strip()
            raise VolumeUnreadable(f"{image}: {said[-500:]}")
