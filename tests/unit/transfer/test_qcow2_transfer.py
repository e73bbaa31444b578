"""A volume travels as qcow2: the same backup as by raw, and an image that is the volume again."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinderbank.bank import layout
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.reader import BackupReader
from cinderbank.domain.errors import CinderbankError, DataCorrupt, Unavailable, Unsupported
from cinderbank.domain.facts import LostRanges
from cinderbank.ports.transfers import RestoreTransfer
from cinderbank.transfer.backup import run_backup
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.image_source import SPOOL_BYTES
from cinderbank.transfer.qcow2.decode import decode
from cinderbank.transfer.qcow2.header import parse_header
from cinderbank.transfer.restore import Restored, run_restore
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    IMAGE,
    OTHER_BACKUP,
    SITE,
    VOLUME,
    backup_transfer,
    bank_on,
    content_hash_of,
    data_bytes_of,
    sample,
)
from tests.fakes.glance_images import Answer, FakeGlance, Image
from tests.fakes.object_store import MemoryStore
from tests.fakes.qcow2_images import encoded
from tests.unit.bank.test_round_trip import read_all

CONTENT = sample("tzrszzzzt" * 3, tail=1024)


def unpacked(image: bytes, size: int) -> bytes:
    content = bytearray(size)
    for extent in decode([image], len(image), size, lambda: pytest.fail("it is in order")):
        content[extent.offset : extent.offset + len(extent.data)] = extent.data
    return bytes(content)


def out_of_order(content: bytes) -> bytes:
    """The last two clusters change their places in the image."""
    image = bytearray(encoded(content, CHUNK))
    cluster = parse_header(image).cluster_bytes
    second, first = len(image) - cluster, len(image) - 2 * cluster
    image[first:second], image[second:] = image[second:], image[first:second]
    # Their entries in the L2 table, which lies before all data: offset, and the bit of one reference.
    places = [image.index((1 << 63 | offset).to_bytes(8, "big")) for offset in (first, second)]
    for place, offset in zip(places, (second, first), strict=True):
        image[place : place + 8] = (1 << 63 | offset).to_bytes(8, "big")
    return bytes(image)


class RangedGlance(FakeGlance):
    """Its store has ranges, when `ranged`; counts what is asked for."""

    def __init__(self, ranged: bool) -> None:
        super().__init__()
        self.ranged = ranged
        self.reads: list[str | None] = []

    def get(self, url: str, **options: Any) -> Answer:
        asked = options.get("headers", {}).get("Range")
        if url.endswith("/file"):
            self.reads.append(asked)
        if asked is None:
            return super().get(url, **options)
        if not self.ranged:
            return Answer(400)
        data = self.images[IMAGE].data
        first, last = map(int, asked.removeprefix("bytes=").split("-"))
        part = data[first : last + 1]
        told = {
            "Content-Range": f"bytes {first}-{last}/{len(data)}",
            "Content-Length": str(len(part)),
        }
        return Answer(206, headers=told, blocks=[part])


def glance_with(image: bytes, algo: str | None = "sha512", ranged: bool = False) -> RangedGlance:
    glance = RangedGlance(ranged)
    glance.add(IMAGE, image, algo)
    glance.images[IMAGE].disk_format = "qcow2"
    return glance


def back_up(
    store: MemoryStore, glance: FakeGlance, content: bytes = CONTENT, attempt: int = 1
) -> ProgressMeter:
    bank = bank_on(store)
    if attempt == 1:
        bank.open_session(SITE, BACKUP, VOLUME)
    meter = ProgressMeter(len(content), lambda progress: None)
    geometry = Geometry(len(content), CHUNK, 4)
    digest = run_backup(backup_transfer(content, attempt), bank, glance.api(), meter, geometry)
    assert digest == content_hash_of(content)
    return meter


@pytest.mark.parametrize("algo", ["sha512", "md5", None])
def test_a_backup_by_qcow2_is_the_one_by_raw(algo: str | None) -> None:
    store = MemoryStore()
    meter = back_up(store, glance_with(encoded(CONTENT, CHUNK), algo))
    bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert read_all(store) == CONTENT
    manifest = BackupReader.open(store, SITE, BACKUP).manifest
    about = manifest.description
    assert (about.transport, about.content_format) == ("Qcow2", None)
    assert about.data_bytes == data_bytes_of(CONTENT)
    assert manifest.source_hash.verified == (algo is not None)
    assert meter.now().bytes_processed == len(CONTENT)
    assert meter.now().bytes_zero == manifest.zero_bytes == 15 * CHUNK


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="ztrs", max_size=30), st.integers(0, 7))
def test_there_and_back(pieces: str, sectors: int) -> None:
    content = sample(pieces + "z", 512 * sectors)
    store, glance = MemoryStore(), glance_with(encoded(content, CHUNK))
    back_up(store, glance, content)
    bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert read_all(store) == content
    glance.images[IMAGE] = Image(disk_format="qcow2")
    restore(store, glance, content)
    assert glance.images[IMAGE].data == encoded(content, CHUNK)


def _inner(glance: FakeGlance) -> None:
    """Cinder has unpacked what was in the volume."""
    inner = encoded(sample("t"), CHUNK)
    glance.add(IMAGE, inner)
    glance.images[IMAGE].disk_format = "qcow2"


def _format(glance: FakeGlance) -> None:
    glance.images[IMAGE].disk_format = "vmdk"


def _no_size(glance: FakeGlance) -> None:
    glance.images[IMAGE].size = None


def _no_qcow2(glance: FakeGlance) -> None:
    glance.add(IMAGE, CONTENT)
    glance.images[IMAGE].disk_format = "qcow2"


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (_inner, DataCorrupt, "ImageSizeMismatch"),
        (_format, Unsupported, "Unsupported"),
        (_no_size, DataCorrupt, "DataCorrupt"),
        (_no_qcow2, DataCorrupt, "ImageCorrupt"),
    ],
)
def test_nothing_is_stored_of_what_is_not_the_volume(
    change: Any, error: type[CinderbankError], reason: str
) -> None:
    store, glance = MemoryStore(), glance_with(encoded(CONTENT, CHUNK))
    change(glance)
    with pytest.raises(error) as caught:
        back_up(store, glance)
    assert caught.value.reason == reason
    assert not [key for key in store.objects if "/chunks/" in key or "/backups/" in key]


def test_an_image_that_changed_gets_no_manifest() -> None:
    image = bytearray(encoded(CONTENT, CHUNK))
    glance = glance_with(bytes(image))
    image[-5] ^= 1
    glance.images[IMAGE].data = bytes(image)
    store = MemoryStore()
    with pytest.raises(DataCorrupt, match="changed or was damaged"):
        back_up(store, glance)
    assert layout.manifest(SITE, VOLUME, BACKUP) not in store.objects


DISORDER = b"\1" * CHUNK + bytes(5 * CHUNK) + b"\2" * CHUNK


def test_an_image_that_is_not_in_order_is_read_by_ranges() -> None:
    store, glance = MemoryStore(), glance_with(out_of_order(DISORDER), ranged=True)
    back_up(store, glance, DISORDER)
    bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert read_all(store) == DISORDER
    assert glance.reads[0] is None
    assert None not in glance.reads[1:]
    # What the ranges gave was not what was hashed.
    assert not BackupReader.open(store, SITE, BACKUP).manifest.source_hash.verified


def test_an_outage_does_not_say_that_there_are_no_ranges() -> None:
    class Away(RangedGlance):
        def get(self, url: str, **options: Any) -> Answer:
            if "Range" in options.get("headers", {}):
                return Answer(503)
            return super().get(url, **options)

    glance = Away(True)
    glance.images = glance_with(out_of_order(DISORDER)).images
    with pytest.raises(Unavailable):
        back_up(MemoryStore(), glance, DISORDER)


def test_or_from_a_file_where_there_are_none() -> None:
    store, glance = MemoryStore(), glance_with(out_of_order(DISORDER))
    back_up(store, glance, DISORDER)
    bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert read_all(store) == DISORDER
    assert [asked is None for asked in glance.reads] == [True, False, True]


def test_the_file_is_hashed_too() -> None:
    class Changing(RangedGlance):
        def get(self, url: str, **options: Any) -> Answer:
            if len(self.reads) == 2 and url.endswith("/file"):
                self.images[IMAGE].data = self.images[IMAGE].data[:-1] + b"x"
            return super().get(url, **options)

    glance = Changing(False)
    glance.images = glance_with(out_of_order(DISORDER)).images
    with pytest.raises(DataCorrupt, match="changed or was damaged"):
        back_up(MemoryStore(), glance, DISORDER)


def test_the_file_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cinderbank.transfer.image_source.SPOOL_BYTES", CHUNK)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: pytest.fail("a file"))
    with pytest.raises(Unsupported) as caught:
        back_up(MemoryStore(), glance_with(out_of_order(DISORDER)), DISORDER)
    assert caught.value.reason == "ImageNotInOrder"
    assert SPOOL_BYTES < 32 << 20, "two of them fit into the 64 MiB of deploy/base"


def test_an_attempt_by_raw_after_one_by_qcow2_stores_the_same() -> None:
    store, glance = MemoryStore(), glance_with(encoded(CONTENT, CHUNK))
    store.before_request = lambda count, verb, key: (_ for _ in ()).throw(
        Unavailable("away")
    ) if key.endswith("manifest") and verb == "PUT" else None  # fmt: skip
    with pytest.raises(Unavailable):
        back_up(store, glance)
    store.before_request = lambda count, verb, key: None
    glance.add(IMAGE, CONTENT)
    back_up(store, glance, attempt=2)
    bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert read_all(store) == CONTENT
    assert BackupReader.open(store, SITE, BACKUP).manifest.description.transport == "Raw"


def test_an_incremental_backup_finds_its_chunks_behind_holes() -> None:
    """Holes are not asked for: what the base lends must not fall behind. Equal chunks in two places
    would show it at once."""
    store = MemoryStore()
    first = sample("zzr" * 4 + "zt")
    back_up(store, glance_with(encoded(first, CHUNK)), first)
    bank_on(store).seal(SITE, BACKUP, VOLUME)
    second = sample("tzrzzrzzz" + "zzr" + "zt")
    bank, glance = bank_on(store), glance_with(encoded(second, CHUNK))
    bank.open_session(SITE, OTHER_BACKUP, VOLUME)
    store.requests.clear()
    transfer = replace(backup_transfer(second), backup_id=OTHER_BACKUP)
    meter = ProgressMeter(len(second), lambda progress: None)
    run_backup(transfer, bank, glance.api(), meter, Geometry(len(second), CHUNK, 4))
    bank.seal(SITE, OTHER_BACKUP, VOLUME)
    assert read_all(store, backup_id=OTHER_BACKUP) == second
    puts = [key for verb, key in store.requests if verb == "PUT" and "/chunks/" in key]
    assert puts == [layout.chunk(SITE, OTHER_BACKUP, 1, 0)]
    assert meter.now().bytes_reused == 4 * CHUNK


# Restore.


def restore(
    store: MemoryStore, glance: FakeGlance, content: bytes = CONTENT, salvage: bool = False
) -> Restored:
    transfer = RestoreTransfer(SITE, BACKUP, 1, IMAGE, len(content), salvage)
    meter = ProgressMeter(len(content), lambda progress: None)
    bank = bank_on(store, "site-b", read_only=True)
    done = run_restore(transfer, bank, glance.api(), meter, sleep=lambda seconds: None)
    assert meter.now().bytes_processed == len(content)
    assert done.content_hash == content_hash_of(content)
    return done


@pytest.fixture
def sealed() -> Iterator[tuple[MemoryStore, FakeGlance]]:
    store, glance = MemoryStore(), FakeGlance()
    source = glance_with(encoded(CONTENT, CHUNK))
    back_up(store, source)
    bank_on(store).seal(SITE, BACKUP, VOLUME)
    glance.images[IMAGE] = Image(disk_format="qcow2")
    yield store, glance


Sealed = tuple[MemoryStore, FakeGlance]


@pytest.mark.parametrize("algo", ["sha512", "sha256", ""])
def test_a_restore(sealed: Sealed, algo: str) -> None:
    store, glance = sealed
    glance.put_hash_algo = algo
    assert restore(store, glance).lost is None
    assert glance.images[IMAGE].data == encoded(CONTENT, CHUNK)
    assert unpacked(glance.images[IMAGE].data, len(CONTENT)) == CONTENT


def test_a_manifest_of_billions_of_chunks_takes_no_memory(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, glance = sealed
    monkeypatch.setattr("cinderbank.transfer.qcow2_body.MOST_CHUNKS", 1)
    store.requests.clear()
    with pytest.raises(Unsupported) as caught:
        restore(store, glance)
    assert caught.value.reason == "TooManyChunks"
    assert [key for _, key in store.requests if "/index/" in key] == []


def test_a_body_that_is_sent_again_after_401_is_whole(sealed: Sealed) -> None:
    store, glance = sealed
    glance.unauthorized_next_puts = 2
    restore(store, glance)
    assert glance.images[IMAGE].data == encoded(CONTENT, CHUNK)


def test_an_active_image_is_proven_by_making_it_once_more(sealed: Sealed) -> None:
    store, glance = sealed
    for algo in ("sha512", None):
        glance.add(IMAGE, encoded(CONTENT, CHUNK), algo)
        glance.images[IMAGE].disk_format = "qcow2"
        restore(store, glance)
    assert glance.puts == 0
    for wrong in (encoded(CONTENT, CHUNK)[:-1], encoded(CONTENT, CHUNK)[:-1] + b"\x07"):
        glance.add(IMAGE, wrong)
        glance.images[IMAGE].disk_format = "qcow2"
        with pytest.raises(DataCorrupt):
            restore(store, glance)


def test_holes_and_zeros_are_not_sent_and_cost_no_request() -> None:
    store, content = MemoryStore(), sample("z" * 500 + "t" + "z" * 500)
    back_up(store, glance_with(encoded(content, CHUNK)), content)
    bank_on(store).seal(SITE, BACKUP, VOLUME)
    glance = FakeGlance()
    glance.images[IMAGE] = Image(disk_format="qcow2")
    store.requests.clear()
    restore(store, glance, content)
    assert len(glance.images[IMAGE].data) < 20 * CHUNK
    assert len([key for verb, key in store.requests if "/chunks/" in key]) == 1


def test_a_corrupt_chunk_never_becomes_an_image(sealed: Sealed) -> None:
    store, glance = sealed
    store.flip(layout.chunk(SITE, BACKUP, 1, 2), 3000)
    with pytest.raises(DataCorrupt, match="chunk 2"):
        restore(store, glance)
    assert glance.images[IMAGE].status == "queued"


def test_salvage_sends_zeros_for_what_is_lost(sealed: Sealed) -> None:
    store, glance = sealed
    store.flip(layout.chunk(SITE, BACKUP, 1, 2), 3000)
    del store.objects[layout.chunk(SITE, BACKUP, 1, 0)]
    done = restore(store, glance, salvage=True)
    expected = bytes(CHUNK) + CONTENT[CHUNK : 2 * CHUNK] + bytes(CHUNK) + CONTENT[3 * CHUNK :]
    assert unpacked(glance.images[IMAGE].data, len(CONTENT)) == expected
    assert done.lost == LostRanges(2, 2 * CHUNK, ((0, CHUNK - 1), (2 * CHUNK, 3 * CHUNK - 1)))
    puts = glance.puts
    assert restore(store, glance, salvage=True) == done
    assert glance.puts == puts


@pytest.mark.parametrize("comes_back", [False, True])
def test_salvage_of_a_lost_index_part(sealed: Sealed, comes_back: bool) -> None:
    """Also when it is read the second time: the image was laid out without it."""
    store, glance = sealed
    key = layout.index_part(SITE, VOLUME, BACKUP, 1, 2)
    part = store.objects.pop(key)
    if comes_back:

        def back_again(count: int, verb: str, asked: str) -> None:
            if "/chunks/" in asked:
                store.objects[key] = part

        store.before_request = back_again
    done = restore(store, glance, salvage=True)
    lost = (8 * CHUNK, 12 * CHUNK - 1)
    expected = CONTENT[: lost[0]].ljust(lost[1] + 1, b"\0") + CONTENT[lost[1] + 1 :]
    assert unpacked(glance.images[IMAGE].data, len(CONTENT)) == expected
    assert done.lost is not None
    assert all(lost[0] <= first <= last <= lost[1] for first, last in done.lost.ranges)
    assert done.lost.lost_bytes == (3 if comes_back else 4) * CHUNK


def test_an_image_of_another_format_is_refused(sealed: Sealed) -> None:
    store, glance = sealed
    glance.images[IMAGE].disk_format = "vmdk"
    with pytest.raises(Unsupported, match="neither raw nor qcow2"):
        restore(store, glance)


def test_the_hash_is_glances_of_the_image_and_not_the_contents(sealed: Sealed) -> None:
    store, glance = sealed
    restore(store, glance)
    image = glance.images[IMAGE]
    assert image.hash_value == hashlib.sha512(encoded(CONTENT, CHUNK)).hexdigest()
