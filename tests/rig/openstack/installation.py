"""The Python environment with Keystone, Glance and Cinder, made once per machine and lock file."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig import apt, wheels
from tests.rig.commands import run
from tests.rig.locks import exclusive
from tests.rig.part import Environment, Part

if TYPE_CHECKING:
    from tests.rig.rig import Rig

LOCK_FILE = Path(__file__).with_name("requirements.lock")
UV_WHEEL = "uv==0.13.9"
# Debian 12 has its rbd and rados modules for this version only.
WANTED_PYTHON = "3.11"
DEBIAN_MODULES = Path("/usr/lib/python3/dist-packages")


class NoPython(Exception):
    """There is no interpreter of the version that Ceph's modules are built for."""


@lru_cache(maxsize=1)
def find_python() -> tuple[str, str] | None:
    """Path and full version of a Python 3.11; None when there is none."""
    ask = "import platform, sys; print(sys._base_executable, platform.python_version())"
    for name in ("python3.11", "/usr/bin/python3.11", "/usr/bin/python3", "python3"):
        try:
            # From `/`: pyenv's python would heed a .python-version of the folder it is called in.
            said = subprocess.run(
                [name, "-c", ask], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ).stdout.decode().split()  # fmt: skip
        except OSError:
            continue
        if len(said) == 2 and said[1].startswith(f"{WANTED_PYTHON}."):
            return said[0], said[1]
    return None


def key() -> str:
    """Names the environment by what it is made of: the pins and the interpreter."""
    found = find_python()
    if found is None:
        raise NoPython("no Python 3.11 found; install it: apt-get install python3.11")
    made_of = LOCK_FILE.read_bytes() + repr(found).encode()
    return hashlib.sha256(made_of).hexdigest()[:16]


def folder(rig: Rig) -> Path:
    """Where the environment of this rig is: chosen by its last `up`, whatever PATH says later."""
    chosen = _link(rig)
    return Path(os.readlink(chosen)) if chosen.is_symlink() else _newest(rig)


def _newest(rig: Rig) -> Path:
    return rig.cache / "openstack" / key()


def _link(rig: Rig) -> Path:
    return rig.state / "openstack-packages"


def program(rig: Rig, name: str) -> Path:
    """The path of a command of the environment."""
    return folder(rig) / "bin" / name


def prepare(rig: Rig) -> None:
    """Makes the environment unless it is there. A half made one has no mark and is made again.

    It cannot be made aside and renamed: its scripts name their interpreter by its full path.
    """
    where = _newest(rig)
    if not _complete(where).exists():
        _make(rig, where)
    _replace_link(_link(rig), where)
    _replace_link(rig.state / "bin" / "openstack", where / "bin" / "openstack")


def _make(rig: Rig, where: Path) -> None:
    with exclusive(where.with_name(f"{where.name}.lock"), "OpenStack's packages", rig.say):
        if _complete(where).exists():
            return
        began = time.monotonic()
        rig.say("installing Keystone, Glance and Cinder from PyPI (once per machine)")
        shutil.rmtree(where, ignore_errors=True)
        found = find_python()
        assert found is not None, "key() has looked for it"
        tool = uv(rig)
        run(tool, "venv", "--quiet", "--python", found[0], where)
        # Without --compile-bytecode every service compiles it all at its first start: 71 s not 21.
        run(
            tool, "pip", "install", "--quiet", "--compile-bytecode", "--no-deps",
            "--python", where / "bin" / "python", "--requirement", LOCK_FILE,
            timeout_seconds=900,
        )  # fmt: skip
        _complete(where).touch()
        rig.say(f"Keystone, Glance and Cinder are installed ({time.monotonic() - began:.0f} s)")


def link_ceph_modules(rig: Rig) -> None:
    """Makes Debian's rbd and rados importable. The whole folder would shadow the pinned packages."""
    site_packages = next((folder(rig) / "lib").glob("python3*/site-packages"))
    for name in ("rados", "rbd"):
        module = f"{name}.cpython-311-x86_64-linux-gnu.so"
        link = site_packages / module
        if not link.is_symlink():
            _replace_link(link, DEBIAN_MODULES / module)


def _replace_link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    aside = link.with_name(f"{link.name}.{os.getpid()}.{threading.get_ident()}")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    os.replace(aside, link)


def announce(rig: Rig) -> list[str]:
    where = _newest(rig)
    if _complete(where).exists():
        return []
    return [f"Keystone, Glance and Cinder from PyPI, 1 minute, 0.5 GiB, into {where}"]


def uv(rig: Rig) -> Path:
    """The uv on PATH, else our own pinned one; installs Debian's python3-venv when that is missing."""
    on_path = shutil.which("uv")
    if on_path:
        return Path(on_path)
    apt.ensure(rig, apt.for_venv())
    return wheels.program(UV_WHEEL, "uv", rig.cache, rig.say)


def _complete(where: Path) -> Path:
    return where / ".complete"


def environment(rig: Rig) -> Environment:
    return {"OPENSTACK": (str(rig.state / "bin" / "openstack"), "OpenStack's own command line")}


def part() -> Part:
    return Part("openstack-packages", prepare=prepare, announce=announce, environment=environment)
