"""Debian packages: only those that are missing, and nothing that they bring is started."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.locks import exclusive
from tests.rig.part import Part

if TYPE_CHECKING:
    from tests.rig.rig import Rig

ALWAYS = ("openssl", "curl", "qemu-utils", "mariadb-server", "rabbitmq-server")
CEPH = ("ceph-mon", "ceph-mgr", "ceph-osd", "ceph-common", "radosgw", "python3-rbd")

# A package's scripts start its service unless this file says no. An image may ship its own: that
# one stays. The second line tells ours, also one that a killed `up` has left behind.
POLICY_FILE = Path("/usr/sbin/policy-rc.d")
POLICY = "#!/bin/sh\n# made by cinderbank's test rig while it installs packages\nexit 101\n"


_turn = threading.Lock()


class InstallFailed(Exception):
    """apt-get could not install a package; the message ends with what it said."""


def missing(packages: Iterable[str]) -> list[str]:
    """Those of the packages that are not installed."""
    wanted = list(packages)
    if not wanted:
        return []  # dpkg-query would list all there are
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *wanted]
    try:
        said = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except FileNotFoundError:
        return wanted
    states = dict(line.split() for line in said.stdout.splitlines())
    return [package for package in wanted if states.get(package) != "installed"]


def for_venv() -> tuple[str, ...]:
    """What Debian splits off of its Python and a virtual environment needs."""
    debians_own = sys.base_prefix == "/usr"
    return ("python3-venv",) if debians_own and find_spec("ensurepip") is None else ()


def ensure(rig: Rig, packages: Iterable[str]) -> None:
    """Installs what is missing of the packages; raises InstallFailed with the way out."""
    wanted = list(packages)
    if not missing(wanted) and not _policy_is_ours():
        return
    # The file lock is apt-get's too, so that one that outlives a killed `up` is waited for. The
    # other one is for our threads, of which one waiting for the other is nothing to speak of.
    with _turn, exclusive(rig.cache / "apt.lock", "Debian packages", rig.say) as lock:
        lacking = missing(wanted)
        made = _policy_is_ours()
        try:
            if lacking:
                made = made or _forbid_starts()
                _install(rig, lacking, lock)
        finally:
            if made:
                POLICY_FILE.unlink(missing_ok=True)


def _policy_is_ours() -> bool:
    return POLICY_FILE.exists() and POLICY_FILE.read_text(errors="replace") == POLICY


def _install(rig: Rig, packages: list[str], lock: int) -> None:
    rig.say(f"installing Debian packages: {' '.join(packages)}")
    log = rig.log("apt")
    log.parent.mkdir(parents=True, exist_ok=True)
    # Ends what a killed installation has begun; nothing at all on a sound machine.
    _logged(log, lock, ["dpkg", "--configure", "-a"], timeout_seconds=600)
    # Lock::Timeout: another apt on this machine is waited for instead of failing at once.
    options = ("-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Update::Error-Mode=any")
    _logged(log, lock, ["apt-get", *options, "update"], timeout_seconds=300)
    install = ["install", "--yes", "--no-install-recommends", *packages]
    _logged(log, lock, ["apt-get", *options, *install], timeout_seconds=1200)


def _forbid_starts() -> bool:
    """Makes the policy file unless there is one; whether it was made."""
    if POLICY_FILE.exists():
        return False
    aside = POLICY_FILE.with_name("policy-rc.d.cinderbank")
    aside.write_text(POLICY)
    aside.chmod(0o755)
    aside.rename(POLICY_FILE)
    return True


def _logged(log: Path, lock: int, command: list[str], timeout_seconds: float) -> None:
    with open(log, "ab") as output:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            pass_fds=(lock,),
            timeout=timeout_seconds,
        )
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise InstallFailed(f"{' '.join(command[:2])} failed (all of it: {log})\n{last}")


def prepare_venv(rig: Rig) -> None:
    """The small package that others wait for comes before the large ones."""
    ensure(rig, for_venv())


def prepare_packages(rig: Rig) -> None:
    """All packages; where Ceph's cannot be had, the rig goes on with NFS at both sites."""
    ensure(rig, ALWAYS)
    wanted = {site: rig.backend(site) for site in ("a", "b")}
    if "rbd" in wanted.values():
        try:
            ensure(rig, CEPH)
        except InstallFailed as error:
            if rig.backends_kept:
                raise
            rig.say(f"Ceph cannot be installed, both sites get NFS instead. {error}")
            wanted = dict.fromkeys(wanted, "nfs")
    if not rig.backends_kept:
        rig.keep_backends(wanted)


def announce(rig: Rig) -> list[str]:
    wanted = ALWAYS + (CEPH if "rbd" in [rig.backend(s) for s in ("a", "b")] else ())
    lacking = missing([*for_venv(), *wanted])
    return [f"Debian packages, 1 minute: {' '.join(lacking)}"] if lacking else []


def part() -> Part:
    """Named `packages`: parts that run programs from Debian need it."""
    return Part("packages", prepare=prepare_venv, before_start=prepare_packages, announce=announce)
