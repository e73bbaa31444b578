"""Encrypted volumes: what of them can be backed up and restored, and which of their keys are ours to delete.

Cinder gives Glance the ciphertext, a LUKS container, as `raw` and as nothing else, beside a copy of the key
in the key manager (Barbican). With spec.encryptedVolumes: EscrowKey the key goes into the backup's manifest,
which a bank with a key encrypts. A restore makes a secret of it, and an image that names the secret: from
such an image Cinder copies the ciphertext as it is, from one that names none it would encrypt it again.
docs/adr/0011-key-escrow.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from cinderbank.domain import intents
from cinderbank.domain.errors import CinderbankError, InvalidSpec, Unsupported
from cinderbank.domain.facts import GIB, ImageFacts, ImageId, VolumeEncryption, VolumeFacts
from cinderbank.domain.placement import Placement, Warned, Why
from cinderbank.domain.record import EncryptedVolumes, Memory, Transport, TransportChoice
from cinderbank.domain.steps import DeleteImage, DeleteSecret, Step

PROVIDERS = frozenset({"luks", "luks2"})
"""What lies in the volume is then a LUKS container, which knows its own cipher."""

MOST_HEADER_BYTES = 64 << 20
"""So much longer than the volume its image may be. Measured on RBD with LUKS1: 2,068,480; LUKS2 has 16 MiB."""

CLOCKS_APART_SECONDS = 60.0
"""So far Glance's clock may be behind ours."""

RAW = TransportChoice(
    Transport.RAW,
    "EncryptedVolume",
    "the ciphertext of an encrypted volume goes as a raw image only",
)


def mark_of(restore_uid: str) -> str:
    """What a restore's own secret is known by. It is kept where Cinder's copies lose it: a name is
    copied with the key, so that looking for a name would find the key of the restored volume."""
    return f"cinderbank-restore-{restore_uid}"


def source_problem(
    source: VolumeFacts, wanted: EncryptedVolumes, asked: Transport, *, keeps_secrets: bool
) -> CinderbankError | None:
    """Why this encrypted volume is not backed up; nothing was made for it yet."""
    what = f"volume {source.id} is encrypted"
    if wanted is EncryptedVolumes.REFUSE:
        return Unsupported(
            f"{what}: Glance is given its ciphertext, and the copy of the key is deleted with the "
            "temporary image, so that nobody could ever read the backup. Set spec.encryptedVolumes: "
            "EscrowKey in a new VolumeBackup to keep the key in the bank, back it up from inside a "
            "server, or retype it to an unencrypted type first",
            reason="EncryptedVolume",
        )
    if not keeps_secrets:
        return InvalidSpec(
            f"{what}, and spec.encryptedVolumes: EscrowKey would put its key into a bank that is not "
            "encrypted: the key beside the lock. Give the BackupBank a key (spec.encryption.keySecretRef), "
            "or name another one",
            reason="EscrowNeedsEncryptedBank",
        )
    if asked.is_sparse:
        return InvalidSpec(
            f"{what}, and spec.transport is {asked}: Cinder gives its ciphertext as a raw image only. Set "
            "Raw or Auto in a new VolumeBackup",
            reason="EncryptedNeedsRaw",
        )
    if source.encryption is None or source.encryption.provider not in PROVIDERS:
        provider = "" if source.encryption is None else source.encryption.provider[:60]
        return Unsupported(
            f'{what} by the provider "{provider}"; only {" and ".join(sorted(PROVIDERS))} make a '
            "container that can be opened elsewhere. Back it up from inside a server",
            reason="EncryptionUnsupported",
        )
    return None


def upload_problem(volume: VolumeFacts, source: VolumeFacts | None) -> CinderbankError | None:
    """Why no image is made of the temporary volume: with it would come a copy of a key that nobody asked
    for, which stays in the key manager when the image goes."""
    if not volume.encrypted or (source is not None and source.encryption is not None):
        return None
    return Unsupported(
        f"the temporary volume {volume.id} is encrypted, and the volume was not when this backup began: it"
        " was retyped, or status.source was changed. Make a new VolumeBackup, with"
        " spec.encryptedVolumes: EscrowKey",
        reason="EncryptedVolume",
    )


def with_image_size(memory: Memory, images: Sequence[ImageFacts]) -> Memory:
    """Memory with the length of the ciphertext, which may have its header beside the volume's bytes."""
    source, size = memory.source, memory.size_bytes
    if source is None or source.encryption is None or size is None:
        return memory
    lowest = source.size_gib * GIB
    for image in images:
        found = image.size_bytes
        if image.status != "active" or found is None or found % 512:
            continue
        if lowest <= found <= lowest + MOST_HEADER_BYTES:
            return replace(memory, size_bytes=found)
    return memory


def key_first(step: Step, images: Sequence[ImageFacts], memory: Memory) -> DeleteSecret | None:
    """The key of a temporary image, before the image that tells of it is deleted.

    Glance should do that, and can not with the token of an application credential: castellan asks
    Keystone for another one with it, which Keystone refuses (measured, glance 33). Only a key that Glance
    itself would delete, and never the volume's own; and only one that our image names right now: a status
    that somebody has forged must not be able to destroy a volume. Our image is the one that Cinder has
    answered with: whoever may write images, and delete no secrets, can give any image our name.
    """
    if not isinstance(step, DeleteImage):
        return None
    image = next((each for each in images if each.id == step.resource_id), None)
    made = intents.find(memory, intents.IMAGE)
    if image is None or made is None or made.resource_id != image.id:
        return None
    key_id = _key_to_delete(image, memory)
    return None if key_id is None or _is_deleted(key_id, memory) else DeleteSecret(key_id)


