"""The databases of Keystone, Glance and Cinder: made once per machine, then loaded."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig.commands import run
from tests.rig.locks import exclusive
from tests.rig.openstack import databases, installation

if TYPE_CHECKING:
    from tests.rig.rig import Rig

# Service -> the command that makes its tables; the settings file follows --config-file.
SYNC: dict[str, tuple[str, tuple[str, ...]]] = {
    "keystone": ("keystone-manage", ("db_sync",)),
    "glance": ("glance-manage", ("db_sync",)),
    "cinder": ("cinder-manage", ("db", "sync")),
}
# Of our two sites: the file lock is for other clones, and waiting for those is worth a line.
_turn = threading.Lock()


def load(rig: Rig, site: str, settings: Callable[[str], Path]) -> None:
    """Makes the site's three databases. `settings` gives the settings file of a service.

    The tables come from a dump in the cache; the first rig of a machine makes that dump.
    """
    folder = rig.cache / "schemas" / installation.folder(rig).name
    lock = folder.with_name(f"{folder.name}.lock")
    with (
        _turn,
        exclusive(lock, "the database tables", rig.say),
        ThreadPoolExecutor(len(SYNC)) as pool,
    ):
        list(pool.map(lambda s: _ensure_dump(rig, s, site, settings(s), folder), SYNC))
    for service in SYNC:
        databases.load(rig, database(service, site), _dump(folder, service))


def database(service: str, site: str) -> str:
    return f"{service}_{site}"


def _ensure_dump(rig: Rig, service: str, site: str, settings: Path, folder: Path) -> None:
    path = _dump(folder, service)
    if path.exists():
        return
    began = time.monotonic()
    databases.make_empty(rig, database(service, site))
    command, words = SYNC[service]
    # The settings name the site's own database: it is filled, dumped and then loaded like others.
    run(
        installation.program(rig, command), "--config-file", settings, *words,
        env={"PYTHONWARNINGS": "ignore"}, timeout_seconds=300,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.new")
    databases.dump(rig, database(service, site), aside)
    os.replace(aside, path)
    rig.say(f"{service}: database tables made ({time.monotonic() - began:.1f} s, once per machine)")


def _dump(folder: Path, service: str) -> Path:
    return folder / f"{service}.sql"
