"""What status of a VolumeBackup and of a VolumeRestore have in common.

Two sorts of fields stand side by side: what the operator must remember (it reads them back: they
are `domain.record.Memory`) and what it only tells (`Report`; never read back).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cinderbank.api.v1alpha1.claim import ClaimStatus
from cinderbank.api.v1alpha1.conditions import WAITING, Conditions
from cinderbank.api.v1alpha1.model import (
    ApiModel,
    BackupULID,
    CloudID,
    SiteName,
    Time,
    rule,
)
from cinderbank.domain.record import TERMINAL_PHASES, Phase

NAME_LIMIT = 1024
TEXT_LIMIT = 32768
FORMAT_LIMIT = 64
INTENTS_LIMIT = 32
TEMPORARIES_LIMIT = 64

Name = Annotated[str, Field(max_length=NAME_LIMIT)]
Text = Annotated[str, Field(max_length=TEXT_LIMIT)]
Word = Annotated[str, Field(max_length=NAME_LIMIT)]
Bytes = Annotated[int, Field(ge=0)]
Metadata = Annotated[dict[str, Annotated[str, Field(max_length=65536)]], Field(max_length=1024)]


class Progress(ApiModel):
    """How far the transfer is; all bytes are of the volume's content but for bytesStored."""

    summary: Name = Field(
        description="The figures below in one line, for example `41 %  212 MiB/s  ETA 3m`."
    )
    percent: Annotated[int, Field(ge=0, le=100)] = Field(
        description="Share of the volume's bytes that are done; 100 only when all are."
    )
    bytes_total: Bytes = Field(description="Size of the volume's content in bytes.")
    bytes_processed: Bytes = Field(description="Bytes of the volume that are done.")
    bytes_stored: Bytes = Field(
        description="Bytes that went into the bank, after compression; 0 for a restore."
    )
    bytes_reused: Bytes = Field(description="Bytes that the bank already had.")
    bytes_zero: Bytes = Field(description="Bytes that are zero and so need no storage.")
    rate_bytes_per_second: Bytes = Field(
        description="Present speed in bytes of the volume per second; 0 when nothing runs."
    )
    eta_seconds: Bytes | None = Field(
        default=None, description="Seconds that the rest will take at the present speed."
    )


class VolumeEncryption(ApiModel):
    """How Cinder encrypts the volume; no key is in it."""

    provider: Name = Field(description="For example luks.")
    cipher: Name = Field(default="", description="For example aes-xts-plain64.")
    key_size_bits: Annotated[int, Field(ge=0, le=1 << 20)] = Field(
        default=0, description="For example 256."
    )
    control_location: Name = Field(
        default="", description="front-end: opened where the server runs."
    )
    key_id: Annotated[str, Field(max_length=64, pattern="^[A-Za-z0-9-]*$")] = Field(
        default="", description="Id of its key in the key manager of its own site."
    )


class SourceVolume(ApiModel):
    """The volume that is (or was) backed up, as it was when the backup began."""

    volume_id: CloudID = Field(description="Id of the volume in Cinder.")
    name: Name = Field(default="", description="Name of the volume.")
    size_gib: Annotated[int, Field(ge=0)] = Field(description="Provisioned size in GiB.")
    description: Text = Field(default="", description="Description of the volume.")
    volume_type: Name = Field(default="", description="Volume type, for example ssd.")
    availability_zone: Name = Field(default="", description="Availability zone, for example nova.")
    bootable: bool = Field(default=False, description="Whether a server can boot from it.")
    encrypted: bool = Field(default=False, description="Whether Cinder encrypts it.")
    encryption: VolumeEncryption | None = Field(
        default=None, description="How, where its key is kept in the bank with the backup."
    )
    status: Name = Field(default="", description="Cinder's status of it then, for example in-use.")
    snapshot_id: CloudID | None = Field(
        default=None, description="Id of the snapshot that the volume was made from, if any."
    )
    created_time: Time | None = Field(default=None, description="When the volume was created.")
    metadata: Metadata = Field(
        default_factory=dict, description="The volume's metadata; it goes into the backup."
    )
    image_metadata: Metadata = Field(
        default_factory=dict,
        description="Properties of the image that the volume was made from; needed to boot from it.",
    )


class Intent(ApiModel):
    """Something the operator was about to do; a lost answer is looked for by this."""

    step: Word = Field(description="What was begun, for example snapshot or transfer.")
    time: Time = Field(description="When the request was about to be sent.")
    tries: Annotated[int, Field(ge=0)] = Field(
        default=1,
        description="How often it was begun anew because what it made had failed or vanished; what was"
        " made before transport changed does not count.",
    )
    resource_id: Annotated[str, Field(max_length=64, pattern="^[A-Za-z0-9._-]*$")] = Field(
        default="", description="What the cloud answered, or what was found."
    )
    seen: bool = Field(
        default=False, description="Whether its effect was seen, so that nothing can turn up late."
    )


class LastError(ApiModel):
    """The last thing that went wrong; it stays after a retry went well."""

    reason: Word = Field(description="One stable CamelCase word, for example QuotaExceeded.")
    message: Text = Field(description="What went wrong and what to do about it.")
    request_id: Name = Field(
        default="",
        description="OpenStack's request id (req-...), to be found in the cloud's own logs.",
    )
    time: Time = Field(description="When it happened.")
    retryable: bool = Field(description="Whether the operator tries again by itself.")


