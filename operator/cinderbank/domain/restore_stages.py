"""The stages of a restore that make something in the cloud, asked from the farthest one back.

volume_stage asks whether the new volume is there; without one it asks for an image that is proven to
hold the backup's bytes, and that for a transfer into one that holds none yet.
"""

from __future__ import annotations

from cinderbank.domain import claim_stage, drill_stage, flatten_stage, intents, messages
from cinderbank.domain.backoff import poll_seconds
from cinderbank.domain.cleanup import still_there
from cinderbank.domain.errors import (
    BrokenInvariant,
    CinderbankError,
    DataCorrupt,
    ResourceFailed,
    Retryable,
)
from cinderbank.domain.facts import (
    ImageFacts,
    TransferFailed,
    TransferSucceeded,
    VolumeFacts,
    size_gib,
)
from cinderbank.domain.fidelity import not_put_back, put_back
from cinderbank.domain.names import RESTORE_TAG, restore_image_name, without_tags
from cinderbank.domain.record import Outcome, Phase, Transport
from cinderbank.domain.restore_encryption import (
    key_of,
    names_key,
    secret_stage,
    unfit_volume,
    wrong_image,
)
from cinderbank.domain.restore_steps import (
    CreateImage,
    CreateVolume,
    ProveImage,
    RestoreObserved,
    RestoreStep,
    StartTransfer,
)
from cinderbank.domain.stages import (
    USELESS_IMAGE,
    USELESS_VOLUME,
    age_seconds,
    before_fresh_try,
    fail,
    first_usable,
    remove_failed,
    settling,
)
from cinderbank.domain.steps import (
    CancelTransfer,
    Conclude,
    DeleteImage,
    DeleteVolume,
    FallBack,
    Wait,
)
from cinderbank.domain.transfer_rules import OUTAGES, counted, transfer_step
from cinderbank.domain.transport import fallback, unwanted, with_way_out

BEING_MADE = frozenset({"creating", "downloading"})
"""Every other status means that it was made: a user may attach it the moment it is available."""

RECEIVING = frozenset({"saving", "uploading", "importing"})

NO_QCOW2 = frozenset({"ImageContentRefused", "SizeNotInSectors", "TooManyChunks"})
"""Reasons of a transfer: Glance has answered 415, or the backup can not be made a qcow2 image of."""


def volume_stage(o: RestoreObserved) -> RestoreStep:
    volume = first_usable(flatten_stage.in_order(o), USELESS_VOLUME)
    if volume is None:
        return settling(o, intents.VOLUME) or _transfer_stage(o)
    if volume.status == "deleting":
        return Wait(poll_seconds(0), "CreatingVolume", f"volume {volume.id} goes away")
    if volume.status in USELESS_VOLUME:
        if step := _no_conversion(o, volume):
            return step
        error = _volume_failed(o, volume)
        return remove_failed(o, intents.VOLUME, DeleteVolume(volume.id, because=error), error)
    if volume.status in BEING_MADE:
        age = age_seconds(o, intents.VOLUME)
        # A full copy of the image: it may take as long as the upload of one.
        limit = o.request.timeouts.image
        if age > limit.total_seconds():
            message = f"volume {volume.id} is still {volume.status} after {limit}"
            return fail(o, ResourceFailed(message, reason="VolumeTimeout"))
        return Wait(poll_seconds(age), "CreatingVolume", f"volume {volume.id} is {volume.status}")
    return _hand_over(o, volume)


def _hand_over(o: RestoreObserved, volume: VolumeFacts) -> RestoreStep:
    """Free it of the image, put back what a volume from one has differently, then its claim; then it is done."""
    if unfit := unfit_volume(o, volume):
        return unfit
    if o.request.drill:
        return drill_stage.read_back(o, volume)
    if step := (
        flatten_stage.flatten_stage(o, volume)
        or put_back(o, volume)
        or claim_stage.claim_stage(o, volume)
    ):
        return step
    message = ", but ".join(
        [
            f"volume {volume.id} ({volume.name}) is restored",
            *not_put_back(o, volume),
            *flatten_stage.held_image(o),
        ]
    )
    lost = o.memory.lost
    if lost is None:
        return Conclude(Outcome(Phase.COMPLETED, "Restored", message, o.now))
    message += (
        f", but {lost.lost_bytes} bytes in {lost.count} ranges were lost in the bank and are zeros in "
        "it; status.lost lists them"
    )
    return Conclude(Outcome(Phase.COMPLETED, "Salvaged", message, o.now))


