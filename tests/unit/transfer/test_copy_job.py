"""A copy as the child does it: from the job file on, with each bank's own credentials and keys."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cinderbank.adapters.s3_location import S3Credentials, S3Location
from cinderbank.adapters.transfer_process import TransferAccess, _files
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.cli.transfer import _run_job
from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.facts import TransferProgress
from cinderbank.ports.transfers import CopyTransfer
from cinderbank.transfer.events import ProgressMeter
from cinderbank.transfer.job import load
from tests.fakes.backups import BACKUP, SITE, back_up, bank_on, sample
from tests.fakes.copies import read_all
from tests.fakes.shell_bank import ShellStore

CONTENT = sample("tzrszz", tail=77)
KEKS = {name: KeyEncryptionKey(os.urandom(32)) for name in ("near", "far")}


class Door:
    """Where the S3 SDK's door is: knows who may open which bucket."""

    def __init__(self) -> None:
        self.stores = {"near": ShellStore(), "far": ShellStore()}
        self.bandwidths: dict[str, object] = {}

    def open(self, location: S3Location, credentials: S3Credentials, **options: Any) -> ShellStore:
        assert credentials.secret_key == f"secret-of-{location.bucket}"
        self.bandwidths[location.bucket] = options["bandwidth"]
        return self.stores[location.bucket]


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    found = Door()
    monkeypatch.setattr("cinderbank.cli.transfer.S3Store", found.open)
    return found


def access(bucket: str, **options: Any) -> TransferAccess:
    location = S3Location("http://127.0.0.1:9", bucket)
    credentials = S3Credentials("user", f"secret-of-{bucket}")
    return TransferAccess(location, credentials, SITE, False, None, keks=(KEKS[bucket],), **options)


def run(folder: Path, both: TransferAccess) -> TransferProgress:
    files = _files(folder, both, CopyTransfer(SITE, BACKUP, BACKUP, len(CONTENT)))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    meter = ProgressMeter(len(CONTENT), lambda progress: None)
    _run_job(load(folder / "job.json"), meter)
    return meter.now()


def test_each_bank_is_opened_by_its_own(door: Door, tmp_path: Path) -> None:
    back_up(door.stores["near"], CONTENT, keks=[KEKS["near"]])
    far = access("far", bandwidth_bytes_per_second=1000)
    done = run(tmp_path, access("near", target=far))
    assert done.bytes_processed == len(CONTENT)
    assert read_all(bank_on(door.stores["far"], keks=[KEKS["far"]]), BACKUP) == CONTENT
    assert door.bandwidths["near"] is None
    assert door.bandwidths["far"] is not None


def test_a_job_without_the_other_bank_is_refused(door: Door, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_bytes(
        _files(
            tmp_path,
            access("near", target=access("far")),
            CopyTransfer(SITE, BACKUP, BACKUP, len(CONTENT)),
        )["job.json"]
    )
    document = json.loads((tmp_path / "job.json").read_text())
    del document["target"]
    (tmp_path / "job.json").write_text(json.dumps(document))
    with pytest.raises(InvalidSpec, match="target"):
        load(tmp_path / "job.json")
