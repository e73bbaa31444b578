"""JSON objects of Cinder and Glance into facts; the cloud may be old, odd or hostile."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from cinderbank.adapters.openstack.calls import is_uuid, unexpected
from cinderbank.adapters.openstack.errors import Call
from cinderbank.domain.facts import (
    ImageFacts,
    ImageId,
    QuotaLeft,
    SnapshotFacts,
    SnapshotId,
    UserMessage,
    VolumeEncryption,
    VolumeFacts,
    VolumeId,
    VolumeTypeFacts,
)
from cinderbank.domain.policy.group import GroupSnapshotFacts

NAME_LIMIT = 1024
"""Characters; Cinder and Glance keep 255 of a name, a type or a zone."""

VALUE_LIMIT = 65_535
"""Characters of a metadata value: volume_glance_metadata.value and image_properties.value are TEXT."""

ENTRIES_LIMIT = 1024
"""Metadata entries; both services keep 128 by default."""


class Body:
    """One JSON object, read key by key. Raises Unavailable (UnexpectedAnswer) for a wrong type."""

    def __init__(self, content: object, call: Call) -> None:
        if not isinstance(content, dict):
            raise unexpected(call, "an object is missing")
        self._content: Mapping[str, Any] = content
        self._call = call

    def inner(self, key: str) -> Body:
        return Body(self._content.get(key), self._call)

    def id(self, key: str = "id") -> str:
        value = self._content.get(key)
        if not isinstance(value, str) or not is_uuid(value):
            raise unexpected(self._call, f"`{key}` is not a UUID")
        return value

    def ids(self, key: str) -> list[str]:
        """A list of ids; empty for null and for a key that is not there."""
        found = self._content.get(key) or []
        if not isinstance(found, list) or len(found) > ENTRIES_LIMIT:
            raise unexpected(self._call, f"`{key}` is not a list of at most {ENTRIES_LIMIT} ids")
        return [Body({"id": each}, self._call).id() for each in found]

    def optional_id(self, key: str) -> str | None:
        return self.id(key) if self._content.get(key) else None

    def text(self, key: str, limit: int = NAME_LIMIT) -> str:
        """Empty for null and for a key that is not there."""
        return self._checked(key, self._content.get(key), limit)

    def needed_text(self, key: str) -> str:
        text = self.text(key)
        if not text:
            raise unexpected(self._call, f"`{key}` is missing")
        return text

    def number(self, key: str) -> int | None:
        value = self._content.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
            raise unexpected(self._call, f"`{key}` is not a number that is zero or more")
        return value

    def needed_number(self, key: str) -> int:
        value = self.number(key)
        if value is None:
            raise unexpected(self._call, f"`{key}` is missing")
        return value

    def left(self, limit: str, used: str) -> int | None:
        """What a limit leaves; None when it is none (-1), or when either is not told."""
        if self._content.get(limit) == -1:
            return None
        most, now = self.number(limit), self.number(used)
        return None if most is None or now is None else max(0, most - now)

    def flag(self, key: str) -> bool:
        """Cinder sends `encrypted` as a boolean and `bootable` as the text "true" or "false"."""
        value = self._content.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        if value in ("true", "false"):
            return bool(value == "true")
        raise unexpected(self._call, f"`{key}` is neither true nor false")

    def time(self, key: str) -> datetime | None:
        """Cinder writes UTC without saying so, Glance with a Z."""
        text = self.text(key)
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise unexpected(self._call, f"`{key}` is not a time") from None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def texts(self, key: str) -> dict[str, str]:
        """A mapping of texts; numbers and null, which some proxies' rewriting leaves, become texts."""
        value = self._content.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict) or len(value) > ENTRIES_LIMIT:
            raise unexpected(
                self._call, f"`{key}` is not a mapping of at most {ENTRIES_LIMIT} entries"
            )
        return {
            self._checked(key, name, NAME_LIMIT): self._checked(
                f"{key}.{name[:60]}", entry, VALUE_LIMIT
            )
            for name, entry in value.items()
        }

    def _checked(self, key: str, value: object, limit: int) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise unexpected(self._call, f"`{key}` is not a text")
        if len(value) > limit:
            raise unexpected(self._call, f"`{key}` is longer than {limit} characters")
        return value


