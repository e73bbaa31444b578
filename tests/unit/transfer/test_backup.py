"""Image -> bank: right, or no manifest."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinderbank.bank import layout, state
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.geometry import Geometry
from cinderbank.bank.reader import BackupReader
from cinderbank.domain.errors import (
    CinderbankError,
    DataCorrupt,
    Forbidden,
    SourceGone,
    Unavailable,
    Unsupported,
)
from cinderbank.transfer.backup import run_backup
from cinderbank.transfer.events import ProgressMeter
from tests.fakes.backups import (
    BACKUP,
    CHUNK,
    IMAGE,
    SITE,
    VOLUME,
    back_up,
    backup_transfer,
    bank_on,
    content_hash_of,
    sample,
)
from tests.fakes.glance_images import FakeGlance
from tests.fakes.object_store import MemoryStore
from tests.unit.bank.test_round_trip import read_all

CONTENT = sample("tzrszt", tail=1000)


def run(
    store: MemoryStore, glance: FakeGlance, content: bytes = CONTENT, attempt: int = 1
) -> tuple[str, ProgressMeter]:
    bank = bank_on(store)
    if state.read_intent(store, SITE, BACKUP) is None:
        bank.open_session(SITE, BACKUP, VOLUME)
    meter = ProgressMeter(len(content), lambda progress: None)
    transfer = backup_transfer(content, attempt)
    geometry = Geometry(len(content), CHUNK, 2)
    return run_backup(transfer, bank, glance.api(), meter, geometry), meter


def glance_with(content: bytes, algo: str | None = "sha512") -> FakeGlance:
    glance = FakeGlance()
    glance.add(IMAGE, content, algo)
    return glance


@pytest.mark.parametrize("algo", ["sha512", "sha256", "md5", None])
def test_a_backup_and_what_it_remembers_of_glances_hash(algo: str | None) -> None:
    store = MemoryStore()
    digest, meter = run(store, glance_with(CONTENT, algo))
    assert digest == content_hash_of(CONTENT)
    progress = meter.now()
    assert progress.bytes_processed == progress.bytes_total == len(CONTENT)
    assert progress.bytes_zero == 2 * CHUNK
    bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert read_all(store) == CONTENT
    manifest = BackupReader.open(store, SITE, BACKUP).manifest
    assert manifest.source_hash.verified == (algo is not None)
    assert manifest.description.stored_bytes == progress.bytes_stored
    assert manifest.zero_bytes == 2 * CHUNK
    assert manifest.description.tags == {"a": "b"}


def test_a_plain_manifest_in_a_bank_with_a_key_is_no_earlier_attempts() -> None:
    """Who can write the bucket, without the key, must not have his content taken for the volume's."""
    store, forged = MemoryStore(), MemoryStore()
    bank = bank_on(store, keks=[KeyEncryptionKey(os.urandom(32))], accepts_plain=True)
    bank.open_session(SITE, BACKUP, VOLUME)
    forged.objects[layout.BANK] = store.objects[layout.BANK]
    back_up(forged, sample("ssssss", tail=1000))
    key = layout.manifest(SITE, VOLUME, BACKUP)
    store.objects[key] = forged.objects[key]
    meter = ProgressMeter(len(CONTENT), lambda progress: None)
    with pytest.raises(DataCorrupt, match="not encrypted") as raised:
        run_backup(backup_transfer(CONTENT), bank, glance_with(CONTENT).api(), meter)
    assert raised.value.reason == "ManifestNotEncrypted"
    del store.objects[key]
    run_backup(backup_transfer(CONTENT), bank, glance_with(CONTENT).api(), meter)
    bank.seal(SITE, BACKUP, VOLUME)
    assert read_all(store, bank.keys) == CONTENT


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="ztrs", max_size=20), st.integers(1, 4095))
def test_any_content(pieces: str, tail: int) -> None:
    content = sample(pieces, tail)
    store = MemoryStore()
    run(store, glance_with(content), content)
    bank_on(store).seal(SITE, BACKUP, VOLUME)
    assert read_all(store) == content


def _wrong_size(glance: FakeGlance) -> None:
    glance.images[IMAGE].size = len(CONTENT) * 2


