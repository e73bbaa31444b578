"""Every key of a bank, and the only place where a key is built or taken apart (but for key_layout and
proof_keys).

Keys are ASCII and relative to the bank's own prefix. An id is checked before it becomes a part of a
key, and again when it comes out of a listing: what does not match is foreign, and never used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.facts import BackupId, VolumeId

BANK = "bank.json"
SITES = "sites/"
SCRUBS = "scrub/"

MAX_ATTEMPT = 0xFFFF
MAX_CHUNK_INDEX = 0xFFFF_FFFF

_SITE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_ATTEMPT = re.compile(r"(?!0000)[0-9a-f]{4}", re.ASCII)
# 26 characters hold 130 bits, a ULID has 128: the first one is never above 7.
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)


def is_site(text: str) -> bool:
    """True for a DNS label (RFC 1123, at most 63 characters)."""
    return _SITE.fullmatch(text) is not None


def is_volume_id(text: str) -> bool:
    """True for a UUID in its canonical lower-case form."""
    return _UUID.fullmatch(text) is not None


def is_backup_id(text: str) -> bool:
    """True for a ULID in upper case."""
    return _ULID.fullmatch(text) is not None


def is_reader(text: str) -> bool:
    """True for what may hold a read pin: the uid of a Kubernetes object, a UUID."""
    return _UUID.fullmatch(text) is not None


def checked(text: str, valid: bool, what: str) -> str:
    """An id that is to become a part of a key; InvalidSpec (InvalidIdentifier) when it is none."""
    if not valid:
        raise InvalidSpec(f"{text[:80]!r} is not a {what}", reason="InvalidIdentifier")
    return text


def _number(value: int, highest: int, what: str) -> int:
    if not 0 <= value <= highest:
        raise InvalidSpec(f"{what} {value} is not in 0..{highest}", reason="InvalidIdentifier")
    return value


def site_prefix(site: str) -> str:
    return f"{SITES}{checked(site, is_site(site), 'site name (a DNS label)')}/"


def _session(backup_id: str) -> str:
    return checked(backup_id, is_backup_id(backup_id), "backup id (a ULID)")


def _volume(volume_id: str) -> str:
    return checked(volume_id, is_volume_id(volume_id), "volume id (a lower-case UUID)")


def intents_prefix(site: str) -> str:
    return f"{site_prefix(site)}intents/"


def intent(site: str, backup_id: str) -> str:
    """The intent of a session that writes."""
    return intents_prefix(site) + _session(backup_id)


def read_pin(site: str, reader: str) -> str:
    """The intent of somebody who only reads; lies among the writers' so that one LIST shows both."""
    return intents_prefix(site) + checked(reader, is_reader(reader), "reader's uid (a UUID)")


def session_chunks_prefix(site: str, backup_id: str) -> str:
    return f"{site_prefix(site)}chunks/{_session(backup_id)}/"


def chunk(site: str, backup_id: str, attempt: int, index: int) -> str:
    _number(attempt, MAX_ATTEMPT, "attempt")
    _number(index, MAX_CHUNK_INDEX, "chunk index")
    return f"{session_chunks_prefix(site, backup_id)}{attempt:04x}/{index:08x}"


def chunks_prefix(site: str) -> str:
    return f"{site_prefix(site)}chunks/"


def backups_prefix(site: str, volume_id: str | None = None) -> str:
    """Manifests and index parts: of all volumes, or of one."""
    return f"{site_prefix(site)}backups/" + ("" if volume_id is None else f"{_volume(volume_id)}/")


def journals_prefix(site: str) -> str:
    return f"{site_prefix(site)}journal/"


def beats_prefix(site: str) -> str:
    return f"{site_prefix(site)}beats/"


def beat(site: str, session: str) -> str:
    """The sign of life of a session that writes, or of a reader."""
    valid = is_backup_id(session) or is_reader(session)
    return beats_prefix(site) + checked(session, valid, "session or reader id")


def writers_prefix(site: str) -> str:
    return f"{site_prefix(site)}writers/"


def writer(site: str, token: str) -> str:
    """The mark of one who writes as this site."""
    return writers_prefix(site) + checked(token, is_reader(token), "writer's id (a UUID)")


def probes_prefix(site: str) -> str:
    return f"{site_prefix(site)}probes/"


def journal_prefix(site: str, backup_id: str) -> str:
    """Everything that attempts of this session noted of their own progress."""
    return f"{site_prefix(site)}journal/{_session(backup_id)}/"


def journal(site: str, backup_id: str, attempt: int, first_index: int) -> str:
    """A journal object of one attempt; `first_index` is the first chunk that it speaks of."""
    _number(attempt, MAX_ATTEMPT, "attempt")
    _number(first_index, MAX_CHUNK_INDEX, "chunk index")
    return f"{journal_prefix(site, backup_id)}{attempt:04x}/{first_index:08x}"


def parse_session_object(prefix: str, key: str) -> tuple[int, int] | None:
    """Attempt and number of an object listed under a chunk, journal or `.../index/` prefix of a
    session; None when it is foreign."""
    rest = key.removeprefix(prefix)
    if not key.startswith(prefix) or not _SESSION_OBJECT.fullmatch(rest):
        return None
    attempt, number = int(rest[:4], 16), int(rest[5:], 16)
    return (attempt, number) if attempt else None


def backup_prefix(site: str, volume_id: str, backup_id: str) -> str:
    return f"{site_prefix(site)}backups/{_volume(volume_id)}/{_session(backup_id)}/"


def index_prefix(site: str, volume_id: str, backup_id: str) -> str:
    return f"{backup_prefix(site, volume_id, backup_id)}index/"


