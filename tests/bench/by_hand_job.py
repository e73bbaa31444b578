"""The least that a restore through Glance can be: a file that lies ready goes up, a volume is made of it.

No bank, no operator, no check: what is slower than this is ours, the rest is Cinder's and Glance's.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

from tests.bench.bench import Done
from tests.bench.cinder_backup_job import delete_volumes, poll
from tests.bench.cost import Watch
from tests.bench.names import BY_HAND
from tests.stage.cloud import Content
from tests.stage.site import Site


class ByHandJob:
    """Restores one content again and again; `end` removes what it made."""

    def __init__(
        self,
        site: Site,
        tool: str = BY_HAND,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`around`: what holds from `begin` to `end`."""
        self.tool = tool
        self._site = site
        self._around = around
        self._held = ExitStack()
        self._images: list[str] = []
        self._restored: list[str] = []

    def begin(self, content: Content) -> None:
        """The image as a file: qcow2, but raw when all is used, as qcow2 would be longer than the volume."""
        with ExitStack() as held:
            held.enter_context(self._around())
            folder = held.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
            self._make_file(content, Path(folder))
            self._held = held.pop_all()

    def _make_file(self, content: Content, folder: Path) -> None:
        self._size_gib = content.size_gib
        self._path = folder / "raw"
        content.write(self._path)
        self._disk_format = "raw"
        if content.used_mib < content.size_gib * 1024:
            raw, self._path, self._disk_format = self._path, folder / "qcow2", "qcow2"
            convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(self._path)]
            subprocess.run(convert, check=True)
            raw.unlink()

    def restore(self) -> Done:
        cloud = self._site.cloud
        image = cloud.make_image("bench-by-hand", self._path, self._disk_format)
        self._images.append(image)
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
        with self._held:
            delete_volumes(self._site.cloud, self._restored)
            for image in self._images:
                # No error when restore() has deleted it.
                self._site.cloud.connection.image.delete_image(image)
            self._images.clear()

    def watch(self) -> Watch:
        """Nothing of its own is worth looking at."""
        return Watch(lambda look: False)
