"""Hashing an image as Glance did: the bytes that travel, raw blocks or a qcow2 file, in their order."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import TypeVar

from cinderbank.bank.manifest import SourceHash
from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import DataCorrupt
from cinderbank.domain.facts import ImageFacts

_FIXED_LENGTH = frozenset(
    {"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_512", "blake2b"}
)

AnyBuffer = TypeVar("AnyBuffer", bytes, Buffer)

WAITING_BYTES = 8 << 20
"""So many bytes wait for a hasher at most (and one block, however large)."""


class ImageHash:
    """One pass over an image's bytes by Glance's own algorithm; not thread-safe. Free of cost when Glance
    tells no hash, or one of an algorithm that is not known here."""

    def __init__(self, image: ImageFacts) -> None:
        self._image = image
        algo = (image.hash_algo or "").lower()
        known = algo in _FIXED_LENGTH and algo in hashlib.algorithms_available
        self._theirs = None
        if known and image.hash_value:
            self._theirs = hashlib.new(algo, usedforsecurity=False)

    def update(self, block: Buffer) -> None:
        if self._theirs is not None:
            self._theirs.update(block)

    def compare(self) -> SourceHash:
        """What Glance said, and whether we found the same; DataCorrupt when it differs. An image
        without a hash, or with an unknown algorithm, is recorded as not verified."""
        image = self._image
        if image.hash_value is None or self._theirs is None:
            return SourceHash(image.hash_algo, image.hash_value, verified=False)
        found = self._theirs.hexdigest()
        if found != image.hash_value.lower():
            raise DataCorrupt(
                f"image {image.id}: {image.hash_algo} of the bytes read is {found[:16]}..., Glance "
                f"says {image.hash_value[:16]}...; the image changed or was damaged on the way"
            )
        return SourceHash(image.hash_algo, image.hash_value, verified=True)


class Sha512:
    """SHA-512 of what is sent to Glance, to be compared with what Glance says that it received."""

    def __init__(self) -> None:
        self._sha512 = hashlib.sha512()

    def update(self, block: Buffer) -> None:
        self._sha512.update(block)

    def hexdigest(self) -> str:
        return self._sha512.hexdigest()


class HashThread:
    """Feeds a hash from a thread of its own, in order: SHA-512 is slower than all else that the thread
    which moves the bytes does. The hash is complete when the `with` block was left without an error.
    """

    def __init__(self, hashes: ImageHash | Sha512) -> None:
        self._hashes = hashes
        self._blocks: SimpleQueue[Buffer | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._waiting_bytes = 0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="image-hash", daemon=True)

    def __enter__(self) -> HashThread:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._blocks.put(None)
        self._thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def through(self, blocks: Iterable[AnyBuffer]) -> Iterator[AnyBuffer]:
        """The same blocks, each of them hashed in its turn."""
        for block in blocks:
            self.update(block)
            yield block

    def update(self, block: Buffer) -> None:
        """Hash `block` in its turn; it MUST NOT be changed. Waits while WAITING_BYTES wait."""
        with self._changed:
            while self._waiting_bytes >= WAITING_BYTES:
                self._changed.wait()
            self._waiting_bytes += len(block)
        self._blocks.put(block)

    def _work(self) -> None:
        while (block := self._blocks.get()) is not None:
            try:
                if self._failure is None:
                    self._hashes.update(block)
            # It must reach the reader, and the reader must not wait for room for ever.
            except BaseException as error:  # noqa: BLE001
                self._failure = error
            length = len(block)
            del block  # not kept while the next one is waited for
            with self._changed:
                self._waiting_bytes -= length
                self._changed.notify_all()
