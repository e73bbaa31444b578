"""Where the rig keeps its things: state inside the clone, what can be reused outside of it."""

from __future__ import annotations

import os
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]
STATE = CLONE / ".rig"

# A unix socket's address holds 107 characters. The longest one of the rig below the clone is
# `.rig/ceph/run/client.rgw.a.asok`, and MariaDB and etcd want room of their own.
LONGEST_CLONE_PATH_CHARS = 70


def cache() -> Path:
    """The folder for what is built once and reused by every clone (venvs, binaries, schemas).

    What lies in it is named by a hash of what it was made from, so it never goes stale.
    """
    chosen = os.environ.get("CINDERBANK_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "cinderbank"
