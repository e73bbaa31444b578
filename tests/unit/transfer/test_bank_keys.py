"""How a bank's keys reach a transfer: as a file of its own folder, and by no other way."""

from __future__ import annotations

import json
import os
import queue
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cinderbank.adapters.transfer_process import TransferProcesses
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.bank.wrapped_keys import encoded_kek
from cinderbank.cli.transfer import _keks
from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.facts import TransferFailed, TransferRunning
from cinderbank.transfer.job import BankJob
from tests.fakes.backups import SITE
from tests.unit.transfer.test_processes import ACCESS, TRANSFER

KEKS = (KeyEncryptionKey(os.urandom(32)), KeyEncryptionKey(os.urandom(32)))

# Tells what it was given, then fails with a message that quotes a key.
PROGRAM = """
import json, os, stat, sys
sys.stdin.readline()
job = json.load(open(sys.argv[1]))
name = job["bank"]["keys_file"]
text = open(name).read()
told = [stat.S_IMODE(os.stat(name).st_mode), json.loads(text), job["bank"]["accepts_plain"]]
told.append(any(key in str(job) + str(sys.argv) + str(dict(os.environ)) for key in told[1]))
open(sys.argv[2], "w").write(json.dumps(told))
print(json.dumps({"event": "error", "reason": "Error", "message": text, "retryable": False}))
sys.exit(65)
"""


def test_keys_come_as_a_file_and_never_get_out(tmp_path: Path) -> None:
    news: queue.SimpleQueue[str] = queue.SimpleQueue()
    told = tmp_path / "told"
    processes: TransferProcesses[str] = TransferProcesses(
        tmp_path / "transfers",
        1,
        news.put,
        news.put,
        lambda job: [sys.executable, "-c", PROGRAM, str(job), str(told)],
    )
    try:
        access = replace(ACCESS, keks=KEKS, accepts_plain=True)
        assert not [kek for kek in KEKS if repr(kek.secret)[2:-1] in repr(access)]
        processes.of("one", access).start(TRANSFER)
        while isinstance(facts := processes.observe("one"), TransferRunning):
            news.get(timeout=120)
    finally:
        processes.close()
    encoded = [encoded_kek(kek).decode().strip() for kek in KEKS]
    assert json.loads(told.read_text()) == [0o600, encoded, True, False]
    assert isinstance(facts, TransferFailed)
    assert not [key for key in encoded if key in facts.message]
    assert not list((tmp_path / "transfers").glob("*"))


def bank_job(keys_file: Path | None) -> BankJob:
    return BankJob(
        "https://s3", "b", "", "", "auto", "/x", SITE,
        keys_file=None if keys_file is None else str(keys_file),
    )  # fmt: skip


def test_the_child_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([encoded_kek(kek).decode().strip() for kek in KEKS]))
    assert _keks(bank_job(path), "bank") == KEKS
    assert _keks(bank_job(None), "bank") == ()


@pytest.mark.parametrize("text", ["", "{", "[1]", '["short"]', "3", "null"])
def test_a_bad_file_is_told_without_its_content(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(InvalidSpec) as raised:
        _keks(bank_job(path), "bank")
    assert raised.value.reason in ("InvalidJob", "BankKeyInvalid")
    assert "short" not in raised.value.message
