"""Hashing whole contents: SHA-512 always, and Glance's own algorithm when it is another one."""

from __future__ import annotations

import hashlib
import threading
from queue import SimpleQueue
from types import TracebackType

from cinderbank.bank.manifest import SourceHash
from cinderbank.bank.store import Buffer
from cinderbank.domain.errors import DataCorrupt
from cinderbank.domain.facts import ImageFacts

_FIXED_LENGTH = frozenset(
    {"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_512", "blake2b"}
)


class ContentHash:
    """One pass over the content of an image; not thread-safe."""

    def __init__(self, image: ImageFacts) -> None:
        self._image = image
        self._sha512 = hashlib.sha512()
        algo = (image.hash_algo or "").lower()
        known = algo in _FIXED_LENGTH and algo in hashlib.algorithms_available
        self._theirs = None
        if algo == "sha512":
            self._theirs = self._sha512
        elif known and image.hash_value:
            self._theirs = hashlib.new(algo, usedforsecurity=False)

    def update(self, block: Buffer) -> None:
        self._sha512.update(block)
        if self._theirs is not None and self._theirs is not self._sha512:
            self._theirs.update(block)

    def sha512(self) -> str:
        return self._sha512.hexdigest()

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


class HashThread:
    """Feeds a ContentHash from a thread of its own, in order: SHA-512 is slower than everything else
    that the reading thread does. The hash is complete when the `with` block was left without an error.
    """

    WAITING_BLOCKS = 8

    def __init__(self, hashes: ContentHash) -> None:
        self._hashes = hashes
        self._blocks: SimpleQueue[Buffer | None] = SimpleQueue()
        self._room = threading.Semaphore(self.WAITING_BLOCKS)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="content-hash", daemon=True)

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

    def update(self, block: Buffer) -> None:
        """Hash `block` in its turn; it MUST NOT be changed. Waits while 8 others wait."""
        self._room.acquire()
        self._blocks.put(block)

    def _work(self) -> None:
        while (block := self._blocks.get()) is not None:
            try:
                if self._failure is None:
                    self._hashes.update(block)
            # It must reach the reader, and the reader must not wait for room for ever.
            except BaseException as error:  # noqa: BLE001
                self._failure = error
            self._room.release()