class Outcome(ApiModel):
    """How it ends; written once. While final is false, only the clean-up is still to be done."""

    phase: Literal["Completed", "Failed", "Canceled"] = Field(
        description="Completed, Failed or Canceled."
    )
    reason: Word = Field(description="Why, in one stable CamelCase word.")
    message: Text = Field(description="Why, for a human.")
    time: Time = Field(description="When this was decided.")
    final: bool = Field(
        default=False, description="True when nothing temporary is left in the cloud."
    )


class Temporary(ApiModel):
    """Something that exists in the cloud because of this object, right now."""

    kind: Word = Field(
        description="snapshot, volume, image, persistentvolume or persistentvolumeclaim."
    )
    id: CloudID = Field(description="Its id in Cinder or Glance, or its uid in Kubernetes.")
    name: Name = Field(default="", description="Its name there.")


_TERMINAL = ", ".join(f"'{phase}'" for phase in sorted(TERMINAL_PHASES))

STATUS_RULES = (
    rule(
        f"!has(oldSelf.phase) || !(oldSelf.phase in [{_TERMINAL}])"
        " || (has(self.phase) && self.phase in [oldSelf.phase, 'Deleting'])",
        "a phase of Completed, Failed or Canceled never changes: it is what others act upon",
    ),
    rule(
        "!has(oldSelf.backupID) || (has(self.backupID) && self.backupID == oldSelf.backupID)",
        "backupID never changes: what was created in the cloud and in the bank carries it",
    ),
)


class RunStatus(ApiModel):
    """What the operator found and did; written by the operator only."""

    rules = STATUS_RULES

    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="The metadata.generation that this status is about."
    )
    phase: Phase | None = Field(
        default=None,
        description="Where it stands. A backup goes Pending, Snapshotting, Cloning, Imaging,"
        " Transferring, Committing, CleaningUp; a restore goes Pending, Transferring, CreatingVolume,"
        " CleaningUp (a drill before that Imaging, Comparing). Queued comes before Transferring while other objects have all transfer slots."
        " Both end in Completed, Failed or Canceled, and never leave it but for Deleting.",
    )
    conditions: Conditions | None = Field(
        default=None,
        description="Ready (True when Completed), Reconciling (True while it works), Stalled (True"
        " when a human is needed), Accepted, Banked, CleanedUp, and of a VolumeBackup Copied.",
    )
    progress: Progress | None = Field(default=None, description="How far the transfer is.")
    backup_id: BackupULID | None = Field(
        default=None,
        description="Id of the backup in the bank: 26 letters and digits that sort by time. It is"
        " written before anything is created: of a VolumeBackup the id of the new backup, which with"
        " its site is all another site needs; of a VolumeRestore the backup that is restored.",
    )
    site: SiteName | None = Field(
        default=None, description="Site that wrote the backup (spec.site of its BackupBank)."
    )
    source: SourceVolume | None = Field(
        default=None, description="The volume that the data is of, as it was then."
    )
    persistent_volume_claim: ClaimStatus | None = Field(
        default=None,
        description="Of a backup the claim that led to the volume, of a restore the claim that gets the"
        " new one, and its PersistentVolume.",
    )
    snapshot_time: Time | None = Field(
        default=None,
        description="The moment that the data is of: what was written later is not in the backup.",
    )
    size_bytes: Bytes | None = Field(
        default=None, description="Size of the volume's content in bytes."
    )
    content_hash: Annotated[str, Field(max_length=128, pattern="^[0-9a-f]*$")] | None = Field(
        default=None,
        description="What tells the content from any other: SHA-256 over the hashes of its chunks.",
    )
    content_format: Annotated[str, Field(max_length=FORMAT_LIMIT)] | None = Field(
        default=None,
        description="The disk image that the volume's own bytes look like, such as qcow2, vmdk or"
        " luks; unset for an ordinary disk. Clouds may mistake such a volume for that image.",
    )
    transport: Literal["Raw", "Qcow2", "Vdi"] | None = Field(
        default=None,
        description="How the data goes through Glance: what spec.transport asked for, or Auto chose.",
    )
    transport_reason: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Why, in one stable CamelCase word, for example MostlyEmpty."
    )
    manifest_digest: (
        Annotated[str, Field(max_length=128, pattern="^[a-z0-9]+:[0-9a-f]+$")] | None
    ) = Field(
        default=None,
        description="Digest of the backup's manifest in the bank, sha256:<hex>; it is there from"
        " the moment on when the backup is one.",
    )
    start_time: Time | None = Field(default=None, description="When the work began.")
    completion_time: Time | None = Field(
        default=None, description="When it was Completed, Failed or Canceled."
    )
    outcome: Outcome | None = Field(default=None, description="How it ends.")
    last_error: LastError | None = Field(
        default=None, description="The last thing that went wrong, also when a retry went well."
    )
    failures: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="How often in a row something went wrong; the next try waits longer after each."
        " What spec.retryLimit bounds are the tries in intents.",
    )
    next_try_time: Time | None = Field(
        default=None, description="When the operator tries again after a failure."
    )
    transfer_attempt: Annotated[int, Field(ge=0)] = Field(
        default=0, description="How many times a transfer was started."
    )
    temporaries: Annotated[tuple[Temporary, ...], Field(max_length=TEMPORARIES_LIMIT)] = Field(
        default=(),
        description="What exists in the cloud because of this object, right now; empty when cleaned.",
    )
    intents: Annotated[tuple[Intent, ...], Field(max_length=INTENTS_LIMIT)] = Field(
        default=(),
        description="What was begun when the operator last looked; for its own use.",
    )


UNSEEN = {"phase": Phase.PENDING.value, "conditions": WAITING}
"""The status that an object has before the operator has seen it."""
