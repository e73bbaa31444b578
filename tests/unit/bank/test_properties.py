"""Round trips of every shape (P1), seals never without chunks (P11), and requests that go astray (P12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from cinderbank.bank import layout, state
from cinderbank.bank.reader import BackupReader
from cinderbank.bank.store import Body, joined
from cinderbank.domain.errors import CinderbankError, Unavailable
from tests.fakes.backups import CHUNK, SITE, VOLUME, bank_on, sample
from tests.fakes.object_store import MemoryStore
from tests.fakes.volumes import BACKUPS, Volume, read_backup
from tests.unit.bank.test_incremental import chunks_of

CONTENT = chunks_of(0, 1, 2) + sample("z") + chunks_of(4, 5, 6) + b"tail"


# P1


@pytest.mark.parametrize("part_entries", [1, 4, 65_536])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\0", id="one byte of zero"),
        pytest.param(b"\x01", id="one byte"),
        pytest.param(bytes(20 * CHUNK), id="all zero"),
        pytest.param(bytes(20 * CHUNK - 1), id="all zero, one short"),
        pytest.param(sample("r" * 9), id="all random"),
        pytest.param(sample("r" * 9)[:-1], id="one byte short"),
        pytest.param(sample("r" * 9) + b"\0", id="one byte long, zero"),
        pytest.param(sample("r" * 9) + b"\x07", id="one byte long"),
        pytest.param(sample("zzrtrzz"), id="holes at both ends"),
        pytest.param(bytes(CHUNK - 1) + b"\x01" + bytes(CHUNK), id="last byte of a chunk"),
        pytest.param(sample("zrzs", tail=1), id="not a multiple"),
        pytest.param(sample("r" * 4), id="exactly a part"),
        pytest.param(sample("r" * 5), id="a part and one"),
        pytest.param(sample("tzrs" * 5, tail=99), id="many parts"),
    ],
)
def test_p1_round_trips_are_identical(content: bytes, part_entries: int) -> None:
    volume = Volume(content, part_entries=part_entries)
    volume.back_up(0)
    assert volume.read(0) == content
    volume.back_up(1)
    assert volume.read(1) == content
    assert volume.chunk_puts() == [key for key in volume.chunk_puts() if BACKUPS[0] in key]


# P11


def check_p11(store: MemoryStore) -> int:
    """Every seal that is OK and not tombed has its manifest and all chunks, right now."""
    whole = 0
    quiet = MemoryStore()
    quiet.objects = store.objects
    for key in bank_on(quiet).seals():
        assert key is not None
        sealed = state.read_seal(quiet, key.site, key.backup_id)
        if sealed is None or not sealed.is_ok or state.read_tomb(quiet, key.site, key.backup_id):
            continue
        reader = BackupReader.open(quiet, key.site, key.backup_id)
        for entry in reader.entries():
            whose = reader.manifest.sessions[entry.session]
            chunk = layout.chunk(whose.site, whose.backup_id, entry.attempt or 1, entry.index)
            assert entry.is_hole or quiet.head(chunk) == entry.stored_bytes
        whole += 1
    return whole


def test_p11_after_every_request_each_seal_has_every_chunk() -> None:
    volume = Volume(CONTENT)
    checks: list[int] = []
    volume.store.after_request = lambda count, verb, key: checks.append(check_p11(volume.store))
    for number in range(4):
        volume.write(number * CHUNK, bytes([90 + number]))
        volume.back_up(number)
        if number == 2:
            bank_on(volume.store).delete(SITE, BACKUPS[1])
    assert checks[-1] == 3
    assert len(checks) > 100


# P12

Fault = str
LOST_ANSWER, TWICE, LATE = "landed, answer lost", "landed twice", "landed much later"


@dataclass
class AstrayStore(MemoryStore):
    """One PUT of many goes astray; what is late lands when `land` is called."""

    fault: Fault = ""
    at: int = -1
    puts: int = 0
    late: list[tuple[str, bytes, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def put(self, key: str, body: Body, if_absent: bool = False) -> bool:
        with self._lock:
            self.puts += 1
            mine = self.puts == self.at
        if not mine:
            return super().put(key, body, if_absent)
        if self.fault == LATE:
            self.late.append((key, joined(body), if_absent))
            raise Unavailable(f"PUT {key}: no answer")
        answer = super().put(key, body, if_absent)
        if self.fault == TWICE:
            # As a client sends it again by itself: a 412 may be about its own first try.
            return super().put(key, body, if_absent)
        assert answer or if_absent
        raise Unavailable(f"PUT {key}: no answer")

    def land(self) -> None:
        while self.late:
            super().put(*self.late.pop())


def until_done(volume: Volume, number: int, before_each: Callable[[], None]) -> None:
    """As the engine: each step again until it is done, transfers as fresh attempts."""
    attempt = 0
    while True:
        before_each()
        try:
            attempt += 1
            volume.back_up(number, attempt)
            return
        except CinderbankError as error:
            assert isinstance(error, Unavailable), error
            assert attempt < 5


@pytest.mark.parametrize("fault", [LOST_ANSWER, TWICE, LATE])
@pytest.mark.parametrize("lands", ["before the next try", "after everything"])
def test_p12_a_put_that_went_astray_changes_nothing(fault: Fault, lands: str) -> None:
    at = 0
    while True:
        at += 1
        store = AstrayStore(fault=fault)
        volume = Volume(CONTENT, store)
        volume.back_up(0)
        volume.write(CHUNK, b"changed")
        store.at, store.puts = at, 0
        until_done(volume, 1, store.land if lands == "before the next try" else lambda: None)
        if store.puts < at:
            break
        store.land()
        assert check_p11(store) == 2
        assert read_backup(store, BACKUPS[1]) == volume.content
        assert read_backup(store, BACKUPS[0]) == CONTENT
        # And once more, after what was late has come.
        assert bank_on(store).seal(SITE, BACKUPS[1], VOLUME).startswith("sha256:")
    assert at > 6


def test_p12_what_lands_after_a_session_was_ended_makes_no_backup() -> None:
    for at in range(1, 12):
        store = AstrayStore(fault=LATE, at=at)
        volume = Volume(CONTENT, store)
        with pytest.raises(Unavailable):
            volume.back_up(0)
        bank = bank_on(store)
        while not bank.discard(SITE, BACKUPS[0]):
            pass
        store.land()
        facts = bank.observe(SITE, BACKUPS[0])
        assert not facts.sealed or facts.tombed
        assert bank.find(BACKUPS[0]) is None
        assert check_p11(store) == 0
