"""Reads and writes volumes straight at the back end: what a test compares a restored volume with."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.openstack import ceph, installation

if TYPE_CHECKING:
    from tests.rig.openstack.site import Site

BLOCK_BYTES = 4 * 1024**2
BY_TURNS = Path(__file__).with_name("writes_by_turns.py")


class VolumeUnreadable(Exception):
    """The back end does not have the volume, or could not read or write it."""


def blocks(site: Site, volume_id: str) -> Iterator[bytes]:
    """The volume's bytes in order. An encrypted volume's are the encrypted ones."""
    if _is_on_rbd(site, volume_id):
        return _rbd(site, volume_id)
    return _file(nfs_file(site, volume_id))


def sha256(site: Site, volume_id: str) -> str:
    digest = hashlib.sha256()
    for block in blocks(site, volume_id):
        digest.update(block)
    return digest.hexdigest()


def write(site: Site, volume_id: str, pieces: Mapping[int, bytes]) -> None:
    """Writes bytes at offsets into a volume that nobody uses, past Cinder."""
    if _is_on_rbd(site, volume_id):
        _write_rbd(site, volume_id, pieces)
        return
    with open(nfs_file(site, volume_id), "r+b") as file:
        for offset, data in pieces.items():
            file.seek(offset)
            file.write(data)


def _is_on_rbd(site: Site, volume_id: str) -> bool:
    """So are the encrypted volumes of an NFS site (barbican.py)."""
    if site.backend == "rbd":
        return True
    return site.encrypted_volumes.exists() and not _nfs_path(site, volume_id).exists()


def _nfs_path(site: Site, volume_id: str) -> Path:
    return site.folder / "export" / f"volume-{volume_id}"


@contextmanager
def writing_by_turns(site: Site, volume_ids: list[str]) -> Iterator[None]:
    """While inside, a process writes 1 into the first volume, 1 into the second, 2 into the first, ...: 8
    bytes each, big endian, at offset 0. Of volumes on RBD; it has begun when this does."""
    images = [f"volume-{each}" for each in volume_ids]
    python = installation.folder(site.rig) / "bin" / "python"
    settings, pool = str(ceph.settings(site.rig)), ceph.pool(site.letter)
    command = [str(python), str(BY_TURNS), settings, pool, *images]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            if said != "writing\n":
                raise VolumeUnreadable(f"{BY_TURNS.name} says {said!r}")
            yield
        finally:
            process.kill()


def nfs_file(site: Site, volume_id: str) -> Path:
    """The raw file of a volume of an NFS site, in the folder that the site's share is."""
    path = _nfs_path(site, volume_id)
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


def _write_rbd(site: Site, volume_id: str, pieces: Mapping[int, bytes]) -> None:
    """As a diff of Ceph's own format 1 (doc/dev/rbd-diff): header, size, writes, end."""
    image = f"{ceph.pool(site.letter)}/volume-{volume_id}"
    size_bytes = json.loads(_run_rbd(site, "info", "--format", "json", image))["size"]
    diff = [b"rbd diff v1\n", b"s", struct.pack("<Q", size_bytes)]
    for offset, data in sorted(pieces.items()):
        diff += [b"w", struct.pack("<QQ", offset, len(data)), data]
    _run_rbd(site, "import-diff", "--no-progress", "-", image, stdin=b"".join([*diff, b"e"]))


def _run_rbd(site: Site, *words: str, stdin: bytes = b"") -> bytes:
    command = ["rbd", "--conf", str(ceph.settings(site.rig)), *words]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise VolumeUnreadable(f"{' '.join(words)}: {said[-500:]}")
    return done.stdout
