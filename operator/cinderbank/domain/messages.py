"""Reading Cinder's user messages: the only place where it tells why something failed in the background.

An event id ends in `<action>_<detail>`, three digits each (cinder/message/message_field.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from cinderbank.domain.errors import ResourceFailed
from cinderbank.domain.facts import UserMessage

SCHEDULE = "001"
UPLOAD_TO_IMAGE = "003"
COPY_FROM_IMAGE = "005"
SNAPSHOT_CREATE = "009"

IMAGE_TOO_LARGE = (
    "If the volume is larger than Glance's image_size_cap (1 TiB unless the cloud changed it), only the "
    "administrator can let it pass; otherwise free some of the project's image quota."
)
WAYS_OUT = {
    "003": "No back end had room or matched; ask the cloud's administrator about capacity.",
    "004": f"{IMAGE_TOO_LARGE} Glance also refuses a volume whose own bytes look like a disk image that it "
    "takes for dangerous (qed, qcow2 with a backing file).",
    "006": "Free some quota or have it raised.",
    "007": "Cinder's conversion directory is too small for this volume; only the administrator can help.",
    "029": "Cinder found another image format in the data than it was told.",
}
"""By detail; what a user can do beyond reading Cinder's text."""

WAYS_OUT_OF_UPLOADS = {**WAYS_OUT, "006": IMAGE_TOO_LARGE}
"""Cinder 29 files Glance's 413 for an image above its cap as a quota message (seen on the rig)."""


def failure(
    what: str,
    reason: str,
    resource_id: str,
    messages: Sequence[UserMessage],
    actions: Sequence[str],
) -> ResourceFailed:
    """The error that says `what` happened, in Cinder's own words where there are any.

    `messages` are newest first; those about `actions` are preferred, then any of this resource.
    """
    ours = [message for message in messages if message.resource_id == resource_id]
    fitting = [message for message in ours if _codes(message)[0] in actions]
    message = next(iter(fitting or ours), None)
    if message is None:
        return ResourceFailed(f"{what}; Cinder gave no reason", reason=reason)
    action, detail = _codes(message)
    ways_out = WAYS_OUT_OF_UPLOADS if action == UPLOAD_TO_IMAGE else WAYS_OUT
    way_out = ways_out.get(detail, "")
    text = f'{what}; Cinder says: "{message.text}". {way_out}'.rstrip()
    return ResourceFailed(text, reason=reason, request_id=message.request_id or None)


def tells_of(resource_id: str, messages: Sequence[UserMessage], action: str) -> bool:
    """Whether Cinder says that `action` has failed for this resource."""
    return any(m.resource_id == resource_id and _codes(m)[0] == action for m in messages)


def _codes(message: UserMessage) -> tuple[str, str]:
    parts = message.event_id.split("_")
    return (parts[-2], parts[-1]) if len(parts) >= 2 else ("", "")
