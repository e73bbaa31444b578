"""Transfers that take as long as the clock says and die with the operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from cinderbank.domain.errors import Conflict
from cinderbank.domain.facts import (
    LostRanges,
    TransferAbsent,
    TransferFacts,
    TransferFailed,
    TransferProgress,
    TransferRunning,
    TransferSucceeded,
)
from cinderbank.domain.qcow2_size import max_length_bytes
from cinderbank.ports.key_manager import Secret
from cinderbank.ports.transfers import BackupTransfer, CompareTransfer, Transfer
from tests.fakes.bank import FakeBank, sha512_of
from tests.fakes.cloud import FakeCloud, Image


@dataclass
class FakeTransfers:
    cloud: FakeCloud
    bank: FakeBank
    seconds: float = 10.0
    attempts: list[int] = field(default_factory=list)
    stalls: bool = False
    used: float = 0.25
    """The share of a volume that is data."""
    _unreadable: tuple[Callable[[Image], bool], TransferFailed] | None = None
    _failures: list[TransferFailed] = field(default_factory=list)
    _running: tuple[Transfer, datetime] | None = None
    _finds_nothing: bool = False
    """A restore looks for its backup once, when it begins; then its pin keeps what it reads."""
    _ended: TransferFacts = field(default_factory=TransferAbsent)

    def fail_next(self, reason: str, *, retryable: bool = True, times: int = 1) -> None:
        failure = TransferFailed(reason, f"the transfer says {reason}", retryable)
        self._failures += [failure] * times

    def fail_with(self, of: Callable[[Image], bool], failure: TransferFailed) -> None:
        """Every backup's transfer of such an image ends so."""
        self._unreadable = (of, failure)

    def restart(self) -> None:
        """The operator was killed: what ran is gone, and nothing is known of it."""
        if self._running is not None and self.cloud.clock.now() >= self._running[1]:
            self.observe()
        self._interrupt()
        self._ended = TransferAbsent()

    def observe(self) -> TransferFacts:
        if self._running is None:
            return self._ended
        transfer, ends_at = self._running
        progress = TransferProgress(transfer.size_bytes, transfer.size_bytes // 2)
        if self.cloud.clock.now() < ends_at or self.stalls:
            return TransferRunning(
                progress, moved_at=self.cloud.after(0) if not self.stalls else ends_at
            )
        self._ended = self._finish(transfer)
        self._running = None
        return self._ended

    def start(self, transfer: Transfer) -> None:
        with self.cloud.faults.effect("transfer.start"):
            if self._running is not None:
                raise Conflict("one runs already")
            if not isinstance(transfer, CompareTransfer):
                assert transfer.attempt not in self.attempts, "an attempt number was used twice"
                self.attempts.append(transfer.attempt)
            self._running = (transfer, self.cloud.after(self.seconds))
            session = self.bank.sessions.get(transfer.backup_id)
            self._finds_nothing = session is None or session.tombed
            self._ended = TransferAbsent()

    def cancel(self) -> None:
        with self.cloud.faults.effect("transfer.cancel"):
            self._interrupt()
            self._ended = TransferAbsent()

    def _interrupt(self) -> None:
        self._running = None

    def _finish(self, transfer: Transfer) -> TransferFacts:
        if self._failures:
            return self._failures.pop(0)
        progress = TransferProgress(transfer.size_bytes, transfer.size_bytes)
        if isinstance(transfer, BackupTransfer):
            return self._banked(transfer, progress)
        if isinstance(transfer, CompareTransfer):
            return self._compared(transfer, progress)
        self.cloud.settle()
        image = self.cloud.images.get(transfer.image_id)
        session = self.bank.sessions.get(transfer.backup_id)
        if session is None or self._finds_nothing:
            return TransferFailed("BackupNotFound", "the backup was deleted", False)
        if image is None:
            return TransferFailed("ImageGone", "no image", True)
        if image.status == "queued":
            if image.disk_format in self.cloud.refused_contents:
                return TransferFailed("ImageContentRefused", "Glance says 415", False)
            image.content, image.full_size_bytes = session.content, session.size_bytes
            data = session.size_bytes if session.data_bytes is None else session.data_bytes
            image.length_bytes = max_length_bytes(session.size_bytes, data)
            image.status = "active"
        if image.content != session.content:
            return TransferFailed("ImageDiffers", "image and backup differ", True)
        return TransferSucceeded(progress, sha512_of(session.content))

    def _compared(self, transfer: CompareTransfer, progress: TransferProgress) -> TransferFacts:
        self.cloud.settle()
        image = self.cloud.images.get(transfer.image_id)
        session = self.bank.sessions.get(transfer.backup_id)
        if session is None:
            return TransferFailed("BackupNotFound", "the backup was deleted", False)
        if image is None or image.status != "active":
            return TransferFailed("SourceNotFound", "the image is gone", False)
        if self._unreadable is not None and self._unreadable[0](image):
            return self._unreadable[1]
        found = sha512_of(session.content)
        if image.content == session.content:
            return TransferSucceeded(progress, found, compared=True)
        different = LostRanges(1, 512, ((1024, 1535),))
        return TransferSucceeded(progress, found, compared=True, different=different)

    def _banked(self, transfer: BackupTransfer, progress: TransferProgress) -> TransferFacts:
        self.cloud.settle()
        image = self.cloud.images.get(transfer.image.id)
        session = self.bank.sessions.get(transfer.backup_id)
        if session is None or not session.intent:
            return TransferFailed("SessionBroken", "the session is gone", False)
        if image is None or image.status != "active":
            return TransferFailed("ImageGone", "the image is gone", True)
        if self._unreadable is not None and self._unreadable[0](image):
            return self._unreadable[1]
        if image.full_size_bytes != transfer.size_bytes:
            return TransferFailed("ImageSizeMismatch", "a disk of another size is inside", False)
        if transfer.source.encryption is not None:
            # As the transfer does it: with the key that the image names.
            found = self.cloud.secrets.get(image.encryption_key_id or "")
            if found is None:
                return TransferFailed("EncryptionKeyNotFound", "the key is gone", False)
            session.key = Secret(found.payload, "symmetric", "aes", 256)
        session.transport = image.disk_format.capitalize()
        session.tags = dict(transfer.tags)
        session.data_bytes = int(transfer.size_bytes * self.used)
        session.manifest, session.content = True, image.content
        session.size_bytes = transfer.size_bytes
        session.source, session.snapshot_at = transfer.source, transfer.snapshot_at
        session.attempts.append(transfer.attempt)
        return TransferSucceeded(progress, sha512_of(image.content))
