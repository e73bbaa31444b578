"""What the new volume has differently because it came through an image, and how it is put back.

Cinder makes every volume of an image bootable, and copies what the image has (id, name, checksum,
every property) into its volume_image_metadata. docs/fidelity.md is the table of what is kept.

Not worth failing a restore whose bytes are right: after `retry_limit` tries it goes on, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cinderbank.domain import intents
from cinderbank.domain.facts import VolumeFacts
from cinderbank.domain.names import without_tags
from cinderbank.domain.restore_steps import (
    DeleteImageMetadata,
    RestoreObserved,
    SetBootable,
    SetImageMetadata,
)

CINDERS_OWN = frozenset({"attached_mode", "readonly"})
"""What Cinder shows among a volume's metadata and keeps elsewhere: state of an attachment
(cinder.api.api_utils.add_visible_admin_metadata)."""

NOT_PUT_BACK = re.compile(
    "cinder_encryption_key|os_encrypt|os_decrypt|os_glance|img_signature|signature_verified"
)
"""They speak of keys and signatures of another site; some make Glance delete a key with an image."""

_SETTABLE = re.compile(r"[a-zA-Z0-9_:. /-]{1,255}")
"""Keys that os-set_image_metadata takes; one other key, and it refuses them all."""


def kept_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """A source's metadata without what is ours and what is Cinder's."""
    return {key: value for key, value in without_tags(metadata).items() if key not in CINDERS_OWN}


def kept_image_metadata(had: Mapping[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in had.items()
        if _SETTABLE.fullmatch(key) and not NOT_PUT_BACK.match(key)
    }


def put_back(
    o: RestoreObserved, volume: VolumeFacts
) -> SetBootable | DeleteImageMetadata | SetImageMetadata | None:
    """The next thing that differs and can still be tried; None when there is none."""
    limit = o.request.retry_limit
    bootable = _bootable(o)
    if _differs(volume, bootable) and intents.tries(o.memory, intents.BOOTABLE) <= limit:
        return SetBootable(volume.id, bool(bootable))
    foreign, missing = _image_metadata(o, volume)
    if foreign and intents.tries(o.memory, intents.IMAGE_METADATA) <= limit:
        return DeleteImageMetadata(volume.id, foreign)
    if missing and intents.tries(o.memory, intents.SET_IMAGE_METADATA) <= limit:
        return SetImageMetadata(volume.id, missing)
    return None


def not_put_back(o: RestoreObserved, volume: VolumeFacts) -> list[str]:
    """What differs although it was tried, in words."""
    left = []
    bootable = _bootable(o)
    if _differs(volume, bootable):
        left.append(f"bootable could not be set to {str(bootable).lower()}")
    foreign, missing = _image_metadata(o, volume)
    if foreign or missing:
        keys = ", ".join([*foreign, *missing][:5])
        left.append(f"image metadata could not be put back ({keys[:200]}, ...)")
    return left


def _bootable(o: RestoreObserved) -> bool | None:
    if o.request.bootable is not None or o.memory.source is None:
        return o.request.bootable
    return o.memory.source.bootable


def _differs(volume: VolumeFacts, bootable: bool | None) -> bool:
    return bootable is not None and volume.bootable != bootable


def _image_metadata(
    o: RestoreObserved, volume: VolumeFacts
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Keys that are there and should not be; entries that are missing or have another value."""
    had = {} if o.memory.source is None else o.memory.source.image_metadata
    has, kept = volume.image_metadata, kept_image_metadata(had)
    foreign = (key for key in has if key not in kept and has[key] != had.get(key))
    missing = {key: value for key, value in kept.items() if has.get(key) != value}
    return tuple(sorted(foreign)), missing
