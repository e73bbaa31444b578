"""RecoveryPoint: a read-only mirror of one backup in a bank, so that a person can choose one.

What it says of the backup comes out of the bank, where other sites write: every text is cut and freed
of what a terminal would act on, nothing in it is ever run or followed, and whoever restores reads the
bank again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from cinderbank.api.v1alpha1.conditions import WAITING, Conditions, merge_conditions
from cinderbank.api.v1alpha1.model import (
    UUID_FORM,
    ApiModel,
    BackupULID,
    SiteName,
    Time,
    VolumeUUID,
    clipped,
    immutable,
)
from cinderbank.api.v1alpha1.references import BankRef
from cinderbank.api.v1alpha1.resource import AGE, GROUP, MESSAGE, Column, Resource
from cinderbank.domain.catalog import PointKey
from cinderbank.domain.policy.moment import GROUP_SNAPSHOT_TAG
from cinderbank.domain.record import Condition
from cinderbank.ports.catalog import Described, Unreadable

BANK_LABEL = f"{GROUP}/bank"
SITE_LABEL = f"{GROUP}/site"
VOLUME_ID_LABEL = f"{GROUP}/volume-id"
BACKUP_ID_LABEL = f"{GROUP}/backup-id"
VOLUME_NAME_LABEL = f"{GROUP}/volume-name"

MAX_TAGS = 32
MAX_TAG_NAME = 63
MAX_TAGS_CHARACTERS = 4096
"""Ten thousand RecoveryPoints must fit into etcd, whatever a bank's writers think of."""
MAX_NAME = 255
MAX_DESCRIPTION = 1024
MAX_MESSAGE = 512

_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_UUID = re.compile(UUID_FORM)
_MIRROR = "a RecoveryPoint mirrors the bank; it may only be deleted, and then comes back"

Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(max_length=MAX_NAME)]


class RecoveryPointSpec(ApiModel):
    """Which backup. Written by the operator only, and never changed."""

    rules = (
        immutable("bankRef", _MIRROR, required=True),
        immutable("backupID", _MIRROR, required=True),
        immutable("site", _MIRROR, required=True),
        immutable("volumeID", _MIRROR, required=True),
    )

    bank_ref: BankRef = Field(description="The BackupBank that it is in.")
    backup_id: BackupULID = Field(description="Id of the backup, which restores it at any site.")
    site: SiteName = Field(description="Site that wrote it.")
    volume_id: VolumeUUID = Field(description="The volume in that site's Cinder.")


class RecoveryPointStatus(ApiModel):
    """What the bank says of the backup; written by the operator only, and never acted on."""

    conditions: Conditions | None = Field(
        default=None,
        description="Ready is True when the backup can be read here and no check found it damaged.",
    )
    looked_at_time: Time | None = Field(
        default=None, description="When the operator last read the backup's manifest."
    )
    verified_time: Time | None = Field(
        default=None,
        description="When a restore drill, or a BankCheck of level Sample or Full, last found it whole, at"
        " any site.",
    )
    backup_name: Name | None = Field(default=None, description="Name that the backup was given.")
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION)] | None = Field(
        default=None, description="What it was described as."
    )
    volume_name: Name | None = Field(
        default=None, description="Name of the volume when it was backed up."
    )
    volume_type: Name | None = Field(default=None, description="Its volume type at that site.")
    bootable: bool | None = Field(default=None, description="Whether it was bootable.")
    tags: Annotated[
        dict[str, Annotated[str, Field(max_length=MAX_NAME)]], Field(max_length=MAX_TAGS)
    ] = Field(
        default_factory=dict,
        description="Tags of the backup; at most 32 of them, and 4096 characters together.",
    )
    snapshot_time: Time | None = Field(
        default=None, description="The moment the data is of: the recovery point."
    )
    size_gib: Count | None = Field(
        default=None, description="Size of the volume in GiB, rounded up."
    )
    size_bytes: Count | None = Field(default=None, description="Size of the volume.")
    data_bytes: Count | None = Field(
        default=None, description="How much of it is not zeros: what a restore has to move."
    )
    stored_bytes: Count | None = Field(
        default=None, description="What this backup alone added to the bank."
    )
    encrypted: bool | None = Field(default=None, description="Whether it is encrypted in the bank.")
    content_format: Annotated[str, Field(max_length=16)] | None = Field(
        default=None, description="The disk image that the volume's own bytes look like, if any."
    )
    base_backup_id: Annotated[str, Field(max_length=26)] | None = Field(
        default=None,
        description="The backup that it was compared with; it can be restored without that one.",
    )


