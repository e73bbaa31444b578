"""Debian packages: only those that are missing, and nothing that they bring is started."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Iterable, List

from tests.rig.part import Part

if TYPE_CHECKING:
    from tests.rig.rig import Rig

ALWAYS = ("openssl", "curl", "qemu-utils", "mariadb-server", "rabbitmq-server")
CEPH = ("ceph-mon", "ceph-mgr", "ceph-osd", "ceph-common", "radosgw", "python3-rbd")

# A package's scripts start its service unless this file says no. An image may ship its own: that
# one stays. The second line tells ours, also one that a killed `up` has left behind.
POLICY_FILE = Path("/usr/sbin/policy-rc.d")
POLICY = "#!/bin/sh\n# made by cinderbank's test rig while it installs packages\nexit 101\n"

_install_lock = threading.Lock()


class InstallFailed(Exception):
    """apt-get could not install a package; the message ends with what it said."""


def missing(packages: Iterable[str]) -> List[str]:
    """Those of the packages that are not installed."""
    wanted = list(packages)
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *wanted]
    try:
        said = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except FileNotFoundError:
        return wanted
    installed = {line.split()[0] for line in said.stdout.splitlines() if line.endswith("installed")}
    return [package for package in wanted if package not in installed]


def ensure(rig: Rig, packages: Iterable[str]) -> None:
    """Installs what is missing of the packages; raises InstallFailed with the way out."""
    wanted = list(packages)
    with _install_lock:
        lacking = missing(wanted)
        if not lacking:
            return
        rig.say(f"installing Debian packages: {' '.join(lacking)}")
        log = rig.log("apt")
        log.parent.mkdir(parents=True, exist_ok=True)
        made = _forbid_starts()
        try:
            _apt_get(log, "update", "-qq", timeout_seconds=300)
            _apt_get(
                log, "install", "-y", "-qq", "--no-install-recommends", *lacking,
                timeout_seconds=1200,
            )  # fmt: skip
        finally:
            if made:
                POLICY_FILE.unlink(missing_ok=True)


def _forbid_starts() -> bool:
    """Makes the policy file unless there is one; True when the one there is ours."""
    if POLICY_FILE.exists():
        return POLICY_FILE.read_text(errors="replace") == POLICY
    aside = POLICY_FILE.with_name("policy-rc.d.cinderbank")
    aside.write_text(POLICY)
    aside.chmod(0o755)
    os.rename(aside, POLICY_FILE)
    return True


def _apt_get(log: Path, command: str, *words: str, timeout_seconds: float) -> None:
    # Lock::Timeout: another apt on this machine is waited for instead of failing at once.
    options = ("-o", "DPkg::Lock::Timeout=300", "-o", "APT::Update::Error-Mode=any")
    with open(log, "ab") as output:
        done = subprocess.run(
            ["apt-get", *options, command, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            timeout=timeout_seconds,
        )
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise InstallFailed(f"apt-get {command} failed (all of it: {log})\n{last}")


def prepare_packages(rig: Rig) -> None:
    """All packages; without Ceph's the rig goes on with NFS at both sites."""
    ensure(rig, ALWAYS)
    if "rbd" in [rig.backend(site) for site in ("a", "b")]:
        try:
            ensure(rig, CEPH)
        except InstallFailed as error:
            if rig.backends_kept:
                raise
            rig.say(f"Ceph cannot be installed, both sites get NFS instead. {error}")
            rig.keep_backends({"a": "nfs", "b": "nfs"})
            return
    if not rig.backends_kept:
        rig.keep_backends({site: rig.backend(site) for site in ("a", "b")})


def announce(rig: Rig) -> List[str]:
    wanted = ALWAYS + (CEPH if "rbd" in [rig.backend(s) for s in ("a", "b")] else ())
    lacking = missing(wanted)
    return [f"Debian packages, 1 minute: {' '.join(lacking)}"] if lacking else []


def part() -> Part:
    """Named `packages`: parts that run programs from Debian need it."""
    return Part("packages", before_start=prepare_packages, announce=announce)
