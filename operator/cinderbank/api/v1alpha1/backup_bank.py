"""BackupBank: where backups are kept (a bucket and prefix of an S3 store) and as which site we write."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from cinderbank.api.v1alpha1.bank_catalog import Catalog
from cinderbank.api.v1alpha1.bank_status import BackupBankStatus
from cinderbank.api.v1alpha1.conditions import WAITING
from cinderbank.api.v1alpha1.duration import Duration
from cinderbank.api.v1alpha1.model import (
    ApiModel,
    Matching,
    SiteName,
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
        " what the operator runs at once, whether so many run or not. A share at which a transfer could"
        " never end is refused (LimitsTooLow). Unset: no limit.",
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
        description="ReadWrite, or ReadOnly to restore only (a bank that another site writes): the S3"
        " keys then need no right to write. Can be changed.",
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


_NEWEST = ".status.{}.newestSnapshotTime"

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
        Column("Stored", ".status.counts.stored", "What they take in the bank"),
        Column("Newest", _NEWEST.format("counts"), "Snapshot of the newest one", type="date"),
        Column("Validated", ".status.lastValidationTime", "When last looked at", type="date"),
        AGE,
        Column("Endpoint", ".spec.s3.endpoint", "The S3 store", wide=True),
        Column("Prefix", ".spec.s3.prefix", "Folder in the bucket", wide=True),
        Column("Own", ".status.siteCounts.backups", "Of our site", type="integer", wide=True),
        Column("Own-Newest", _NEWEST.format("siteCounts"), "Of our site", type="date", wide=True),
        Column("Bank-ID", ".status.bankID", "Id kept in the bank", wide=True),
        MESSAGE,
    ),
)
