"""The words that results are kept under; the report looks for them again."""

from __future__ import annotations

FULL, INCREMENTAL, RESTORE = "backup", "incremental, nothing changed", "restore"
STORE, READ_BACK = "image into the bank", "bank to /dev/null"
PEAK = "peak memory of a backup"

FIRST_LOOK, ONE_RUN = "started, all looked at", "a run of all of them"
ALL_COMPLETED, AT_REST = "its backups are Completed", "at rest"
IN_MEMORY = "in memory"
"""Part `policies`."""

OWN = "cinderbank"
OWN_ENCRYPTED = "cinderbank, encrypted"
ZLIB, ZSTD = "cinder-backup zlib", "cinder-backup zstd"
BY_HAND = "Glance by hand"
"""An image that lies ready goes up and becomes a volume: nothing of ours in it, and no bank."""
OWN_ON_CEPH, BY_HAND_ON_CEPH = "cinderbank, Glance in Ceph", "Glance by hand, in Ceph"
"""The same at a site whose Glance keeps its images on the Ceph of the volumes, of clone format 2."""
CURL, RCLONE, RESTIC, BORG = "curl | curl", "rclone rcat", "restic", "borg, local folder"

USED_PERCENT = {"sparse": 5, "half": 50, "full": 100}
"""The volumes of part `peers`."""
RANDOM, HALF_COMPRESSIBLE = "random", "half compressible"
"""The images of part `path`."""
BY_SIZE, BY_USE = "by size", "by use"
"""The curves of part `growth`; each case begins with one of them."""
