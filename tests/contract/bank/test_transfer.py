"""The real transfer program between a real Glance and a real S3 server, there and back."""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cinderbank.adapters.openstack.session import connect
from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.adapters.transfer_process import TransferAccess, TransferProcesses
from cinderbank.bank.bank import StoredBank
from cinderbank.domain.facts import (
    ImageId,
    TransferFacts,
    TransferFailed,
    TransferRunning,
    TransferSucceeded,
)
from cinderbank.ports.transfers import RestoreTransfer, Transfer
from tests.contract.bank.conftest import RIG_ENV, ready, rig_environment
from tests.fakes.backups import BACKUP, SITE, VOLUME, backup_transfer, content_hash_of
from tests.fakes.qcow2_images import encoded
from tests.rig.s3 import Store
from tests.rig.s3_servers import MINIO

MIB = 1 << 20
CONTENT = bytes(5 * MIB) + os.urandom(6 * MIB) + b"text " * MIB + bytes(9 * MIB) + b"end".ljust(512)
CLOUD = "a"


@pytest.fixture
def s3_server() -> Store:
    """One is enough here: what differs between them is below the bank."""
    return ready(MINIO)


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    clouds = Path(rig_environment().get("OS_CLIENT_CONFIG_FILE", RIG_ENV))
    if not clouds.exists() or CLOUD not in json.loads(clouds.read_text())["clouds"]:
        pytest.skip("the rig that is up has no cloud 'a'")
    connection = connect(clouds, CLOUD, cacert=None)
    yield connection
    connection.close()


class Runner:
    def __init__(self, folder: Path, access: TransferAccess) -> None:
        self._news: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.processes: TransferProcesses[str] = TransferProcesses(
            folder, 1, self._news.put, self._news.put
        )
        self._access = access

    def run(self, transfer: Transfer) -> TransferFacts:
        self.processes.of("x", self._access).start(transfer)
        while isinstance(facts := self.processes.observe("x"), TransferRunning):
            self._news.get(timeout=240)
        return facts


@pytest.fixture
def runner(
    connection: Any, s3_store: S3Store, s3_location: S3Location, s3_credentials: S3Credentials,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Runner]:  # fmt: skip
    import cinderbank

    monkeypatch.setenv("PYTHONPATH", str(Path(cinderbank.__file__).parents[1]))
    clouds = Path(rig_environment()["OS_CLIENT_CONFIG_FILE"]).read_bytes()
    access = TransferAccess(s3_location, s3_credentials, SITE, False, None, CLOUD, clouds)
    runner = Runner(tmp_path / "transfers", access)
    yield runner
    runner.processes.close()


@pytest.fixture
def image(connection: Any) -> Iterator[Any]:
    """Makes images, queued or with data, and deletes them at the end."""
    made = []

    def make(data: bytes | None, disk_format: str = "raw") -> ImageId:
        answer = connection.image.post(
            "/images",
            json={"name": "bank-contract", "disk_format": disk_format, "container_format": "bare"},
        )
        assert answer.status_code == 201
        image_id = answer.json()["id"]
        made.append(image_id)
        if data is not None:
            sent = connection.image.put(
                f"/images/{image_id}/file",
                data=data,
                headers={"Content-Type": "application/octet-stream"},
            )
            assert sent.status_code == 204
        return ImageId(image_id)

    yield make
    for image_id in made:
        connection.image.delete(f"/images/{image_id}")


def of_image(image_id: ImageId) -> Transfer:
    transfer = backup_transfer(CONTENT)
    return replace(transfer, image=replace(transfer.image, id=image_id))


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_there_and_back(
    connection: Any, runner: Runner, image: Any, s3_store: S3Store, disk_format: str
) -> None:
    bank = StoredBank(s3_store, SITE)
    bank.open_session(SITE, BACKUP, VOLUME)
    sent = CONTENT if disk_format == "raw" else encoded(CONTENT, 4 * MIB)
    facts = runner.run(of_image(image(sent, disk_format)))
    assert isinstance(facts, TransferSucceeded), facts
    assert facts.content_hash == content_hash_of(CONTENT, 4 * MIB)
    assert facts.progress.bytes_processed == len(CONTENT)
    assert facts.progress.bytes_zero >= 12 * MIB
    bank.seal(SITE, BACKUP, VOLUME)
    target = image(None, disk_format)
    restored = runner.run(RestoreTransfer(SITE, BACKUP, 1, target, len(CONTENT)))
    assert isinstance(restored, TransferSucceeded), restored
    # As a stream: an answer that is read whole may be 16 MiB at most.
    with connection.image.get(f"/images/{target}/file", stream=True) as answer:
        assert b"".join(answer.iter_content(MIB)) == sent
    again = runner.run(RestoreTransfer(SITE, BACKUP, 2, target, len(CONTENT)))
    assert isinstance(again, TransferSucceeded), again


def test_a_volume_that_was_another_size(runner: Runner, image: Any, s3_store: S3Store) -> None:
    StoredBank(s3_store, SITE).open_session(SITE, BACKUP, VOLUME)
    facts = runner.run(of_image(image(CONTENT[:-MIB])))
    assert isinstance(facts, TransferFailed)
    assert (facts.reason, facts.retryable) == ("ImageSizeMismatch", False)


def test_a_corrupt_chunk_leaves_the_image_queued(
    connection: Any, runner: Runner, image: Any, s3_store: S3Store
) -> None:
    bank = StoredBank(s3_store, SITE)
    bank.open_session(SITE, BACKUP, VOLUME)
    assert isinstance(runner.run(of_image(image(CONTENT))), TransferSucceeded)
    bank.seal(SITE, BACKUP, VOLUME)
    key = next(row.key for row in s3_store.list_keys(f"sites/{SITE}/chunks/"))
    body = bytearray(s3_store.get(key, 8 * MIB) or b"")
    body[1000] ^= 1
    s3_store.put(key, body)
    target = image(None)
    facts = runner.run(RestoreTransfer(SITE, BACKUP, 1, target, len(CONTENT)))
    assert isinstance(facts, TransferFailed)
    assert (facts.reason, facts.retryable) == ("DataCorrupt", False)
    assert f"backup {BACKUP}: chunk " in facts.message
    assert connection.image.get(f"/images/{target}").json()["status"] in ("queued", "saving")
