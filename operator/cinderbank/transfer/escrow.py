"""The key of an encrypted volume on its way from the key manager into the manifest.

The transfer reads it, and not the operator: so it is in the memory of the process that writes it, and in
no file, pipe or other process.
"""

from __future__ import annotations

from cinderbank.bank.escrow import EscrowedKey
from cinderbank.bank.keyring import BackupKeys
from cinderbank.domain.errors import (
    BrokenInvariant,
    DataCorrupt,
    InvalidSpec,
    SourceGone,
    Unsupported,
)
from cinderbank.domain.facts import ImageFacts, VolumeEncryption
from cinderbank.ports.key_manager import KeyManager

LUKS = "luks"


def read_key(
    encryption: VolumeEncryption | None,
    image: ImageFacts,
    keys: BackupKeys | None,
    key_manager: KeyManager | None,
) -> EscrowedKey | None:
    """The key that opens this image, before a byte of it is read; None for the image of a volume that is not
    encrypted. Raises InvalidSpec (EscrowNeedsEncryptedBank), SourceGone (EncryptionKeyNotFound), Unsupported
    (EncryptedVolume) for ciphertext whose key nobody asked for, and what the key manager raises."""
    if encryption is None:
        if image.encryption_key_id is None:
            return None
        # It was retyped after it was looked at, or somebody has edited the status.
        raise Unsupported(
            f"image {image.id} is the ciphertext of an encrypted volume, and the volume was not when this "
            "backup began: make a new VolumeBackup, with spec.encryptedVolumes: EscrowKey",
            reason="EncryptedVolume",
        )
    if keys is None:
        raise InvalidSpec(
            "the key of an encrypted volume does not go into a bank without a key",
            reason="EscrowNeedsEncryptedBank",
        )
    if image.encryption_key_id is None:
        raise SourceGone(
            f"image {image.id} of an encrypted volume names no key", reason="EncryptionKeyNotFound"
        )
    if key_manager is None:
        raise BrokenInvariant("a transfer of an encrypted volume has no key manager")
    return EscrowedKey(encryption, key_manager.read_secret(image.encryption_key_id))


def require_luks(content_format: str | None, image: ImageFacts) -> None:
    """What no key opens must not become a backup. Cinder's NFS driver, for one, keeps a qcow2 file."""
    if content_format != LUKS:
        raise DataCorrupt(
            f"image {image.id} of an encrypted volume is no LUKS container (it looks like "
            f"{content_format or 'nothing known'}): its key would open nothing. Back the volume up from "
            "inside a server",
            reason="NotLUKS",
        )
