"""`down`: ends what this clone's rig has started, waits until it is gone, removes its state."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.rig import namespace
from tests.rig.paths import STATE
from tests.rig.service import Supervisor
from tests.rig.up import alone


def down(state: Path = STATE) -> None:
    """Returns when every process of the rig is gone and `.rig` is removed. The cache stays."""
    with alone():
        if not state.exists():
            print("there is no rig in this clone")
            return
        began = time.monotonic()
        # SIGKILL, because nothing that they would save is kept; an OSD asked politely takes 15 s.
        supervisor = Supervisor(state)
        names = [name for name in supervisor.recorded() if name != namespace.NAME]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(supervisor.kill_recorded, names))
        # Last: the mounts of the rig live as long as a process in its namespace does.
        supervisor.kill_recorded(namespace.NAME)
        _unmount_below(state)
        shutil.rmtree(state)
        print(f"ended {len(names)} services, removed {state} ({time.monotonic() - began:.1f} s)")


def _unmount_below(state: Path) -> None:
    """Unmounts what is mounted below the state folder, innermost first.

    Else removing the folder would remove what is mounted there.
    """
    for target in reversed(mounts_below(state)):
        subprocess.run(["umount", target], check=False)
    left = mounts_below(state)
    if left:
        raise OSError(f"still mounted, {state} is left as it is: {', '.join(left)}")


def mounts_below(folder: Path) -> list[str]:
    """Mount points under `folder`, outermost first."""
    prefix = os.path.join(str(folder), "")
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target = line.split()[4].replace("\\040", " ")
        if target.startswith(prefix):
            found.append(target)
    return found
