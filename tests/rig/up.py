"""`up`: brings every part of the rig up, side by side where they do not need each other."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from tests.rig import environment
from tests.rig.part import Part
from tests.rig.paths import CLONE
from tests.rig.rig import Rig

# The longest known: a cold machine that is busy with something else builds Kubernetes in 20 min.
LIMIT_SECONDS = 45 * 60
# Groups of parts for `--only`.
GROUPS = {
    "openstack": (
        "packages",
        "namespace",
        "openstack-packages",
        "databases",
        "ceph",
        "site-a",
        "site-b",
    ),
    "kubernetes": ("packages", "kubernetes"),
    "s3": ("packages", "s3"),
    # What `make bench` needs beside them.
    "peers": ("cinder-backup",),
}


class UpFailed(Exception):
    """At least one part did not come up; the message says which and why, one per line."""


def parts() -> list[Part]:
    """All parts of the rig, optional ones too, in the order in which they are named to a person."""
    from tests.rig import apt, csi, namespace
    from tests.rig.openstack import barbican, ceph, cinder_backup, databases, installation, site

    found = [
        apt.part(),
        namespace.part(),
        installation.part(),
        databases.part(),
        ceph.part(),
        site.part("a"),
        site.part("b"),
    ]
    for name in ("kubernetes", "s3"):
        module = f"tests.rig.{name}"
        if importlib.util.find_spec(module):
            found.append(Part.of_module(import_module(module), needs=("packages",)))
    return [*found, cinder_backup.part(), csi.part(), barbican.part()]


def up(only: Sequence[str] = ()) -> Rig:
    """Brings the rig up, or what is missing of it; writes .rig/env. Ends within LIMIT_SECONDS."""
    with alone():
        rig = Rig.make()
        wanted = chosen(rig.parts, only)
        (rig.state / "log").mkdir(exist_ok=True)
        rig.say(f"the rig comes up in {rig.state}; its logs are in {rig.state / 'log'}")
        rig.say(f"this takes seconds to minutes and ends within {LIMIT_SECONDS // 60} minutes")
        _Run(rig, wanted).all()
        path = environment.write(rig)
        rig.mark_up()
        rig.say(f"the rig is up. Its settings, for a shell and for reading: {path}")
    return rig


def chosen(all_parts: list[Part], only: Sequence[str]) -> list[Part]:
    """The parts and groups named in `only`; without any, all that are not optional. UpFailed for an
    unknown name."""
    if not only:
        return [part for part in all_parts if not part.optional]
    names = {name for group in only for name in GROUPS.get(group, (group,))}
    unknown = names - {part.name for part in all_parts}
    if unknown:
        raise UpFailed(f"no part is called {', '.join(sorted(unknown))}")
    return [part for part in all_parts if part.name in names]


@contextmanager
def alone() -> Iterator[None]:
    """One `up` or `down` at a time in a clone; a second one waits for the first."""
    clone = os.open(CLONE, os.O_RDONLY)  # a lock file would lie in the folder that `down` removes
    try:
        try:
            fcntl.flock(clone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another up or down of {CLONE} is at work, waiting for it", flush=True)
            fcntl.flock(clone, fcntl.LOCK_EX)
        yield
    finally:
        os.close(clone)


class _Run:
    """One `up`: a thread for each part, which waits for the parts it needs."""

    def __init__(self, rig: Rig, wanted: list[Part]) -> None:
        self.rig = rig
        self.parts = wanted
        self.finished: dict[str, threading.Event] = {p.name: threading.Event() for p in wanted}
        self.failed: dict[str, str] = {}

    def all(self) -> None:
        for part in self.parts:
            threading.Thread(target=self._one, args=(part,), daemon=True).start()
        deadline = time.monotonic() + LIMIT_SECONDS
        for event in self.finished.values():
            while not event.wait(timeout=1):
                self.rig.progress.break_silence()
                if time.monotonic() > deadline:
                    waiting = self.rig.progress.still_waiting_for()
                    raise UpFailed(f"not up after {LIMIT_SECONDS} s, still waiting for {waiting}")
        if self.failed:
            raise UpFailed("\n".join(f"{name}: {why}" for name, why in self.failed.items()))

    def _one(self, part: Part) -> None:
        began = time.monotonic()
        try:
            with self.rig.progress.waiting_for(part.name):
                part.prepare(self.rig)
            for name in part.needs:
                if name not in self.finished:
                    continue
                self.finished[name].wait()
                if name in self.failed:
                    self.failed[part.name] = f"not started, because {name} failed"
                    return
            began = time.monotonic()
            with self.rig.progress.waiting_for(part.name):
                part.before_start(self.rig)
                part.run_start(self.rig)
                part.after_start(self.rig)
        except Exception as error:
            self.failed[part.name] = f"{error}" if str(error) else repr(error)
            self.rig.say(f"{part.name}: FAILED, see below")
            with open(self.rig.log("up"), "a") as log:
                traceback.print_exc(file=log)
        else:
            seconds = time.monotonic() - began
            if part.services(self.rig):
                self.rig.say(f"{part.name}: up ({seconds:.1f} s)")
        finally:
            self.finished[part.name].set()
