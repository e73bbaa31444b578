"""The small objects that decide what a backup is: bank.json, intents, seals and tombs.

Their bodies hold no time and nothing random (bank.json aside), so that writing one again writes the
same bytes: a retry that meets its own first try can prove it by comparing.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from cinderbank.bank import features, layout
from cinderbank.bank.json_object import Fields
from cinderbank.bank.manifest import SessionRef, digest_of, to_json
from cinderbank.domain.facts import BackupId, VolumeId

BANK_NAME = "cinderbank"
INTENT_NAME = "cinderbank-intent"
SEAL_NAME = "cinderbank-seal"
TOMB_NAME = "cinderbank-tomb"

SEAL_OK = "OK"
SEAL_VOID = "VOID"
"""Written by a later collection over a dead session: this backup never becomes one."""


@dataclass(frozen=True, slots=True)
class BankHeader:
    """bank.json; written once, by whoever opens the bank first."""

    bank_id: str
    created: str

    @classmethod
    def new(cls, now: datetime) -> BankHeader:
        return cls(str(uuid.uuid4()), now.astimezone(UTC).isoformat(timespec="seconds"))

    def dump(self) -> bytes:
        return to_json({"bank_id": self.bank_id, "created": self.created}, BANK_NAME)

    @classmethod
    def parse(cls, body: bytes, where: str) -> BankHeader:
        document = Fields.parse(body, where)
        features.check_stamp(document, BANK_NAME)
        return cls(
            document.checked("bank_id", layout.is_reader, "UUID"), document.text("created", 64)
        )


@dataclass(frozen=True, slots=True)
class BaseRef:
    """A backup that an intent pins. The volume says where its manifest lies, also when its seal is
    gone; None in an intent of an older writer."""

    site: str
    backup_id: BackupId
    volume_id: VolumeId | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """Somebody works: a writer (volume_id is set) or a reader; `bases` must not be freed meanwhile."""

    volume_id: VolumeId | None
    bases: tuple[BaseRef, ...] = ()

    def pins(self, backup: SessionRef) -> bool:
        return any((b.site, b.backup_id) == (backup.site, backup.backup_id) for b in self.bases)

    def dump(self) -> bytes:
        bases = [
            {"site": base.site, "id": base.backup_id}
            | ({} if base.volume_id is None else {"volume": base.volume_id})
            for base in self.bases
        ]
        return to_json({"volume_id": self.volume_id, "bases": bases}, INTENT_NAME)

    @classmethod
    def parse(cls, body: bytes, where: str) -> Intent:
        document = Fields.parse(body, where)
        features.check_stamp(document, INTENT_NAME)
        volume = document.text_or_none("volume_id")
        if volume is not None and not layout.is_volume_id(volume):
            raise document.bad("volume_id", "not a volume id")
        bases = tuple(_base(row) for row in document.objects("bases", 256))
        return cls(None if volume is None else VolumeId(volume), bases)


def _base(row: Fields) -> BaseRef:
    volume = row.checked_or_none("volume", layout.is_volume_id, "volume id")
    return BaseRef(
        row.checked("site", layout.is_site, "site name"),
        BackupId(row.checked("id", layout.is_backup_id, "backup id")),
        None if volume is None else VolumeId(volume),
    )


@dataclass(frozen=True, slots=True)
class Seal:
    """The commit. Sizes are here so that a listing needs no manifest."""

    state: str
    manifest_digest: str
    size_bytes: int
    stored_bytes: int
    zero_bytes: int = 0
    reused_bytes: int = 0
    base_id: BackupId | None = None
    encrypted: bool = False

    def is_of(self, other: Seal) -> bool:
        """Whether both seal the same manifest, which says the rest: an older writer knew fewer fields."""
        return (self.state, self.manifest_digest) == (other.state, other.manifest_digest)

    def dump(self) -> bytes:
        needs = (features.ENCRYPTION,) if self.encrypted else ()
        return to_json(
            {
                "state": self.state,
                "manifest": self.manifest_digest,
                "size_bytes": self.size_bytes,
                "stored_bytes": self.stored_bytes,
                "zero_bytes": self.zero_bytes,
                "reused_bytes": self.reused_bytes,
                "base_id": self.base_id,
            },
            SEAL_NAME,
            *needs,
        )

    @classmethod
    def parse(cls, body: bytes, where: str) -> Seal:
        document = Fields.parse(body, where)
        required = features.check_stamp(document, SEAL_NAME)
        state = document.text("state", 16)
        if state not in (SEAL_OK, SEAL_VOID):
            raise document.bad("state", "not OK or VOID")
        return cls(
            state,
            digest_of(where, document, "manifest"),
            document.integer("size_bytes"),
            document.integer("stored_bytes"),
            document.integer_or("zero_bytes", 0),
            document.integer_or("reused_bytes", 0),
            _base_id(document),
            features.ENCRYPTION in required,
        )


def _base_id(document: Fields) -> BackupId | None:
    base_id = document.checked_or_none("base_id", layout.is_backup_id, "backup id")
    return None if base_id is None else BackupId(base_id)


@dataclass(frozen=True, slots=True)
class Tomb:
    """This session is over for ever; the volume says where its manifest and index lay."""

    volume_id: VolumeId

    def dump(self) -> bytes:
        return to_json({"volume_id": self.volume_id}, TOMB_NAME)

    @classmethod
    def parse(cls, body: bytes, where: str) -> Tomb:
        document = Fields.parse(body, where)
        features.check_stamp(document, TOMB_NAME)
        return cls(VolumeId(document.checked("volume_id", layout.is_volume_id, "volume id")))
