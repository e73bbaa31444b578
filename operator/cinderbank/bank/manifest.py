"""The manifest: the root of one backup. It names everything, and everything is checked against it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cinderbank.bank import features, key_layout, layout
from cinderbank.bank.chunk import Envelope, EnvelopeKeys, is_envelope
from cinderbank.bank.escrow import EscrowedKey
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.index import ENTRY_BYTES
from cinderbank.bank.json_object import Fields, canonical
from cinderbank.domain.errors import BrokenInvariant, DataCorrupt
from cinderbank.domain.facts import BackupId, VolumeId
from cinderbank.ports.bank import BackupDescription

NAME = "cinderbank-manifest"
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
HASH_ALGORITHM = "blake3-256"
KEYED_HASH_ALGORITHM = "blake3-256-keyed"
MAX_SESSIONS = 0xFFFF
TRANSPORTS = frozenset({"Raw", "Qcow2", "Vdi"})
_FORMAT = re.compile(r"[a-z0-9]{1,16}")


@dataclass(frozen=True, slots=True)
class PartRef:
    """Where an index part lies, and the BLAKE3-256 of its plain bytes."""

    attempt: int
    hash: str


@dataclass(frozen=True, slots=True)
class SessionRef:
    """A session whose chunks the index uses; the first one is the backup's own."""

    site: str
    backup_id: BackupId


@dataclass(frozen=True, slots=True)
class SourceHash:
    """What Glance said of the image that was read. `verified`: we computed the same."""

    algo: str | None = None
    value: str | None = None
    verified: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    description: BackupDescription
    geometry: Geometry
    parts: tuple[PartRef, ...]
    sessions: tuple[SessionRef, ...]
    bank_id: str
    zero_bytes: int = 0
    source_hash: SourceHash = field(default_factory=SourceHash)
    hash_key: str | None = None
    """The data key that the chunk hashes are keyed by; None in a backup that is not encrypted. Hashes
    of two backups can be compared only when this is equal."""
    escrow: EscrowedKey | None = None
    """Exactly where `description.encryption` is set, and only in an encrypted manifest."""


