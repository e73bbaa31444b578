"""The backup that another object names for a restore: read, and checked, as others may write it too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cinderbank.bank.layout import is_backup_id, is_site, is_volume_id
from cinderbank.domain.errors import InvalidSpec, Unavailable
from cinderbank.domain.facts import BackupId, VolumeId
from cinderbank.domain.record import Phase
from cinderbank.domain.selection import Named


def of_volume_backup(raw: Mapping[str, Any], where: str) -> Named:
    """Raises Unavailable (BackupNotCompleted), InvalidSpec."""
    status = raw.get("status") or {}
    backup_id, phase = status.get("backupID"), status.get("phase")
    if phase != Phase.COMPLETED or not isinstance(backup_id, str):
        raise Unavailable(
            f"VolumeBackup {where} is {phase or 'not started'}, not Completed",
            reason="BackupNotCompleted",
        )
    site = _site(status.get("site"), f"VolumeBackup {where}: status.site")
    return Named(BackupId(backup_id), raw["spec"]["bankRef"]["name"], site)


def of_recovery_point(raw: Mapping[str, Any], where: str) -> Named:
    """Raises InvalidSpec."""
    spec = raw.get("spec") or {}
    backup_id, volume_id = spec.get("backupID"), spec.get("volumeID")
    reference = spec.get("bankRef")
    bank = reference.get("name") if isinstance(reference, Mapping) else None
    if not isinstance(backup_id, str) or not is_backup_id(backup_id):
        raise InvalidSpec(f"RecoveryPoint {where}: spec.backupID is no backup id")
    if not isinstance(volume_id, str) or not is_volume_id(volume_id):
        raise InvalidSpec(f"RecoveryPoint {where}: spec.volumeID is no volume id")
    if not isinstance(bank, str):
        raise InvalidSpec(f"RecoveryPoint {where}: spec.bankRef.name is missing")
    site = _site(spec.get("site"), f"RecoveryPoint {where}: spec.site")
    return Named(BackupId(backup_id), bank, site, VolumeId(volume_id))


def _site(found: object, what: str) -> str:
    if not isinstance(found, str) or not is_site(found):
        raise InvalidSpec(f"{what} is no site's name")
    return found
