"""The least that a restore through Glance can be: a file that lies ready goes up, a volume is made of it.

No bank, no operator, no check: what is slower than this is ours, the rest is Cinder's and Glance's.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.bench.bench import Done
from tests.bench.cinder_backup_job import poll
from tests.bench.cost import Watch
from tests.bench.names import BY_HAND
from tests.stage.cloud import Content
from tests.stage.site import Site


class ByHandJob:
    """Restores one content again and again; `end` removes what it made."""

    tool = BY_HAND

    def __init__(self, site: Site) -> None:
        self._site = site
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._restored: list[str] = []

    def begin(self, content: Content) -> None:
        """The image as a file: qcow2, but raw when all is used, as qcow2 would be longer than the volume."""
        self._folder = tempfile.TemporaryDirectory(dir="/var/tmp")
        self._size_gib = content.size_gib
        self._path = Path(self._folder.name, "raw")
        content.write(self._path)
        self._disk_format = "raw"
        if content.used_mib < content.size_gib * 1024:
            raw, self._path, self._disk_format = (
                self._path,
                Path(self._folder.name, "qcow2"),
                "qcow2",
            )
            convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(self._path)]
            subprocess.run(convert, check=True)
            raw.unlink()

    def restore(self) -> Done:
        cloud = self._site.cloud
        image = cloud.make_image("bench-by-hand", self._path, self._disk_format)
        made = cloud.connection.block_storage.create_volume(
            size=self._size_gib, image_id=image, name="bench-by-hand"
        )
        self._restored.append(str(made.id))
        poll(lambda: cloud.volume(made.id).status == "available", f"volume {made.id}")
        cloud.connection.image.delete_image(image)
        return Done()

    @property
    def restored_volume(self) -> str:
        return self._restored[-1]

    def end(self) -> None:
        for volume_id in self._restored:
            self._site.cloud.delete_volume(volume_id)
        self._restored.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def watch(self) -> Watch:
        """Nothing of its own is worth looking at."""
        return Watch(lambda look: False)
