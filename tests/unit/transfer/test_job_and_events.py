"""The job file and the event lines: what operator and child say to each other."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cinderbank.domain.errors import DataCorrupt, InvalidSpec, Unavailable
from cinderbank.domain.facts import TransferProgress
from cinderbank.ports.transfers import CompareTransfer, CopyTransfer, RestoreTransfer, Transfer
from cinderbank.transfer.events import EventWriter, ProgressMeter
from cinderbank.transfer.job import BankJob, CloudJob, Job, dump, load
from tests.fakes.backups import BACKUP, IMAGE, OTHER_BACKUP, SITE, backup_transfer

BANK = BankJob(
    "https://s3",
    "b",
    "p",
    "r",
    "auto",
    "/x/s3.json",
    SITE,
    bank_id="i",
    chunk_bytes=1 << 20,
    bandwidth_bytes_per_second=10_000_000,
)
CLOUD = CloudJob("/x/clouds.yaml", "a", "/x/ca.pem")
TRANSFERS = [
    backup_transfer(b"1234"),
    RestoreTransfer(SITE, BACKUP, 2, IMAGE, 4),
    CompareTransfer(SITE, BACKUP, IMAGE, 4, 8),
]


@pytest.mark.parametrize("transfer", TRANSFERS, ids=["backup", "restore", "compare"])
def test_jobs_round_trip(transfer: Transfer, tmp_path: Path) -> None:
    job = Job(BANK, CLOUD, transfer)
    path = tmp_path / "job.json"
    path.write_text(dump(job))
    assert load(path) == job


def test_a_copy_names_two_banks_and_no_cloud(tmp_path: Path) -> None:
    copy = CopyTransfer(SITE, BACKUP, OTHER_BACKUP, 4, allow_plain=True)
    job = Job(BANK, None, copy, target=replace(BANK, bucket="other"))
    path = tmp_path / "job.json"
    path.write_text(dump(job))
    assert load(path) == job
    document = json.loads(dump(job))
    for change, text in (
        ({"target": None}, "target: not an object"),
        ({"target": {**document["target"], "bandwidth_bytes_per_second": 0}}, "target.bandwidth"),
        ({"transfer": {**document["transfer"], "allow_plain": "yes"}}, "allow_plain"),
    ):
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises(InvalidSpec, match=text):
            load(path)


def _without_version(job: dict[str, Any]) -> None:
    del job["version"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_without_version, "version"),
        (lambda job: job.update(kind="x"), "kind"),
        (lambda job: job["bank"].update(bucket=1), "bank.bucket"),
        (lambda job: job["bank"].update(nonsense=1), "nonsense"),
        (lambda job: job["bank"].pop("bucket"), "bucket"),
        (
            lambda job: job["bank"].update(bandwidth_bytes_per_second=0),
            "bandwidth_bytes_per_second",
        ),
        (lambda job: job["bank"].update(bandwidth_bytes_per_second=1.5), "bandwidth_bytes_per_sec"),
        (lambda job: job.update(cloud=[]), "cloud"),
        (lambda job: job["transfer"].update(snapshot_at="now"), "snapshot_at"),
        (lambda job: job["transfer"].update(tags={"a": 1}), "tags"),
        (lambda job: job["transfer"]["source"].update(size_gib="1"), "size_gib"),
    ],
)
def test_wrong_jobs_are_named(change: Any, text: str, tmp_path: Path) -> None:
    job = json.loads(dump(Job(BANK, CLOUD, TRANSFERS[0])))
    change(job)
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job))
    with pytest.raises(InvalidSpec, match=text) as caught:
        load(path)
    assert caught.value.reason == "InvalidJob"


def test_what_is_no_job(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    for content in (b"", b"[]", b"\xff", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(InvalidSpec):
            load(path)
    with pytest.raises(InvalidSpec):
        load(tmp_path / "none")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_comes_at_most_twice_a_second_and_knows_its_rate() -> None:
    told: list[TransferProgress] = []
    clock = Clock()
    meter = ProgressMeter(1000, told.append, clock)
    for _ in range(100):
        clock.now += 0.1
        meter.add(10, 5, 2)
    assert 18 <= len(told) <= 21
    assert told[-1].rate_bytes_per_second == pytest.approx(100)
    last = meter.now()
    assert (last.bytes_processed, last.bytes_stored, last.bytes_zero) == (1000, 500, 200)
    assert last.eta_seconds == pytest.approx(0)
    meter.restart()
    assert meter.now().bytes_processed == 0


def test_event_lines() -> None:
    reader, writer = os.pipe()
    events = EventWriter(writer)
    events.progress(TransferProgress(10, 5))
    events.error(DataCorrupt("größer\n" + "x" * 5000))
    events.error(Unavailable("away", reason="BankUnavailable"))
    events.result("ab", TransferProgress(10, 10))
    os.close(writer)
    with os.fdopen(reader) as pipe:
        progress, corrupt, away, result = map(json.loads, pipe.read().splitlines())
    assert progress["event"] == "progress"
    assert TransferProgress(**{k: v for k, v in progress.items() if k != "event"}).bytes_total == 10
    assert corrupt["retryable"] is False
    assert len(corrupt["message"]) == 2000
    assert (away["retryable"], away["reason"]) == (True, "BankUnavailable")
    assert (result["event"], result["content_hash"]) == ("result", "ab")
