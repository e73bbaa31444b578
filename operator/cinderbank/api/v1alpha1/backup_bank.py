"""BackupBank: where backups are kept (a bucket and prefix of an S3 store) and as which site we write."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from cinderbank.api.v1alpha1.bank_catalog import Catalog, CatalogStatus
from cinderbank.api.v1alpha1.conditions import WAITING, Conditions
from cinderbank.api.v1alpha1.duration import Duration
from cinderbank.api.v1alpha1.model import (
    ApiModel,
    Matching,
    SiteName,
    Time,
    immutable,
    rule,
)
from cinderbank.api.v1alpha1.references import CASecretRef, SecretRef
from cinderbank.api.v1alpha1.resource import AGE, MESSAGE, Column, Resource

ACCESS_KEY_ID = "access-key-id"
SECRET_ACCESS_KEY = "secret-access-key"  # noqa: S105  # the key, not the secret
"""Keys of the Secret that s3.credentialsSecretRef names."""


class Addressing(StrEnum):
    AUTO = "Auto"
    PATH = "Path"
    VIRTUAL = "Virtual"


class AccessMode(StrEnum):
    READ_WRITE = "ReadWrite"
    READ_ONLY = "ReadOnly"


_NEW_BANK = "make a new BackupBank instead: backups do not move"


class S3(ApiModel):
    """A bucket of an S3 store."""

    rules = (
        immutable("bucket", _NEW_BANK, required=True),
        immutable("prefix", _NEW_BANK),
        rule(
            "!(has(self.caSecretRef) && has(self.insecureSkipVerify) && self.insecureSkipVerify)",
            "set caSecretRef or insecureSkipVerify, not both",
        ),
    )

    endpoint: Annotated[
        str,
        Field(max_length=512),
        Matching(
            r"^https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?/?$",
            "must be the store's URL without bucket and path, such as https://s3.example.org:9000",
        ),
    ] = Field(description="URL of the S3 store, for example https://s3.example.org:9000.")
    bucket: Annotated[
        str,
        Field(max_length=63),
        Matching(
            "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
            "must be an S3 bucket name: 3 to 63 lower-case letters, digits, dots and -",
        ),
    ] = Field(description="The bucket; it must be there. Can not be changed.")
    prefix: (
        Annotated[
            str,
            Field(max_length=256),
            Matching(
                "^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$",
                "must be a path without / at its ends and no part that begins with a dot,"
                " such as backups/team-a",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Folder inside the bucket that the bank lives in, for example backups/team-a."
        " Can not be changed.",
    )
    region: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Region of the bucket, for example eu-west-1; most stores of one's own need none.",
    )
    credentials_secret_ref: SecretRef = Field(
        description=f"Secret with the keys {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY}."
    )
    ca_secret_ref: CASecretRef | None = Field(
        default=None, description="Certificate authority of the store, when it is a private one."
    )
    insecure_skip_verify: bool = Field(
        default=False,
        description="Do not check the store's certificate. For trials only: whoever stands between"
        " can then read and change what is sent.",
    )
    addressing: Addressing = Field(
        default=Addressing.AUTO,
        description="Where the bucket stands in a URL: Path (https://store/bucket/key), Virtual"
        " (https://bucket.store/key), or Auto, which is right for most stores.",
    )


class PlainBackups(StrEnum):
    REFUSED = "Refused"
    READABLE = "Readable"


class Encryption(ApiModel):
    """How new backups are encrypted, before they leave the operator."""

    key_secret_ref: SecretRef = Field(
        description="Secret with the keys that open the bank. Every entry is one: 32 random bytes, or"
        " base64 of them (`cinderbank bank key generate` makes one). Each opens everything, so keep one"
        " of them elsewhere, too: without any key the backups are lost."
    )
    plain_backups: PlainBackups = Field(
        default=PlainBackups.REFUSED,
        description="Whether backups that are not encrypted may be restored. Readable is for a bank"
        " that was begun without a key; who can write to the bucket could then put a backup of his own"
        " in place of an encrypted one.",
    )


class Validation(ApiModel):
    """How often the bank is looked at."""

    interval: Duration = Field(
        default="5m", description="Time between two looks at the bank, for example 5m."
    )


class Maintenance(ApiModel):
    """Freeing what no backup needs any more: chunks of deleted backups, sessions that died."""

    interval: Duration = Field(default="24h", description="Time between two runs, for example 24h.")
    max_delete_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        default=50,
        description="A run that would delete a greater share of all chunks deletes nothing and says so.",
    )
    suspend: bool = Field(
        default=False,
        description="Do not run: nothing is freed. One ReadWrite BackupBank of a bank is enough; more"
        " of them do no harm.",
    )


class Limits(ApiModel):
    """How much of the network and of the store the transfers of this bank may take."""

    concurrent_transfers: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="How many transfers of this bank run at once, within what the operator runs at once"
        " altogether (CINDERBANK_MAX_CONCURRENT_TRANSFERS). Unset: only that limit holds.",
    )
    bandwidth_mib_per_second: Annotated[int, Field(ge=1, le=1 << 20)] | None = Field(
        default=None,
        description="MiB per second between this operator and the bank, in each direction, of all its"
        " transfers together. Each gets an equal share: this divided by concurrentTransfers, or by"
        " what the operator runs at once, whether so many run or not. Unset: no limit.",
    )


class BackupBankSpec(ApiModel):
    """Which bucket, and which site writes there through this object."""

    rules = (
        immutable("site", "make a new BackupBank instead", required=True),
        rule(
            "!has(oldSelf.encryption) || has(self.encryption)",
            "encryption can be added and its keys changed, but not taken away; make a new BackupBank"
            " with another prefix for backups without it",
            field="encryption",
        ),
    )

    s3: S3 = Field(description="The bucket that the bank lives in.")
    site: SiteName = Field(
        description="Name of this site, for example paris-1; it is written into every backup, and"
        " every site that writes to the bank needs its own. Can not be changed."
    )
    access_mode: AccessMode = Field(
        default=AccessMode.READ_WRITE,
        description="ReadWrite, or ReadOnly to restore only (a bank that another site writes).",
    )
    encryption: Encryption | None = Field(
        default=None,
        description="Encrypt new backups (AES-256-GCM). Can be added later, not taken away; without it"
        " backups are stored as they are.",
    )
    chunk_size_mib: Annotated[
        Literal[1, 2, 4, 8, 16], Field(json_schema_extra={"type": "integer"})
    ] = Field(
        default=4,
        description="Size in MiB of the pieces that a volume is cut into (1, 2, 4, 8 or 16). Smaller"
        " ones find more that is unchanged, greater ones need fewer requests. Holds for new backups.",
    )
    limits: Limits = Field(
        default=Limits(),
        description="Limits of this bank's transfers; a change holds for new ones.",
    )
    validation: Validation = Field(
        default=Validation(), description="How often the bank is looked at."
    )
    catalog: Catalog = Field(
        default=Catalog(), description="RecoveryPoints: which backups of the bank have one."
    )
    maintenance: Maintenance = Field(
        default=Maintenance(),
        description="Freeing space in the bank. It never runs when accessMode is ReadOnly.",
    )


class Counts(ApiModel):
    """How much is in the bank, of all sites, when last looked at."""

    backups: Annotated[int, Field(ge=0)] = Field(
        description="Number of backups; 10000 when there are more."
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
        default=None, description="Ready is True when the bank can be used as spec.accessMode says."
    )
    bank_id: Annotated[str, Field(max_length=64)] | None = Field(
        default=None,
        description="Id that is kept in the bank itself. When the bucket holds another one than"
        " before, the operator stops using it rather than mixing two banks.",
    )
    format_version: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Version of the bank's format, for example 1."
    )
    counts: Counts | None = Field(default=None, description="How much is in the bank.")
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


BACKUP_BANK = Resource(
    kind="BackupBank",
    plural="backupbanks",
    short_name="bank",
    description="BackupBank is a place where backups are kept: a bucket, or a folder in it, of an S3"
    " store. Deleting the object deletes nothing in the bucket.",
    spec=BackupBankSpec,
    status=BackupBankStatus,
    status_default={"conditions": WAITING},
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Can it be used"),
        Column("Site", ".spec.site", "Site that we write as"),
        Column("Bucket", ".spec.s3.bucket", "The bucket"),
        Column("Access", ".spec.accessMode", "ReadWrite or ReadOnly"),
        Column("Backups", ".status.counts.backups", "Backups in the bank", type="integer"),
        Column("Validated", ".status.lastValidationTime", "When last looked at", type="date"),
        AGE,
        Column("Endpoint", ".spec.s3.endpoint", "The S3 store", wide=True),
        Column("Prefix", ".spec.s3.prefix", "Folder in the bucket", wide=True),
        Column("Bank-ID", ".status.bankID", "Id kept in the bank", wide=True),
        MESSAGE,
    ),
)
