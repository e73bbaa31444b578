"""Copies between banks on real S3 servers, by the real child process, killed and gone on with."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.adapters.transfer_process import TransferAccess, TransferProcesses
from cinderbank.bank.collect import CollectRules, collect
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.domain.facts import (
    BackupId,
    TransferFacts,
    TransferFailed,
    TransferRunning,
    TransferSucceeded,
)
from cinderbank.ports.transfers import CopyTransfer
from tests.contract.bank.conftest import credentials_of, emptied, location_of, ready
from tests.fakes.backups import BACKUP, CHUNK, OTHER_BACKUP, SITE, back_up, bank_on, sample
from tests.fakes.copies import read_all
from tests.rig.s3_servers import MINIO, SEAWEEDFS

CONTENT = sample("tzrsztzz" * 20, tail=1000)
CHANGED = CONTENT[:CHUNK] + b"changed".ljust(CHUNK, b"!") + CONTENT[2 * CHUNK :]
KEK = KeyEncryptionKey(os.urandom(32))


@dataclass
class Place:
    """One bank on a real server."""

    store: S3Store
    location: S3Location
    credentials: S3Credentials

    def access(self, **changes: object) -> TransferAccess:
        found = TransferAccess(self.location, self.credentials, SITE, False, None)
        return replace(found, **changes)  # type: ignore[arg-type]


def place(server: str) -> Iterator[Place]:
    found = ready(server)
    location, credentials = location_of(found), credentials_of(found)
    with emptied(location, credentials) as store:
        yield Place(store, location, credentials)


@pytest.fixture
def near() -> Iterator[Place]:
    yield from place(MINIO)


@pytest.fixture(params=[MINIO, SEAWEEDFS])
def far(request: pytest.FixtureRequest) -> Iterator[Place]:
    """On the same server, and on another kind of server."""
    yield from place(request.param)


class Runner:
    """The operator's own way of starting a copy."""

    def __init__(self, folder: Path) -> None:
        self._news: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.processes: TransferProcesses[str] = TransferProcesses(
            folder, 1, self._news.put, self._news.put
        )

    def start(self, access: TransferAccess, backup_id: BackupId, **asked: bool) -> None:
        size = len(CONTENT)
        transfer = CopyTransfer(SITE, backup_id, backup_id, size, **asked)
        self.processes.of("x", access).start(transfer)

    def wait(self) -> TransferFacts:
        while isinstance(facts := self.processes.observe("x"), TransferRunning):
            self._news.get(timeout=240)
        return facts

    def run(
        self, access: TransferAccess, backup_id: BackupId = BACKUP, **asked: bool
    ) -> TransferFacts:
        self.start(access, backup_id, **asked)
        return self.wait()


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    import cinderbank

    monkeypatch.setenv("PYTHONPATH", str(Path(cinderbank.__file__).parents[1]))
    runner = Runner(tmp_path / "transfers")
    yield runner
    runner.processes.close()


@pytest.mark.parametrize(
    ("source_keks", "target_keks"),
    [((), ()), ((), (KEK,)), ((KEK,), ())],
    ids=["plain", "plain-encrypted", "encrypted-plain"],
)
def test_a_copy_and_the_next_one_are_whole_without_the_first_bank(
    near: Place, far: Place, runner: Runner,
    source_keks: tuple[KeyEncryptionKey, ...], target_keks: tuple[KeyEncryptionKey, ...],
) -> None:  # fmt: skip
    back_up(near.store, CONTENT, keks=source_keks)
    back_up(near.store, CHANGED, backup_id=OTHER_BACKUP, keks=source_keks)
    access = near.access(keks=source_keks, target=far.access(keks=target_keks))
    done = {
        backup_id: runner.run(access, backup_id, allow_plain=True)
        for backup_id in (BACKUP, OTHER_BACKUP)
    }
    assert {type(each) for each in done.values()} == {TransferSucceeded}, done
    second = done[OTHER_BACKUP]
    assert isinstance(second, TransferSucceeded)
    assert second.progress.bytes_processed == len(CONTENT)
    # The tests' own backups borrow nothing, so all but the changed chunk is the first copy's.
    data = sum(1 for at in range(0, len(CHANGED), CHUNK) if any(CHANGED[at : at + CHUNK]))
    assert second.progress.bytes_reused == (data - 2) * CHUNK + 1000
    near.store.delete_many([row.key for row in near.store.list_keys("")])
    bank = bank_on(far.store, keks=target_keks)
    assert read_all(bank, BACKUP) == CONTENT
    assert read_all(bank, OTHER_BACKUP) == CHANGED
    bank.delete(SITE, BACKUP)
    report = collect(far.store, SITE, bank.keys, CollectRules(forced=True))
    assert report.refusal is None
    assert read_all(bank, OTHER_BACKUP) == CHANGED


def test_a_copier_that_is_ended_at_any_moment_is_gone_on_with(
    near: Place, far: Place, runner: Runner
) -> None:
    back_up(near.store, CONTENT)
    access = near.access(target=far.access(keks=(KEK,)))
    for _ in range(3):  # wherever each of them is by then
        runner.start(access, BACKUP)
        runner.processes.cancel("x")
    assert isinstance(runner.run(access), TransferSucceeded)
    assert read_all(bank_on(far.store, keks=[KEK]), BACKUP) == CONTENT


def test_what_is_refused_is_told_by_the_child(near: Place, far: Place, runner: Runner) -> None:
    back_up(near.store, CONTENT, keks=[KEK])
    source = near.access(keks=(KEK,))
    told = runner.run(replace(source, target=source))
    assert isinstance(told, TransferFailed)
    assert (told.reason, told.retryable) == ("CopyToItself", False)
    told = runner.run(replace(source, target=far.access()))
    assert isinstance(told, TransferFailed)
    assert (told.reason, told.retryable) == ("CopyWouldBePlain", False)
