"""The rig's ports, by name, in a block that two clones on one machine do not share."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

from tests.rig.processes import Process, command_line

# Position in the block. Append, never reorder: a rig that is up keeps its block's numbers.
NAMES = (
    "mariadb",
    "rabbitmq",
    "rabbitmq-distribution",
    "rabbitmq-epmd",
    "ceph-mon-v2",
    "ceph-mon-v1",
    "ceph-radosgw",
    "site-a.keystone",
    "site-a.glance",
    "site-a.cinder",
    "site-b.keystone",
    "site-b.glance",
    "site-b.cinder",
    "cluster-a.etcd-client",
    "cluster-a.etcd-peer",
    "cluster-a.kube-apiserver",
    "cluster-a.kube-controller-manager",
    "cluster-b.etcd-client",
    "cluster-b.etcd-peer",
    "cluster-b.kube-apiserver",
    "cluster-b.kube-controller-manager",
    "minio",
    "minio-console",
    "seaweedfs-master",
    "seaweedfs-volume",
    "seaweedfs-filer",
    "seaweedfs-s3",
    "seaweedfs-master-grpc",
    "seaweedfs-volume-grpc",
    "seaweedfs-filer-grpc",
    "ceph-osd-first",  # an OSD and a manager take what they like of ceph-osd-first..ceph-osd-last
    "ceph-osd-1",
    "ceph-osd-2",
    "ceph-osd-3",
    "ceph-osd-4",
    "ceph-osd-5",
    "ceph-osd-6",
    "ceph-osd-7",
    "ceph-osd-8",
    "ceph-osd-9",
    "ceph-osd-10",
    "ceph-osd-last",
    "csi-a.provisioner",
    "csi-b.provisioner",
    "site-a.barbican",
    "site-b.barbican",
)

# Below 32768, where Linux hands out ports to outgoing connections.
FIRST_PORT = 15000
BLOCK_PORTS = 100
BLOCKS = 170


class PortTaken(Exception):
    """A port of the rig is held by a process that is not the rig's."""


class Ports:
    """Looks a port up by name: `ports["site-a.keystone"]`."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __getitem__(self, name: str) -> int:
        return self.first + NAMES.index(name)

    def as_dict(self) -> dict[str, int]:
        return {name: self[name] for name in NAMES}


def load(state: Path) -> Ports | None:
    """The block this rig has chosen, None before its first `up`."""
    try:
        return Ports(json.loads((state / "ports.json").read_text())["first"])
    except FileNotFoundError:
        return None


def choose(state: Path) -> Ports:
    """The block of this rig: the one chosen earlier, else a free one, which is then kept.

    The search starts at a place that follows from the clone's path, so that two clones that are
    both down do not choose the same block.
    """
    chosen = load(state)
    if chosen is not None:
        return chosen
    start = zlib.crc32(str(state).encode()) % BLOCKS
    taken = set(listeners())
    for step in range(BLOCKS):
        ports = Ports(FIRST_PORT + (start + step) % BLOCKS * BLOCK_PORTS)
        if not taken.intersection(range(ports.first, ports.first + BLOCK_PORTS)):
            _save(state, ports)
            return ports
    raise PortTaken(
        f"no free block of {BLOCK_PORTS} ports in {FIRST_PORT}..{FIRST_PORT + BLOCKS * BLOCK_PORTS}"
    )


def _save(state: Path, ports: Ports) -> None:
    state.mkdir(parents=True, exist_ok=True)
    aside = state / "ports.json.new"
    aside.write_text(json.dumps({"first": ports.first, "ports": ports.as_dict()}, indent=1) + "\n")
    os.replace(aside, state / "ports.json")


def refuse_taken(ports: Iterable[int]) -> None:
    """Raises PortTaken with pid and command line of the holder when one of `ports` is listened on.

    Meant for the moment before a process of ours is started: whoever listens then is not ours.
    """
    wanted = set(ports)
    listening = listeners() if wanted else {}
    for port in sorted(wanted & set(listening)):
        raise PortTaken(f"port {port} is taken by {holder(listening[port])}")


def listeners() -> dict[int, str]:
    """Every TCP port that is listened on, with the inode of its socket."""
    found: dict[int, str] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            if columns[3] == "0A":  # TCP_LISTEN
                found[int(columns[1].rsplit(":", 1)[1], 16)] = columns[9]
    return found


def holder(inode: str) -> str:
    """Names the process that has the socket `inode` open."""
    link = f"socket:[{inode}]"
    for process in Process.all():
        try:
            for descriptor in os.scandir(f"/proc/{process.pid}/fd"):
                if os.readlink(descriptor.path) == link:
                    return f"process {process.pid}: {command_line(process.pid)}"
        except OSError:
            continue
    return "a process that cannot be seen from here (another user's, or another container's)"
