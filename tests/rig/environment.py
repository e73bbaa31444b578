"""Writes .rig/env: what a shell and a person need to work with the rig."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.rig.rig import Rig

HEAD = """\
# The test rig of this clone. For a shell:  set -a; . {path}; set +a
# Everything listens on 127.0.0.1 only and holds nothing of value; the secrets below are the rig's.
"""

TAIL = """
# To look further:
#   $OPENSTACK --os-cloud a volume list         project alpha at site a (b: project beta at site b)
#   $OPENSTACK --os-cloud a-admin volume service list
#   $KUBECTL --kubeconfig $KUBECONFIG_A get crds
#   python3 -m tests.rig status                 what runs, with ports and logs
#   python3 -m tests.rig kill site-a.cinder-volume ; python3 -m tests.rig start site-a.cinder-volume
#   python3 -m tests.rig down                   ends all of it and removes {state}
"""


def write(rig: Rig) -> Path:
    """Composes the file from what every part says of itself; readable by its owner only."""
    path = rig.state / "env"
    lines = [HEAD.format(path=path)]
    for part in rig.parts:
        variables = part.environment(rig)
        if variables:
            lines.append(f"\n# {part.name}\n")
        for name, (value, remark) in variables.items():
            if remark:
                lines.append(f"# {remark}\n")
            lines.append(f"{name}={shlex.quote(value)}\n")
    lines.append(TAIL.format(state=rig.state))
    aside = path.with_name("env.new")
    aside.touch(mode=0o600)
    aside.write_text("".join(lines))
    os.replace(aside, path)
    return path
