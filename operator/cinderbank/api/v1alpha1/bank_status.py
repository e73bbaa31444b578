"""What a BackupBank tells of the bank that it names: its status."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cinderbank.api.v1alpha1.bank_catalog import CatalogStatus
from cinderbank.api.v1alpha1.conditions import Conditions
from cinderbank.api.v1alpha1.model import ApiModel, Time


class Counts(ApiModel):
    """How much is in the bank, when last looked at."""

    backups: Annotated[int, Field(ge=0)] = Field(
        description="Number of backups; 100000 when there are more."
    )
    stored_bytes: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Bytes that these backups stored in the bank themselves. Chunks of a deleted backup"
        " that later ones still use are not in it. In a bank of many backups it comes after some looks.",
    )
    stored: Annotated[str, Field(max_length=32)] | None = Field(
        default=None, description="The same for people, for example 1.2 TiB."
    )
    newest_backup_id: Annotated[str, Field(max_length=26)] | None = Field(
        default=None, description="Id of the newest backup."
    )
    newest_snapshot_time: Time | None = Field(
        default=None, description="The moment whose data the newest backup is."
    )


class Capabilities(ApiModel):
    """What the S3 store was seen to do; tried at every look, unless accessMode is ReadOnly."""

    read_after_write: bool = Field(
        default=True,
        description="Whether an object can be read as soon as it was written. Without it the bank is"
        " not used.",
    )
    list_after_write: bool = Field(
        default=True,
        description="Whether an object is listed as soon as it was written. Without it the bank is"
        " not used.",
    )
    delete_visible: bool = Field(
        default=True,
        description="Whether an object is gone as soon as it was deleted. Without it the bank is not"
        " used.",
    )
    conditional_put: bool = Field(
        description="Whether the store refuses to overwrite when asked to (If-None-Match), also when"
        " many ask at once. The bank is safe without it."
    )
    range_reads: bool = Field(
        default=False, description="Whether the store sends a part of an object when asked to."
    )


class EncryptionStatus(ApiModel):
    """Whether the bank is encrypted. Ids of keys are public."""

    encrypted: bool = Field(description="Whether new backups are encrypted.")
    key_ids: Annotated[list[Annotated[str, Field(max_length=16)]], Field(max_length=64)] = Field(
        description="Ids of the keys that open the bank, as `cinderbank bank key ls` tells them."
    )


class MaintenanceStatus(ApiModel):
    """The last run of the bank's maintenance."""

    last_run_time: Time | None = Field(default=None, description="When it ended.")
    freed_objects: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Objects that it deleted."
    )
    freed_bytes: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Bytes of them; the store may take its time to free them."
    )
    refused_deletes: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Objects that the store refused to delete (an object lock, a policy); the next run"
        " tries again.",
    )
    complete: bool = Field(
        default=True, description="False when there is more to free; the next run goes on."
    )
    refused_reason: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Why it deleted nothing; unset when it ran."
    )
    refused_message: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="The same in words, with the way out."
    )


class BackupBankStatus(ApiModel):
    """What the operator found in the bank; written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="The metadata.generation that this status is about."
    )
    conditions: Conditions | None = Field(
        default=None,
        description="Ready is True when the bank can be used as spec.accessMode says; SiteShared is there,"
        " and True, when somebody else writes to the bank as spec.site.",
    )
    bank_id: Annotated[str, Field(max_length=64)] | None = Field(
        default=None,
        description="Id that is kept in the bank itself. When the bucket holds another one than"
        " before, the operator stops using it rather than mixing two banks.",
    )
    format_version: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Version of the bank's format, for example 1."
    )
    counts: Counts | None = Field(
        default=None, description="How much is in the bank, of all sites."
    )
    site_counts: Counts | None = Field(
        default=None, description="How much of it was written as spec.site."
    )
    capabilities: Capabilities | None = Field(
        default=None, description="What the S3 store was seen to do."
    )
    encryption: EncryptionStatus | None = Field(
        default=None, description="Whether the bank is encrypted, and by which keys it opens."
    )
    last_validation_time: Time | None = Field(
        default=None, description="When the bank was last looked at."
    )
    maintenance: MaintenanceStatus | None = Field(
        default=None, description="The last run of the bank's maintenance."
    )
    catalog: CatalogStatus | None = Field(
        default=None, description="The last sync of its RecoveryPoints."
    )
