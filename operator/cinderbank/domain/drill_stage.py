"""The stages that only a restore drill has, from the farthest one back: compare, read back, upload.

The scratch volume is made by the stages of every restore. Then Cinder makes an image of it, a transfer
compares that image with the backup, byte for byte, and all of it goes (domain.restore.ending).

The volume comes back as a VDI image where that spares the bytes that nobody uses. Cinder may unpack
what looks like a disk image when it converts, so a difference that a converted image shows is only
believed when a raw one shows it, too.
"""

from __future__ import annotations

from dataclasses import replace

from cinderbank.domain import encryption, intents, messages
from cinderbank.domain.backoff import poll_seconds
from cinderbank.domain.cleanup import still_there
from cinderbank.domain.drill_steps import (
    ChooseReadBack,
    Compared,
    NoteVerdict,
    ReadBackAnew,
    StartComparison,
    UploadScratch,
)
from cinderbank.domain.errors import CinderbankError, DataCorrupt, ResourceFailed
from cinderbank.domain.facts import (
    GIB,
    ImageFacts,
    LostRanges,
    TransferAbsent,
    TransferFailed,
    TransferSucceeded,
    VolumeFacts,
    size_gib,
)
from cinderbank.domain.names import DRILL_TAG, RESTORE_TAG, drill_image_name, drill_volume_name
from cinderbank.domain.record import Drill, Memory, Outcome, Phase, Transport, TransportChoice
from cinderbank.domain.restore_steps import CreateVolume, RestoreObserved, RestoreStep
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
from cinderbank.domain.steps import CancelTransfer, Conclude, DeleteImage, Wait
from cinderbank.domain.transfer_rules import transfer_step
from cinderbank.domain.transport import CONVERTED, fallback, looks_like_an_image

VERIFIED = "Verified"
FOUND_DIFFERENCE = "DrillFoundDifference"

NOT_THE_VOLUME = frozenset({"ImageSizeMismatch", "ImageUnsupported", "ImageNotInOrder"})
"""Reasons of a comparison that has looked at an image and can not take the volume from it."""


def scratch(o: RestoreObserved, volume: CreateVolume) -> CreateVolume:
    """The same volume as nobody's: nothing of the old one's name or metadata, but two marks of ours."""
    identity = o.identity
    return replace(
        volume,
        name=drill_volume_name(identity.uid),
        description=f"scratch volume of the drill {identity.namespace}/{identity.name}; cinderbank"
        " deletes it by itself, keep nothing in it",
        metadata={RESTORE_TAG: identity.uid, DRILL_TAG: o.request.backup_id},
    )


def drill_stage(o: RestoreObserved) -> RestoreStep | None:
    """None while there is no image to compare: then the volume comes first."""
    if not o.request.drill:
        return None
    drill = o.memory.drill
    if drill is not None and drill.compared:
        return _concluded(o, drill.different)
    images = still_there(o.drill_images)
    if drill is not None and (left := _unwanted(images, drill)):
        error = ResourceFailed(
            f"image {left.id} is {left.disk_format}, which is not wanted any more",
            reason="UploadToImageFailed",
        )
        return remove_failed(o, intents.DRILL_IMAGE, DeleteImage(left.id), error)
    image = first_usable(images, USELESS_IMAGE)
    if image is None or drill is None:
        return None
    if image.status == "active":
        return _compare(o, image, drill)
    return _under_way(o, image, drill)


