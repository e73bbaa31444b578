"""A mount namespace of the rig's own, in which /etc/ceph and mount.nfs are ours.

Cinder's RBD and NFS drivers take these two from fixed places. In here they are the rig's; outside
of it the machine keeps its own, and the NFS mounts that Cinder makes are not seen either.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.part import Part
from tests.rig.service import Service

if TYPE_CHECKING:
    from tests.rig.rig import Rig

NAME = "namespace"

# What Cinder's NFS driver calls through mount(8). There is no NFS server: HOST:/EXPORT is a folder
# of this machine, so "mounting" it is a bind mount. -i keeps mount(8) from calling us again.
MOUNT_NFS = """#!/bin/sh
# mount.nfs HOST:/EXPORT FOLDER [options]
[ -n "$2" ] || { echo "usage: mount.nfs HOST:/EXPORT FOLDER" >&2; exit 1; }
export_folder=${1#*:}
[ -d "$export_folder" ] || { echo "mount.nfs: $1: no such export" >&2; exit 32; }
exec mount -i --bind "$export_folder" "$2"
"""

# The upper layer lies on a tmpfs: an overlay on the clone's own file system fails where that one is
# itself an overlay, as in a container. `marker` tells that all mounts are made.
HOLD = """
set -e
mount -t tmpfs -o size=4m tmpfs "$1/layer"
mkdir "$1/layer/upper" "$1/layer/work"
cp "$1/mount.nfs" "$1/layer/upper/mount.nfs"
chmod 755 "$1/layer/upper/mount.nfs"
mount -t overlay -o "lowerdir=/usr/sbin,upperdir=$1/layer/upper,workdir=$1/layer/work" overlay \
    /usr/sbin
if [ -d /etc/ceph ]; then mount --bind "$1/etc-ceph" /etc/ceph; fi
touch "$1/layer/marker"
exec sleep infinity
"""


def folder(rig: Rig) -> Path:
    return rig.state / "namespace"


def etc_ceph(rig: Rig) -> Path:
    """What processes in the namespace see as /etc/ceph."""
    return folder(rig) / "etc-ceph"


def services(rig: Rig) -> list[Service]:
    def mounted() -> bool:
        pid = rig.supervisor.pid(NAME)
        return pid is not None and Path(f"/proc/{pid}/root{folder(rig)}/layer/marker").exists()

    unshare = ("unshare", "--mount", "--propagation", "private")
    return [
        Service(
            name=NAME,
            argv=(*unshare, "/bin/sh", "-c", HOLD, "hold", str(folder(rig))),
            cwd=folder(rig),
            log=rig.log(NAME),
            ready=mounted,
            ready_timeout_seconds=120,
            stop_timeout_seconds=2,
        )
    ]


def before_start(rig: Rig) -> None:
    for name in ("layer", "etc-ceph"):
        (folder(rig) / name).mkdir(parents=True, exist_ok=True)
    (folder(rig) / "mount.nfs").write_text(MOUNT_NFS)


def enter(rig: Rig) -> list[str]:
    """The words to put before a command so that it runs inside; starts the holder if need be."""
    rig.supervisor.start(NAME)
    rig.supervisor.wait_ready(NAME)
    return ["nsenter", "--mount", "--target", str(rig.supervisor.pid(NAME))]


def part() -> Part:
    """Needs the packages first: /etc/ceph must exist to be covered."""
    return Part(NAME, needs=("packages",), services=services, before_start=before_start)