def own_image_ids(images: Sequence[ImageFacts], memory: Memory) -> list[ImageId]:
    """Which of the images with our name may be the one whose answer was lost. Of an encrypted volume none
    that was there before we asked for one: with it goes a key, see key_first."""
    asked = intents.find(memory, intents.IMAGE)
    if asked is None or memory.source is None or memory.source.encryption is None:
        return [image.id for image in images]
    since = asked.at - timedelta(seconds=CLOCKS_APART_SECONDS)
    return [
        image.id
        for image in images
        if image.id == asked.resource_id
        or (image.created_at is not None and image.created_at >= since)
    ]


def _key_to_delete(image: ImageFacts, memory: Memory) -> str | None:
    encryption = None if memory.source is None else memory.source.encryption
    if encryption is None or not image.owns_key or image.encryption_key_id == encryption.key_id:
        return None
    return image.encryption_key_id


def _is_deleted(key_id: str, memory: Memory) -> bool:
    last = intents.find(memory, DeleteSecret.intent)
    return last is not None and last.seen and last.resource_id == key_id


def restore_transport(asked: Transport) -> TransportChoice:
    """Raises InvalidSpec (EncryptedNeedsRaw)."""
    if asked is Transport.QCOW2:
        raise InvalidSpec(
            "the backup is of an encrypted volume, and spec.transport is Qcow2: Cinder takes its "
            "ciphertext as a raw image only. Set Raw or Auto in a new VolumeRestore",
            reason="EncryptedNeedsRaw",
        )
    return RAW


def no_drill() -> Unsupported:
    """The scratch volume is longer than what was backed up, by the header of its encryption, so an image
    of it is another one."""
    return Unsupported(
        "the backup is of an encrypted volume, and its drill could not be compared: restore it without"
        " spec.drill and open it, or check its bytes in the bank with a BankCheck of level Full",
        reason="EncryptedVolume",
    )


def not_read_back(volume: VolumeFacts) -> Unsupported:
    """Of a scratch volume Cinder would give its ciphertext, which is not the backup's bytes, and a copy of
    its key."""
    return Unsupported(
        f'the scratch volume {volume.id} is of type "{volume.volume_type[:255]}", which Cinder encrypts, so'
        " that an image of it is ciphertext and nothing can be compared. This says nothing about the"
        " backup. Name a type that is not encrypted: spec.target.volumeType of a new VolumeRestore, or"
        " spec.drill.volumeType of the policy",
        reason="EncryptedVolume",
    )


def placed(placement: Placement, source: VolumeFacts, size_bytes: int, size_gib: int) -> Placement:
    """The placement of an encrypted volume, with what is to be known of it.

    Raises InvalidSpec (EncryptedTypeNeeded) when it came down to the cloud's default type, which is hardly
    an encrypted one.
    """
    if placement.volume_type_why is Why.DEFAULT:
        raise InvalidSpec(
            f'the backup is of an encrypted volume of type "{source.volume_type[:255]}", which this site '
            f"does not have. Name an encrypted type with {told(source.encryption)} in "
            "spec.target.volumeType or spec.mappings.volumeType of a new VolumeRestore",
            reason="EncryptedTypeNeeded",
        )
    header_bytes = size_bytes % GIB
    if not header_bytes:
        return placement
    message = (
        f"the ciphertext is {header_bytes} bytes longer than a whole number of GiB (the header of its "
        f"encryption), and Cinder makes a volume of it only with the next one: {size_gib} GiB"
    )
    warned = Warned("EncryptedVolumeGrows", message)
    return replace(placement, warnings=(*placement.warnings, warned))


def told(encryption: VolumeEncryption | None) -> str:
    if encryption is None:
        return "no encryption"
    return f"{encryption.provider}, {encryption.cipher}, {encryption.key_size_bits} bits"


def volume_problem(
    volume: VolumeFacts, had: VolumeEncryption, has: VolumeEncryption | None
) -> CinderbankError | None:
    """Why the new volume is not what the backup is of, when it is not: nobody could open it."""
    if has is None or not volume.encrypted:
        return InvalidSpec(
            f'the new volume {volume.id} of type "{volume.volume_type[:255]}" is not encrypted, and the '
            f"backup is the ciphertext of one that was: name an encrypted type with {told(had)} in "
            "spec.target.volumeType of a new VolumeRestore",
            reason="VolumeNotEncrypted",
        )
    same = (had.provider, had.cipher, had.key_size_bits) == (
        has.provider, has.cipher, has.key_size_bits,
    )  # fmt: skip
    if same:
        return None
    return InvalidSpec(
        f'the volume type "{volume.volume_type[:255]}" encrypts with {told(has)}, and the backup is of '
        f"a volume with {told(had)}: name a type with the same in spec.target.volumeType of a new "
        "VolumeRestore",
        reason="EncryptionDiffers",
    )