def volume(content: object, call: Call) -> VolumeFacts:
    """GET /v3/{project}/volumes/{id}, its list with detail, and what a create answers."""
    body = Body(content, call)
    snapshot_id = body.optional_id("snapshot_id")
    return VolumeFacts(
        id=VolumeId(body.id()),
        name=body.text("name"),
        status=body.needed_text("status"),
        size_gib=body.needed_number("size"),
        description=body.text("description"),
        volume_type=body.text("volume_type"),
        availability_zone=body.text("availability_zone"),
        bootable=body.flag("bootable"),
        encrypted=body.flag("encrypted"),
        snapshot_id=SnapshotId(snapshot_id) if snapshot_id else None,
        created_at=body.time("created_at"),
        metadata=body.texts("metadata"),
        image_metadata=body.texts("volume_image_metadata"),
    )


def volume_encryption(content: object, call: Call) -> VolumeEncryption | None:
    """GET /v3/{project}/volumes/{id}/encryption; of a volume that is not encrypted it has no provider."""
    body = Body(content, call)
    if not body.text("provider"):
        return None
    return VolumeEncryption(
        provider=body.text("provider"),
        cipher=body.text("cipher"),
        key_size_bits=body.number("key_size") or 0,
        control_location=body.text("control_location"),
        key_id=body.optional_id("encryption_key_id") or "",
    )


def snapshot(content: object, call: Call) -> SnapshotFacts:
    """GET /v3/{project}/snapshots/{id}, its list with detail, and what a create answers."""
    body = Body(content, call)
    return SnapshotFacts(
        id=SnapshotId(body.id()),
        name=body.text("name"),
        status=body.needed_text("status"),
        volume_id=VolumeId(body.id("volume_id")),
        size_gib=body.needed_number("size"),
        created_at=body.time("created_at"),
    )


def image(content: object, call: Call) -> ImageFacts:
    """GET /v2/images/{id} and its list. A `queued` image may have neither formats nor sizes."""
    body = Body(content, call)
    return ImageFacts(
        id=ImageId(body.id()),
        name=body.text("name"),
        status=body.needed_text("status"),
        disk_format=body.text("disk_format"),
        size_bytes=body.number("size"),
        virtual_size_bytes=body.number("virtual_size"),
        hash_algo=body.text("os_hash_algo") or None,
        hash_value=body.text("os_hash_value") or None,
        created_at=body.time("created_at"),
        encryption_key_id=body.text("cinder_encryption_key_id") or None,
        owns_key=body.text("cinder_encryption_key_deletion_policy") == "on_image_deletion",
    )


def volume_type(content: object, call: Call) -> VolumeTypeFacts:
    """One entry of GET /v3/{project}/types. The extra spec is one of those that users may see."""
    body = Body(content, call)
    zones = body.texts("extra_specs").get("RESKEY:availability_zones", "")
    names = tuple(name for each in zones.split(",") if (name := each.strip()))
    return VolumeTypeFacts(body.text("id"), body.needed_text("name"), names or None)


def availability_zones(content: Mapping[str, Any], call: Call) -> list[str]:
    """GET /v3/{project}/os-availability-zone; those that are disabled too, as Cinder takes them."""
    zones = content.get("availabilityZoneInfo")
    if not isinstance(zones, list) or len(zones) > ENTRIES_LIMIT:
        raise unexpected(
            call, f"`availabilityZoneInfo` is not a list of at most {ENTRIES_LIMIT} entries"
        )
    return sorted(Body(each, call).needed_text("zoneName") for each in zones)


def quota_left(content: object, call: Call) -> QuotaLeft:
    """GET /v3/{project}/limits."""
    absolute = Body(content, call).inner("limits").inner("absolute")
    return QuotaLeft(
        volumes=absolute.left("maxTotalVolumes", "totalVolumesUsed"),
        gib=absolute.left("maxTotalVolumeGigabytes", "totalGigabytesUsed"),
    )


def message(content: object, call: Call) -> UserMessage:
    """One entry of GET /v3/{project}/messages."""
    body = Body(content, call)
    return UserMessage(
        event_id=body.needed_text("event_id"),
        text=body.text("user_message"),
        resource_id=body.text("resource_uuid"),
        created_at=body.time("created_at") or datetime.min.replace(tzinfo=UTC),
        request_id=body.text("request_id"),
    )


Born = TypeVar("Born", VolumeFacts, SnapshotFacts, ImageFacts, GroupSnapshotFacts)


def oldest_first(things: list[Born]) -> list[Born]:
    """By creation, then id; those that do not say when come last."""
    latest = datetime.max.replace(tzinfo=UTC)
    return sorted(things, key=lambda thing: (thing.created_at or latest, thing.id))
