"""The rig as one object: its ports, its services, its sites. What tests and the commands use."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig import namespace, ports
from tests.rig.part import Part
from tests.rig.paths import STATE, cache
from tests.rig.progress import Progress
from tests.rig.service import Supervisor

if TYPE_CHECKING:
    from tests.rig.openstack.site import Site

SITES = ("a", "b")
BACKENDS = ("rbd", "nfs")
DEFAULT_BACKENDS = {"a": "rbd", "b": "nfs"}


class RigIsDown(Exception):
    """There is no rig in this clone."""


class Rig:
    """The rig of one clone. `Rig.open()` for a rig that is up; `Rig.make()` begins one."""

    def __init__(self, state: Path, chosen: ports.Ports, parts: Sequence[Part]) -> None:
        self.state = state
        self.cache = cache()
        self.ports = chosen
        self.parts = list(parts)
        self.progress = Progress()
        self.supervisor = Supervisor(state, enter_namespace=lambda: namespace.enter(self))
        for part in self.parts:
            for service in part.services(self):
                self.supervisor.add(service)

    @classmethod
    def open(cls, state: Path = STATE) -> Rig:
        """The rig that an `up` has made or begun; RigIsDown when there is none."""
        chosen = ports.load(state)
        if chosen is None:
            raise RigIsDown(f"no rig in {state}; make one: python3 -m tests.rig up")
        return cls(state, chosen, _all_parts())

    @classmethod
    def make(cls, state: Path = STATE) -> Rig:
        """The rig of this clone, begun now if there is none: chooses ports and back ends."""
        return cls(state, ports.choose(state), _all_parts())

    @property
    def is_up(self) -> bool:
        """Whether an `up` has come to its end and all that ran then still runs."""
        try:
            ran: list[str] = json.loads(self._up_file.read_text())
        except FileNotFoundError:
            return False
        return all(self.supervisor.is_running(name) for name in ran)

    def mark_up(self) -> None:
        """Notes what runs at the end of an `up`."""
        aside = self._up_file.with_suffix(".new")
        aside.write_text(json.dumps(self.supervisor.recorded(), indent=1))
        os.replace(aside, self._up_file)

    def say(self, text: str) -> None:
        """One line of progress."""
        self.progress.say(text)

    def log(self, name: str) -> Path:
        """Where the output of a service or a command goes."""
        return self.state / "log" / f"{name}.log"

    def wait_ready(self, name: str) -> None:
        """Waits for a service and says how long it took, unless it was ready at once."""
        with self.progress.waiting_for(name):
            seconds = self.supervisor.wait_ready(name)
        if seconds > 0.5:
            self.say(f"{name} is ready ({seconds:.1f} s)")

    def site(self, letter: str) -> Site:
        """OpenStack site "a" or "b"."""
        return self._sites[letter]

    @property
    def sites(self) -> list[Site]:
        return list(self._sites.values())

    @cached_property
    def _sites(self) -> dict[str, Site]:
        from tests.rig.openstack.site import Site

        return {letter: Site(self, letter) for letter in SITES}

    def backend(self, letter: str) -> str:
        """What holds a site's volumes, `rbd` or `nfs`: chosen at the first `up`, then kept."""
        kept = self._backends_file
        if kept.exists():
            return str(json.loads(kept.read_text())[letter])
        return wanted_backend(letter)

    def keep_backends(self, backends: dict[str, str]) -> None:
        """Holds on to the choice: a later command may run with another environment."""
        aside = self._backends_file.with_suffix(".new")
        aside.write_text(json.dumps(backends))
        os.replace(aside, self._backends_file)

    @property
    def backends_kept(self) -> bool:
        return self._backends_file.exists()

    @property
    def _up_file(self) -> Path:
        return self.state / "up.json"

    @property
    def _backends_file(self) -> Path:
        return self.state / "backends.json"


def wanted_backend(letter: str) -> str:
    """The back end that RIG_BACKEND_A or RIG_BACKEND_B asks for, else the usual one."""
    variable = f"RIG_BACKEND_{letter.upper()}"
    wanted = os.environ.get(variable) or DEFAULT_BACKENDS[letter]
    if wanted not in BACKENDS:
        raise ValueError(f"{variable} is {wanted}; it can be {' or '.join(BACKENDS)}")
    return wanted


def _all_parts() -> list[Part]:
    from tests.rig.up import parts

    return parts()
