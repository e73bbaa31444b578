"""Makes `.venv` of this clone from uv.lock: `python3 -m tests.bootstrap`. Standard library only.

Idempotent; what a killed call left half made, the next one finishes.
"""

from __future__ import annotations

import subprocess
import sys

from tests.rig.openstack.installation import find_python, uv
from tests.rig.paths import CLONE
from tests.rig.rig import Rig


def main() -> int:
    found = find_python()
    if found is None:
        print("no Python 3.11 found; install it: apt-get install python3.11", file=sys.stderr)
        return 2
    rig = Rig.make()
    rig.say("installing what cinderbank is built and tested with into .venv, from uv.lock")
    sync = [str(uv(rig)), "sync", "--quiet", "--locked", "--python", found[0]]
    return subprocess.run(sync, cwd=CLONE).returncode


if __name__ == "__main__":
    sys.exit(main())
