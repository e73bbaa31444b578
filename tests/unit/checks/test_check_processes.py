"""Checks as child processes: what they are given, what is heard of them, and how they end."""

from __future__ import annotations

import json
import queue
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cinderbank.adapters.check_process import (
    CheckAccess,
    CheckProcesses,
    bank_files,
    check_command,
)
from cinderbank.adapters.s3_location import S3Credentials, S3Location
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.cli.bank_file import BankFile
from cinderbank.domain.errors import Conflict, Unavailable
from cinderbank.ports.checks import (
    CheckAbsent,
    CheckEnded,
    CheckFacts,
    CheckFailed,
    CheckRequest,
    CheckRunning,
)
from tests.fakes.backups import BACKUP, READER, SITE, VOLUME

SECRET = "very-secret-key-0123456789"
KEK = KeyEncryptionKey(bytes(range(7, 39)))
ACCESS = CheckAccess(
    S3Location("https://s3.example.org", "bucket", "a/b", "r", "path", "/ca.pem"),
    S3Credentials("user", SECRET, "token-1234567"),
    SITE,
    False,
    READER,
    (KEK,),
    True,
)
COUNTS = '"backups":2,"ok":1,"damaged":1,"unchecked":0,"chunks":5,"chunksRead":4,"bytesRead":9'
PROGRESS = f'{{"event":"progress","percent":50.0,"total":4,{COUNTS}}}'
DAMAGED = json.dumps(
    {"event": "damaged", "backupID": BACKUP, "site": SITE, "volumeID": VOLUME,
     "outcome": "damaged", "problem": "p", "lostBytes": 7, "lost": [{"first": 0, "last": 6}]}
)  # fmt: skip
RESULT = f'{{"event":"result","problems":["{SECRET} in it"],{COUNTS}}}'
ERROR = f'{{"event":"error","reason":"BankUnavailable","message":"{SECRET}","retryable":true}}'


class Programs:
    """CheckProcesses whose children run a given program; waits for news instead of sleeping."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = ""
        self.news: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.processes: CheckProcesses[str] = CheckProcesses(
            folder,
            1,
            self.news.put,
            lambda file, _: [sys.executable, "-c", self.program, str(file)],
        )

    def start(self, program: str, key: str = "one") -> None:
        self.program = f"import sys, os\n{program}"
        self.processes.of(key, ACCESS).start(CheckRequest("full"))

    def until(self, wanted: Callable[[CheckFacts], bool], key: str = "one") -> CheckFacts:
        while not wanted(facts := self.processes.observe(key)):
            self.news.get(timeout=120)
        return facts

    def end(self) -> CheckFacts:
        return self.until(lambda facts: not isinstance(facts, CheckRunning))


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    found = Programs(tmp_path / "checks")
    yield found
    found.processes.close()
    assert list(found.folder.glob("*")) == []


def say(*lines: str, code: int = 0) -> str:
    said = "".join(f"print({line!r}, flush=True)\n" for line in lines)
    return f"{said}sys.exit({code})"


def test_what_it_says_is_heard(programs: Programs) -> None:
    programs.start(f"print({PROGRESS!r}, flush=True)\nsys.stdin.read()")
    running = programs.until(
        lambda facts: isinstance(facts, CheckRunning) and facts.progress is not None
    )
    assert isinstance(running, CheckRunning)
    assert running.progress is not None
    assert (running.progress.percent, running.progress.damaged) == (50.0, 1)


@pytest.mark.parametrize("code", [0, 1])
def test_an_end_with_and_without_damage(programs: Programs, code: int) -> None:
    programs.start(say(DAMAGED, PROGRESS, "no event", "[]", RESULT, code=code))
    ended = programs.end()
    assert isinstance(ended, CheckEnded)
    assert ended.progress.bytes_read == 9
    assert [each.lost for each in ended.damaged] == [((0, 6),)]
    assert ended.problems == ("<secret> in it",)


@pytest.mark.parametrize(
    ("program", "reason", "retryable"),
    [
        (say(ERROR, code=75), "BankUnavailable", True),
        (say(RESULT, code=70), "CheckDied", True),
        (say(code=0), "CheckDied", True),
        (f"sys.stderr.write({SECRET!r}); os.abort()", "CheckDied", True),
        (say('{"event":"result"}'), "CheckDied", True),
    ],
)
def test_a_bad_end(programs: Programs, program: str, reason: str, retryable: bool) -> None:
    programs.start(program)
    failed = programs.end()
    assert isinstance(failed, CheckFailed)
    assert (failed.reason, failed.retryable) == (reason, retryable)
    assert SECRET not in failed.message


def test_one_at_a_time_and_the_next_is_woken(programs: Programs) -> None:
    programs.start("sys.stdin.read()")
    with pytest.raises(Conflict):
        programs.start("pass")
    with pytest.raises(Unavailable) as caught:
        programs.start("pass", key="two")
    assert caught.value.reason == "NoCheckSlot"
    programs.processes.forget("one")
    assert {programs.news.get(timeout=120), programs.news.get(timeout=120)} == {"one", "two"}
    assert isinstance(programs.processes.observe("one"), CheckAbsent)


def test_the_bank_file_is_one_that_the_command_reads(tmp_path: Path) -> None:
    for name, content in bank_files(ACCESS).items():
        (tmp_path / name).write_bytes(content)
    assert SECRET not in (tmp_path / "bank.yaml").read_text()
    read = BankFile.read(tmp_path / "bank.yaml")
    assert read.location() == ACCESS.location
    assert read.credentials({}) == ACCESS.credentials
    assert read.keks() == ACCESS.keks
    assert (read.site, read.bank_id, read.read_only) == (SITE, READER, False)
    assert read.plain_backups


def test_secrets_are_files_of_nobody_else(programs: Programs) -> None:
    programs.start("print(os.environ, sys.argv, flush=True)\nsys.stdin.read()")
    [folder] = programs.folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (CheckRequest("full"), ["--level", "full"]),
        (CheckRequest("sample", BACKUP, 7, 42), ["sample=7%", "--seed", "42", BACKUP]),
    ],
)
def test_the_command(request_: CheckRequest, words: list[str]) -> None:
    command = check_command(Path("/x/bank.yaml"), request_)
    assert all(word in command for word in words)
    assert command[:5] == [sys.executable, "-P", "-m", "cinderbank", "bank"]
