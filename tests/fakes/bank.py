"""A bank that keeps sessions in a dict and is strict about the order of the protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cinderbank.domain.errors import BrokenInvariant, SourceGone
from cinderbank.domain.facts import BackupId, BankFacts, ChunkLook, VolumeFacts, VolumeId
from cinderbank.domain.selection import BackupSelector, Chosen, NoneChosen, Selection
from cinderbank.ports.bank import BackupDescription
from cinderbank.ports.key_manager import Secret
from tests.fakes.clock import START
from tests.fakes.contents import content_format
from tests.fakes.faults import Faults


@dataclass
class Session:
    volume_id: VolumeId
    intent: bool = True
    manifest: bool = False
    sealed: bool = False
    tombed: bool = False
    content: str = ""
    size_bytes: int = 0
    attempts: list[int] = field(default_factory=list)
    source: VolumeFacts | None = None
    snapshot_at: datetime = START
    data_bytes: int | None = None
    transport: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    key: Secret | None = None


def sha512_of(content: str) -> str:
    """Not a real hash: readable in a failing test."""
    return f"sha512-{content}"


@dataclass
class FakeBank:
    faults: Faults
    sessions: dict[str, Session] = field(default_factory=dict)
    pins: set[tuple[str, str]] = field(default_factory=set)
    chunks: ChunkLook = field(default_factory=lambda: ChunkLook(256, 256, 0))
    asked: list[tuple[str, str | None, VolumeId | None]] = field(default_factory=list)
    """What `find` was called with."""
    verdicts: set[tuple[str, bool]] = field(default_factory=set)
    is_read_only: bool = False
    encrypted: bool = True
    rounds: int = 2
    """So many calls of discard or delete it takes: their work is bounded."""
    _work: dict[str, int] = field(default_factory=dict)

    def observe(self, site: str, backup_id: BackupId) -> BankFacts:
        self.faults.read("bank.observe")
        session = self.sessions.get(backup_id)
        if session is None:
            return BankFacts()
        return BankFacts(
            intent=session.intent,
            manifest=session.manifest,
            sealed=session.sealed,
            tombed=session.tombed,
            manifest_digest=f"sha256:{backup_id}" if session.manifest else None,
            size_bytes=session.size_bytes if session.manifest else None,
            content_format=(
                content_format(session.content) if session.manifest and not session.sealed else None
            ),
            stored_bytes=session.size_bytes // 2 if session.manifest else None,
        )

    def previous(self, site: str, volume_id: VolumeId) -> BackupDescription | None:
        self.faults.read("previous")
        found = [
            self._describe(backup_id, session)
            for backup_id, session in sorted(self.sessions.items())
            if session.volume_id == volume_id and session.sealed and not session.tombed
        ]
        return found[-1] if found else None

    def keeps_secrets(self) -> bool:
        return self.encrypted

    def escrowed_key(self, site: str, backup_id: BackupId) -> Secret:
        self.faults.read("escrowed_key")
        session = self.sessions.get(backup_id)
        if session is None or session.key is None:
            raise SourceGone(f"{backup_id} holds no key", reason="EncryptionKeyNotFound")
        return session.key

    def open_session(
        self, site: str, backup_id: BackupId, volume_id: VolumeId, *, incremental: bool = True
    ) -> None:
        with self.faults.effect("open_session"):
            self.sessions.setdefault(backup_id, Session(volume_id))

    def seal(self, site: str, backup_id: BackupId, volume_id: VolumeId) -> str:
        with self.faults.effect("seal"):
            session = self.sessions.get(backup_id)
            if session is None or not (session.intent or session.sealed):
                raise SourceGone("the session is gone", reason="SessionBroken")
            if not session.manifest:
                raise BrokenInvariant("seal without a manifest")
            session.sealed, session.intent = True, False
        return f"sha256:{backup_id}"

    def discard(self, site: str, backup_id: BackupId) -> bool:
        with self.faults.effect("discard"):
            session = self.sessions.get(backup_id)
            if session is not None and session.sealed:
                raise BrokenInvariant("discard of a sealed session")
            finished = self._worked(backup_id)
            if session is not None:
                session.intent = session.manifest = False
                if finished:
                    del self.sessions[backup_id]
        return finished

    def delete(self, site: str, backup_id: BackupId) -> bool:
        with self.faults.effect("bank.delete"):
            session = self.sessions.get(backup_id)
            finished = self._worked(backup_id)
            if session is not None:
                session.tombed = True
                session.sealed = session.manifest = session.sealed and not finished
        return finished

    def collect(self) -> None:
        """What is deleted and nobody reads is freed."""
        read = {backup_id for backup_id, _ in self.pins}
        self.sessions = {
            backup_id: session
            for backup_id, session in self.sessions.items()
            if not session.tombed or backup_id in read
        }

    def _worked(self, backup_id: BackupId) -> bool:
        self._work[backup_id] = self._work.get(backup_id, 0) + 1
        return self._work[backup_id] >= self.rounds

    def find(
        self, backup_id: BackupId, site: str | None = None, volume_id: VolumeId | None = None
    ) -> BackupDescription | None:
        """All of it is site-a's."""
        self.faults.read("find")
        self.asked.append((backup_id, site, volume_id))
        session = self.sessions.get(backup_id)
        if site not in (None, "site-a") or session is None or not session.sealed or session.tombed:
            return None
        return self._describe(BackupId(backup_id), session)

    def select(self, selector: BackupSelector) -> Selection:
        """By volume and time alone: the rest is the real bank's."""
        self.faults.read("select")
        found = [
            (backup_id, session.snapshot_at)
            for backup_id, session in sorted(self.sessions.items())
            if session.sealed and not session.tombed and session.volume_id == selector.volume_id
            if selector.as_of is None or session.snapshot_at <= selector.as_of
        ]
        if not found:
            return NoneChosen("NoBackupFits", f"{len(self.sessions)} backups were looked at")
        backup_id, snapshot_at = found[-1]
        return Chosen(BackupId(backup_id), "site-a", snapshot_at, "the newest that fits")

    def look_for_chunks(self, site: str, backup_id: BackupId) -> ChunkLook:
        self.faults.read("look_for_chunks")
        return self.chunks

    def _describe(self, backup_id: str, session: Session) -> BackupDescription:
        source = session.source
        assert source is not None, "it was sealed without a transfer"
        return BackupDescription(
            backup_id=BackupId(backup_id),
            volume_id=source.id,
            site="site-a",
            size_bytes=session.size_bytes,
            backup_name="nightly",
            description="",
            snapshot_at=session.snapshot_at,
            content_hash=sha512_of(session.content),
            volume_name=source.name,
            volume_description=source.description,
            volume_type=source.volume_type,
            availability_zone=source.availability_zone,
            bootable=source.bootable,
            volume_metadata=dict(source.metadata),
            image_metadata=dict(source.image_metadata),
            tags=dict(session.tags),
            stored_bytes=session.size_bytes // 2,
            data_bytes=session.data_bytes,
            transport=session.transport,
            content_format=content_format(session.content),
            encryption=source.encryption,
        )

    def note_drill(self, site: str, backup_id: BackupId, *, is_whole: bool) -> bool:
        with self.faults.effect("note_drill"):
            session = self.sessions.get(backup_id)
            if self.is_read_only or session is None or session.tombed:
                return False
            self.verdicts.add((backup_id, is_whole))
        return True

    def pin(self, site: str, backup_id: BackupId, reader: str) -> None:
        with self.faults.effect("pin"):
            self.pins.add((backup_id, reader))
            session = self.sessions.get(backup_id)
            if session is None or session.tombed:
                self.pins.discard((backup_id, reader))
                raise SourceGone(f"{backup_id} was deleted", reason="BackupNotFound")

    def beat(self, session: str, site: str | None = None) -> None:
        self.faults.read("beat")

    def unpin(self, backup_id: BackupId, reader: str) -> None:
        with self.faults.effect("unpin"):
            self.pins.discard((backup_id, reader))
