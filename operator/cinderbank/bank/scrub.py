"""What checks found broken: reports in the bank, and their sum.

A report says which chunks are lost and which backups need them. What holds is the union of all
reports, so their order, the clocks of the sites and a check that died half way do not matter. A later
check that finds it mended (or deleted) first puts a report of what is left, then deletes the old one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cinderbank.bank import features, layout
from cinderbank.bank.json_object import Fields
from cinderbank.bank.manifest import SessionRef, to_json
from cinderbank.bank.ranges import Ranges
from cinderbank.bank.store import ObjectStore
from cinderbank.domain.errors import CinderbankError, DataCorrupt
from cinderbank.domain.facts import BackupId, VolumeId

NAME = "cinderbank-scrub"
MAX_REPORT_BYTES = 1024 * 1024
MAX_REPORTS = 1000
MAX_CHOICE_REPORTS = 100
"""Read by who chooses or shows a backup; there are few unless somebody floods the bank."""
MAX_SESSIONS = 1000
MAX_BACKUPS = 2000
MAX_RANGES = 10_000
"""Of one report; with the ids of MAX_SESSIONS and MAX_BACKUPS that stays below MAX_REPORT_BYTES."""


@dataclass(frozen=True, slots=True)
class AttemptRef:
    """Whose chunks: one attempt of one session."""

    site: str
    backup_id: BackupId
    attempt: int


@dataclass(slots=True)
class Damage:
    """Chunks that are lost, by the attempt that wrote them, and backups that are not whole."""

    chunks: dict[AttemptRef, Ranges] = field(default_factory=dict)
    backups: dict[SessionRef, VolumeId] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(self.chunks.values()) or bool(self.backups)

    def add_chunk(self, ref: AttemptRef, first: int, last: int | None = None) -> None:
        self.chunks.setdefault(ref, Ranges()).add(first, last)

    def has_chunk(self, ref: AttemptRef, index: int) -> bool:
        """Whether this chunk is known to be lost: it is never to be lent to another backup."""
        found = self.chunks.get(ref)
        return found is not None and index in found

    def has_backup(self, site: str, backup_id: BackupId) -> bool:
        return SessionRef(site, backup_id) in self.backups

    def add_all(self, other: Damage) -> None:
        for ref, ranges in other.chunks.items():
            for first, last in ranges:
                self.add_chunk(ref, first, last)
        self.backups.update(other.backups)

    def minus(self, other: Damage) -> Damage:
        chunks = {
            ref: ranges.minus(other.chunks.get(ref, Ranges()))
            for ref, ranges in self.chunks.items()
        }
        backups = {ref: volume for ref, volume in self.backups.items() if ref not in other.backups}
        return Damage({ref: ranges for ref, ranges in chunks.items() if ranges}, backups)


@dataclass(frozen=True, slots=True)
class Report:
    """One `scrub/<site>/<run>`. A run has one or more."""

    checked: datetime
    level: str
    damage: Damage

    def dump(self) -> bytes:
        chunks = [
            {
                "site": ref.site,
                "id": ref.backup_id,
                "attempt": ref.attempt,
                "ranges": [{"first": first, "last": last} for first, last in ranges],
            }
            for ref, ranges in self.damage.chunks.items()
        ]
        backups = [
            {"site": ref.site, "id": ref.backup_id, "volume_id": volume}
            for ref, volume in self.damage.backups.items()
        ]
        checked = self.checked.astimezone(UTC).isoformat(timespec="seconds")
        return to_json(
            {"checked": checked, "level": self.level, "chunks": chunks, "backups": backups}, NAME
        )

    @classmethod
    def parse(cls, body: bytes, where: str) -> Report:
        document = Fields.parse(body, where)
        features.check_stamp(document, NAME)
        damage = Damage()
        ranges_left = MAX_RANGES
        for row in document.objects("chunks", MAX_SESSIONS):
            ref = AttemptRef(*_session(row), row.integer("attempt", 1, layout.MAX_ATTEMPT))
            pairs = row.objects("ranges", ranges_left)
            ranges_left -= len(pairs)
            for pair in pairs:
                first = pair.integer("first", 0, layout.MAX_CHUNK_INDEX)
                damage.add_chunk(ref, first, pair.integer("last", first, layout.MAX_CHUNK_INDEX))
        for row in document.objects("backups", MAX_BACKUPS):
            volume = row.checked("volume_id", layout.is_volume_id, "volume id")
            damage.backups[SessionRef(*_session(row))] = VolumeId(volume)
        return cls(_moment(document), document.text("level", 16), damage)


def _session(row: Fields) -> tuple[str, BackupId]:
    site = row.checked("site", layout.is_site, "site name")
    return site, BackupId(row.checked("id", layout.is_backup_id, "backup id"))


def _moment(document: Fields) -> datetime:
    try:
        moment = datetime.fromisoformat(document.text("checked", 64))
    except ValueError as error:
        raise document.bad("checked", "not a time of ISO 8601") from error
    if moment.tzinfo is None:
        raise document.bad("checked", "a time without its offset from UTC")
    return moment


def read_reports(store: ObjectStore) -> Iterator[tuple[str, Report | CinderbankError]]:
    """Key and report of every report of every site; the error of one that can not be read.

    Raises DataCorrupt when there are more than MAX_REPORTS: that is not our doing.
    """
    count = 0
    for row in store.list_keys(layout.SCRUBS):
        count += 1  # foreign ones too, or they could be without an end
        if count > MAX_REPORTS:
            raise DataCorrupt(f"{store.where()}: more than {MAX_REPORTS} reports under scrub/")
        if layout.parse_scrub(row.key) is None:
            continue
        try:
            body = store.get(row.key, MAX_REPORT_BYTES)
            if body is not None:  # None: mended and taken away since the LIST
                yield row.key, Report.parse(body, row.key)
        except DataCorrupt as error:
            yield row.key, error
        except CinderbankError as error:
            if error.reason != "BankFormatUnknown":
                raise
            yield row.key, error


def known_damage(store: ObjectStore) -> Damage:
    """What checks of all sites found and nobody mended since: what no base may lend (`has_chunk`),
    and which backups are not whole.

    Raises what stopped a report from being read: who does not know all of it may reuse nothing.
    """
    damage = Damage()
    for _, report in read_reports(store):
        if isinstance(report, CinderbankError):
            raise report
        damage.add_all(report.damage)
    return damage


def split(damage: Damage) -> Iterator[Damage]:
    """The same damage in pieces that fit into a report each.

    A session with more gaps than a report holds is told as one range: too much is safe, as it only
    keeps good chunks from being lent.
    """
    chunks = [(ref, _few(ranges)) for ref, ranges in damage.chunks.items() if ranges]
    backups = list(damage.backups.items())
    while chunks or backups:
        piece, room = Damage(), MAX_RANGES
        while chunks and len(piece.chunks) < MAX_SESSIONS and chunks[-1][1].gaps() <= room:
            ref, ranges = chunks.pop()
            room -= ranges.gaps()
            piece.chunks[ref] = ranges
        piece.backups.update(backups[:MAX_BACKUPS])
        backups = backups[MAX_BACKUPS:]
        yield piece


def _few(ranges: Ranges) -> Ranges:
    pairs = list(ranges)
    return ranges if len(pairs) <= MAX_RANGES else Ranges([(pairs[0][0], pairs[-1][1])])