def _no_conversion(o: RestoreObserved, volume: VolumeFacts) -> FallBack | None:
    """Raw next, when Cinder tells that it could not take the volume out of a qcow2 image."""
    if not messages.tells_of(volume.id, o.messages, messages.COPY_FROM_IMAGE):
        return None
    what = "Cinder could not make the volume of a qcow2 image"
    choice = fallback(o.request.transport, o.memory, "ConversionFailed", what)
    return None if choice is None else FallBack(choice)


def _transfer_stage(o: RestoreObserved) -> RestoreStep:
    if left := unwanted(still_there(o.images), o.memory):
        error = ResourceFailed(
            f"image {left.id} is {left.disk_format}, which is not wanted any more",
            reason="ImageFailed",
        )
        return remove_failed(o, intents.IMAGE, DeleteImage(left.id), error)
    if step := wrong_image(o):
        return step
    image = _first_image(o)
    if isinstance(o.transfer, TransferFailed) and o.transfer.reason in NO_QCOW2:
        return _content_refused(o, o.transfer)
    if image is not None and image.status == "active" and image.id == o.memory.image_proven:
        return _active(o, image)  # whatever a transfer says since
    if (
        isinstance(o.transfer, TransferFailed)
        and o.transfer.retryable
        and o.transfer.reason not in OUTAGES
        and image is not None
        and image.status == "active"
    ):
        # Glance took it for complete and the transfer did not: nothing can be sent into it again.
        error = ResourceFailed(o.transfer.message, reason=o.transfer.reason)
        return _remake_image(o, image, error)
    step = transfer_step(
        o.transfer,
        memory=o.memory,
        now=o.now,
        no_progress=o.request.timeouts.no_progress,
        retry_limit=o.request.retry_limit,
    )
    return step or _image_stage(o, image)


def _content_refused(o: RestoreObserved, failed: TransferFailed) -> RestoreStep:
    """No qcow2 image can be made of it, or Glance has looked into it and does not want it: raw next, or
    the end."""
    what = "Glance refuses the qcow2 image, or none can be made of this backup"
    if choice := fallback(o.request.transport, o.memory, "ImageFormatRefused", what):
        return FallBack(choice)
    message = with_way_out(failed.message, o.request.transport)
    return fail(o, ResourceFailed(message, reason=failed.reason))


def _image_stage(o: RestoreObserved, image: ImageFacts | None) -> RestoreStep:
    if image is None:
        return _create_image(o)
    if image.status == "active":
        return _active(o, image)
    if isinstance(o.transfer, TransferSucceeded):
        error = Retryable(f"image {image.id} is {image.status}", reason="ImageNotActive")
        return counted(o.memory, error, o.now, o.request.retry_limit)
    if image.status == "queued":
        return _start(o, image)
    if image.status in RECEIVING:
        age = age_seconds(o, intents.BUSY)
        if age <= o.request.timeouts.no_progress.total_seconds():
            message = f"waiting for Glance to give up an upload that nobody sends to {image.id}"
            return Wait(poll_seconds(age), "Transferring", message)
    error_ = ResourceFailed(f"image {image.id} is {image.status}", reason="ImageFailed")
    return _remake_image(o, image, error_)


