"""The rig's commands: `python3 -m tests.rig up`."""

from __future__ import annotations

import sys

from tests.rig.cli import main

sys.exit(main(sys.argv[1:]))
