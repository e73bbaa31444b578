"""Bank -> Glance image, and the proof that the image is the volume."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cinderbank.bank import state
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.reader import BackupReader
from cinderbank.domain.errors import Conflict, DataCorrupt, SourceGone, Unsupported
from cinderbank.domain.facts import BackupId, ImageFacts, LostRanges
from cinderbank.ports.transfers import RestoreTransfer
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.glance_stream import Glance
from cinderbank.transfer.qcow2_body import Qcow2Body
from cinderbank.transfer.volume_body import ImageBody, RawBody

QUEUED_WAIT_SECONDS = 180.0
POLL_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Restored:
    """What the image holds now: the backup, or what is left of it."""

    content_hash: str
    """Of the whole content as it was backed up."""
    lost: LostRanges | None = None


def run_restore(
    transfer: RestoreTransfer,
    bank: StoredBank,
    glance: Glance,
    meter: ProgressMeter,
    sleep: Callable[[float], None] = time.sleep,
) -> Restored:
    """Fill the queued image with the backup, or prove an active one.

    With `transfer.salvage` what the bank has lost is sent as zeros and told. Idempotent. Raises
    DataCorrupt when a chunk, the index or the image differs, or only one of backup and image has a key
    (StatusLost), SourceGone when image or backup is gone, also
    when the backup was deleted meanwhile, Conflict while an earlier upload still holds the image, and what
    bank and Glance raise.
    """
    bank.open()
    site, backup_id = transfer.site, transfer.backup_id
    with deleted_meanwhile(bank, site, backup_id):
        restored = _restored(transfer, bank, glance, meter, sleep)
    if restored.lost is not None and _is_deleted(bank, site, backup_id):
        raise _deleted(site, backup_id)
    return restored


@contextmanager
def deleted_meanwhile(bank: StoredBank, site: str, backup_id: BackupId) -> Iterator[None]:
    """What is missing because it was freed is no damage: SourceGone instead of DataCorrupt then."""
    try:
        yield
    except DataCorrupt as error:
        if not _is_deleted(bank, site, backup_id):
            raise
        raise _deleted(site, backup_id) from error


def _is_deleted(bank: StoredBank, site: str, backup_id: BackupId) -> bool:
    """Neither to be told as damage, nor to be zeros."""
    if state.read_tomb(bank.store, site, backup_id) is not None:
        return True
    return state.read_seal(bank.store, site, backup_id) is None


def _deleted(site: str, backup_id: BackupId) -> SourceGone:
    return SourceGone(
        f"backup {backup_id} of site {site} was deleted while it was restored, and what it"
        " had is being freed; restore another backup. (The read pin of a restore keeps it there, but none"
        " is left by a BackupBank with accessMode: ReadOnly, or by one that gave no sign for a day)",
        reason="BackupNotFound",
    )


def _restored(
    transfer: RestoreTransfer,
    bank: StoredBank,
    glance: Glance,
    meter: ProgressMeter,
    sleep: Callable[[float], None],
) -> Restored:
    reader = BackupReader.open(bank.store, transfer.site, transfer.backup_id, bank.keys)
    size = reader.geometry.size_bytes
    if size != transfer.size_bytes:
        raise DataCorrupt(
            f"backup {transfer.backup_id} has {size} bytes, {transfer.size_bytes} were asked for"
        )
    image = _settled(glance, transfer, sleep)
    _require_its_key(image, is_encrypted=reader.manifest.escrow is not None)
    body = _body(image, reader, meter, transfer.salvage)
    if image.status == "queued":
        try:
            glance.upload(image.id, body)
        except Exception:
            # The sender may have wrapped it; what the bank said is the cause.
            if body.failure is not None:
                raise body.failure from None
            raise
        image = glance.show(image.id)
    else:
        # An earlier attempt has sent it; what that was is told by making it once more.
        deque(body, maxlen=0)
    prove(glance, image, len(body), body.sha512)
    lost = None if body.salvaged is None else body.salvaged.lost()
    return Restored(reader.manifest.description.content_hash, lost)


def _require_its_key(image: ImageFacts, *, is_encrypted: bool) -> None:
    """Of ciphertext without its key Cinder makes a volume that nobody can open, and calls it available."""
    if (image.encryption_key_id is not None) == is_encrypted:
        return
    kind, has = (
        ("an encrypted", "names no key") if is_encrypted else ("a plain", "names a volume's key")
    )
    raise DataCorrupt(
        f"the backup is of {kind} volume, and image {image.id} {has}: the image, or status.source of the"
        " VolumeRestore, was changed while it was restored. Apply the CRDs of this operator's version (an"
        " older one drops status.source.encryption) and make a new VolumeRestore",
        reason="StatusLost",
    )


def _body(
    image: ImageFacts,
    reader: BackupReader,
    meter: ProgressMeter,
    salvage: bool,
) -> ImageBody:
    """In the format that the image was made for."""
    if image.disk_format == "raw":
        return RawBody(reader, meter, salvage)
    if image.disk_format == "qcow2":
        return Qcow2Body(reader, meter, salvage)
    raise Unsupported(
        f"image {image.id} is {image.disk_format or 'of no format'}, neither raw nor qcow2"
    )


def _settled(
    glance: Glance, transfer: RestoreTransfer, sleep: Callable[[float], None]
) -> ImageFacts:
    """The image once it is queued or active: Glance needs a while to see that an uploader died."""
    image = glance.show(transfer.image_id)
    waited = 0.0
    while image.status not in ("queued", "active"):
        if image.status in ("deleted", "pending_delete", "killed", "deactivated"):
            raise SourceGone(f"image {image.id} is {image.status}; a new one is needed")
        if waited >= QUEUED_WAIT_SECONDS:
            raise Conflict(
                f"image {image.id} is still {image.status} after {int(waited)} s: an earlier upload "
                "holds it; it is tried again, and the image can be deleted if this does not end",
                reason="ImageBusy",
            )
        sleep(POLL_SECONDS)
        waited += POLL_SECONDS
        image = glance.show(transfer.image_id)
    return image


def prove(glance: Glance, image: ImageFacts, size_bytes: int, sha512: str) -> None:
    """Raise unless the image is active and holds exactly what was sent.

    Compares Glance's own SHA-512; where Glance gives none, the image is read back and hashed.
    """
    if image.status != "active":
        raise Conflict(f"image {image.id} is {image.status} after the upload", reason="ImageBusy")
    if image.size_bytes != size_bytes:
        raise DataCorrupt(f"image {image.id} has {image.size_bytes} bytes, expected {size_bytes}")
    found = image.hash_value
    if found is None or (image.hash_algo or "").lower() != "sha512":
        found = _read_back(glance, image, size_bytes)
    if found.lower() != sha512:
        raise DataCorrupt(
            f"image {image.id}: SHA-512 is {found[:16]}..., what was sent is {sha512[:16]}...; "
            "it never becomes a volume"
        )


def _read_back(glance: Glance, image: ImageFacts, size_bytes: int) -> str:
    digest, total = hashlib.sha512(), 0
    with glance.download(image.id, size_bytes) as blocks:
        for block in blocks:
            digest.update(block)
            total += len(block)
    if total != size_bytes:
        raise DataCorrupt(f"image {image.id} ended after {total} of {size_bytes} bytes")
    return digest.hexdigest()