def read_back(o: RestoreObserved, volume: VolumeFacts) -> RestoreStep:
    """The scratch volume is there, and no image of it."""
    if volume.encrypted:
        return fail(o, encryption.not_read_back(volume))
    if not isinstance(o.transfer, TransferAbsent):
        return CancelTransfer()  # it has filled the volume, or compared an image that is gone
    drill = o.memory.drill
    if drill is None:
        return ChooseReadBack(_choice(o.memory))
    if wait := settling(o, intents.DRILL_IMAGE):
        return wait
    if volume.status != "available":
        age, limit = age_seconds(o, intents.VOLUME), o.request.timeouts.image
        message = f"the scratch volume {volume.id} is {volume.status}"
        if age > limit.total_seconds():
            return fail(o, ResourceFailed(f"{message} after {limit}", reason="VolumeTimeout"))
        return Wait(poll_seconds(age), "Imaging", message)
    if intents.made_something(o.memory, intents.DRILL_IMAGE):
        if step := _raw_instead(o, drill, "ConversionFailed", "Cinder made no image of the volume"):
            return step
        error = _upload_failed(o, f"Cinder took the image of volume {volume.id} away again")
        if first := before_fresh_try(o, intents.DRILL_IMAGE, error):
            return first
    name = drill_image_name(o.identity.uid)
    return UploadScratch(volume.id, name, drill.transport.disk_format)


def verdict(o: RestoreObserved) -> NoteVerdict | None:
    """What is left to tell the bank, once the cloud is clean."""
    drill, site = o.memory.drill, o.memory.site
    if drill is None or not drill.compared or site is None:
        return None
    if intents.is_done(o.memory, intents.VERDICT):
        return None
    return NoteVerdict(site, o.request.backup_id, drill.different is None)


def fallen_back(memory: Memory, choice: TransportChoice) -> Memory:
    """Memory that reads the volume back as `choice` says; what failed on the way there does not count."""
    memory = intents.forgiven(memory, intents.DRILL_IMAGE)
    return replace(memory, drill=Drill(choice.transport, choice.reason))


def fallback_for(memory: Memory, reason: str, what: str) -> TransportChoice | None:
    """How else the volume can be read back; None when it is raw already."""
    if memory.drill is None:
        return None
    return fallback(Transport.AUTO, replace(memory, transport=memory.drill.transport), reason, what)


def _choice(memory: Memory) -> TransportChoice:
    if looks_like_an_image(memory.content_format):
        what = f"its bytes look like a {memory.content_format} image, which Cinder would unpack"
        return TransportChoice(Transport.RAW, "ContentIsImage", f"read back as it is: {what}")
    if memory.transport is Transport.RAW:
        return TransportChoice(Transport.RAW, "AsRestored", "read back raw, as it went in")
    return TransportChoice(Transport.VDI, "OnlyUsedData", "only what is used is read back")


def _unwanted(images: list[ImageFacts], drill: Drill) -> ImageFacts | None:
    """The first image left from before a fall-back."""
    left = CONVERTED - {drill.transport.disk_format}
    return next((image for image in images if image.disk_format in left), None)


def _under_way(o: RestoreObserved, image: ImageFacts, drill: Drill) -> RestoreStep:
    age = age_seconds(o, intents.DRILL_IMAGE)
    volume = first_usable(o.volumes, USELESS_VOLUME)
    uploads = volume is not None and volume.status == "uploading"
    if image.status in USELESS_IMAGE or (not uploads and age > intents.SETTLE_SECONDS):
        # Cinder sets the volume free only after the image is active, and volumes are read first.
        what = f"image {image.id} is {image.status} and the scratch volume no longer uploads"
        if step := _raw_instead(o, drill, "ConversionFailed", what):
            return step
        error = _upload_failed(o, what)
        return remove_failed(o, intents.DRILL_IMAGE, DeleteImage(image.id, because=error), error)
    limit = o.request.timeouts.image
    if age > limit.total_seconds():
        message = f"image {image.id} is still {image.status} after {limit}"
        return fail(o, ResourceFailed(message, reason="ImageTimeout"))
    return Wait(poll_seconds(age), "Imaging", f"image {image.id} is {image.status}")


