"""cinderbank.io/v1alpha1: VolumeBackup, VolumeRestore, VolumeBackupPolicy, BackupBank, BankCheck,
RecoveryPoint."""

from cinderbank.api.v1alpha1.backup_bank import BACKUP_BANK
from cinderbank.api.v1alpha1.bank_check import BANK_CHECK
from cinderbank.api.v1alpha1.recovery_point import RECOVERY_POINT
from cinderbank.api.v1alpha1.resource import Resource
from cinderbank.api.v1alpha1.volume_backup import VOLUME_BACKUP
from cinderbank.api.v1alpha1.volume_backup_policy import VOLUME_BACKUP_POLICY
from cinderbank.api.v1alpha1.volume_restore import VOLUME_RESTORE

RESOURCES: tuple[Resource, ...] = (
    VOLUME_BACKUP,
    VOLUME_RESTORE,
    VOLUME_BACKUP_POLICY,
    BACKUP_BANK,
    RECOVERY_POINT,
    BANK_CHECK,
)
"""Every kind of this version, in the order in which a newcomer meets them."""

__all__ = [
    "BACKUP_BANK",
    "BANK_CHECK",
    "RECOVERY_POINT",
    "RESOURCES",
    "VOLUME_BACKUP",
    "VOLUME_BACKUP_POLICY",
    "VOLUME_RESTORE",
]
