"""Cinder's user messages: the only place where what failed in the background is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from openstack.proxy import Proxy

from cinderbank.adapters.openstack import bodies
from cinderbank.adapters.openstack.calls import read, unexpected
from cinderbank.adapters.openstack.errors import Call
from cinderbank.domain.errors import Forbidden, SourceGone, Unsupported
from cinderbank.domain.facts import UserMessage

MESSAGES_MICROVERSION = "3.5"
"""3.3 has messages, 3.5 their filters."""

MESSAGES_LIMIT = 100


def user_messages(cinder: Proxy, resource_id: str, since: datetime) -> Sequence[UserMessage]:
    """User messages of one resource, newest first, at most MESSAGES_LIMIT.

    Empty also when this cloud has none, or keeps them from us: a diagnosis that is missing must
    not become an error of its own.
    """
    call = Call("list", f"messages of {resource_id}")
    params = {
        "resource_uuid": resource_id,
        "sort": "created_at:desc",
        "limit": f"{MESSAGES_LIMIT}",
    }
    try:
        body = read(cinder, "/messages", call, params=params, microversion=MESSAGES_MICROVERSION)
    except (SourceGone, Unsupported, Forbidden):
        return []
    items = body.get("messages")
    if not isinstance(items, list):
        raise unexpected(call, "`messages` is not a list")
    found = [bodies.message(item, call) for item in items[:MESSAGES_LIMIT]]
    # Old clouds cut the time to seconds, or ignore the filter.
    earliest = since.replace(microsecond=0)
    ours = [it for it in found if it.resource_id == resource_id and it.created_at >= earliest]
    return sorted(ours, key=lambda message: message.created_at, reverse=True)