def _active(o: RestoreObserved, image: ImageFacts) -> RestoreStep:
    memory = o.memory
    found = image.size_bytes
    if image.disk_format != "raw" and found:
        # Its own length is the transfer's to check; the disk's is known where Glance has looked for it.
        found = image.virtual_size_bytes or memory.size_bytes
    if found != memory.size_bytes:
        # Seen with a body that could not be sent twice: Glance says active and holds 0 bytes.
        error = ResourceFailed(
            f"image {image.id} is active with {found} of {memory.size_bytes} bytes",
            reason="ImageSizeMismatch",
        )
        return _remake_image(o, image, error)
    if memory.image_proven == image.id:
        return _create_volume(o, image)
    if not isinstance(o.transfer, TransferSucceeded):
        return _start(o, image)
    started = intents.find(memory, intents.TRANSFER)
    if started is None or started.resource_id != image.id:
        return CancelTransfer()  # it was about another image
    if o.transfer.content_hash != memory.content_hash:
        return fail(
            o,
            DataCorrupt(
                "what was read from the bank is not what the backup's manifest says ("
                f"{o.transfer.content_hash} instead of {memory.content_hash}); no volume is made "
                "of it. Check the bank",
                reason="ContentHashMismatch",
            ),
        )
    if o.transfer.lost is not None and not o.request.salvage:
        return fail(o, DataCorrupt("a transfer salvaged what it was not asked to"))
    return ProveImage(image.id, o.transfer.lost)


def _start(o: RestoreObserved, image: ImageFacts) -> RestoreStep:
    site, size_bytes = o.memory.site, o.memory.size_bytes
    if site is None or size_bytes is None:
        lost = "the status of this object no longer says which backup it restores"
        return fail(o, ResourceFailed(lost, reason="StatusLost"))
    return StartTransfer(site, o.request.backup_id, image.id, size_bytes, o.request.salvage)


def _create_image(o: RestoreObserved) -> RestoreStep:
    error = ResourceFailed("the temporary image vanished or failed", reason="ImageFailed")
    return (
        settling(o, intents.IMAGE)
        or secret_stage(o)
        or before_fresh_try(o, intents.IMAGE, error)
        or CreateImage(
            restore_image_name(o.identity.uid),
            (o.memory.transport or Transport.RAW).disk_format,
            key_of(o),
        )
    )


def _create_volume(o: RestoreObserved, image: ImageFacts) -> RestoreStep:
    source, size_bytes = o.memory.source, o.memory.size_bytes
    if source is None or size_bytes is None:
        return _start(o, image)
    if not names_key(o, image):
        raise BrokenInvariant(f"image {image.id} of an encrypted volume names no key of ours")
    error = ResourceFailed("the new volume vanished or failed", reason="VolumeFailed")
    if first := before_fresh_try(o, intents.VOLUME, error):
        return first
    # Without a placement it was begun by an operator that knew none: what was asked for, then.
    placed, wanted = o.memory.placement, o.request.wanted
    asked = o.request.description
    made = CreateVolume(
        image_id=image.id,
        name=claim_stage.volume_name(o, source),
        description=source.description if asked is None else asked,
        size_gib=o.request.size_gib or size_gib(size_bytes),
        volume_type=placed.volume_type if placed else wanted.volume_type,
        availability_zone=placed.availability_zone if placed else wanted.availability_zone,
        metadata={
            **claim_stage.source_metadata(o, source),
            **without_tags(o.request.metadata),
            RESTORE_TAG: o.identity.uid,
        },
    )
    return drill_stage.scratch(o, made) if o.request.drill else made


def _remake_image(o: RestoreObserved, image: ImageFacts, error: CinderbankError) -> RestoreStep:
    return remove_failed(o, intents.IMAGE, DeleteImage(image.id, because=error), error)


def _volume_failed(o: RestoreObserved, volume: VolumeFacts) -> ResourceFailed:
    error = messages.failure(
        f"the new volume {volume.id} went into status {volume.status}",
        "VolumeFailed",
        volume.id,
        o.messages,
        [messages.COPY_FROM_IMAGE, messages.SCHEDULE],
    )
    message = error.message
    if messages.tells_of(volume.id, o.messages, messages.COPY_FROM_IMAGE):
        message = with_way_out(message, o.request.transport)
    if o.memory.source is not None and o.memory.source.encryption is not None:
        message += (
            ". The backup is of an encrypted volume: its type must be encrypted as that was, and on a "
            "back end of block devices; name one in spec.target.volumeType of a new VolumeRestore"
        )
    return ResourceFailed(message, reason=error.reason, request_id=error.request_id)


def _first_image(o: RestoreObserved) -> ImageFacts | None:
    images = still_there(o.images)
    proven = [image for image in images if image.id == o.memory.image_proven]
    return first_usable(proven or images, USELESS_IMAGE)