def _compare(o: RestoreObserved, image: ImageFacts, drill: Drill) -> RestoreStep:
    site, size_bytes = o.memory.site, o.memory.size_bytes
    if site is None or size_bytes is None:
        lost = "the status of this object no longer says which backup it drills"
        return fail(o, ResourceFailed(lost, reason="StatusLost"))
    volume_bytes = size_gib(size_bytes) * GIB
    if problem := _not_the_volume(image, volume_bytes):
        return _raw_instead(o, drill, "ContentIsImage", problem.message) or fail(o, problem)
    begun = intents.find(o.memory, intents.COMPARE)
    transfer = o.transfer
    if begun is None and not isinstance(transfer, TransferAbsent):
        return CancelTransfer()  # it is the one that has filled the volume
    if isinstance(transfer, TransferSucceeded):
        if begun is None or begun.resource_id != image.id or not transfer.compared:
            return CancelTransfer()
        return _believed(o, drill, transfer)
    if isinstance(transfer, TransferFailed) and transfer.reason in NOT_THE_VOLUME:
        error = ResourceFailed(transfer.message, reason=transfer.reason)
        return _raw_instead(o, drill, "ConversionFailed", transfer.message) or fail(o, error)
    step = transfer_step(
        transfer,
        memory=o.memory,
        now=o.now,
        no_progress=o.request.timeouts.no_progress,
        retry_limit=o.request.retry_limit,
    )
    return step or StartComparison(site, o.request.backup_id, image.id, size_bytes, volume_bytes)


def _believed(o: RestoreObserved, drill: Drill, ended: TransferSucceeded) -> RestoreStep:
    if ended.content_hash != o.memory.content_hash:
        message = (
            "the index that the volume was compared with is not what the backup's manifest says "
            f"({ended.content_hash} instead of {o.memory.content_hash}). Check the bank"
        )
        return fail(o, DataCorrupt(message, reason="ContentHashMismatch"))
    if ended.different is not None:
        what = f"a {drill.transport} image of the volume differs; a raw one has to show it, too"
        if step := _raw_instead(o, drill, "DifferenceSeen", what):
            return step
    return Compared(ended.different)


def _not_the_volume(image: ImageFacts, size_bytes: int) -> CinderbankError | None:
    converted = image.disk_format in CONVERTED
    found = image.virtual_size_bytes if converted else image.size_bytes
    if found == size_bytes or (not found and converted):
        return None
    message = (
        f"the image of the scratch volume is of a disk of {found} bytes, the volume has {size_bytes}: "
        "Cinder has unpacked a disk image that it found in it, so nothing can be compared"
    )
    return ResourceFailed(message, reason="ImageSizeMismatch")


def _raw_instead(o: RestoreObserved, drill: Drill, reason: str, what: str) -> ReadBackAnew | None:
    choice = fallback_for(replace(o.memory, drill=drill), reason, what)
    return None if choice is None else ReadBackAnew(choice)


def _upload_failed(o: RestoreObserved, what: str) -> CinderbankError:
    volume = first_usable(o.volumes, USELESS_VOLUME)
    return messages.failure(
        what,
        "UploadToImageFailed",
        "" if volume is None else volume.id,
        o.messages,
        [messages.UPLOAD_TO_IMAGE],
    )


def _concluded(o: RestoreObserved, different: LostRanges | None) -> Conclude:
    of = f"backup {o.request.backup_id} (site {o.memory.site})"
    if different is None:
        message = (
            f"{of} was restored into a scratch volume, and all its {o.memory.size_bytes} bytes are"
            " those of the backup; the volume is deleted"
        )
        return Conclude(Outcome(Phase.COMPLETED, VERIFIED, message, o.now))
    shown = ", ".join(f"{first}-{last}" for first, last in different.ranges[:3])
    message = (
        f"{of} was restored into a scratch volume that differs from it in {different.lost_bytes} bytes"
        f" (sectors of 512) in {different.count} ranges, the first: {shown}; status.drill lists them. The"
        " backup does not count as good any more: at this site, and at every other one when this one wrote it."
        " docs/verification.md says what to do"
    )
    return Conclude(Outcome(Phase.FAILED, FOUND_DIFFERENCE, message, o.now))
