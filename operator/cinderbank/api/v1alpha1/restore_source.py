"""spec.source of a VolumeRestore: the ways to say which backup."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cinderbank.api.v1alpha1.model import (
    ApiModel,
    BackupULID,
    Ruled,
    SiteName,
    Time,
    VolumeUUID,
    exactly_one,
    rule,
)
from cinderbank.api.v1alpha1.references import BackupRef, BankRef, RecoveryPointRef
from cinderbank.domain.facts import VolumeId
from cinderbank.domain.selection import BackupSelector

Name = Annotated[str, Field(min_length=1, max_length=255)]


class Selector(ApiModel):
    """What is known of the backup; all that is set must fit. Among the backups that fit it is the
    newest."""

    rules = (
        rule(
            "has(self.volumeID) || has(self.volumeName) || has(self.backupName)"
            " || (has(self.tags) && self.tags.size() > 0)",
            "say which volume or backup: volumeID, volumeName, backupName or tags",
        ),
        rule(
            "!has(self.volumeID) || !has(self.volumeName)",
            "set volumeID or volumeName, not both",
        ),
    )

    volume_id: VolumeUUID | None = Field(
        default=None, description="Id of the volume at the site that made the backup."
    )
    volume_name: Name | None = Field(
        default=None,
        description="Name of the volume, as it was in its newest backup not later than asOf. Two volumes"
        " of that name are an error that names both.",
    )
    backup_name: Name | None = Field(
        default=None, description="spec.backupName of the VolumeBackup that made it."
    )
    site: SiteName | None = Field(
        default=None, description="Site that wrote the backup; any when left out."
    )
    tags: Annotated[
        dict[str, Annotated[str, Field(max_length=255)]],
        Field(max_length=32),
        Ruled(
            "self.all(key, key.size() >= 1 && key.size() <= 63)",
            "a tag's name must have 1 to 63 characters",
        ),
    ] = Field(default_factory=dict, description="Tags that the backup has, among others.")
    as_of: Time | None = Field(
        default=None,
        description="The moment of the data must not be later than this, for example"
        " 2026-11-22T12:00:00Z. Unset: now.",
    )
    require_verified: bool = Field(
        default=False,
        description="Only a backup whose index is proven and all of whose chunks are there, which is"
        " looked at before it is chosen. Without it only those are left out that a check found damaged.",
    )

    def to_domain(self) -> BackupSelector:
        return BackupSelector(
            volume_id=None if self.volume_id is None else VolumeId(self.volume_id.lower()),
            volume_name=self.volume_name,
            backup_name=self.backup_name,
            site=self.site,
            tags=self.tags,
            as_of=self.as_of,
            require_verified=self.require_verified,
        )


class BankSource(ApiModel):
    """A backup in a bank, whichever site wrote it."""

    rules = (exactly_one("backupID", "selector"),)

    bank_ref: BankRef = Field(description="The bank to read; it may be ReadOnly.")
    backup_id: BackupULID | None = Field(
        default=None,
        description="Id of the backup: 26 letters and digits, as in status.backupID of the"
        " VolumeBackup at the site that made it.",
    )
    selector: Selector | None = Field(
        default=None,
        description="The newest backup of a volume that fits; found once, then it stays in"
        " status.resolved.",
    )


class RestoreSource(ApiModel):
    """Which backup; exactly one field is set."""

    rules = (exactly_one("backupRef", "bank", "recoveryPointRef"),)

    backup_ref: BackupRef | None = Field(
        default=None,
        description="A VolumeBackup in this namespace; its bankRef is the bank that is read.",
    )
    bank: BankSource | None = Field(
        default=None,
        description="A backup in a bank, by its id or by what is known of it: works where no VolumeBackup"
        " object is left.",
    )
    recovery_point_ref: RecoveryPointRef | None = Field(
        default=None,
        description="A RecoveryPoint in this namespace, as the catalogue of a bank makes them.",
    )