def index_part(site: str, volume_id: str, backup_id: str, attempt: int, part: int) -> str:
    """An index part; the attempt is in it because no key is ever written twice."""
    _number(attempt, MAX_ATTEMPT, "attempt")
    _number(part, MAX_CHUNK_INDEX, "index part")
    return f"{backup_prefix(site, volume_id, backup_id)}index/{attempt:04x}/{part:08x}"


def manifest(site: str, volume_id: str, backup_id: str) -> str:
    return f"{backup_prefix(site, volume_id, backup_id)}manifest"


def seals_prefix(site: str) -> str:
    return f"{site_prefix(site)}seals/"


def seal_prefix(site: str, backup_id: str) -> str:
    """The prefix under which the one seal of this backup lies, whatever its volume."""
    return f"{seals_prefix(site)}{_session(backup_id)}."


def seal(site: str, backup_id: str, volume_id: str) -> str:
    return seal_prefix(site, backup_id) + _volume(volume_id)


def tombs_prefix(site: str) -> str:
    return f"{site_prefix(site)}tombs/"


def tomb(site: str, backup_id: str) -> str:
    return tombs_prefix(site) + _session(backup_id)


def scrub(site: str, run: str) -> str:
    """A report of damage that a check at this site found; `run` is a ULID of its own."""
    owner = checked(site, is_site(site), "site name (a DNS label)")
    return f"{SCRUBS}{owner}/{checked(run, is_backup_id(run), 'run (a ULID)')}"


def parse_scrub(key: str) -> tuple[str, str] | None:
    """Site and run of a listed report's key; None when it is foreign."""
    fields = key.split("/")
    if len(fields) != 3 or f"{fields[0]}/" != SCRUBS:
        return None
    return (fields[1], fields[2]) if is_site(fields[1]) and is_backup_id(fields[2]) else None


def probe(site: str, token: str) -> str:
    """A scratch object of the self-test; deleted at its end, meaningless when found later."""
    return f"{site_prefix(site)}probes/{checked(token, is_reader(token), 'probe token (a UUID)')}"


@dataclass(frozen=True, slots=True)
class SealKey:
    """What a seal's key says of itself."""

    site: str
    backup_id: BackupId
    volume_id: VolumeId


def parse_seal(key: str) -> SealKey | None:
    """Take a listed seal key apart; None when it is foreign."""
    fields = key.split("/")
    if len(fields) != 4 or fields[0] != "sites" or fields[2] != "seals" or not is_site(fields[1]):
        return None
    backup_id, _, volume_id = fields[3].partition(".")
    if not is_backup_id(backup_id) or not is_volume_id(volume_id):
        return None
    return SealKey(fields[1], BackupId(backup_id), VolumeId(volume_id))


def parse_site_prefix(prefix: str) -> str | None:
    """The site of a listed `sites/<site>/`; None when it is foreign."""
    site = prefix.removeprefix(SITES).removesuffix("/")
    return site if prefix == f"{SITES}{site}/" and is_site(site) else None


def parse_intent(key: str) -> str | None:
    """The session or reader of a listed intent or beat; None when it is foreign."""
    fields = key.split("/")
    if len(fields) != 4 or fields[0] != "sites" or fields[2] not in ("intents", "beats"):
        return None
    return fields[3] if is_backup_id(fields[3]) or is_reader(fields[3]) else None


def parse_session_prefix(prefix: str) -> BackupId | None:
    """The session of a listed `sites/<site>/chunks/<session>/` or `.../journal/<session>/`."""
    fields = prefix.split("/")
    if len(fields) != 5 or fields[4] or fields[2] not in ("chunks", "journal"):
        return None
    return BackupId(fields[3]) if is_backup_id(fields[3]) else None


def parse_attempt_prefix(prefix: str) -> int | None:
    """The attempt of a listed `<session's prefix><attempt>/`; None when it is foreign."""
    text = prefix.removesuffix("/").rpartition("/")[2]
    return int(text, 16) if prefix.endswith("/") and _ATTEMPT.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class BackupObject:
    """A manifest (`part` is None) or an index part, as its key says."""

    backup: SealKey
    part: tuple[int, int] | None
    """Attempt and number of an index part."""


def parse_backup_object(key: str) -> BackupObject | None:
    """Take a key listed under `sites/<site>/backups/` apart; None when it is foreign."""
    fields = key.split("/", 5)
    if len(fields) != 6 or not is_site(fields[1]) or fields[2] != "backups":
        return None
    if not is_volume_id(fields[3]) or not is_backup_id(fields[4]):
        return None
    backup = SealKey(fields[1], BackupId(fields[4]), VolumeId(fields[3]))
    if fields[5] == "manifest":
        return BackupObject(backup, None)
    kind, _, rest = fields[5].partition("/")
    part = parse_session_object("", rest) if kind == "index" else None
    return None if part is None else BackupObject(backup, part)


def parse_tomb(key: str) -> BackupId | None:
    """The backup of a listed tomb's key; None when it is foreign."""
    fields = key.split("/")
    if len(fields) != 4 or fields[0] != "sites" or fields[2] != "tombs" or not is_site(fields[1]):
        return None
    return BackupId(fields[3]) if is_backup_id(fields[3]) else None


_SESSION_OBJECT = re.compile(r"[0-9a-f]{4}/[0-9a-f]{8}", re.ASCII)


def is_session_object(prefix: str, key: str) -> bool:
    """True when a key listed under a session's chunk or backup prefix is one that we write there."""
    rest = key.removeprefix(prefix)
    if not key.startswith(prefix):
        return False
    return rest == "manifest" or _SESSION_OBJECT.fullmatch(rest.removeprefix("index/")) is not None