def status_of(
    found: Described | Unreadable,
    degraded: bool,
    previous: object,
    generation: int,
    now: datetime,
    verified_at: datetime | None = None,
) -> dict[str, Any]:
    """The status as JSON; 7 KiB of ASCII at most, 24 KiB of anything, whatever the bank holds."""
    conditions = merge_conditions(_conditions(found, degraded), previous, generation, now)
    if isinstance(found, Unreadable):
        return RecoveryPointStatus(conditions=conditions, looked_at_time=now).dump()
    about = found.about
    return RecoveryPointStatus(
        conditions=conditions,
        looked_at_time=now,
        verified_time=verified_at,
        backup_name=shown_text(about.backup_name, MAX_NAME),
        description=shown_text(about.description, MAX_DESCRIPTION),
        volume_name=shown_text(about.volume_name, MAX_NAME),
        volume_type=shown_text(about.volume_type, MAX_NAME),
        bootable=about.bootable,
        tags=shown_tags(about.tags),
        snapshot_time=about.snapshot_at,
        size_gib=-(-about.size_bytes >> 30),
        size_bytes=about.size_bytes,
        data_bytes=about.data_bytes,
        stored_bytes=about.stored_bytes,
        encrypted=found.encrypted,
        content_format=about.content_format,
        base_backup_id=about.base_id,
    ).dump()


def _conditions(found: Described | Unreadable, degraded: bool) -> tuple[Condition, ...]:
    """kstatus: what only a person can mend is Stalled."""
    if isinstance(found, Unreadable):
        reason, message = found.reason, shown_text(found.message, MAX_MESSAGE)
    elif degraded:
        reason = "DamageFound"
        message = (
            "A check found that the bank has lost some of it (VolumeRestore.spec.salvage restores the rest),"
            " or a restore drill got other bytes back"
        )
    else:
        return (Condition("Ready", "True", "Mirrored", "The bank holds this backup"),)
    return (
        Condition("Ready", "False", reason, message),
        Condition("Stalled", "True", reason, message),
    )


def labels_of(bank: str, key: PointKey, found: Described | Unreadable) -> dict[str, str]:
    """Labels to find it by. Never from tags, whose names are other people's, and tools act on labels; but
    for the one by which the backups of one group snapshot are known, when it is a UUID."""
    labels = {
        BANK_LABEL: bank,
        SITE_LABEL: key.site,
        VOLUME_ID_LABEL: key.volume_id,
        BACKUP_ID_LABEL: key.backup_id,
    }
    if isinstance(found, Described) and _UUID.fullmatch(
        found.about.tags.get(GROUP_SNAPSHOT_TAG, "")
    ):
        labels[GROUP_SNAPSHOT_TAG] = found.about.tags[GROUP_SNAPSHOT_TAG]
    if isinstance(found, Described) and _LABEL_VALUE.fullmatch(found.about.volume_name):
        labels[VOLUME_NAME_LABEL] = found.about.volume_name
    return labels


def shown_text(text: str, limit: int) -> str:
    """`text` as a terminal may show it: cut, and without control, direction and format characters."""
    return clipped("".join(map(_shown, text[: limit + 1])), limit)


def _shown(character: str) -> str:
    # C*: control, format (bidi), surrogates, private, unassigned; Zl, Zp: line and paragraph ends.
    hidden = unicodedata.category(character)[0] == "C" or character in "\u2028\u2029"
    return "\N{REPLACEMENT CHARACTER}" if hidden else character


def shown_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The first of them in the order of their names, as many as fit into MAX_TAGS_CHARACTERS."""
    shown, left = {}, MAX_TAGS_CHARACTERS
    for each in sorted(tags)[:MAX_TAGS]:
        name, value = shown_text(each, MAX_TAG_NAME), shown_text(tags[each], MAX_NAME)
        left -= len(name) + len(value)
        if left < 0:
            break
        shown[name] = value
    return shown


RECOVERY_POINT = Resource(
    kind="RecoveryPoint",
    plural="recoverypoints",
    short_name="rp",
    description="RecoveryPoint mirrors one backup in a BackupBank, whichever site wrote it. It is made"
    " and removed by the operator as spec.catalog of the BackupBank says; deleting it deletes nothing in"
    " the bank.",
    spec=RecoveryPointSpec,
    status=RecoveryPointStatus,
    status_default={"conditions": WAITING},
    watched=False,
    columns=(
        Column("Bank", ".spec.bankRef.name", "The BackupBank"),
        Column("Site", ".spec.site", "Site that wrote it"),
        Column("Volume", ".status.volumeName", "Name of the volume"),
        Column("Snapshot-Time", ".status.snapshotTime", "The moment the data is of", type="date"),
        Column("Size-GiB", ".status.sizeGiB", "Size of the volume", type="integer"),
        Column(
            "Ready", '.status.conditions[?(@.type=="Ready")].status', "Readable and not damaged"
        ),
        Column("Verified", ".status.verifiedTime", "Last found whole", type="date"),
        AGE,
        Column("Volume-ID", ".spec.volumeID", "The volume in Cinder", wide=True),
        Column("Backup-ID", ".spec.backupID", "What restores it at any site", wide=True),
        Column("Name", ".status.backupName", "Name of the backup", wide=True),
        Column("Tags", ".status.tags", "Tags of the backup", wide=True),
        Column("Data", ".status.dataBytes", "Bytes that are not zeros", type="integer", wide=True),
        MESSAGE,
    ),
)
