"""Bank -> image: the image is proven to be the volume, or it is an error."""

from __future__ import annotations

import pytest

from cinderbank.bank import layout
from cinderbank.bank.reader import BackupReader
from cinderbank.domain.errors import (
    CinderbankError,
    Conflict,
    DataCorrupt,
    OverQuota,
    SourceGone,
    Unsupported,
)
from cinderbank.ports.transfers import RestoreTransfer
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.restore import Restored, run_restore
from cinderbank.transfer.volume_body import RawBody
from tests.fakes.backups import BACKUP, IMAGE, SITE, back_up, bank_on, content_hash_of, sample
from tests.fakes.glance_images import FakeGlance, Image
from tests.fakes.object_store import MemoryStore

CONTENT = sample("tzrsz" * 8, tail=1000)


def make(content: bytes = CONTENT) -> tuple[MemoryStore, FakeGlance]:
    store, glance = MemoryStore(), FakeGlance()
    back_up(store, content)
    glance.images[IMAGE] = Image()
    return store, glance


def run(store: MemoryStore, glance: FakeGlance, size: int = len(CONTENT)) -> ProgressMeter:
    meter = ProgressMeter(size, lambda progress: None)
    transfer = RestoreTransfer(SITE, BACKUP, 1, IMAGE, size)
    bank = bank_on(store, "site-b", read_only=True)
    done = run_restore(transfer, bank, glance.api(), meter, sleep=lambda seconds: None)
    assert done == Restored(content_hash_of(CONTENT))
    return meter


@pytest.mark.parametrize("algo", ["sha512", "sha256", ""])
def test_a_restore(algo: str) -> None:
    store, glance = make()
    glance.put_hash_algo = algo
    meter = run(store, glance)
    assert glance.images[IMAGE].data == CONTENT
    assert glance.tokens == 0, "the connection was just made"
    assert meter.now().bytes_processed == len(CONTENT)
    assert meter.now().bytes_zero == 16 * 4096


def test_the_token_of_an_old_connection_is_renewed_before_the_upload() -> None:
    store, glance = make()
    api = glance.api()
    glance.monotonic += 3600
    bank = bank_on(store, "site-b", read_only=True)
    transfer = RestoreTransfer(SITE, BACKUP, 1, IMAGE, len(CONTENT))
    meter = ProgressMeter(len(CONTENT), lambda progress: None)
    run_restore(transfer, bank, api, meter)
    assert glance.tokens == 1


def test_a_body_that_is_sent_again_after_401_is_whole() -> None:
    store, glance = make()
    glance.unauthorized_next_puts = 2
    meter = run(store, glance)
    assert glance.puts == 3
    assert glance.images[IMAGE].data == CONTENT
    assert meter.now().bytes_processed == len(CONTENT)


def test_the_body_has_a_length_and_starts_anew_each_time() -> None:
    store, _ = make()
    reader = BackupReader.open(store, SITE, BACKUP)
    body = RawBody(reader, ProgressMeter(1, lambda progress: None))
    assert len(body) == len(CONTENT)
    first = iter(body)
    assert bytes(next(first)) == CONTENT[:4096]
    first.close()  # type: ignore[attr-defined]
    for _ in range(2):
        assert b"".join(map(bytes, body)) == CONTENT


def test_an_active_image_is_proven_and_not_sent_again() -> None:
    store, glance = make()
    glance.add(IMAGE, CONTENT)
    run(store, glance)
    glance.add(IMAGE, CONTENT, algo=None)
    run(store, glance)
    assert glance.puts == 0
    for wrong in (CONTENT[:-1], CONTENT[:-1] + b"\x07"):
        glance.add(IMAGE, wrong)
        with pytest.raises(DataCorrupt):
            run(store, glance)


def test_an_image_that_is_still_saving_is_waited_for() -> None:
    store, glance = make()
    glance.images[IMAGE].statuses = ["saving", "saving", "saving"]
    run(store, glance)
    assert glance.images[IMAGE].data == CONTENT


def test_an_image_that_saves_for_ever_is_tried_again_later() -> None:
    store, glance = make()
    glance.images[IMAGE].status = "saving"
    with pytest.raises(Conflict, match="still saving") as caught:
        run(store, glance)
    assert caught.value.reason == "ImageBusy"


@pytest.mark.parametrize("status", ["deleted", "killed", "pending_delete"])
def test_an_image_that_is_over(status: str) -> None:
    store, glance = make()
    glance.images[IMAGE].status = status
    with pytest.raises(SourceGone):
        run(store, glance)


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (415, Unsupported, "restore as qcow2"),
        (413, OverQuota, "image_size_total"),
        (409, Conflict, "409"),
        (200, CinderbankError, "200"),
    ],
)
def test_an_upload_that_glance_refuses(status: int, error: type[Exception], text: str) -> None:
    store, glance = make()
    glance.put_answer = status
    with pytest.raises(error, match=text):
        run(store, glance)


def test_a_corrupt_chunk_never_becomes_an_image() -> None:
    store, glance = make()
    store.flip(layout.chunk(SITE, BACKUP, 1, 2), 3000)
    with pytest.raises(DataCorrupt, match=rf"backup {BACKUP}: chunk 2 \(bytes 8192-12287\)"):
        run(store, glance)
    assert glance.images[IMAGE].status == "queued"


def test_a_missing_chunk_and_a_missing_index_part() -> None:
    store, glance = make()
    gone = {**store.objects}
    del gone[layout.chunk(SITE, BACKUP, 1, 3)]
    whole, store.objects = store.objects, gone
    with pytest.raises(DataCorrupt, match=r"chunk 3 .* missing"):
        run(store, glance)
    store.objects = {key: body for key, body in whole.items() if "/index/" not in key}
    with pytest.raises(DataCorrupt, match="index part is missing"):
        run(store, glance)
    assert glance.images[IMAGE].status == "queued"


def test_what_is_sent_wrong_is_found_by_the_hash() -> None:
    store, glance = make()
    glance.images[IMAGE] = Image("active", CONTENT, len(CONTENT), "sha512", "00" * 64)
    with pytest.raises(DataCorrupt, match="never becomes a volume"):
        run(store, glance)


def test_unknown_backup_other_size_and_deleted_backup() -> None:
    store, glance = make()
    with pytest.raises(DataCorrupt, match="were asked for"):
        run(store, glance, len(CONTENT) + 1)
    bank_on(store).delete(SITE, BACKUP)
    with pytest.raises(SourceGone) as caught:
        run(store, glance)
    assert caught.value.reason == "BackupNotFound"