def object_digest(body: bytes) -> str:
    """How a seal names a manifest: `sha256:<hex>` of the stored object."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def dump(manifest: Manifest) -> bytes:
    """The canonical bytes. A description that the parser would refuse is refused here already."""
    about = asdict(manifest.description)
    encrypted_volume = about.pop("encryption") is not None
    if encrypted_volume != (manifest.escrow is not None) or (
        encrypted_volume and manifest.hash_key is None
    ):
        raise BrokenInvariant("the key of an encrypted volume is missing, or would be stored plain")
    content = {
        "size_bytes": about.pop("size_bytes"),
        "content_hash": about.pop("content_hash"),
        "data_bytes": about.pop("data_bytes"),
        "transport": about.pop("transport"),
        "content_format": about.pop("content_format"),
        "stored_bytes": about.pop("stored_bytes"),
        "reused_bytes": about.pop("reused_bytes"),
        "zero_bytes": manifest.zero_bytes,
        "chunk_bytes": manifest.geometry.chunk_bytes,
        "chunk_hash": HASH_ALGORITHM,
        "source_hash": asdict(manifest.source_hash),
    }
    if manifest.hash_key is not None:
        content |= {"chunk_hash": KEYED_HASH_ALGORITHM, "hash_key": manifest.hash_key}
    about["snapshot_at"] = about["snapshot_at"].astimezone(UTC).isoformat()
    escrow: dict[str, Any] = {}
    needs: tuple[str, ...] = ()
    if manifest.escrow is not None:
        escrow = {"volume_encryption": manifest.escrow.to_fields()}
        needs = (features.VOLUME_ENCRYPTION,)
    body = canonical(
        {
            "format": features.stamp(NAME, *needs),
            "bank_id": manifest.bank_id,
            **escrow,
            "backup": about,
            "content": content,
            "sessions": [{"site": s.site, "id": s.backup_id} for s in manifest.sessions],
            "data_keys": [],
            "index": {
                "entry_bytes": ENTRY_BYTES,
                "part_entries": manifest.geometry.part_entries,
                "parts": [{"attempt": p.attempt, "hash": p.hash} for p in manifest.parts],
            },
        }
    )
    # Never store what no reader will take: a tag of 5000 characters must fail now, not at restore.
    _parse(body, f"manifest of backup {about['backup_id']}")
    return body


def to_object(manifest: Manifest, key: str, keys: EnvelopeKeys | None) -> bytes:
    """What is stored at `key`: the canonical JSON, or with `keys` an envelope of it, which is another
    one each time. Raises what `dump` raises."""
    body = dump(manifest)
    return body if keys is None else Envelope(keys).encode(body, key)


def parse(body: bytes, key: str, keys: EnvelopeKeys | None = None) -> Manifest:
    """The manifest stored at `key`; raises DataCorrupt or Unsupported, naming key and field, and
    InvalidSpec (BankKeyMissing, BankKeyWrong) when it is encrypted and `keys` do not open it."""
    if len(body) > MAX_MANIFEST_BYTES:
        raise DataCorrupt(f"{key}: larger than {MAX_MANIFEST_BYTES} bytes")
    encrypted = is_envelope(body)
    if encrypted:
        body = bytes(Envelope(keys).decode_upto(body, MAX_MANIFEST_BYTES, key))
    manifest = _parse(body, key)
    if encrypted != (manifest.hash_key is not None):
        raise DataCorrupt(f"{key}: encrypted with hashes that are not, or the other way round")
    if manifest.escrow is not None and not encrypted:
        raise DataCorrupt(f"{key}: holds the key of a volume, and is not encrypted")
    return manifest


def _parse(body: bytes, where: str) -> Manifest:
    document = Fields.parse(body, where)
    needs = features.check_stamp(document, NAME)
    escrow = None
    if features.VOLUME_ENCRYPTION in needs:
        escrow = EscrowedKey.parse(document.object("volume_encryption"))
    content, index = document.object("content"), document.object("index")
    algorithm, hash_key = content.text("chunk_hash"), None
    if algorithm == KEYED_HASH_ALGORITHM:
        hash_key = content.checked("hash_key", key_layout.is_data_key_id, "data key id")
    elif algorithm != HASH_ALGORITHM:
        raise content.bad("chunk_hash", f"not {HASH_ALGORITHM}")
    if index.integer("entry_bytes") != ENTRY_BYTES:
        raise index.bad("entry_bytes", f"not {ENTRY_BYTES}")
    geometry = Geometry(
        content.integer("size_bytes", 1),
        content.integer("chunk_bytes"),
        index.integer("part_entries"),
    )
    description = _description(document.object("backup"), content)
    if escrow is not None:
        description = replace(description, encryption=escrow.encryption)
    return Manifest(
        description=description,
        geometry=geometry,
        parts=_parts(index, geometry),
        sessions=_sessions(document, description),
        bank_id=document.text("bank_id"),
        zero_bytes=content.integer("zero_bytes", 0, geometry.size_bytes),
        source_hash=_source_hash(content.object("source_hash")),
        hash_key=hash_key,
        escrow=escrow,
    )


def _parts(index: Fields, geometry: Geometry) -> tuple[PartRef, ...]:
    rows = index.objects("parts", geometry.part_count)
    if len(rows) != geometry.part_count:
        raise index.bad("parts", f"{len(rows)} parts, the size needs {geometry.part_count}")
    return tuple(
        PartRef(r.integer("attempt", 1, layout.MAX_ATTEMPT), r.hex("hash", 64)) for r in rows
    )


def _sessions(document: Fields, own: BackupDescription) -> tuple[SessionRef, ...]:
    sessions = tuple(
        SessionRef(
            row.checked("site", layout.is_site, "site name"),
            BackupId(row.checked("id", layout.is_backup_id, "backup id")),
        )
        for row in document.objects("sessions", MAX_SESSIONS)
    )
    if not sessions or sessions[0] != SessionRef(own.site, own.backup_id):
        raise document.bad("sessions", "the first one is not the backup's own")
    return sessions


def _source_hash(fields: Fields) -> SourceHash:
    return SourceHash(
        fields.text_or_none("algo"), fields.text_or_none("value"), fields.boolean("verified")
    )


def _description(backup: Fields, content: Fields) -> BackupDescription:
    size_bytes = content.integer("size_bytes", 1)
    return BackupDescription(
        backup_id=BackupId(backup.checked("backup_id", layout.is_backup_id, "backup id")),
        volume_id=VolumeId(backup.checked("volume_id", layout.is_volume_id, "volume id")),
        site=backup.checked("site", layout.is_site, "site name"),
        size_bytes=size_bytes,
        backup_name=backup.text("backup_name"),
        description=backup.text("description"),
        snapshot_at=_time(backup, "snapshot_at"),
        content_hash=content.hex("content_hash", 64),
        volume_name=backup.text("volume_name"),
        volume_description=backup.text("volume_description"),
        volume_type=backup.text("volume_type"),
        availability_zone=backup.text("availability_zone"),
        bootable=backup.boolean("bootable"),
        volume_metadata=backup.text_map("volume_metadata"),
        image_metadata=backup.text_map("image_metadata"),
        tags=backup.text_map("tags"),
        stored_bytes=content.integer("stored_bytes"),
        reused_bytes=content.integer_or("reused_bytes", 0),
        base_id=_base_id(backup),
        data_bytes=content.integer("data_bytes", 0, size_bytes),
        transport=content.checked_or_none("transport", TRANSPORTS.__contains__, "transport"),
        content_format=content.checked_or_none(
            "content_format", _is_format, "name of a disk image's format"
        ),
    )


def _is_format(value: str) -> bool:
    return _FORMAT.fullmatch(value) is not None


def _base_id(backup: Fields) -> BackupId | None:
    base_id = backup.checked_or_none("base_id", layout.is_backup_id, "backup id")
    return None if base_id is None else BackupId(base_id)


def _time(fields: Fields, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(fields.text(name, 64))
        # OverflowError: an offset can push year 1 or 9999 over the edge.
        return moment.astimezone(UTC) if moment.tzinfo else _naive(fields, name)
    except (ValueError, OverflowError) as error:
        raise fields.bad(name, "not a time of ISO 8601") from error


def _naive(fields: Fields, name: str) -> datetime:
    raise fields.bad(name, "a time without its offset from UTC")


def digest_of(where: str, fields: Fields, name: str) -> str:
    """A `sha256:<hex>` out of a JSON object."""
    value = fields.text(name, 71)
    prefix, _, digits = value.partition(":")
    if prefix != "sha256" or len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise DataCorrupt(f"{where}: field {name}: not sha256:<64 hex digits>")
    return value


def to_json(fields: dict[str, Any], name: str, *required: str) -> bytes:
    """Canonical bytes of a small object of this format: `format` stamp (with the features that a
    reader must know) plus fields."""
    return canonical({"format": features.stamp(name, *required), **fields})
