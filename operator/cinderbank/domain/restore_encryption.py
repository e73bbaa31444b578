"""The part of a restore that only an encrypted volume has: its key at this site, and that it fits.

    key in the bank ──► secret (ours, marked) ──► image that names it ──► volume, with Cinder's own copy

The secret goes with the image, at the end; see domain.encryption for the rest.
"""

from __future__ import annotations

from cinderbank.domain import intents
from cinderbank.domain.cleanup import paced, still_there
from cinderbank.domain.encryption import volume_problem
from cinderbank.domain.errors import ResourceFailed
from cinderbank.domain.facts import ImageFacts, VolumeFacts
from cinderbank.domain.restore_steps import CreateSecret, RestoreObserved, RestoreStep
from cinderbank.domain.stages import before_fresh_try, fail, remove_failed, settling
from cinderbank.domain.steps import Conclude, DeleteImage, DeleteSecret, GiveBack, Wait


def is_encrypted(o: RestoreObserved) -> bool:
    return o.memory.source is not None and o.memory.source.encryption is not None


def encryption_lost(o: RestoreObserved) -> RestoreStep | None:
    """The end of a restore that can not know any more how its volume was encrypted."""
    source = o.memory.source
    if source is None or not source.encrypted or source.encryption is not None:
        return None
    lost = (
        "status.source.encryption of this object is lost, and the backup is of an encrypted volume: somebody"
        " changed the status, or the CRD is older than this operator and drops the field. Apply its CRDs"
        " and make a new VolumeRestore"
    )
    return fail(o, ResourceFailed(lost, reason="StatusLost"))


def secret_stage(o: RestoreObserved) -> RestoreStep | None:
    """The secret, before an image is made that names it; None when there is one, or none is needed."""
    if not is_encrypted(o) or o.secrets or o.memory.site is None:
        return None
    error = ResourceFailed("the temporary secret vanished", reason="EncryptionKeyLost")
    return (
        settling(o, intents.SECRET)
        or before_fresh_try(o, intents.SECRET, error)
        or CreateSecret(o.memory.site, o.request.backup_id)
    )


def wrong_image(o: RestoreObserved) -> RestoreStep | None:
    """The end of an image that names no secret of ours: of it Cinder would make a volume that is encrypted
    twice, or one that nobody can open."""
    if not is_encrypted(o):
        return None
    known = {secret.id for secret in o.secrets}
    for image in still_there(o.images):
        if image.encryption_key_id not in known:
            message = f"image {image.id} names a key that is not there any more"
            error = ResourceFailed(message, reason="EncryptionKeyLost")
            return remove_failed(o, intents.IMAGE, DeleteImage(image.id, because=error), error)
    return None


def key_of(o: RestoreObserved) -> str | None:
    """What a new image is to name."""
    return o.secrets[0].id if is_encrypted(o) and o.secrets else None


def names_key(o: RestoreObserved, image: ImageFacts) -> bool:
    """Whether a volume may be made of this image."""
    return not is_encrypted(o) or image.encryption_key_id in {secret.id for secret in o.secrets}


def unfit_volume(o: RestoreObserved, volume: VolumeFacts) -> Conclude | None:
    """The end of a restore whose volume is not encrypted as the old one was."""
    source = o.memory.source
    if source is None or source.encryption is None:
        return None
    problem = volume_problem(volume, source.encryption, o.encryptions.get(volume.id))
    return None if problem is None else fail(o, problem)


def secret_cleanup(o: RestoreObserved) -> DeleteSecret | GiveBack | Wait | None:
    """Ours, once no image names it; never one that a volume uses, whatever it carries."""
    if o.secrets_error is not None:
        return GiveBack(o.secrets_error)
    used = {each.key_id for each in o.encryptions.values() if each is not None}
    for secret in o.secrets:
        if secret.id not in used:
            return paced(DeleteSecret(secret.id), o.memory, o.now, o.identity.uid)
    return None
