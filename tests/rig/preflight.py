"""Says what a command will do to this machine and what is missing, before anything is changed.

Standard library only, for any Python from 3.9 on.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from tests.rig import ports
from tests.rig.paths import CLONE, LONGEST_CLONE_PATH_CHARS, STATE, cache

NEEDED_DISK_GIB = 15
NEEDED_MEMORY_GIB = 6
MINIMUM_PYTHON = (3, 11)
CANNOT = 2
# Optional parts that a command brings up by itself.
OPTIONAL = {"bench": ("cinder-backup",), "test": ("csi",)}

# Problem, way out.
Problem = tuple[str, str]


def main(purpose: str) -> int:
    """Prints the plan; 0 when it can be carried out, 2 when not (with the way out of each)."""
    found = problems()
    if found:
        return refuse(found)
    announce(purpose)
    return 0


def refuse(found: list[Problem]) -> int:
    print("The test rig cannot come up on this machine:", file=sys.stderr)
    for problem, way_out in found:
        print(f"  - {problem}\n    {way_out}", file=sys.stderr)
    return CANNOT


def problems() -> list[Problem]:
    """What is in the way, all at once, so that nobody mends one thing after the other."""
    found = [*_machine(), *_room()]
    found = found or _python()
    # The rest is asked of modules that only a new enough Python can read.
    return found or _backends() or _names()


def announce(purpose: str) -> None:
    """What is going to be installed, started and used."""
    from tests.rig.rig import Rig
    from tests.rig.up import parts

    planned = Rig(STATE, ports.load(STATE) or ports.Ports(ports.FIRST_PORT), parts())
    wanted = [p for p in planned.parts if not p.optional or p.name in OPTIONAL.get(purpose, ())]
    lines = [line for part in wanted for line in part.announce(planned)]
    if purpose != "up" and not (CLONE / ".venv" / "ready").exists():
        lines.append(f"what cinderbank is built and tested with, from PyPI: {CLONE / '.venv'}")
    print(f"`{purpose}` uses the test rig in {STATE}.")
    if lines:
        print("It installs or builds first, once per machine:")
        for line in lines:
            print(f"  - {line}")
    else:
        print("All that it needs is installed.")
    if planned.is_up:
        print("The rig is up already.")
    print("OpenStack, Kubernetes and S3 run on loopback only, as processes of this machine.")
    print(f"It uses up to {NEEDED_MEMORY_GIB} GiB of memory and {NEEDED_DISK_GIB} GiB of disk.")
    print("`python3 -m tests.rig down` ends and removes it; packages and the cache stay.")


def _machine() -> list[Problem]:
    found: list[Problem] = []
    if sys.platform != "linux" or platform.machine() != "x86_64":
        found.append(
            (
                f"this is {sys.platform} on {platform.machine()}",
                "use Linux on x86_64: a virtual machine or container with Debian 12",
            )
        )
        return found
    release = _os_release()
    if "debian" not in release or 'version_id="12"' not in release:
        found.append(("this is not Debian 12", "use a virtual machine or container with Debian 12"))
    if os.geteuid() != 0:
        found.append(("you are not root", "run it as root (apt, mounts), best in a container"))
    elif subprocess.run(
        ["unshare", "--mount", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ).returncode:
        found.append(
            (
                "this container may not make a mount namespace",
                "start it with --privileged or --cap-add SYS_ADMIN",
            )
        )
    return found


def _os_release() -> str:
    try:
        return Path("/etc/os-release").read_text().lower()
    except OSError:
        return ""


def _room() -> list[Problem]:
    found: list[Problem] = []
    if len(str(CLONE)) > LONGEST_CLONE_PATH_CHARS:
        found.append(
            (
                f"the path {CLONE} is longer than {LONGEST_CLONE_PATH_CHARS} characters",
                "clone to a shorter one: addresses of Unix sockets are short",
            )
        )
    if set(str(CLONE)) & set(" \t\n'\"\\%"):
        found.append((f"the path {CLONE} holds blanks or quotes", "clone to a path without them"))
    free_gib = shutil.disk_usage(CLONE).free / 1024**3
    # A rig that has its things already needs no second time the room for them.
    if free_gib < NEEDED_DISK_GIB and not STATE.exists():
        found.append(
            (
                f"{free_gib:.0f} GiB of disk are free at {CLONE}",
                f"make room for {NEEDED_DISK_GIB} GiB (the cache is {cache()})",
            )
        )
    memory_gib = _available_memory_gib()
    if memory_gib < NEEDED_MEMORY_GIB and not STATE.exists():
        found.append(
            (
                f"{memory_gib:.1f} GiB of memory are available",
                f"the rig needs {NEEDED_MEMORY_GIB} GiB: end something, or use a larger machine",
            )
        )
    return found


def _available_memory_gib() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024**2
    return 0.0


def _python() -> list[Problem]:
    from tests.rig.openstack.installation import find_python

    found: list[Problem] = []
    if sys.version_info < MINIMUM_PYTHON:
        found.append(
            (
                f"{sys.executable} is Python {platform.python_version()}",
                "use 3.11 or newer: apt-get install python3, then /usr/bin/python3 -m tests.rig up",
            )
        )
    if find_python() is None:
        found.append(
            (
                "there is no Python 3.11, which Debian's Ceph modules are built for",
                "apt-get install python3.11",
            )
        )
    return found


def _names() -> list[Problem]:
    """Ports of a rig that has chosen its own, held by somebody else while the rig is not up."""
    chosen = ports.load(STATE)
    if chosen is None:
        return []
    from tests.rig.rig import Rig

    rig = Rig.open()
    found: list[Problem] = []
    for name in rig.supervisor.names:
        if not rig.supervisor.is_running(name):
            try:
                ports.refuse_taken(rig.supervisor[name].ports)
            except ports.PortTaken as error:
                found.append(
                    (
                        f"{name}: {error}",
                        "end that process, or choose other ports: python3 -m tests.rig down",
                    )
                )
    return found


def _backends() -> list[Problem]:
    from tests.rig.rig import SITES, wanted_backend

    found: list[Problem] = []
    for letter in SITES:
        try:
            wanted_backend(letter)
        except ValueError as error:
            found.append((str(error), "unset it or set it to one of these"))
    return found
