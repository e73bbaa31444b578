"""A part of the rig: what `up` does for it, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.rig.rig import Rig
    from tests.rig.service import Service

# Name of a shell variable -> its value and a remark for the person who reads .rig/env.
Environment = Mapping[str, tuple[str, str]]


def start_all(rig: Rig, services: list[Service]) -> None:
    """Starts every service, then waits for each: they come up side by side."""
    for service in services:
        rig.supervisor.start(service.name)
    for service in services:
        rig.wait_ready(service.name)


def _nothing(_rig: Rig) -> Any:
    return []


def _no_environment(_rig: Rig) -> Environment:
    return {}


@dataclass(frozen=True)
class Part:
    """One independent piece of the rig. Every function may be called again at any time.

    `up` calls, in this order:
    - prepare(rig): downloads, builds. Begins at once, beside all other parts; needs nothing running
      and no apt package.
    - before_start(rig): when every part in `needs` is up. Writes configuration, makes databases.
    - start(rig): starts the services and waits until they are ready (default: all of them).
    - after_start(rig): what needs running services: users, buckets.
    `services(rig)` is cheap and has no effects: `stop NAME` calls it too.
    `environment(rig)` gives what goes into .rig/env, called after everything is up.
    `announce(rig)` says what `up` would install or build, as lines for `preflight`; [] for nothing.
    An `optional` part comes up only when `--only` names it.
    """

    name: str
    needs: tuple[str, ...] = ()
    services: Callable[[Rig], list[Service]] = _nothing
    prepare: Callable[[Rig], object] = _nothing
    before_start: Callable[[Rig], object] = _nothing
    start: Callable[[Rig], object] | None = None
    after_start: Callable[[Rig], object] = _nothing
    environment: Callable[[Rig], Environment] = _no_environment
    announce: Callable[[Rig], list[str]] = _nothing
    optional: bool = False

    @classmethod
    def of_module(cls, module: ModuleType, needs: tuple[str, ...] = ()) -> Part:
        """The part that a module is, by its functions of these names; those it lacks do nothing."""
        known = ("services", "prepare", "before_start", "start", "after_start", "environment")
        hooks: dict[str, Any] = {
            name: getattr(module, name) for name in (*known, "announce") if hasattr(module, name)
        }
        name = module.__name__.rsplit(".", 1)[-1]
        return cls(name=name, needs=getattr(module, "NEEDS", needs), **hooks)

    def run_start(self, rig: Rig) -> None:
        if self.start is not None:
            self.start(rig)
        else:
            start_all(rig, self.services(rig))
