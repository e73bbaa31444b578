"""The rig that is measured on: brought up with what the parts need, and ended again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.options import Options
from tests.rig.paths import CLONE
from tests.rig.rig import Rig, RigIsDown
from tests.stage.operator_process import OperatorProcess
from tests.stage.site import Site, Stage

SITE = "a"
GROUPS = {
    "peers": ("openstack", "kubernetes", "s3", "peers"),
    "growth": ("openstack", "kubernetes", "s3"),
    "path": ("openstack", "s3"),
    "memory": (),
    "policies": ("kubernetes",),
}
# Nothing is measured there, and two cores are few.
IDLE = ("site-b.", "cluster-b.")


@contextmanager
def ground(options: Options) -> Iterator[Stage | None]:
    """The stage with all that the parts need; None when they need none. A rig that was up before
    stays up, with what was added to it; one of our own is ended, also after Ctrl-C."""
    groups = sorted({group for part in options.parts for group in GROUPS[part]})
    if not groups:
        yield None
        return
    was_up = _is_up()
    try:
        words = [word for group in groups for word in ("--only", group)]
        _rig("up", *words)
        rig = Rig.open()
        if not was_up:
            _stop_idle(rig)
        yield Stage(rig)
    finally:
        if not was_up:
            _rig("down", alone=True)


@contextmanager
def running_operator(site: Site) -> Iterator[OperatorProcess]:
    site.install()
    operator = site.operator()
    try:
        operator.start()
        yield operator
    finally:
        operator.stop()


def _is_up() -> bool:
    try:
        return Rig.open().is_up
    except RigIsDown:
        return False


def _stop_idle(rig: Rig) -> None:
    for name in rig.supervisor.recorded():
        if name.startswith(IDLE):
            rig.supervisor.kill(name)


def _rig(*words: str, alone: bool = False) -> None:
    """`alone`: a second Ctrl-C of the terminal does not reach it."""
    command = [sys.executable, "-m", "tests.rig", *words]
    subprocess.run(command, cwd=CLONE, check=True, start_new_session=alone)
