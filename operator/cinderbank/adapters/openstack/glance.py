"""ports.glance.Glance over the Image API v2 of one project."""

from __future__ import annotations

from collections.abc import Sequence

from openstack.connection import Connection

from cinderbank.adapters.openstack import bodies
from cinderbank.adapters.openstack.calls import made, pages, uuid, write
from cinderbank.adapters.openstack.errors import Call, mapped
from cinderbank.domain.errors import SourceGone
from cinderbank.domain.facts import ImageFacts, ImageId


class OpenStackGlance:
    """One project of one Glance; may be shared by threads as its Connection may be."""

    def __init__(self, connection: Connection) -> None:
        self._image = connection.image
        self._session = connection.session

    def images_named(self, name: str) -> Sequence[ImageFacts]:
        """All images owned by this project with exactly this name, oldest first.

        Hidden images are not listed (os_hidden), nor such as other projects share. Glance reads a
        name that begins with an operator (`in:`) as one, so the answer is compared again.
        """
        with mapped("list", f"images named {name!r}"):
            owner = self._session.get_project_id() or ""  # connect() has seen one
        call = Call("list", f"images named {name!r}")
        found = pages(
            self._image, "/images", call, key="images", params={"name": name, "owner": owner}
        )
        return bodies.oldest_first(
            [
                bodies.image(item, call)
                for item in found
                if item.get("name") == name and item.get("owner") == owner
            ]
        )

    def create_image(
        self, *, name: str, disk_format: str, encryption_key_id: str | None = None
    ) -> ImageFacts:
        """A new private `queued` image. Not idempotent; may raise OverQuota, InvalidSpec, OutcomeUnknown.

        Not the SDK's create_image, which adds owner_specified.openstack.* properties; volumes made
        from the image would inherit them. Raises Unsupported (ImageFormatRefused) when this Glance does
        not take the disk_format.
        """
        call = Call("create", f"{disk_format} image {name!r}", makes=True, disk_format=disk_format)
        json = {
            "name": name,
            "disk_format": disk_format,
            "container_format": "bare",
            "visibility": "private",
        }
        if encryption_key_id is not None:
            json |= {
                "cinder_encryption_key_id": uuid(encryption_key_id, "secret"),
                "cinder_encryption_key_deletion_policy": "do_not_delete",
            }
        response = write(self._image, "POST", "/images", call, expected=(201,), json=json)
        return made(response, call, lambda body: bodies.image(body, call))

    def delete_image(self, image_id: ImageId) -> None:
        """Idempotent: 404 is success. 409 (in use by a clone) raises Conflict, `protected` Forbidden."""
        call = Call("delete", f"image {image_id}")
        path = f"/images/{uuid(image_id, 'image')}"
        try:
            write(self._image, "DELETE", path, call, expected=(204,))
        except SourceGone:
            return
