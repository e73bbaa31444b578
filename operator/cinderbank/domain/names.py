"""Names and tags of what we make in a cloud: a pure function of the backup's id or the restore's uid.

They are how a resource is found again after a lost answer or a restart, so they MUST never change for
an object that is under way. A tag is a metadata entry; an image made by upload-to-image can carry
none, so its name is its tag.
"""

from __future__ import annotations

from collections.abc import Mapping

from cinderbank.domain.facts import BackupId

BACKUP_TAG = "cinderbank.io/backup-id"
"""On the snapshot and on the temporary volume of a backup."""

RESTORE_TAG = "cinderbank.io/restore-uid"
"""On the volume that a restore makes, and as a label on its PersistentVolume and its claim; it stays
there, as the proof of where they came from."""

DRILL_TAG = "cinderbank.io/drill"
"""On the scratch volume of a restore drill, beside RESTORE_TAG: it is nobody's, and goes by itself. The
value is the id of the backup."""

TAG_PREFIX = "cinderbank.io/"


def snapshot_name(backup_id: BackupId) -> str:
    return f"cinderbank-{backup_id}-snapshot"


def volume_name(backup_id: BackupId) -> str:
    return f"cinderbank-{backup_id}-volume"


def image_name(backup_id: BackupId) -> str:
    return f"cinderbank-{backup_id}-image"


def restore_image_name(uid: str) -> str:
    return f"cinderbank-restore-{uid}"


def restore_snapshot_name(uid: str) -> str:
    """Of the snapshot by which a restored volume is freed of its image."""
    return f"cinderbank-restore-{uid}-snapshot"


def drill_volume_name(uid: str) -> str:
    """Of the scratch volume of a drill. Only what has this name and the tags is ever deleted."""
    return f"cinderbank-drill-{uid}-volume"


def drill_image_name(uid: str) -> str:
    """Of the image by which the scratch volume is read back."""
    return f"cinderbank-drill-{uid}-image"


def persistent_volume_name(uid: str) -> str:
    """Of the PersistentVolume that a restore makes."""
    return f"restored-{uid}"


def without_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata without our own keys: those of the source must not claim the new volume."""
    return {key: value for key, value in metadata.items() if not key.startswith(TAG_PREFIX)}