def _not_raw(glance: FakeGlance) -> None:
    glance.images[IMAGE].disk_format = "vmdk"


def _status(status: str) -> Any:
    def change(glance: FakeGlance) -> None:
        glance.images[IMAGE].status = status

    return change


def _read_status(status: int) -> Any:
    def change(glance: FakeGlance) -> None:
        glance.read_status = status

    return change


def _announced(glance: FakeGlance) -> None:
    glance.announced = str(len(CONTENT) - 1)


def _gone(glance: FakeGlance) -> None:
    del glance.images[IMAGE]


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (_wrong_size, DataCorrupt, "ImageSizeMismatch"),
        (_not_raw, Unsupported, "Unsupported"),
        (_status("saving"), Unavailable, "Unavailable"),
        (_status("deleted"), SourceGone, "SourceNotFound"),
        (_status("deactivated"), Forbidden, "Forbidden"),
        (_gone, SourceGone, "SourceNotFound"),
        (_read_status(204), DataCorrupt, "DataCorrupt"),
        (_read_status(403), Forbidden, "Forbidden"),
        (_read_status(500), Unavailable, "Unavailable"),
        (_announced, DataCorrupt, "DataCorrupt"),
    ],
)
def test_nothing_is_stored_of_an_image_that_is_not_right(
    change: Any, error: type[CinderbankError], reason: str
) -> None:
    store, glance = MemoryStore(), glance_with(CONTENT)
    change(glance)
    with pytest.raises(error) as caught:
        run(store, glance)
    assert caught.value.reason == reason
    assert not [key for key in store.objects if "/chunks/" in key or "/backups/" in key]


def _truncated(glance: FakeGlance) -> None:
    glance.truncate_reads_to = len(CONTENT) - 1
    glance.announced = None


def _longer(glance: FakeGlance) -> None:
    glance.images[IMAGE].data += b"x"
    glance.announced = None


def _other_hash(glance: FakeGlance) -> None:
    glance.images[IMAGE].hash_value = "0" * 128


@pytest.mark.parametrize("change", [_truncated, _longer, _other_hash])
def test_no_manifest_of_what_differs(change: Any) -> None:
    store, glance = MemoryStore(), glance_with(CONTENT)
    change(glance)
    with pytest.raises(DataCorrupt):
        run(store, glance)
    assert layout.manifest(SITE, VOLUME, BACKUP) not in store.objects
    assert bank_on(store).discard(SITE, BACKUP)


def test_a_failing_bank_ends_the_transfer_and_leaves_no_thread() -> None:
    content = sample("r" * 60)
    store, glance = MemoryStore(), glance_with(content)
    bank_on(store).open_session(SITE, BACKUP, VOLUME)

    def fail(count: int, verb: str, key: str) -> None:
        if "/chunks/" in key:
            raise Unavailable("the bank is away", reason="BankUnavailable")

    store.before_request = fail
    before = threading.active_count()
    with pytest.raises(Unavailable):
        run(store, glance, content)
    assert threading.active_count() == before


def test_a_second_attempt_after_a_failure_and_a_third_after_success() -> None:
    store, glance = MemoryStore(), glance_with(CONTENT)
    bank_on(store).open_session(SITE, BACKUP, VOLUME)
    store.before_request = lambda count, verb, key: (_ for _ in ()).throw(
        Unavailable("away")
    ) if key.endswith("manifest") and verb == "PUT" else None  # fmt: skip
    with pytest.raises(Unavailable):
        run(store, glance)
    store.before_request = lambda count, verb, key: None
    digest, _ = run(store, glance, attempt=2)
    glance.images.clear()
    again, meter = run(store, glance, attempt=3)
    assert again == digest
    assert meter.now().bytes_processed == len(CONTENT)


def test_without_an_intent_nothing_is_read_or_stored() -> None:
    store = MemoryStore()
    bank = bank_on(store)
    meter = ProgressMeter(len(CONTENT), lambda progress: None)
    with pytest.raises(SourceGone) as caught:
        run_backup(backup_transfer(CONTENT), bank, glance_with(CONTENT).api(), meter)
    assert caught.value.reason == "SessionBroken"
    assert set(store.objects) == {layout.BANK}
