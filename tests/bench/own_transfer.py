"""Our data path alone: `python -m cinderbank transfer`, as the operator starts it, and back with
`cinderbank bank export`."""

from __future__ import annotations

import base64
import json
import os
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from cinderbank.adapters.s3 import S3Credentials, S3Location, S3Store
from cinderbank.adapters.system import SystemClock, UlidMint
from cinderbank.adapters.transfer_process import MALLOC
from cinderbank.bank.bank import StoredBank
from cinderbank.bank.wrapped_keys import parse_kek
from cinderbank.domain.facts import ImageFacts, ImageId, VolumeFacts, VolumeId
from cinderbank.ports.transfers import BackupTransfer
from cinderbank.transfer.job import BankJob, CloudJob, Job, dump
from tests.bench.cinderbank_job import remove_all
from tests.bench.names import OWN, OWN_ENCRYPTED
from tests.bench.tools import Source, Target
from tests.stage.operator_process import ROOT

SITE = "site-a"
VOLUME = VolumeId("11111111-2222-4333-8444-555555555555")
CLOUD = "a"


class OwnTransfer:
    """One backup of the image into a bank of its own."""

    def __init__(
        self, source: Source, target: Target, image_id: str, clouds_yaml: Path, encrypted: bool
    ) -> None:
        self.name = OWN_ENCRYPTED if encrypted else OWN
        self._source = source
        self._target = target
        self._image_id = ImageId(image_id)
        self._clouds_yaml = clouds_yaml
        self._key = base64.b64encode(os.urandom(32)) if encrypted else None
        self._backup_id = UlidMint(SystemClock()).mint_backup_id()
        keys = target.keys
        self._store = S3Store(
            S3Location(target.endpoint, target.bucket.name, target.prefix),
            S3Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]),
        )
        keks = [parse_kek(self._key, "the bench's key")] if self._key else []
        self._bank = StoredBank(self._store, SITE, keks=keks)

    def setup(self) -> str:
        """The session's intent, which is the engine's; the job, and the bank file for the way back."""
        folder = self._target.folder
        self._bank.open_session(SITE, self._backup_id, VOLUME)
        folder.mkdir(parents=True, exist_ok=True)
        keys = self._target.keys
        secret = {
            "access_key": keys["AWS_ACCESS_KEY_ID"],
            "secret_key": keys["AWS_SECRET_ACCESS_KEY"],
        }
        _write(folder / "s3.json", json.dumps(secret))
        if self._key:
            _write(folder / "keys.json", json.dumps([self._key.decode()]))
            _write(folder / "bank.key", self._key.decode())
        _write(folder / "job.json", dump(self._job()))
        bank = {
            "endpoint": self._target.endpoint,
            "bucket": self._target.bucket.name,
            "prefix": self._target.prefix,
            **({"keyFiles": ["bank.key"]} if self._key else {}),
        }
        _write(folder / "bank.yaml", json.dumps(bank))
        return "true"

    def store(self) -> str:
        # Its stdin stays open: the end of it is the end of the transfer.
        return f"exec {_cinderbank()} transfer --job {self._file('job.json')} > /dev/null"

    def read_back(self) -> str:
        self._bank.seal(SITE, self._backup_id, VOLUME)
        bank = f"--bank {self._file('bank.yaml')}"
        return f"exec {_cinderbank()} bank export {bank} {self._backup_id} - > /dev/null"

    def environment(self) -> Mapping[str, str]:
        return {
            **self._target.keys,
            "PYTHONPATH": str(ROOT / "operator"),
            **MALLOC,
            "OPENBLAS_NUM_THREADS": "1",
        }

    def clean(self) -> None:
        self._store.close()
        remove_all(self._target.bucket, self._target.prefix)

    def _file(self, name: str) -> str:
        return shlex.quote(str(self._target.folder / name))

    def _job(self) -> Job:
        folder, size = self._target.folder, self._source.size_bytes
        location = S3Location(self._target.endpoint, self._target.bucket.name, self._target.prefix)
        bank = BankJob(
            endpoint_url=location.endpoint_url,
            bucket=location.bucket,
            prefix=location.prefix,
            region=location.region,
            addressing=location.addressing,
            credentials_file=str(folder / "s3.json"),
            site=SITE,
            keys_file=str(folder / "keys.json") if self._key else None,
        )
        transfer = BackupTransfer(
            site=SITE,
            backup_id=self._backup_id,
            attempt=1,
            image=ImageFacts(self._image_id, "bench", "active", size_bytes=size),
            size_bytes=size,
            source=VolumeFacts(VOLUME, "bench", "available", max(1, size >> 30)),
            backup_name="bench",
            description="",
            snapshot_at=datetime.now(UTC),
        )
        return Job(bank, CloudJob(str(self._clouds_yaml), CLOUD), transfer)


def _cinderbank() -> str:
    return f"{shlex.quote(sys.executable)} -P -m cinderbank"


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
