"""Transfers as child processes: small programs stand in for the transfer and end in every way."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cinderbank.adapters.s3 import S3Credentials, S3Location
from cinderbank.adapters.transfer_process import (
    TransferAccess,
    TransferProcesses,
    environment,
    transfer_command,
)
from cinderbank.bank.crypto import KeyEncryptionKey
from cinderbank.domain.errors import Conflict, Unavailable
from cinderbank.domain.facts import (
    LostRanges,
    TransferAbsent,
    TransferFacts,
    TransferFailed,
    TransferProgress,
    TransferRunning,
    TransferSucceeded,
)
from cinderbank.transfer.events import EventWriter
from tests.fakes.backups import SITE, backup_transfer

KEK = KeyEncryptionKey(bytes(range(32)))
SECRET = "very-secret-key-0123456789"
ACCESS = TransferAccess(
    S3Location("http://127.0.0.1:9", "bucket"), S3Credentials("user", SECRET), SITE, False, None,
    "cloud", b"clouds: {cloud: {auth: {password: pass-word-1}}}\n", b"-----CA-----",
)  # fmt: skip
TRANSFER = backup_transfer(b"1234")
PROGRESS = (
    '{"event":"progress","bytes_total":4,"bytes_processed":2,"bytes_stored":1,"bytes_zero":0,'
    '"bytes_reused":0,"rate_bytes_per_second":1.5,"eta_seconds":null}'
)
SALVAGED = (
    '{"event":"result","content_hash":"ab","progress":{"bytes_total":4,"bytes_processed":4},'
    '"lost":{"count":3,"lost_bytes":2,"ranges":[[0,0],[3,3]]}}'
)
RESULT = '{"event":"result","content_hash":"ab","progress":{"bytes_total":4,"bytes_processed":4}}'
ERROR = '{"event":"error","reason":"ImageSizeMismatch","message":"m","retryable":false}'


TOLD = "import sys;sys.stdin.readline()"
"""Waits as the real program does."""


class Programs:
    """TransferProcesses whose children run a given program; waits for news instead of sleeping."""

    def __init__(self, folder: Path, slots: int = 1) -> None:
        self.folder = folder
        self.program = ""
        self.news: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.processes: TransferProcesses[str] = TransferProcesses(
            folder,
            slots,
            self.news.put,
            self.news.put,
            lambda job: [sys.executable, "-c", f"{TOLD};{self.program}", str(job)],
        )

    def run(self, program: str, key: str = "one", access: TransferAccess = ACCESS) -> None:
        self.program = program
        self.processes.of(key, access).start(TRANSFER)

    def wait(self, done: Callable[[TransferFacts], bool], key: str = "one") -> TransferFacts:
        while not done(facts := self.processes.observe(key)):
            self.news.get(timeout=120)
        return facts

    def outcome(self, program: str) -> TransferFacts:
        self.run(program)
        return self.wait(lambda facts: not isinstance(facts, TransferRunning))


def has_progress(facts: TransferFacts) -> bool:
    return isinstance(facts, TransferRunning) and facts.progress is not None


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(tmp_path / "transfers")
    yield programs
    programs.processes.close()
    assert not list((tmp_path / "transfers").glob("*"))


def test_progress_then_success(programs: Programs) -> None:
    programs.run(f"import sys;print('{PROGRESS}',flush=True);sys.stdin.read(1);print('{RESULT}')")
    running = programs.wait(has_progress)
    assert isinstance(running, TransferRunning)
    assert running.progress is not None
    assert running.progress.bytes_processed == 2
    assert running.moved_at is not None, "spec.timeouts.noProgress counts from it"
    programs.processes._children["one"]._process.stdin.write(b"x")  # type: ignore[union-attr]
    programs.processes._children["one"]._process.stdin.flush()  # type: ignore[union-attr]
    done = programs.wait(lambda facts: not isinstance(facts, TransferRunning))
    assert isinstance(done, TransferSucceeded)
    assert (done.content_hash, done.progress.bytes_processed) == ("ab", 4)


@pytest.mark.parametrize("different", [None, LostRanges(1, 512, ((0, 511),))])
def test_what_a_comparison_found_is_heard(
    programs: Programs, tmp_path: Path, different: LostRanges | None
) -> None:
    """As the child writes it."""
    told = tmp_path / "line"
    with open(told, "wb") as line:
        EventWriter(line.fileno()).compared("ab", TransferProgress(4, 4), different)
    done = programs.outcome(f"print(open({str(told)!r}).read(), end='')")
    assert isinstance(done, TransferSucceeded)
    assert (done.compared, done.different, done.lost) == (True, different, None)
    plain = programs.outcome(f"print('{RESULT}')")
    assert isinstance(plain, TransferSucceeded) and not plain.compared


def test_what_a_salvage_lost_is_heard(programs: Programs) -> None:
    done = programs.outcome(f"print('{SALVAGED}')")
    assert isinstance(done, TransferSucceeded)
    assert done.lost == LostRanges(3, 2, ((0, 0), (3, 3)))
    nonsense = SALVAGED.replace("[[0,0],[3,3]]", "[[0]]")
    assert isinstance(programs.outcome(f"print('{nonsense}')"), TransferFailed)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (f"print('{ERROR}');raise SystemExit(65)", TransferFailed("ImageSizeMismatch", "m", False)),
        (f"print('nonsense');print('[]');print('{ERROR}')", TransferFailed("ImageSizeMismatch", "m", False)),
        (f"print('{RESULT}');raise SystemExit(1)", "code 1 and without a result"),
        ("print('{\"event\":\"result\"}')", "code 0 and without a result"),
        ("pass", "code 0 and without a result"),
        ("import os;os.kill(os.getpid(),9)", "SIGKILL; it may have had too little memory"),
        ("import os;os.kill(os.getpid(),11)", "SIGSEGV"),
        ("raise SystemExit('last words')", "code 1 and without a result: last words"),
    ],
)  # fmt: skip
def test_every_end(programs: Programs, program: str, expected: TransferFailed | str) -> None:
    facts = programs.outcome(program)
    if isinstance(expected, TransferFailed):
        assert facts == expected
        return
    assert isinstance(facts, TransferFailed)
    assert facts.retryable
    assert facts.reason == "TransferDied"
    assert expected in facts.message


def test_what_a_child_shouts_holds_no_secret(programs: Programs) -> None:
    facts = programs.outcome(
        f"raise SystemExit('{SECRET} https://h/b?X-Amz-Signature=abcdef0123 password=pw1')"
    )
    assert isinstance(facts, TransferFailed)
    for secret in (SECRET, "abcdef0123", "pw1"):
        assert secret not in facts.message


def test_files_environment_and_arguments(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("SOME_TOKEN", "t")
    program = (
        "import os,sys,json,pathlib;folder=pathlib.Path(sys.argv[1]).parent;"
        "modes={p.name:oct(p.stat().st_mode&0o777) for p in [folder,*folder.iterdir()]};"
        "raise SystemExit(json.dumps([sorted(modes.values()),sorted(os.environ),"
        "sys.argv[1:], os.getsid(0)==os.getpid()]))"
    )
    facts = programs.outcome(program)
    assert isinstance(facts, TransferFailed)
    assert '["0o600", "0o600", "0o600", "0o600", "0o700"]' in facts.message
    for hidden in ("KUBERNETES", "SOME_TOKEN", SECRET):
        assert hidden not in facts.message
    assert facts.message.endswith("true]")


def test_no_secret_is_in_the_job_file(programs: Programs) -> None:
    facts = programs.outcome(
        "import sys;raise SystemExit(str('pass-' in open(sys.argv[1]).read()))"
    )
    assert isinstance(facts, TransferFailed)
    assert facts.message.endswith("False")


def test_one_at_a_time_and_whoever_waits_is_woken(programs: Programs) -> None:
    programs.run("import sys;sys.stdin.read()")
    with pytest.raises(Conflict):
        programs.processes.of("one", ACCESS).start(TRANSFER)
    with pytest.raises(Unavailable) as caught:
        programs.processes.of("two", ACCESS).start(TRANSFER)
    assert caught.value.reason == "NoTransferSlot"
    assert programs.processes.observe("two") == TransferAbsent()
    programs.processes.cancel("one")
    woken = {programs.news.get(timeout=120), programs.news.get(timeout=120)}
    assert woken == {"one", "two"}
    assert programs.processes.observe("one") == TransferAbsent()
    programs.run("pass", key="two")


def test_a_bank_may_allow_fewer_than_the_operator_does(tmp_path: Path) -> None:
    programs = Programs(tmp_path, slots=2)
    limited = replace(ACCESS, concurrent_transfers=1)
    other = replace(ACCESS, location=S3Location("http://127.0.0.1:9", "other"))
    blocks = "import sys;sys.stdin.read()"
    programs.run(blocks, "one", limited)
    with pytest.raises(Unavailable, match="concurrentTransfers") as caught:
        programs.run(blocks, "two", limited)
    assert caught.value.reason == "NoTransferSlot"
    programs.run(blocks, "three", other)
    with pytest.raises(Unavailable, match="all 2 transfer slots"):
        programs.run(blocks, "four", other)
    programs.processes.cancel("three")
    woken = {programs.news.get(timeout=30), programs.news.get(timeout=30)}
    assert woken == {"three", "four"}, "two waits longer, and could not start yet"
    programs.processes.cancel("one")
    assert {programs.news.get(timeout=30), programs.news.get(timeout=30)} == {"one", "two"}
    programs.run(blocks, "two", limited)
    programs.processes.close()


def test_a_copy_counts_in_both_banks(tmp_path: Path) -> None:
    programs = Programs(tmp_path, slots=9)
    far = replace(ACCESS, location=S3Location("http://127.0.0.1:9", "far"), concurrent_transfers=1)
    copy = replace(ACCESS, target=far)
    blocks = "import sys;sys.stdin.read()"
    programs.run(blocks, "one", copy)
    with pytest.raises(Unavailable, match="concurrentTransfers"):
        programs.run(blocks, "two", copy)
    with pytest.raises(Unavailable, match="concurrentTransfers"):
        programs.run(blocks, "three", far)
    programs.run(blocks, "four", ACCESS)
    assert set(programs.processes.keys()) == {"one", "two", "three", "four"}
    programs.processes.close()


def test_a_copy_has_the_secrets_of_both_banks_as_files_and_no_cloud(programs: Programs) -> None:
    other = "another-secret-key-9876543210"
    far = replace(ACCESS, credentials=S3Credentials("user", other), keks=(KEK,))
    programs.run(
        "import sys,pathlib;folder=pathlib.Path(sys.argv[1]).parent;"
        "raise SystemExit(str(sorted(p.name for p in folder.iterdir()))"
        f"+' {SECRET} {other} '+str('secret-key' in open(sys.argv[1]).read()))",
        access=replace(ACCESS, target=far),
    )
    facts = programs.wait(lambda facts: not isinstance(facts, TransferRunning))
    assert isinstance(facts, TransferFailed)
    files = "['bank-s3.json', 'job.json', 'target-keys.json', 'target-s3.json']"
    assert facts.message.endswith(f"{files} <secret> <secret> False")


def test_cancel_ends_one_that_ignores_sigterm(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cinderbank.adapters.event_child.TERM_SECONDS", 0.2)
    programs.run(
        "import signal,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);"
        f"print('{PROGRESS}',flush=True);time.sleep(600)"
    )
    programs.wait(has_progress)
    process = programs.processes._children["one"]._process
    programs.processes.cancel("one")
    programs.processes.cancel("one")
    assert process.returncode == -9
    assert programs.processes.observe("one") == TransferAbsent()


def test_a_finished_one_can_be_started_again(programs: Programs) -> None:
    programs.outcome("pass")
    assert isinstance(programs.outcome(f"print('{RESULT}')"), TransferSucceeded)


def waiting(programs: Programs) -> list[Path]:
    return list(programs.folder.glob("transfer-*"))


def test_one_waits_for_its_job_and_gets_it(programs: Programs) -> None:
    programs.program = f"print('{RESULT}')"
    programs.processes.of("one", ACCESS)
    programs.processes.of("two", ACCESS)
    ready = waiting(programs)
    assert len(ready) == 1
    assert list(ready[0].iterdir()) == [], "it has no secret before it has a job"
    assert programs.processes.running() == 0
    assert programs.processes.observe("one") == TransferAbsent()
    programs.program = "raise SystemExit('a second process')"
    programs.processes.of("one", ACCESS).start(TRANSFER)
    done = programs.wait(lambda facts: not isinstance(facts, TransferRunning))
    assert isinstance(done, TransferSucceeded)
    assert not waiting(programs)


def test_none_waits_beside_one_that_runs(programs: Programs) -> None:
    programs.run("sys.stdin.read()")
    programs.processes.of("two", ACCESS)
    assert len(waiting(programs)) == 1


def test_none_waits_for_an_object_whose_transfer_is_over(programs: Programs) -> None:
    assert isinstance(programs.outcome(f"print('{RESULT}')"), TransferSucceeded)
    programs.processes.of("one", ACCESS)
    assert not waiting(programs)
    programs.processes.of("one", ACCESS).cancel()
    programs.processes.of("one", ACCESS)
    assert len(waiting(programs)) == 1


def test_one_that_has_died_while_it_waited_is_replaced(programs: Programs) -> None:
    programs.program = "pass"
    programs.processes.of("one", ACCESS)
    spare = programs.processes._ready._spare
    assert spare is not None
    spare.process.kill()
    spare.process.wait()
    assert isinstance(programs.outcome(f"print('{RESULT}')"), TransferSucceeded)
    assert not waiting(programs)


def test_one_that_dies_with_its_secrets_on_disk_leaves_nothing(programs: Programs) -> None:
    """Between the look whether it waits and its line: what could not be written is still buffered."""
    ready = programs.processes._ready.take()
    (ready.folder / "bank-s3.json").write_text(SECRET)
    ready.process.kill()
    ready.process.wait()
    with pytest.raises(Unavailable, match="died before it began"):
        ready.begin()
    ready.end()
    assert not ready.folder.exists()
    pipes = (ready.process.stdin, ready.process.stdout, ready.process.stderr)
    assert all(pipe is None or pipe.closed for pipe in pipes)


def test_one_that_has_waited_long_is_not_trusted(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs.program = "raise SystemExit('it was about to leave')"
    programs.processes.of("one", ACCESS)
    monkeypatch.setattr("cinderbank.adapters.ready_process.KEPT_SECONDS", 0.0)
    programs.program = f"print('{RESULT}')"
    programs.processes.start("one", ACCESS, TRANSFER)
    done = programs.wait(lambda facts: not isinstance(facts, TransferRunning))
    assert isinstance(done, TransferSucceeded)
    assert not waiting(programs)


def test_none_waits_after_the_end(programs: Programs) -> None:
    programs.processes.of("one", ACCESS)
    programs.processes.close()
    programs.processes.of("one", ACCESS)
    assert not waiting(programs)


def test_none_is_started_after_the_end(programs: Programs) -> None:
    """By a tick that was at work when the operator was told to end."""
    transfers = programs.processes.of("one", ACCESS)
    programs.processes.close()
    with pytest.raises(Unavailable, match="the operator ends"):
        transfers.start(TRANSFER)
    assert programs.processes.keys() == ()
    assert list(programs.folder.iterdir()) == []


def test_no_process_can_be_started(tmp_path: Path) -> None:
    processes: TransferProcesses[str] = TransferProcesses(
        tmp_path / "t", 1, lambda key: None, lambda key: None, lambda job: ["/does/not/exist"]
    )
    with pytest.raises(Unavailable):
        processes.of("one", ACCESS).start(TRANSFER)
    assert not list((tmp_path / "t").iterdir())
    assert processes.running() == 0


# The real program.


def real(job: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        transfer_command(job),
        env={**environment(job.parent), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def begin(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def test_the_real_program_refuses_a_wrong_job(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text("{}")
    with real(job) as process:
        begin(process)
        assert process.stdout is not None
        line = process.stdout.read()
        assert process.wait(120) == 64
    assert b'"reason":"InvalidJob"' in line


def test_the_real_program_ends_with_its_operator_and_on_sigterm(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    os.mkfifo(job)  # it waits there until somebody writes a job
    for end in (lambda p: p.stdin.close(), lambda p: p.terminate()):
        # The pipe opens once the child has opened it: its handlers and its watch are up.
        process = real(job)
        begin(process)
        with process, job.open("w"):
            end(process)
            assert process.wait(120) == 130


def test_the_real_program_leaves_when_it_gets_no_job(tmp_path: Path) -> None:
    with real(tmp_path / "job.json") as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(120) == 130
