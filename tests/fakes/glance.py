"""A Glance over the same project; the bytes are a short string."""

from __future__ import annotations

from collections.abc import Sequence

from cinderbank.domain.errors import Conflict
from cinderbank.domain.facts import ImageFacts, ImageId
from tests.fakes.cloud import FakeCloud, Image


class FakeGlance:
    def __init__(self, cloud: FakeCloud) -> None:
        self.cloud = cloud
        self._faults = cloud.faults

    def images_named(self, name: str) -> Sequence[ImageFacts]:
        self._faults.read("images_named")
        self.cloud.settle()
        now = self.cloud.clock.now()
        images = self.cloud.images.values()
        return [i.facts() for i in images if i.name == name and i.visible_at <= now]

    def create_image(
        self, *, name: str, disk_format: str, encryption_key_id: str | None = None
    ) -> ImageFacts:
        cloud = self.cloud
        with self._faults.effect("create_image"):
            cloud.refuse_format(disk_format)
            now, visible_at = cloud.clock.now(), cloud.visible_at("image")
            image = Image(
                ImageId(cloud.new_id("image")), name, "queued", "", 0, now, visible_at, disk_format
            )
            image.inspected = cloud.inspects
            image.encryption_key_id = encryption_key_id
            cloud.images[image.id] = image
        return image.facts()

    def delete_image(self, image_id: ImageId) -> None:
        cloud = self.cloud
        with self._faults.effect("delete_image"):
            cloud.settle()
            image = cloud.images.get(image_id)
            if image is None:
                return
            if not image.name.startswith("cinderbank-"):
                cloud.untagged_deletes.append(image_id)
            held = any(volume.parent == image_id for volume in cloud.volumes.values())
            if cloud.image_pinned or held:
                raise Conflict(f"image {image_id} is in use", status_code=409)
            if image.next:  # its upload fails, and Cinder sets the volume free
                for volume in cloud.volumes.values():
                    if volume.status == "uploading":
                        volume.status, volume.next = "available", []
            for volume in cloud.volumes.values():
                if volume.image_id == image_id and volume.status in ("creating", "downloading"):
                    volume.next = [(cloud.after(1), "error")]
            cloud.take_away(image)
