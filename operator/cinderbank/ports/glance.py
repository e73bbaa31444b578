"""Glance as the engine needs it; the bytes themselves are the transfer's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cinderbank.domain.facts import ImageFacts, ImageId


class Glance(Protocol):
    """One project of one Glance. Errors and idempotency as in ports.cinder.Cinder."""

    def images_named(self, name: str) -> Sequence[ImageFacts]:
        """All images owned by this project with exactly this name, oldest first.

        The name is the tag: os-volume_upload_image takes neither properties nor tags.
        """
        ...

    def create_image(
        self, *, name: str, disk_format: str, encryption_key_id: str | None = None
    ) -> ImageFacts:
        """A new private `queued` image without data and without properties of the SDK's (owner_specified.*).
        With `encryption_key_id` its data is ciphertext that this secret opens; Glance leaves the secret alone.

        Also raises Unsupported (reason ImageFormatRefused) when this Glance does not take the disk_format."""
        ...

    def delete_image(self, image_id: ImageId) -> None:
        """404 is success; 409 (in use by a clone) raises Conflict."""
        ...
